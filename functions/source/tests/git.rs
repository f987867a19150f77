//! Repositories, honest and odd, from a real git server.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, like the test")]

mod support;

use dunlin_cloud::ObjectStore as _;
use dunlin_core::manifest::SkipReason;
use dunlin_source::{Error, Limits};
use dunlin_testkit::git::{GitServer, Rule};
use serde_json::json;
use std::time::Duration;
use support::Fixture;
use time::OffsetDateTime;

fn paths(contents: &[(String, u32, Vec<u8>)]) -> Vec<&str> {
    contents.iter().map(|(path, ..)| path.as_str()).collect()
}

#[tokio::test]
async fn the_default_branch_is_followed_and_named() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    let repo = server.repo("shop.git");
    repo.commit("main", &[("old.py", b"old")]);
    let commit =
        repo.commit("main", &[("app.py", b"print(1)\n"), ("web/b.js", b"1"), ("web.txt", b""), ("web-x", b"")]);

    let snapshot = fixture.git(json!({ "url": server.url("shop.git") })).await.unwrap();
    assert_eq!(
        (snapshot.revision.as_str(), snapshot.track.as_str(), snapshot.reused),
        (commit.as_str(), "main", false)
    );
    assert_eq!((snapshot.files, snapshot.bytes), (4, 10));
    // The committer's date, not the author's; and what counts is when the branch was looked at.
    assert_eq!(snapshot.committed_at, OffsetDateTime::from_unix_timestamp(1_700_009_999).unwrap());
    assert!(OffsetDateTime::now_utc() - snapshot.resolved_at < time::Duration::minutes(1));

    let contents = fixture.contents(&snapshot).await;
    assert_eq!(
        paths(&contents),
        ["app.py", "web-x", "web.txt", "web/b.js"],
        "one commit's files, in order, and no history"
    );
    assert_eq!(contents[0].2, b"print(1)\n");
    let files = fixture.files(&snapshot).await;
    assert_eq!(files[0].language.as_deref(), Some("Python"));
    let manifest = fixture.manifest(&snapshot).await;
    assert_eq!((manifest.revision, manifest.archive_bytes), (commit, fixture.archive(&snapshot).await.len() as u64));
}

#[tokio::test]
async fn branches_tags_and_commits_are_found_by_name() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    let repo = server.repo("shop.git");
    let first = repo.commit("main", &[("a", b"1")]);
    repo.git(["tag", "light", &first]);
    repo.git(["tag", "-a", "-m", "annotated", "v1.0", &first]);
    repo.git(["tag", "-a", "-m", "a tag of a tag", "outer", "v1.0"]);
    repo.commit("main", &[("a", b"2")]);
    let third = repo.commit("feature/x", &[("a", b"3")]);

    for (target, revision, track) in [
        (json!({ "branch": "feature/x" }), &third, "feature/x"),
        (json!({ "tag": "light" }), &first, "tag:light"),
        (json!({ "tag": "v1.0" }), &first, "tag:v1.0"),
        (json!({ "tag": "outer" }), &first, "tag:outer"),
        (json!({ "commit": first }), &first, first.as_str()),
    ] {
        // Another fixture each time: nothing is there to be reused.
        let fixture = Fixture::new();
        let mut target = target;
        target["url"] = json!(server.url("shop.git"));
        let snapshot = fixture.git(target.clone()).await.unwrap_or_else(|e| panic!("{target}: {e:?}"));
        assert_eq!((&snapshot.revision, snapshot.track.as_str()), (revision, track), "{target}");
    }

    for (target, text) in [
        (json!({ "branch": "nowhere" }), "the repository has no branch \"nowhere\""),
        (json!({ "branch": "v1.0" }), "the repository has no branch \"v1.0\""),
        (json!({ "branch": "mai" }), "the repository has no branch \"mai\""),
        (json!({ "tag": "main" }), "the repository has no tag \"main\""),
        (
            json!({ "commit": "1".repeat(40) }),
            "the repository has no commit \"1111111111111111111111111111111111111111\"",
        ),
        (json!({ "commit": "1".repeat(64) }), "the repository has no commit"),
        (json!({ "branch": "a\nb" }), "the repository has no branch \"a\\nb\""),
    ] {
        let mut target = target;
        target["url"] = json!(server.url("shop.git"));
        let error = fixture.git(target).await.unwrap_err();
        assert!(matches!(error, Error::RefNotFound { .. }) && error.to_string().starts_with(text), "{error:?}");
    }
    assert!(fixture.objects.keys().is_empty(), "a failure leaves nothing behind");
}

