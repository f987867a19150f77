//! Repositories and uploads at the limits and beyond, as large as they say, with the memory they take. Their contents pack
//! well, so that seconds suffice.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, like the test")]

mod support;

use dunlin_cloud::ObjectStore;
use dunlin_contracts::steps::SnapshotRef;
use dunlin_core::{
    keys,
    manifest::{SkipReason, SnapshotManifest},
};
use dunlin_source::{Error, Limits};
use dunlin_testkit::git::{GitServer, Repo, Rule};
use serde_json::json;
use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};
use support::{
    Fixture,
    disk::{DiskObjects, Meter, in_own_process},
};
use tokio::sync::Mutex;

/// Each fills the machine for some seconds, so one at a time.
static ALONE: Mutex<()> = Mutex::const_new(());
const TIME: Duration = Duration::from_secs(300);

/// What the function has in AWS.
fn lambda_memory_mib() -> u64 {
    let terraform = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/terraform/functions.tf");
    let text = fs::read_to_string(terraform).unwrap();
    let source = &text[text.find("    source = {").unwrap()..];
    let line = source.lines().find(|l| l.contains("memory_mib")).unwrap();
    line.split('=').nth(1).unwrap().trim().parse().unwrap()
}

struct Large {
    fixture: Fixture,
    objects: Arc<DiskObjects>,
}

impl Large {
    fn new() -> Self {
        let mut fixture = Fixture::with_limits(Limits::default());
        let objects = Arc::new(DiskObjects::new());
        fixture.context.objects = objects.clone();
        Self { fixture, objects }
    }

    /// The snapshot of the default branch, and the most memory that making it took, in MiB.
    async fn fetch(&self, server: &GitServer, name: &str) -> (Result<SnapshotRef, Error>, u64) {
        let meter = Meter::start();
        let result = self.fixture.run(&json!({ "type": "git", "url": server.url(name) }), TIME).await;
        (result, meter.stop())
    }

    async fn manifest(&self, snapshot: &SnapshotRef) -> SnapshotManifest {
        serde_json::from_slice(&self.objects.get(&keys::snapshot_manifest(&snapshot.prefix)).await.unwrap().unwrap())
            .unwrap()
    }
}

/// A blob of `mib` zeros after a line of its own.
fn blob(out: &mut dyn Write, mark: u32, mib: usize) -> io::Result<()> {
    let line = format!("# {mark}\n");
    writeln!(out, "blob\nmark :{mark}\ndata {}", line.len() + (mib << 20))?;
    out.write_all(line.as_bytes())?;
    let zeros = vec![0; 1 << 20];
    (0..mib).try_for_each(|_| out.write_all(&zeros))?;
    writeln!(out)
}

fn commit(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "commit refs/heads/main\ncommitter C <c@example.org> 1700000000 +0000\ndata 1\nx")
}

