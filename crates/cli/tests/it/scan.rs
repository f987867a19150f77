//! What is sent when a scan starts.

use crate::{
    mock::Answer,
    world::{NEW_TOKEN, OLD_TOKEN, SCAN, UPLOAD, World, git, write},
};
use dunlin_contracts::{
    api::{ScanRequest, Target, UploadRequest},
    problem::{FieldError, Problem},
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, io::Read};

fn unpacked(archive: &[u8]) -> BTreeMap<String, String> {
    let mut tar = tar::Archive::new(zstd::Decoder::new(archive).unwrap());
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().display().to_string(), text)
    });
    entries.collect()
}

pub fn sent(world: &World) -> BTreeMap<String, String> {
    unpacked(&world.storage.requests_of("PUT /uploads/x").last().expect("an archive was sent").body)
}

fn asked(world: &World) -> ScanRequest {
    let requests = world.api.requests_of("POST /v1/scans");
    serde_json::from_slice(&requests.last().expect("a scan was asked for").body).unwrap()
}

#[test]
fn a_work_tree_is_sent_as_it_is_now() {
    let world = World::new();
    let root = world.work_tree();
    let run = world.run(&["scan", root.to_str().unwrap(), "--engines", "ruff,gitleaks"]);
    assert_eq!(run.code, 0, "{}", run.err);

    let files = sent(&world);
    assert_eq!(files.keys().collect::<Vec<_>>(), [".gitignore", "README.md", "app/main.py"]);
    assert_eq!(files["app/main.py"], "print('changed')\n");

    let put = &world.storage.requests()[0];
    assert_eq!((put.headers["x-amz-checksum-sha256"].as_str(), put.headers["if-none-match"].as_str()), ("c2hh", "*"));
    assert_eq!(put.headers["content-length"], put.body.len().to_string());
    let announced: UploadRequest = serde_json::from_slice(&world.api.requests_of("POST /v1/uploads")[0].body).unwrap();
    assert_eq!(announced.bytes, put.body.len() as u64);
    assert_eq!(announced.sha256, hex::encode(Sha256::digest(&put.body)));

    let expected = Target::Upload {
        upload_id: UPLOAD,
        repository: "github.com/acme/shop".into(),
        branch: Some("trunk".into()),
        commit: Some(git(&root, &["rev-parse", "HEAD"])),
    };
    assert_eq!(asked(&world), ScanRequest { target: expected, engines: Some(vec!["ruff".into(), "gitleaks".into()]) });
    assert!(!world.api.requests_of("POST /v1/scans")[0].headers["idempotency-key"].is_empty());
}