#[tokio::test]
async fn a_tag_of_something_else_than_a_commit_is_refused() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    let repo = server.repo("shop.git");
    repo.commit("main", &[("a", b"1")]);
    let blob = repo.blob(b"just a file");
    repo.git(["tag", "file", &blob]);
    let error = fixture.git(json!({ "url": server.url("shop.git"), "tag": "file" })).await.unwrap_err();
    assert!(matches!(error, Error::RefNotFound { kind: "tag", .. }), "{error:?}");
}

#[tokio::test]
async fn the_same_commit_is_fetched_once() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    let commit = server.repo("shop.git").commit("main", &[("a", b"1")]);
    let by_branch = json!({ "url": server.url("shop.git") });
    let first = fixture.git(by_branch.clone()).await.unwrap();
    let (keys, archive) = (fixture.objects.keys(), fixture.archive(&first).await);
    assert_eq!(server.fetches(), 1);

    let again = fixture.git(by_branch.clone()).await.unwrap();
    assert!(again.reused && again.prefix == first.prefix && again.committed_at == first.committed_at);
    let requests = server.seen().len();
    let by_commit = fixture.git(json!({ "url": server.url("shop.git"), "commit": commit })).await.unwrap();
    assert_eq!((by_commit.reused, by_commit.track), (true, commit.clone()));
    assert_eq!(server.seen().len(), requests, "a known commit needs no request at all");
    assert_eq!((server.fetches(), fixture.objects.keys()), (1, keys));

    // One that S3 is about to delete, or that cannot be read here, is made anew.
    let key = format!("{}/manifest.json", first.prefix);
    let mut old = serde_json::to_value(fixture.manifest(&first).await).unwrap();
    old["packed_at"] = json!("2020-01-01T00:00:00Z");
    for manifest in [old.to_string(), "{}".to_owned()] {
        fixture.objects.put(&key, manifest.into(), "application/json").await.unwrap();
        assert!(!fixture.git(by_branch.clone()).await.unwrap().reused);
        assert!(fixture.git(by_branch.clone()).await.unwrap().reused);
    }

    // A run that died before it wrote the manifest is made up for, with the same bytes.
    fixture.objects.remove(&format!("{}/manifest.json", first.prefix));
    assert!(!fixture.git(by_branch).await.unwrap().reused);
    assert_eq!((server.fetches(), fixture.archive(&first).await == archive), (4, true));
}

#[tokio::test]
async fn of_two_at_once_one_writes_the_snapshot() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    server.repo("shop.git").commit("main", &[("a", b"1")]);
    let input = support::input(&json!({ "type": "git", "url": server.url("shop.git") }));
    let run = || dunlin_source::handler::run(&fixture.context, &input, Duration::from_secs(60));
    let (a, b) = tokio::join!(run(), run());
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_ne!(a.reused, b.reused, "one of them made it, the other found it");
    assert_eq!((a.prefix, fixture.objects.keys().len()), (b.prefix, 3));
}