fn files_of(repo: &Repo, files: u32, mib: usize) {
    repo.import(|out| {
        (1..=files).try_for_each(|mark| blob(out, mark, mib))?;
        commit(out)?;
        (1..=files).try_for_each(|mark| writeln!(out, "M 100644 :{mark} f{mark:03}.bin"))
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_of_a_gigabyte_takes_no_more_memory_than_one_of_its_files() {
    let _alone = ALONE.lock().await;
    if !in_own_process("a_repository_of_a_gigabyte_takes_no_more_memory_than_one_of_its_files") {
        return;
    }
    let server = GitServer::start().await;
    files_of(&server.repo("small.git"), 2, 40);
    files_of(&server.repo("large.git"), 26, 40);
    let large = Large::new();
    let (small, little) = large.fetch(&server, "small.git").await;
    assert_eq!(small.unwrap().files, 2);
    let (snapshot, much) = large.fetch(&server, "large.git").await;
    let snapshot = snapshot.unwrap();
    assert!(snapshot.files == 26 && snapshot.bytes > 1 << 30, "{snapshot:?}");
    assert_eq!(large.manifest(&snapshot).await.skipped_total, 0);
    println!("{little} MiB for 80 MiB, {much} MiB for 1040 MiB");
    assert!(much < 400 && much < little + 100, "{little} MiB for 80 MiB, {much} MiB for 1040 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_files_than_are_kept_are_refused_and_as_many_are_taken() {
    let _alone = ALONE.lock().await;
    if !in_own_process("more_files_than_are_kept_are_refused_and_as_many_are_taken") {
        return;
    }
    let server = GitServer::start().await;
    for (name, files) in [("full.git", 200_000), ("over.git", 200_001)] {
        server.repo(name).import(|out| {
            writeln!(out, "blob\nmark :1\ndata 6\nx = 1\n")?;
            commit(out)?;
            (0..files).try_for_each(|n| writeln!(out, "M 100644 :1 d{}/e{}/f{n}.py", n % 40, n % 400))
        });
    }
    let large = Large::new();
    let (snapshot, memory) = large.fetch(&server, "full.git").await;
    let snapshot = snapshot.unwrap();
    assert_eq!((snapshot.files, large.manifest(&snapshot).await.skipped_total), (200_000, 0));
    println!("{memory} MiB for 200,000 files");
    assert!(memory < lambda_memory_mib() / 2, "{memory} MiB");
    let (error, _) = large.fetch(&server, "over.git").await;
    let error = error.unwrap_err();
    assert!(support::told(&error).contains("more than 200000 files"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_huge_file_is_left_out_and_named_also_when_it_is_sent() {
    let _alone = ALONE.lock().await;
    if !in_own_process("one_huge_file_is_left_out_and_named_also_when_it_is_sent") {
        return;
    }
    let server = GitServer::start().await;
    for (name, filter) in [("asked.git", "true"), ("sent.git", "false")] {
        let repo = server.repo(name);
        repo.git(["config", "uploadpack.allowFilter", filter]);
        repo.import(|out| {
            blob(out, 1, 477)?;
            writeln!(out, "blob\nmark :2\ndata 6\nx = 1\n")?;
            commit(out)?;
            writeln!(out, "M 100644 :1 model.bin\nM 100644 :2 app.py")
        });
        let large = Large::new();
        let (snapshot, memory) = large.fetch(&server, name).await;
        let snapshot = snapshot.unwrap();
        assert_eq!((snapshot.files, snapshot.bytes), (1, 6), "{name}");
        let skipped = large.manifest(&snapshot).await.skipped;
        assert_eq!((skipped[0].path.as_str(), skipped[0].reason), ("model.bin", SkipReason::TooLarge), "{name}");
        println!("{memory} MiB for a file of 500 MB, {name}");
        let most = if filter == "true" { 100 } else { lambda_memory_mib() * 3 / 4 };
        assert!(memory < most, "{name}: {memory} MiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_asked_to_leave_large_files_out_and_sends_them_is_refused() {
    let _alone = ALONE.lock().await;
    if !in_own_process("a_server_that_was_asked_to_leave_large_files_out_and_sends_them_is_refused") {
        return;
    }
    let server = GitServer::start().await;
    let repo = server.repo("liar.git");
    repo.git(["config", "uploadpack.allowFilter", "true"]);
    files_of(&repo, 1, 100);
    let large = Large::new();
    assert_eq!(large.fetch(&server, "liar.git").await.0.unwrap().files, 0, "the premise: it can leave them out");
    let large = Large::new();
    server.rule("/liar.git", Rule::Unfiltered);
    let (result, memory) = large.fetch(&server, "liar.git").await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("a file or folder of it is larger than 64 MiB"), "{error:?}");
    assert!(memory < 100, "{memory} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_references_without_end_is_stopped_before_it_fills_the_memory() {
    let _alone = ALONE.lock().await;
    if !in_own_process("a_list_of_references_without_end_is_stopped_before_it_fills_the_memory") {
        return;
    }
    let server = GitServer::start().await;
    server.rule("/endless.git", Rule::EndlessReferences);
    let large = Large::new();
    let (result, memory) = large.fetch(&server, "endless.git").await;
    let error = result.unwrap_err();
    println!("{memory} MiB for references without end");
    assert!(error.to_string().contains("its list of references is larger than 64 MiB"), "{error:?}");
    assert!(memory < lambda_memory_mib() / 2, "{memory} MiB");
}

/// Few bytes on the way, and gigabytes if every path were written out: folders as deep as paths may be, and then wide.
#[tokio::test(flavor = "multi_thread")]
async fn long_paths_of_many_files_do_not_fill_the_memory() {
    let _alone = ALONE.lock().await;
    if !in_own_process("long_paths_of_many_files_do_not_fill_the_memory") {
        return;
    }
    let server = GitServer::start().await;
    let repo = server.repo("deep.git");
    let file = repo.blob(b"x = 1\n");
    let names: Vec<String> = (0..150_000).map(|n| format!("f{n:06}.py")).collect();
    let mut tree = repo.raw_tree(&names.iter().map(|n| ("100644", file.as_str(), n.as_bytes())).collect::<Vec<_>>());
    let mut wide = repo.raw_tree(&names.iter().map(|n| ("120000", file.as_str(), n.as_bytes())).collect::<Vec<_>>());
    for _ in 0..13 {
        let name = "d".repeat(250);
        tree = repo.raw_tree(&[("40000", &tree, name.as_bytes())]);
        wide = repo.raw_tree(&[("40000", &wide, name.as_bytes())]);
    }
    drop(names);
    let large = Large::new();
    // Links are not kept, and cost no more than their names.
    repo.commit_tree("main", &wide);
    let (snapshot, memory) = large.fetch(&server, "deep.git").await;
    println!("{memory} MiB for 150,000 links with paths of 3,300 bytes");
    assert_eq!(large.manifest(&snapshot.unwrap()).await.skipped_total, 150_000);
    assert!(memory < 200, "{memory} MiB");
    repo.commit_tree("main", &tree);
    let (result, memory) = large.fetch(&server, "deep.git").await;
    let error = result.unwrap_err();
    println!("{memory} MiB for 150,000 files with paths of 3,300 bytes");
    assert!(support::told(&error).contains("paths of the files are longer than 64 MiB"), "{error:?}");
    assert!(memory < 500, "{memory} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_a_gigabyte_takes_no_more_memory_than_its_window() {
    let _alone = ALONE.lock().await;
    if !in_own_process("an_upload_of_a_gigabyte_takes_no_more_memory_than_its_window") {
        return;
    }
    let large = Large::new();
    let upload = "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3b02";
    let mut out = tar::Builder::new(io::BufWriter::new(
        fs::File::create(large.objects.path(&format!("uploads/{}/{upload}", support::TENANT))).unwrap(),
    ));
    for n in 0..25_u64 {
        let mut header = tar::Header::new_ustar();
        header.set_size(40 << 20);
        header.set_mode(0o644);
        out.append_data(&mut header, format!("f{n}.bin"), io::Read::take(io::repeat(0), 40 << 20)).unwrap();
    }
    out.into_inner().unwrap().flush().unwrap();
    let meter = Meter::start();
    let target = json!({ "type": "upload", "upload_id": upload, "repository": "large" });
    let snapshot = large.fixture.run(&target, TIME).await.unwrap();
    let memory = meter.stop();
    println!("{memory} MiB for an upload of 1000 MiB");
    assert_eq!((snapshot.files, snapshot.bytes), (25, 1000 << 20));
    assert!(memory < 100, "{memory} MiB");
}

/// A pack of half a megabyte that unpacks to a chain of large files, each stored as its difference from the one before.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_differences_does_not_pile_up_in_memory() {
    let _alone = ALONE.lock().await;
    if !in_own_process("a_chain_of_differences_does_not_pile_up_in_memory") {
        return;
    }
    let server = GitServer::start().await;
    let repo = server.repo("chain.git");
    repo.git(["config", "uploadpack.allowFilter", "false"]);
    repo.import_with(&["-c", "core.bigFileThreshold=1g"], 50, |out| {
        (1..=4).try_for_each(|mark| blob(out, mark, 64))?;
        commit(out)?;
        (1..=4).try_for_each(|mark| writeln!(out, "M 100644 :{mark} f{mark}.bin"))
    });
    let stored = repo.git(["verify-pack", "-v", &repo.only_pack()]);
    assert!(stored.contains("chain length = 3"), "the premise, a chain: {stored}");
    let large = Large::new();
    let (snapshot, memory) = large.fetch(&server, "chain.git").await;
    println!("{memory} MiB for a chain of 4 files of 64 MiB");
    assert_eq!(large.manifest(&snapshot.unwrap()).await.skipped_total, 4);
    assert!(memory < 3 * 64, "{memory} MiB");
}