#[test]
fn a_folder_of_a_work_tree_is_sent_alone_and_has_its_own_name() {
    let world = World::new();
    let root = world.work_tree();
    let run = world.run(&["scan", root.join("app").to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(sent(&world).keys().collect::<Vec<_>>(), ["main.py"]);
    assert!(
        matches!(asked(&world).target, Target::Upload { repository, .. } if repository == "github.com/acme/shop/app")
    );
}

#[test]
fn files_that_are_not_tracked_are_sent_only_when_wanted() {
    let world = World::new();
    let root = world.work_tree();
    std::fs::remove_file(root.join("README.md")).unwrap();
    let run = world.run(&["scan", root.to_str().unwrap(), "--untracked", "--name", "my shop", "--branch", "next"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(sent(&world).keys().collect::<Vec<_>>(), [".gitignore", "app/main.py", "app/new.py"]);
    assert!(run.err.contains("1 file is tracked but not in the folder"), "{}", run.err);
    assert!(
        matches!(asked(&world).target, Target::Upload { repository, branch, .. } if repository == "my shop" && branch.as_deref() == Some("next"))
    );

    let run = world.run(&["scan", root.to_str().unwrap(), "--all-files"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(sent(&world).keys().collect::<Vec<_>>(), [".gitignore", "app/main.py", "app/new.py", "debug.log"]);
}

#[test]
fn a_plain_folder_needs_a_word() {
    let world = World::new();
    let folder = world.home.path().join("plain");
    write(&folder, "a.py", "x = 1\n");
    // The temporary folder of some machine might be inside a work tree.
    let ceiling = |args: &[&str]| {
        let output = world.command(args).env("GIT_CEILING_DIRECTORIES", world.home.path()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, err) = ceiling(&["scan", folder.to_str().unwrap()]);
    assert_eq!(code, 3);
    assert!(err.contains("cannot be read as a git work tree") && err.contains("--all-files"), "{err}");
    assert!(world.api.requests().is_empty());

    let (code, err) = ceiling(&["scan", folder.to_str().unwrap(), "--all-files"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(sent(&world).keys().collect::<Vec<_>>(), ["a.py"]);
    assert!(
        matches!(asked(&world).target, Target::Upload { repository, branch: None, commit: None, .. } if repository == "plain")
    );
}

#[test]
fn folders_that_cannot_be_scanned_are_refused_before_anything_is_sent() {
    let world = World::new();
    let root = world.work_tree();
    let empty = world.home.path().join("empty");
    write(&empty, "untracked.py", "");
    git(&empty, &["init", "-q"]);
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    for (target, sentence) in [
        (path(&root.join("nowhere")), "cannot be opened"),
        (path(&root.join("README.md")), "is a file"),
        (path(&empty), "git tracks no file"),
        ("git@github.com:acme/shop.git".into(), "try https://github.com/acme/shop.git"),
        ("https://ann:hunter2@github.com/acme/shop".into(), "dunlin credential set"),
    ] {
        let run = world.run(&["scan", &target]);
        assert_eq!(run.code, 3);
        assert!(run.err.contains(sentence) && !run.err.contains("hunter2"), "{target}: {}", run.err);
    }
    assert!(world.api.requests().is_empty());
}

#[test]
fn an_address_is_pointed_at() {
    let world = World::new();
    let run = world.run(&[
        "scan",
        "https://github.com/psf/requests",
        "--tag",
        "v2",
        "--credential",
        "work",
        "--idempotency-key",
        "k1",
    ]);
    assert_eq!(run.code, 0, "{}", run.err);
    let expected = Target::Git {
        url: "https://github.com/psf/requests".into(),
        branch: None,
        tag: Some("v2".into()),
        commit: None,
        credential: Some("work".into()),
    };
    assert_eq!(asked(&world), ScanRequest { target: expected, engines: None });
    assert_eq!(world.api.requests_of("POST /v1/scans")[0].headers["idempotency-key"], "k1");
    assert!(world.storage.requests().is_empty());
}

#[test]
fn options_of_the_other_kind_of_target_are_refused() {
    let world = World::new();
    let root = world.work_tree();
    let root = root.to_str().unwrap();
    for args in [
        vec!["scan", "https://github.com/a/b", "--name", "x"],
        vec!["scan", "https://github.com/a/b", "--untracked"],
        vec!["scan", root, "--tag", "v1"],
        vec!["scan", root, "--commit", "0"],
        vec!["scan", root, "--credential", "x"],
    ] {
        assert_eq!(world.run(&args).code, 3, "{args:?}");
    }
    assert!(world.api.requests().is_empty());
}

#[test]
fn a_storage_that_stumbles_gets_the_whole_archive_again() {
    let world = World::new();
    let root = world.work_tree();
    world.script(|script| {
        script.storage =
            vec![Answer::typed(503, "application/xml", "<Error><Code>SlowDown</Code><Message>Slow</Message></Error>")]
    });
    let run = world.run(&["scan", root.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.err);
    let puts = world.storage.requests();
    assert_eq!(puts.len(), 2);
    assert!(!puts[0].body.is_empty() && puts[0].body == puts[1].body);

    // The first attempt may have arrived although its answer was lost.
    world.script(|script| script.storage = vec![Answer::hang_up(), Answer::empty(412)]);
    assert_eq!(world.run(&["scan", root.to_str().unwrap()]).code, 0);
}

#[test]
fn a_storage_that_refuses_is_quoted_without_the_address() {
    let world = World::new();
    let root = world.work_tree();
    let xml = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
    world.script(|script| script.storage = vec![Answer::typed(403, "application/xml", xml)]);
    let run = world.run(&["scan", root.to_str().unwrap()]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("error: the archive could not be sent\n"), "{}", run.err);
    assert!(run.err.contains("status 403 Forbidden, AccessDenied: Request has expired"), "{}", run.err);
    assert!(world.api.requests_of("POST /v1/scans").is_empty());
}

#[test]
fn a_problem_names_its_fields() {
    let world = World::new();
    let fields =
        [("/target/branch", "this is not a name that git allows"), ("/engines/0", "there is no engine \"x\x1b[2J\"")];
    let errors = fields.map(|(field, message)| FieldError { field: field.into(), message: message.into() });
    let mut problem = Problem::invalid(errors.to_vec());
    problem.trace_id = Some("4bf92f35".into());
    world.script(|script| script.first.push(("POST /v1/scans", Answer::problem(&problem))));
    let run = world.run(&["scan", "https://github.com/a/b"]);
    assert_eq!(run.code, 3);
    let expected = "error: the scan was not accepted\n  because: 2 fields are not valid\n  /target/branch: this is not a name that git allows\n  /engines/0: there is no engine \"x\\u{1b}[2J\"\n  trace id 4bf92f35\n";
    assert_eq!(run.err, expected);
}

#[test]
fn a_server_that_stumbles_gets_the_same_request_again() {
    let world = World::new();
    let unknown = Answer::typed(502, "text/html", "<h1>bad gateway</h1>");
    world.script(|script| {
        script.first.extend([("POST /v1/scans", Answer::hang_up()), ("POST /v1/scans", unknown.clone())])
    });
    assert_eq!(world.run(&["scan", "https://github.com/a/b"]).code, 0);
    let requests = world.api.requests_of("POST /v1/scans");
    let keys: Vec<_> = requests.iter().map(|request| &request.headers["idempotency-key"]).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[0] == keys[1] && keys[1] == keys[2], "a scan would have been made twice");

    world.script(|script| script.first.extend(std::iter::repeat_n(("POST /v1/scans", unknown), 4)));
    let run = world.run(&["scan", "https://github.com/a/b"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("status 502 Bad Gateway, <h1>bad gateway</h1>"), "{}", run.err);
}

#[test]
fn a_detached_scan_prints_its_id() {
    let world = World::new();
    let run = world.run(&["scan", "https://github.com/a/b", "--detach"]);
    assert_eq!((run.code, run.out), (0, format!("{SCAN}\n")));
    assert!(run.err.contains(&format!("dunlin show {SCAN} --follow")), "{}", run.err);
    assert!(world.api.requests_of("GET /v1/scans").is_empty());
}

#[test]
fn a_token_that_ends_during_a_scan_is_renewed_without_a_word() {
    let world = World::new();
    world.script(|script| {
        script.tokens = vec![NEW_TOKEN];
    });
    let run = world.run(&["scan", "https://github.com/a/b"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let bearers: Vec<_> =
        world.api.requests_of("POST /v1/scans").iter().map(|r| r.headers["authorization"].clone()).collect();
    assert_eq!(bearers, [format!("Bearer {OLD_TOKEN}"), format!("Bearer {NEW_TOKEN}")]);
}