#[tokio::test]
async fn older_servers_and_other_hashes_work_too() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    let commit = server.repo("old.git").commit("main", &[("a", b"1")]);
    server.rule("/old.git", Rule::Old);
    let snapshot = fixture.git(json!({ "url": server.url("old.git") })).await.unwrap();
    assert_eq!((snapshot.revision, snapshot.track.as_str(), snapshot.files), (commit, "main", 1));

    let repo = server.repo_with("sha256.git", &["--object-format=sha256"]);
    let commit = repo.commit("main", &[("a", b"1")]);
    assert_eq!(commit.len(), 64);
    for target in [json!({}), json!({ "commit": commit })] {
        let fixture = Fixture::new();
        let mut target = target;
        target["url"] = json!(server.url("sha256.git"));
        assert_eq!(fixture.git(target).await.unwrap().revision, commit);
    }
}

#[tokio::test]
async fn a_commit_that_nothing_leads_to_is_not_given_by_an_older_server() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    let repo = server.repo("old.git");
    let dropped = repo.commit("topic", &[("a", b"1")]);
    repo.git(["update-ref", "-d", "refs/heads/topic"]);
    repo.commit("main", &[("a", b"2")]);
    server.rule("/old.git", Rule::Old);
    let error = fixture.git(json!({ "url": server.url("old.git"), "commit": dropped })).await.unwrap_err();
    assert!(matches!(error, Error::RefNotFound { kind: "commit", .. }), "{error:?}");
}

#[tokio::test]
async fn links_submodules_and_odd_names_are_left_out_and_named() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    let repo = server.repo("odd.git");
    let (file, link) = (repo.blob(b"#!/bin/sh\n"), repo.blob(b"/etc/passwd"));
    let pointer = repo.blob(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12\n");
    let attributes = repo.blob(b"* filter=evil diff=evil\n*.py export-ignore\n");
    let submodule = "1f0c3b2a9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a";
    let folder = repo.raw_tree(&[("100644", &file, b"inner.py"), ("120000", &link, b"loop")]);
    let tree = repo.raw_tree(&[
        ("100644", &attributes, b".gitattributes"),
        ("40000", &folder, b".git-not"),
        ("100644", &file, b"README"),
        ("100644", &file, b"Readme"),
        ("100644", &file, b"caf\xe9.py"),
        ("40000", &folder, b"dir"),
        ("120000", &link, b"link"),
        ("100644", &pointer, b"model.bin"),
        ("100644", &file, b"new\nline.py"),
        ("100755", &file, b"run.sh"),
        ("160000", submodule, b"vendor"),
    ]);
    repo.commit_tree("main", &tree);

    // Git sorts ".git-not/" before ".gitattributes"; this tree has them the wrong way round.
    let error = fixture.git(json!({ "url": server.url("odd.git") })).await.unwrap_err();
    assert!(matches!(error, Error::RepositoryRefused(_)), "{error:?}");

    let tree = repo.raw_tree(&[
        ("100644", &attributes, b".gitattributes"),
        ("100644", &file, b"README"),
        ("100644", &file, b"Readme"),
        ("100644", &file, b"caf\xe9.py"),
        ("40000", &folder, b"dir"),
        ("120000", &link, b"link"),
        ("100644", &pointer, b"model.bin"),
        ("100644", &file, b"new\nline.py"),
        ("100755", &file, b"run.sh"),
        ("160000", submodule, b"vendor"),
    ]);
    repo.commit_tree("main", &tree);
    let snapshot = fixture.git(json!({ "url": server.url("odd.git") })).await.unwrap();
    let contents = fixture.contents(&snapshot).await;
    assert_eq!(paths(&contents), [".gitattributes", "README", "dir/inner.py", "new\nline.py", "run.sh"]);
    assert_eq!(contents.iter().map(|(_, mode, _)| *mode).collect::<Vec<_>>(), [0o644, 0o644, 0o644, 0o644, 0o755]);
    let manifest = fixture.manifest(&snapshot).await;
    let skipped: Vec<_> = manifest.skipped.iter().map(|s| (s.path.as_str(), s.reason)).collect();
    assert_eq!(
        skipped,
        [
            ("Readme", SkipReason::CaseCollision),
            ("caf\u{fffd}.py", SkipReason::NotUtf8),
            ("dir/loop", SkipReason::Symlink),
            ("link", SkipReason::Symlink),
            ("model.bin", SkipReason::LfsPointer),
            ("vendor", SkipReason::Submodule),
        ]
    );
    assert_eq!(manifest.skipped_total, 6);
}

