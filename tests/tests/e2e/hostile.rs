//! Archives and repositories that are hostile, odd or very large, through the whole flow, and what people read about them.

use crate::{unseen, weak_python};
use anyhow::{Context, Result, ensure};
use dunlin_contracts::api::{ScanView, UploadTarget};
use dunlin_testkit::git::{GitServer, Rule};
use dunlin_tests::api::Api;
use reqwest::Method;
use serde_json::json;
use std::io::{Read, Write};
use tar::{EntryType, Header};

/// A tar with entries that no library writes.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, name: &[u8], kind: EntryType, link: &str, data: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
    fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(name.as_bytes(), EntryType::Regular, "", data)
    }
    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// What ruff finds in `weak_python` with so many calls.
const fn found(calls: u64) -> u64 {
    2 * calls
}

fn packed(tar: &[u8]) -> Result<Vec<u8>> {
    Ok(zstd::encode_all(tar, 1)?)
}

/// Less than a hundred kilobytes that would be half a gigabyte.
fn bomb() -> Result<Vec<u8>> {
    let mut header = Header::new_ustar();
    header.set_path("zeros")?;
    header.set_size(512 << 20);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(zstd::encode_all((&header.as_bytes()[..]).chain(std::io::repeat(0).take((512 << 20) + 1024)), 1)?)
}

#[tokio::test]
async fn hostile_archives_fail_in_words_and_the_good_scan_beside_them_ends_as_ever() -> Result<()> {
    let api = Api::demo().await?;
    let good = api.scan(api.upload("good beside", &[("app.py", &weak_python(5))]).await?, Some(&["ruff"])).await?;
    let honest = Tar::default().file("app.py", weak_python(1).as_bytes());
    let whole = packed(&Tar::default().file("app.py", weak_python(1).as_bytes()).end())?;
    let mut checksum = zstd::Encoder::new(Vec::new(), 1)?;
    checksum.include_checksum(true)?;
    checksum.write_all(&Tar::default().file("app.py", b"x = 1\n").end())?;
    let mut checksum = checksum.finish()?;
    *checksum.last_mut().context("an empty archive")? ^= 1;
    let long = format!("{}\0", "d/".repeat(2500));
    let many = (0..200_001_u32).fold(zstd::Encoder::new(Vec::new(), 1)?, |mut out, n| {
        let name = format!("{:08x}{:08x}", n.wrapping_mul(2_654_435_761), n.wrapping_mul(0x9e37_79b1).rotate_left(13));
        // Writing into memory does not fail.
        let _ = out.write_all(&Tar::default().file(&name, b"").0);
        out
    });
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("bomb", bomb()?, "expands to more than 200 times its size"),
        ("many", many.finish()?, "more than 200000 files"),
        ("climbing", packed(&honest.file("../../evil", b"x").end())?, "climbs out"),
        ("absolute", packed(&Tar::default().file("/etc/cron.d/evil", b"x").end())?, "is absolute"),
        ("cut", whole[..whole.len() / 2].to_vec(), "truncated"),
        ("checksum", checksum, "damaged"),
        ("twice", packed(&Tar::default().file("a", b"1").file("./a", b"2").end())?, "is there twice"),
        (
            "long",
            packed(&Tar::default().entry(b"l", EntryType::GNULongName, "", long.as_bytes()).file("x", b"").end())?,
            "too long",
        ),
        ("sparse", packed(&Tar::default().entry(b"s", EntryType::GNUSparse, "", b"").end())?, "sparse"),
        ("zip", b"PK\x03\x04\x14\0\0\0".to_vec(), "a zip file; only tar, tar.gz and tar.zst"),
        ("text", b"not an archive at all".to_vec(), "only tar, tar.gz and tar.zst"),
        ("trailing", [packed(&Tar::default().file("a", b"1").end())?, b"garbage".to_vec()].concat(), "damaged"),
    ];
    let mut scans = Vec::new();
    for (name, archive, words) in cases {
        scans.push((name, words, api.scan(api.upload_bytes(name, archive).await?, None).await?));
    }
    let last = api.scan(api.upload("good after", &[("app.py", &weak_python(5))]).await?, Some(&["ruff"])).await?;
    for (name, words, id) in scans {
        let view = api.ended(&id).await?;
        let reason = view.reason.clone().unwrap_or_default();
        ensure!(view.status == "failed" && reason.contains(words), "{name} should say {words:?}: {view:#?}");
        ensure!(reason.len() < 700 && !reason.contains("/tmp"), "{name}: {reason}");
        ensure!(api.findings(&id).await?.is_empty(), "{name} has findings");
    }
    for id in [good, last] {
        let view = api.ended(&id).await?;
        ensure!(
            view.status == "complete" && view.summary.as_ref().is_some_and(|s| s.findings == found(5)),
            "{view:#?}"
        );
    }
    Ok(())
}

