use super::*;
use crate::context::Settings;
use dunlin_cloud::{ObjectStore, memory::MemoryObjects};
use dunlin_core::{job::Compute, keys, manifest::SnapshotFile};
use dunlin_runtime::Named;
use sha2::{Digest, Sha256};
use std::{path::Path, sync::Arc};

struct Bench {
    context: Context,
    objects: Arc<MemoryObjects>,
    input: PlannerInput,
}

/// The sample event, with a snapshot of these files behind it.
async fn bench(files: &[(&str, &str)]) -> Bench {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/planner/small-python.json");
    let input: PlannerInput = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let objects = Arc::new(MemoryObjects::default());
    let mut tar = tar::Builder::new(Vec::new());
    let mut list = Vec::new();
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
        let sha256 = Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
        let file = SnapshotFile { path: (*path).into(), size: content.len() as u64, sha256, language: None };
        serde_json::to_writer(&mut list, &file).unwrap();
        list.push(b'\n');
    }
    let archive = zstd::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap();
    let manifest = serde_json::json!({
        "version": 1, "revision": input.snapshot.revision, "committed_at": "2026-11-20T09:00:00Z",
        "packed_at": "2026-11-20T09:00:00Z",
        "archive_sha256": "00".repeat(32), "archive_bytes": archive.len(), "files": files.len(), "bytes": 1,
        "skipped": [{ "path": "evil", "reason": "symlink" }], "skipped_total": 1,
    });
    let prefix = &input.snapshot.prefix;
    objects.put(&keys::snapshot_archive(prefix, &"00".repeat(32)), archive.into(), "").await.unwrap();
    objects.put(&keys::snapshot_files(prefix), zstd::encode_all(list.as_slice(), 1).unwrap().into(), "").await.unwrap();
    objects.put(&keys::snapshot_manifest(prefix), manifest.to_string().into(), "").await.unwrap();
    let settings = Settings {
        runner_function_prefix: "dunlin-test-runner-".into(),
        job_definition_prefix: "dunlin-test-engine-".into(),
        lambda_threshold_seconds: 120,
    };
    Bench { context: Context { objects: objects.clone(), settings }, objects, input }
}