#[tokio::test]
async fn forged_trees_are_refused_or_left_out() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    let repo = server.repo("forged.git");
    let file = repo.blob(b"#!/bin/sh\ntouch /tmp/owned\n");
    let hooks = repo.raw_tree(&[("100755", &file, b"post-checkout")]);
    let cases: [(&str, String); 5] = [
        ("dots", repo.raw_tree(&[("40000", &hooks, b"..")])),
        ("dot", repo.raw_tree(&[("40000", &hooks, b".")])),
        ("slash", repo.raw_tree(&[("100644", &file, b"../../evil")])),
        ("twice", repo.raw_tree(&[("100644", &file, b"a"), ("100644", &file, b"a")])),
        ("file-and-folder", repo.raw_tree(&[("100644", &file, b"a"), ("40000", &hooks, b"a")])),
    ];
    for (name, tree) in cases {
        repo.commit_tree(name, &tree);
        let error = fixture.git(json!({ "url": server.url("forged.git"), "branch": name })).await.unwrap_err();
        assert!(matches!(error, Error::RepositoryRefused(_)), "{name}: {error:?}");
    }
    let git_folder = repo.raw_tree(&[("40000", &hooks, b".GIT"), ("100644", &file, b"a")]);
    repo.commit_tree("internals", &git_folder);
    let snapshot = fixture.git(json!({ "url": server.url("forged.git"), "branch": "internals" })).await.unwrap();
    assert_eq!(paths(&fixture.contents(&snapshot).await), ["a"]);
    assert_eq!(fixture.manifest(&snapshot).await.skipped[0].reason, SkipReason::GitInternals);
}

#[tokio::test]
async fn a_few_objects_with_billions_of_paths_are_stopped() {
    let server = GitServer::start().await;
    let repo = server.repo("bomb.git");
    let file = repo.blob(b"x");
    let names: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
    let level =
        |mode: &str, id: &str| repo.raw_tree(&names.iter().map(|n| (mode, id, n.as_bytes())).collect::<Vec<_>>());
    let mut tree = level("100644", &file);
    let mut links = level("120000", &file);
    for _ in 0..9 {
        (tree, links) = (level("40000", &tree), level("40000", &links));
    }
    repo.commit_tree("files", &tree);
    repo.commit_tree("links", &links);
    let mut limits = Limits::default();
    (limits.snapshot.files, limits.snapshot.entries) = (500, 2000);
    for branch in ["files", "links"] {
        let fixture = Fixture::with_limits(limits);
        let error = fixture.git(json!({ "url": server.url("bomb.git"), "branch": branch })).await.unwrap_err();
        assert!(matches!(error, Error::FilesTooLarge(_)), "{branch}: {error:?}");
    }
}