/// A place for an upload takes the bytes that were announced, and no others.
#[tokio::test]
async fn an_upload_of_other_bytes_than_announced_is_not_stored() -> Result<()> {
    let api = Api::demo().await?;
    let sha256 = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
    let body = json!({ "bytes": 11, "sha256": sha256 });
    let slot: UploadTarget =
        serde_json::from_value(api.send(Method::POST, "/v1/uploads", Some(body), &[]).await?.body)?;
    for (other, what) in [("hello w0rld", "other bytes"), ("hello world and more", "more bytes"), ("", "no bytes")] {
        let mut put = reqwest::Client::new().put(&slot.url);
        for (name, value) in slot.headers.iter().filter(|(name, _)| *name != "content-length") {
            put = put.header(name, value);
        }
        let answer = put.body(other).send().await?;
        ensure!(answer.status().is_client_error(), "{what}: {}", answer.status());
    }
    let target = json!({ "type": "upload", "upload_id": slot.upload_id, "repository": "other bytes" });
    let view = api.ended(&api.scan(target, None).await?).await?;
    ensure!(
        view.status == "failed" && view.reason.as_deref().is_some_and(|r| r.contains("nothing was uploaded")),
        "{view:#?}"
    );
    Ok(())
}

fn warned(view: &ScanView, words: &[&str]) -> Result<()> {
    for words in words {
        ensure!(view.warnings.iter().any(|w| w.contains(words)), "no warning says {words:?}: {:#?}", view.warnings);
    }
    Ok(())
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12\n";

#[tokio::test]
async fn what_is_left_out_of_an_upload_is_said() -> Result<()> {
    let api = Api::demo().await?;
    let python = weak_python(2);
    let tar = Tar::default()
        .file("app.py", python.as_bytes())
        .entry(b"out", EntryType::Symlink, "/etc/passwd", b"")
        .entry(b"loop", EntryType::Symlink, "loop", b"")
        .entry(b"hard", EntryType::Link, "app.py", b"")
        .entry(b"null", EntryType::Char, "", b"")
        .entry(b"pipe", EntryType::Fifo, "", b"")
        .entry(b"caf\xe9.py", EntryType::Regular, "", python.as_bytes())
        .file("new\nline.py", format!("{}{python}", unseen()).as_bytes())
        .file("APP.py", python.as_bytes())
        .file(".git/hooks/post-checkout", b"#!/bin/sh\n")
        .file("model.bin", POINTER.as_bytes())
        .end();
    let id = api.scan(api.upload_bytes("odd", packed(&tar)?).await?, Some(&["ruff"])).await?;
    let view = api.ended(&id).await?;
    ensure!(view.status == "complete", "{view:#?}");
    warned(
        &view,
        &[
            "2 paths not scanned (symlink), the first is out",
            "not scanned (hard link): hard",
            "2 paths not scanned (special file)",
            "not scanned (not utf8): caf\u{fffd}.py",
            "not scanned (case collision): app.py",
            "not scanned (git internals): .git/hooks/post-checkout",
            "not scanned (lfs pointer): model.bin",
        ],
    )?;
    let mut paths: Vec<String> = api.findings(&id).await?.into_iter().map(|f| f.path).collect();
    paths.dedup();
    paths.sort();
    paths.dedup();
    ensure!(paths == ["APP.py", "new\nline.py"], "{paths:?}");
    // Every report can be read, names with line ends included.
    for format in ["sarif", "json", "csv"] {
        ensure!(String::from_utf8(api.report(&id, format).await?)?.contains("line.py"), "{format}");
    }
    Ok(())
}

#[tokio::test]
async fn an_upload_of_nothing_that_can_be_read_is_not_clean() -> Result<()> {
    let api = Api::demo().await?;
    let tar = Tar::default().entry(b"out", EntryType::Symlink, "/etc/passwd", b"").end();
    let view = api.ended(&api.scan(api.upload_bytes("only links", packed(&tar)?).await?, None).await?).await?;
    ensure!(view.status == "failed" && view.reason.as_deref().is_some_and(|r| r.len() > 10), "{view:#?}");
    Ok(())
}

#[tokio::test]
async fn odd_repositories_end_in_words_or_with_warnings() -> Result<()> {
    let api = Api::demo().await?;
    let server = GitServer::start().await;
    server.repo("empty");
    let repo = server.repo("evil");
    let marks = tempfile::tempdir()?;
    let touch = format!("touch {}", marks.path().join("ran").display());
    let modules = format!(
        "[submodule \"a\"]\n\tpath = a\n\turl = --upload-pack={touch}\n[submodule \"b\"]\n\tpath = ../../b\n\turl = ext::{touch}\n\tupdate = !{touch}\n"
    );
    let program = repo.blob(format!("#!/bin/sh\n{touch}\n").as_bytes());
    let gitlink = "1f0c3b2a9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a";
    let tree = repo.raw_tree(&[
        ("100644", &repo.blob(b"* filter=evil text eol=crlf\n"), b".gitattributes"),
        ("100644", &repo.blob(modules.as_bytes()), b".gitmodules"),
        ("160000", gitlink, b"a"),
        ("100644", &repo.blob(weak_python(2).as_bytes()), b"app.py"),
        ("100755", &program, b"configure"),
        ("120000", &repo.blob(b"../../../etc/passwd"), b"link"),
        ("100644", &repo.blob(POINTER.as_bytes()), b"model.bin"),
    ]);
    repo.commit_tree("main", &tree);
    repo.commit_tree("forged", &repo.raw_tree(&[("100644", &program, b"../../evil")]));
    for (path, to) in [
        ("/metadata", "http://169.254.169.254/latest{rest}"),
        ("/number", "http://2852039166/latest{rest}"),
        ("/file", "file:///etc/passwd"),
        ("/inside", "https://10.0.0.1/shop{rest}"),
    ] {
        server.rule(path, Rule::Redirect(to.to_owned()));
    }
    let url = |path: &str| server.url_at("127.0.0.1", path);
    let mut scans = Vec::new();
    for (target, words) in [
        (json!({ "type": "git", "url": url("empty") }), "has no commit"),
        (json!({ "type": "git", "url": url("nowhere") }), "does not exist"),
        (json!({ "type": "git", "url": url("evil"), "tag": "v9" }), "no tag \"v9\""),
        (json!({ "type": "git", "url": url("evil"), "commit": gitlink }), "no commit"),
        (json!({ "type": "git", "url": url("evil"), "branch": "forged" }), "that git does not allow"),
        (json!({ "type": "git", "url": url("metadata") }), "169.254.169.254 is not a public address"),
        (json!({ "type": "git", "url": url("number") }), "is not a public address"),
        (json!({ "type": "git", "url": url("inside") }), "is not a public address"),
        (json!({ "type": "git", "url": url("file") }), "only https and http"),
    ] {
        scans.push((api.scan(target.clone(), None).await?, target, words));
    }
    let evil = api.scan(json!({ "type": "git", "url": url("evil") }), Some(&["ruff"])).await?;
    for (id, target, words) in scans {
        let view = api.ended(&id).await?;
        let told = view.reason.as_deref().is_some_and(|r| r.contains(words));
        ensure!(view.status == "failed" && told, "{target} should say {words:?}: {view:#?}");
    }
    let view = api.ended(&evil).await?;
    ensure!(view.status == "complete" && view.summary.as_ref().is_some_and(|s| s.findings == found(2)), "{view:#?}");
    warned(
        &view,
        &["not scanned (submodule): a", "not scanned (symlink): link", "not scanned (lfs pointer): model.bin"],
    )?;
    ensure!(std::fs::read_dir(marks.path())?.next().is_none(), "a program of the repository ran");
    Ok(())
}

#[tokio::test]
async fn two_hundred_thousand_files_and_one_of_500_mb_are_scanned() -> Result<()> {
    let api = Api::demo().await?;
    let server = GitServer::start().await;
    let repo = server.repo("huge");
    repo.git(["config", "uploadpack.allowFilter", "true"]);
    let python = weak_python(1);
    repo.import(|out| {
        writeln!(out, "blob\nmark :1\ndata {}\n{python}", python.len())?;
        writeln!(out, "blob\nmark :2\ndata 5\ntext\n")?;
        writeln!(out, "blob\nmark :3\ndata {}", 500_000_000)?;
        let zeros = vec![0; 1_000_000];
        (0..500).try_for_each(|_| out.write_all(&zeros))?;
        writeln!(out, "\ncommit refs/heads/main\ncommitter C <c@example.org> 1700000000 +0000\ndata 1\nx")?;
        writeln!(out, "M 100644 :3 model.bin")?;
        (0..199_900).try_for_each(|n| writeln!(out, "M 100644 :2 d{}/e{}/f{n}.txt", n % 40, n % 400))?;
        (0..100).try_for_each(|n| writeln!(out, "M 100644 :1 src/m{n}.py"))
    });
    let target = json!({ "type": "git", "url": server.url_at("127.0.0.1", "huge") });
    let view = api.ended(&api.scan(target, Some(&["ruff"])).await?).await?;
    ensure!(view.status == "complete", "{view:#?}");
    ensure!(view.jobs.iter().map(|j| j.files).sum::<u64>() == 100, "{view:#?}");
    ensure!(view.summary.as_ref().is_some_and(|s| s.findings == 100 * found(1)), "{view:#?}");
    warned(&view, &["not scanned (too large): model.bin"])
}