impl Bench {
    async fn plan(&self) -> Result<PlannerOutput, Error> {
        handle(&self.context, serde_json::to_value(&self.input).unwrap()).await
    }
    async fn written(&self, output: &PlannerOutput) -> Plan {
        serde_json::from_slice(&self.objects.get(&output.plan_key).await.unwrap().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn planning_twice_gives_the_same_plan() {
    let bench = bench(&[("app.py", "print(1)")]).await;
    let first = bench.plan().await.unwrap();
    let (plan, keys) = (bench.written(&first).await, bench.objects.keys());
    let second = bench.plan().await.unwrap();
    assert_eq!((first, plan, keys), (second.clone(), bench.written(&second).await, bench.objects.keys()));
}

#[tokio::test]
async fn a_stored_result_is_not_computed_again() {
    let bench = bench(&[("app.py", "print(1)")]).await;
    let first = bench.plan().await.unwrap();
    assert_eq!(first.cached, 0);
    let plan = bench.written(&first).await;
    let ruff = plan.jobs.iter().find(|job| job.engine == "ruff").unwrap();
    bench.objects.put(&keys::result(&plan.tenant, &ruff.result_key), "x".into(), "").await.unwrap();
    let second = bench.plan().await.unwrap();
    assert_eq!((second.planned, second.cached), (first.planned, 1));
    assert!(second.jobs.iter().all(|item| item.engine != "ruff"));
    assert!(bench.written(&second).await.jobs.iter().any(|job| job.engine == "ruff" && job.cached));
}

#[tokio::test]
async fn an_invalid_owner_file_is_told_with_its_place_and_the_defaults_apply() {
    let broken = bench(&[(".dunlin.toml", "engines = [\"ruff\"]\nfail_on = 7\n"), ("app.py", "print(1)")]).await;
    let output = broken.plan().await.unwrap();
    let plan = broken.written(&output).await;
    assert!(plan.warnings.iter().any(|w| w.starts_with(".dunlin.toml:2:11: ")), "{:?}", plan.warnings);
    assert!(plan.warnings.iter().any(|w| w.contains("symlink") && w.contains("evil")), "{:?}", plan.warnings);
    assert!(plan.jobs.len() > 1, "the defaults run more than ruff");

    let valid = bench(&[(".dunlin.toml", "engines = [\"ruff\"]\nfail_on = \"high\"\n"), ("app.py", "print(1)")]).await;
    let plan = valid.written(&valid.plan().await.unwrap()).await;
    assert_eq!(plan.jobs.len(), 1);
    assert_eq!(plan.fail_on, Some(dunlin_core::finding::Severity::High));
    assert!(plan.nothing_to_read.is_empty(), "only ruff may run: {:?}", plan.nothing_to_read);
}

#[tokio::test]
async fn the_plan_names_the_engines_that_have_nothing_to_read() {
    let bench = bench(&[("app.py", "print(1)")]).await;
    let plan = bench.written(&bench.plan().await.unwrap()).await;
    assert!(plan.nothing_to_read.iter().any(|engine| engine == "zizmor"), "{:?}", plan.nothing_to_read);
    let planned = |engine: &String| plan.jobs.iter().any(|job| job.engine == *engine);
    assert!(!plan.nothing_to_read.iter().any(planned), "{:?}", plan.nothing_to_read);
}

#[tokio::test]
async fn a_ticket_holds_what_its_job_needs_and_the_item_only_points_at_it() {
    let bench = bench(&[("app.py", "print(1)")]).await;
    let output = bench.plan().await.unwrap();
    let item = output.jobs.iter().find(|item| item.engine == "ruff").unwrap();
    assert_eq!(item.function, "dunlin-test-runner-ruff");
    assert_eq!(item.job_name, format!("{}-{}-ruff", bench.input.scan.scan_id, item.job));
    let key = item.ticket_url.strip_prefix("memory://get/").unwrap();
    let ticket: Ticket = serde_json::from_slice(&bench.objects.get(key).await.unwrap().unwrap()).unwrap();
    assert_eq!(ticket.files, 1);
    assert!(ticket.result_put.headers.contains(&("if-none-match".into(), "*".into())), "results are written once");
    assert!(ticket.result_put.url.contains(ticket.result_key.as_str()));
}

#[tokio::test]
async fn errors_have_the_names_that_the_state_machine_knows() {
    let name = |result: Result<PlannerOutput, Error>| result.unwrap_err().name();
    let missing = bench(&[("app.py", "print(1)")]).await;
    missing.objects.remove(&keys::snapshot_manifest(&missing.input.snapshot.prefix));
    assert_eq!(name(missing.plan().await), "Planner.SnapshotUnreadable");

    let excluded = bench(&[(".dunlin.toml", "exclude = [\"**\"]"), ("app.py", "print(1)")]).await;
    assert_eq!(name(excluded.plan().await), "Planner.NothingToScan");

    let down = bench(&[("app.py", "print(1)")]).await;
    down.objects.make_unavailable(Some("plans/"));
    assert_eq!(name(down.plan().await), "Planner.StorageUnavailable");

    assert_eq!(name(handle(&down.context, serde_json::json!({})).await), "Planner.BadInput");
}

/// Law 6: the items of the largest plan stay under the 256 KiB of a state payload, with presigned URLs as long as AWS makes
/// them (about 2 KB with a session token).
#[test]
fn the_largest_plan_fits_into_a_state_payload() {
    let item = PlanItem {
        job: 59,
        engine: "e".repeat(40),
        compute: dunlin_core::job::Compute::Batch,
        function: "f".repeat(64),
        job_definition: "d".repeat(128),
        job_name: "n".repeat(128),
        ladder: dunlin_core::job::Size::LADDER.into_iter().map(Rung::from).collect(),
        timeout_seconds: 3600,
        ticket_url: "u".repeat(2500),
    };
    let output = PlannerOutput {
        plan_key: "k".repeat(200),
        jobs: vec![item; dunlin_contracts::plan::MAX_JOBS],
        planned: 60,
        cached: 0,
    };
    // The scan and the snapshot travel beside it: 16 KiB is more than they may have.
    assert!(serde_json::to_vec(&output).unwrap().len() + 16 * 1024 < 256 * 1024);
}

/// The first scan guesses from sizes; the next one knows how long the engine took.
#[tokio::test]
async fn what_an_engine_took_before_decides_where_it_runs() {
    let bench = bench(&[("app.py", "print(1)")]).await;
    let compute = async |bench: &Bench| {
        let output = bench.plan().await.unwrap();
        output.jobs.iter().find(|item| item.engine == "ruff").map(|item| item.compute)
    };
    assert_eq!(compute(&bench).await, Some(Compute::Lambda));
    let plan = bench.written(&bench.plan().await.unwrap()).await;
    let ruff = plan.jobs.iter().find(|job| job.engine == "ruff").unwrap();
    let line = serde_json::json!({ "manifest": {
        "version": 1, "result_key": ruff.result_key, "engine": "ruff", "engine_version": "1", "outcome": "assessed",
        "files": 1, "findings": 0, "exit_code": 0, "duration_ms": 500_000, "peak_memory_bytes": 1,
        "report_sha256": "", "report_bytes": 0, "finished_at": "2026-11-20T09:00:00Z",
    }});
    let result = zstd::encode_all(format!("{line}\n").as_bytes(), 1).unwrap();
    bench.objects.put(&keys::result(&plan.tenant, &ruff.result_key), result.into(), "").await.unwrap();
    // Another commit of the same repository, so that the result itself is not used.
    let other = self::bench(&[("app.py", "print(2)")]).await;
    for key in other.objects.keys() {
        bench.objects.put(&key, other.objects.get(&key).await.unwrap().unwrap(), "").await.unwrap();
    }
    assert_eq!(compute(&bench).await, Some(Compute::Batch), "500 s are over the threshold");
    // The plan is in the history now, without a result: the one before still tells.
    assert_eq!(compute(&bench).await, Some(Compute::Batch), "planned twice, decided twice the same");
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_storage_and_worth_another_try() {
    let bench = bench(&[(".dunlin.toml", "engines = [\"ruff\"]\n"), ("app.py", "print(1)")]).await;
    let prefix = bench.input.snapshot.prefix.clone();
    for key in [keys::snapshot_files(&prefix), keys::snapshot_archive(&prefix, &"00".repeat(32))] {
        bench.objects.break_streams(Some(&key));
        assert_eq!(bench.plan().await.unwrap_err().name(), "Planner.StorageUnavailable", "{key}");
    }
    bench.objects.break_streams(None);
    // What is cut off in storage stays cut off.
    let list = bench.objects.get(&keys::snapshot_files(&prefix)).await.unwrap().unwrap();
    bench.objects.put(&keys::snapshot_files(&prefix), list.slice(..list.len() / 2), "").await.unwrap();
    assert_eq!(bench.plan().await.unwrap_err().name(), "Planner.SnapshotUnreadable");
}

#[tokio::test]
async fn a_permission_that_is_missing_is_not_a_snapshot_that_cannot_be_read() {
    let bench = bench(&[("app.py", "print(1)")]).await;
    bench.objects.deny(Some("snapshots/"));
    assert_eq!(bench.plan().await.unwrap_err().name(), "Planner.StorageRefused");
}