#[tokio::test]
async fn large_files_are_left_out_and_large_repositories_refused() {
    let server = GitServer::start().await;
    let noise: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    for (name, filter) in [("filter.git", "true"), ("whole.git", "false")] {
        let repo = server.repo(name);
        repo.git(["config", "uploadpack.allowFilter", filter]);
        repo.commit("main", &[("big.bin", &noise), ("exact.bin", &noise[..1000]), ("over.bin", &noise[..1001])]);
        let mut limits = Limits::default();
        limits.snapshot.file_bytes = 1000;
        let fixture = Fixture::with_limits(limits);
        let snapshot = fixture.git(json!({ "url": server.url(name) })).await.unwrap();
        assert_eq!(paths(&fixture.contents(&snapshot).await), ["exact.bin"], "{name}");
        let manifest = fixture.manifest(&snapshot).await;
        let skipped: Vec<_> = manifest.skipped.iter().map(|s| (s.path.as_str(), s.reason)).collect();
        assert_eq!(skipped, [("big.bin", SkipReason::TooLarge), ("over.bin", SkipReason::TooLarge)], "{name}");
    }

    let small = Limits { fetched_bytes: 50_000, ..Limits::default() };
    let error = Fixture::with_limits(small).git(json!({ "url": server.url("whole.git") })).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge(_)), "{error:?}");
    let narrow = Limits { object_bytes: 10_000, ..Limits::default() };
    let error = Fixture::with_limits(narrow).git(json!({ "url": server.url("whole.git") })).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge(_)), "{error:?}");
    let mut sum = Limits::default();
    sum.snapshot.total_bytes = 10_000;
    let error = Fixture::with_limits(sum).git(json!({ "url": server.url("whole.git") })).await.unwrap_err();
    assert!(matches!(error, Error::FilesTooLarge(_)), "{error:?}");
}

#[tokio::test]
async fn a_default_branch_with_an_endless_name_is_refused_before_anything_runs() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    let branch = format!("{}/{}", "a".repeat(150), "b".repeat(150));
    let repo = server.repo("endless.git");
    repo.commit(&branch, &[("a", b"1")]);
    repo.git(["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")]);
    for old in [false, true] {
        if old {
            server.rule("/", Rule::Old);
        }
        let error = fixture.git(json!({ "url": server.url("endless.git") })).await.unwrap_err();
        assert!(matches!(error, Error::RepositoryRefused(_)), "{error:?}");
    }
}

#[tokio::test]
async fn an_empty_repository_and_a_missing_default_branch_are_told_apart() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    server.repo("empty.git");
    let stray = server.repo("stray.git");
    stray.commit("develop", &[("a", b"1")]);
    for old in [false, true] {
        if old {
            server.rule("/", Rule::Old);
        }
        let error = fixture.git(json!({ "url": server.url("empty.git") })).await.unwrap_err();
        assert!(matches!(error, Error::Empty), "{error:?}");
        let error = fixture.git(json!({ "url": server.url("stray.git") })).await.unwrap_err();
        assert!(matches!(error, Error::RefNotFound { kind: "default branch", .. }), "{error:?}");
    }
    let error = fixture.git(json!({ "url": server.url("empty.git"), "branch": "main" })).await.unwrap_err();
    assert!(matches!(error, Error::RefNotFound { kind: "branch", .. }), "{error:?}");
}

#[tokio::test]
async fn a_commit_from_the_future_is_dated_when_the_scan_was_accepted() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    let repo = server.repo("future.git");
    let tree = repo.raw_tree(&[("100644", &repo.blob(b"x"), b"a")]);
    let commit = format!(
        "tree {tree}\nauthor A <a@example.org> 1700000000 +0000\ncommitter C <c@example.org> 9999999999999 +0000\n\nx\n"
    );
    let id = repo.git_with(["hash-object", "-t", "commit", "-w", "--stdin", "--literally"], commit.as_bytes());
    repo.git(["update-ref", "refs/heads/main", &id]);
    let snapshot = fixture.git(json!({ "url": server.url("future.git") })).await.unwrap();
    assert_eq!(snapshot.committed_at, OffsetDateTime::from_unix_timestamp(1_795_167_000).unwrap());
}

/// What `git clone --recurse-submodules` and a checkout have run or written, over the years.
#[tokio::test]
async fn nothing_in_a_repository_runs_or_writes_anything() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    let repo = server.repo("evil.git");
    let marks = tempfile::tempdir().unwrap();
    let touch = |name: &str| format!("touch {}", marks.path().join(name).display());
    let modules = format!(
        "[submodule \"a\"]\n\tpath = a\n\turl = --upload-pack={}\n\
         [submodule \"../../hooks\"]\n\tpath = b\n\turl = {}\n\
         [submodule \"c\"]\n\tpath = ../../../out\n\turl = ext::sh -c '{}'\n\
         [submodule \"d\"]\n\tpath = d\n\turl = file:///etc\n\tupdate = !{}\n\
         [submodule \"e\"]\n\tpath = \"e\r\"\n\turl = ssh://-oProxyCommand={}/x\n",
        touch("upload-pack"),
        server.url("other.git"),
        touch("ext"),
        touch("update"),
        touch("ssh"),
    );
    server.repo("other.git").commit("main", &[("never", b"read")]);
    let run = |name: &str| repo.blob(format!("#!/bin/sh\n{}\n", touch(name)).as_bytes());
    let (hook, program) = (run("hook"), run("program"));
    let attributes =
        repo.blob(b"* filter=evil diff=evil merge=evil text eol=crlf working-tree-encoding=UTF-16 ident\n");
    let config = repo.blob(
        format!(
            "[core]\n\tfsmonitor = {0}\n\thooksPath = hooks\n\tsshCommand = {0}\n[filter \"evil\"]\n\tsmudge = {0}\n\
             \tclean = {0}\n[diff \"evil\"]\n\ttextconv = {0}\n[alias]\n\tstatus = !{0}\n",
            touch("config")
        )
        .as_bytes(),
    );
    let gitlink = "1f0c3b2a9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a";
    let hooks = repo.raw_tree(&[("100755", &hook, b"post-checkout"), ("100755", &hook, b"pre-commit")]);
    // A bare repository inside of the repository, and the names that other systems read as `.git`.
    let bare = repo.raw_tree(&[
        ("100644", &repo.blob(b"ref: refs/heads/main\n"), b"HEAD"),
        ("100644", &config, b"config"),
        ("40000", &hooks, b"hooks"),
    ]);
    let git_folder = repo.raw_tree(&[("100644", &config, b"config"), ("40000", &hooks, b"hooks")]);
    let tree = repo.raw_tree(&[
        ("40000", &git_folder, b".GiT"),
        ("100644", &attributes, b".gitattributes"),
        ("100644", &repo.blob(modules.as_bytes()), b".gitmodules"),
        ("160000", gitlink, b"a"),
        ("100644", &repo.blob(b"x = 1\n"), b"app.py"),
        ("160000", gitlink, b"b"),
        ("40000", &bare, b"bare.git"),
        ("100755", &program, b"configure"),
        ("160000", gitlink, b"d"),
        ("40000", &git_folder, b"git~1"),
        ("40000", &hooks, b"hooks"),
    ]);
    repo.commit_tree("main", &tree);
    let snapshot = fixture.git(json!({ "url": server.url("evil.git") })).await.unwrap();
    let contents = fixture.contents(&snapshot).await;
    assert!(paths(&contents).contains(&"app.py") && paths(&contents).contains(&"bare.git/hooks/post-checkout"));
    let read = contents.iter().find(|(path, ..)| path == "app.py").unwrap();
    assert_eq!(read.2, b"x = 1\n", "attributes change nothing: no line ends, no encoding, no filter");
    let skipped: Vec<_> = fixture.manifest(&snapshot).await.skipped.into_iter().map(|s| (s.path, s.reason)).collect();
    for name in ["a", "b", "d"] {
        assert!(skipped.contains(&(name.to_owned(), SkipReason::Submodule)), "{name}: {skipped:?}");
    }
    assert!(skipped.iter().any(|(path, reason)| path == ".GiT" && *reason == SkipReason::GitInternals), "{skipped:?}");
    assert_eq!(fs_entries(marks.path()), Vec::<String>::new(), "something of the repository ran");
    assert!(server.seen().iter().all(|s| s.path.starts_with("/evil.git")), "a submodule was asked for");
}

fn fs_entries(folder: &std::path::Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
