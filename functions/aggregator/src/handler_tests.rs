use super::*;
use dunlin_cloud::{ObjectStore, memory::MemoryObjects};
use dunlin_contracts::{api::ScanView, plan::PlannedJob, steps::StepError};
use dunlin_core::{ScanId, finding::Finding, job::JobOutcome, manifest::ResultLine};
use dunlin_runtime::Named;
use dunlin_store::DatabaseConfig;
use dunlin_testkit::{
    TestDatabase,
    fixtures::{self, finding, result_lines},
};
use std::{path::Path, sync::Arc, time::Duration};

struct World {
    context: Context,
    objects: Arc<MemoryObjects>,
    db: TestDatabase,
    input: AggregatorInput,
    plan: Plan,
}

impl World {
    /// The scan of the sample, planned with ruff (job 0) and zizmor (job 1); nothing has run.
    async fn new() -> Self {
        let db = TestDatabase::new().await;
        let objects = Arc::new(MemoryObjects::default());
        let input: AggregatorInput = serde_json::from_value(sample()).unwrap();
        let plan = fixtures::plan(&input.scan, &input.snapshot, &["ruff", "zizmor"]);
        let context = Context { objects: objects.clone(), database: db.config() };
        let world = Self { context, objects, db, input, plan };
        world.put(&world.input.plan_key, serde_json::to_vec(&world.plan).unwrap()).await;
        world
    }

    /// A scan of the same track, a day later.
    async fn next_commit(&mut self, engines: &[&str], nothing_to_read: Vec<String>) {
        let (scan, snapshot) = (&mut self.input.scan, &mut self.input.snapshot);
        scan.scan_id = ScanId::derived(&scan.tenant, "the next commit");
        scan.accepted_at += Duration::from_secs(86_400);
        snapshot.resolved_at += Duration::from_secs(86_400);
        self.input.plan_key = keys::plan(&scan.tenant, scan.scan_id);
        self.plan = Plan { nothing_to_read, ..fixtures::plan(scan, snapshot, engines) };
        self.input.job_ends.truncate(engines.len());
        self.put(&self.input.plan_key, serde_json::to_vec(&self.plan).unwrap()).await;
    }

    async fn put(&self, key: &str, body: Vec<u8>) {
        self.objects.put(key, body.into(), "application/octet-stream").await.unwrap();
    }

    fn result_key(&self, job: usize) -> String {
        keys::result(&self.input.scan.tenant, &self.plan.jobs[job].result_key)
    }

    async fn put_lines(&self, job: usize, lines: &[ResultLine]) {
        self.put(&self.result_key(job), packed(lines)).await;
    }

    async fn put_result(&self, job: usize, outcome: JobOutcome, findings: &[Finding]) {
        self.put_lines(job, &result_lines(&self.plan.jobs[job], outcome, findings)).await;
    }

    async fn run(&self) -> AggregatorOutput {
        handle(&self.context, serde_json::to_value(&self.input).unwrap()).await.unwrap()
    }

    async fn view(&self) -> ScanView {
        let scan = &self.input.scan;
        self.db.store().await.scan(&scan.tenant, scan.scan_id).await.unwrap().unwrap()
    }

    async fn report(&self, extension: &str) -> String {
        let key = keys::report(&self.input.scan.tenant, self.input.scan.scan_id, extension);
        String::from_utf8(self.objects.get(&key).await.unwrap().expect("the report is there").to_vec()).unwrap()
    }

    async fn reports(&self) -> Vec<String> {
        vec![self.report("sarif").await, self.report("json").await, self.report("csv").await]
    }
}

fn sample() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/aggregator/two-engines.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn packed(lines: &[ResultLine]) -> Vec<u8> {
    let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    zstd::encode_all(text.as_bytes(), 3).unwrap()
}

fn two() -> [Finding; 2] {
    [
        finding("ruff", "S307", "app/main.py", 12, "eval(request)"),
        finding("ruff", "S105", "app/settings.py", 3, "password = ..."),
    ]
}

fn everything_ran(world: &mut World) {
    for end in &mut world.input.job_ends {
        (end.ok, end.error) = (true, None);
    }
}

#[tokio::test]
async fn the_same_input_twice_gives_the_same_rows_and_reports() {
    let world = World::new().await;
    world.put_result(0, JobOutcome::Assessed, &two()).await;
    let first = world.run().await;
    assert_eq!(first.state, ScanState::Partial);
    let (rows, reports) = (world.db.dump().await, world.reports().await);
    assert_eq!(world.run().await, first);
    assert_eq!(world.db.dump().await, rows);
    assert_eq!(world.reports().await, reports);
    // A report that got lost is written again, from the rows.
    world.objects.remove(&keys::report(&world.input.scan.tenant, world.input.scan.scan_id, "csv"));
    assert_eq!(world.run().await, first);
    assert_eq!(world.reports().await, reports);
}

#[tokio::test]
async fn everything_assessed_is_complete() {
    let mut world = World::new().await;
    everything_ran(&mut world);
    world.put_result(0, JobOutcome::Assessed, &two()).await;
    world.put_result(1, JobOutcome::Assessed, &[]).await;
    let output = world.run().await;
    assert_eq!(output.state, ScanState::Complete);
    assert_eq!((output.summary.findings, output.summary.new, output.summary.jobs_incomplete), (2, 2, 0));
    let view = world.view().await;
    assert_eq!((view.status.as_str(), view.reason, view.summary), ("complete", None, Some(output.summary)));
    assert_eq!(view.jobs[0].findings, Some(2));
    assert_eq!((view.jobs[0].duration_ms, view.jobs[0].peak_memory_bytes), (Some(1500), Some(50_000_000)));

    let sarif: Value = serde_json::from_str(&world.report("sarif").await).unwrap();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 2);
    let json: Value = serde_json::from_str(&world.report("json").await).unwrap();
    assert_eq!((json["count"].as_u64(), json["scan"]["state"].as_str()), (Some(2), Some("complete")));
    assert_eq!(world.report("csv").await.lines().count(), 3);
}

#[tokio::test]
async fn what_an_engine_found_is_closed_when_nothing_is_left_to_read_and_kept_when_it_was_left_out() {
    for (nothing_to_read, fixed, open) in [(vec!["zizmor".to_owned()], 1, 2), (Vec::new(), 0, 3)] {
        let mut world = World::new().await;
        everything_ran(&mut world);
        world.put_result(0, JobOutcome::Assessed, &two()).await;
        world.put_result(1, JobOutcome::Assessed, &[finding("zizmor", "unpinned", "ci.yml", 3, "uses")]).await;
        assert_eq!(world.run().await.summary.findings, 3);

        world.next_commit(&["ruff"], nothing_to_read).await;
        world.put_result(0, JobOutcome::Assessed, &two()).await;
        let output = world.run().await;
        assert_eq!((output.state, output.summary.findings, output.summary.fixed), (ScanState::Complete, 2, fixed));
        let scan = &world.input.scan;
        let repository = world.db.store().await.repository(&scan.tenant, scan.repository_id).await.unwrap().unwrap();
        assert_eq!(repository.open_findings, open);
    }
}

#[tokio::test]
async fn a_crashed_engine_makes_the_scan_partial_and_says_why() {
    let world = World::new().await;
    world.put_result(0, JobOutcome::Assessed, &two()).await;
    let failure = JobFailure {
        version: VERSION,
        job: 1,
        outcome: JobOutcome::Failed,
        error: StepError { name: "Runner.EngineCrashed".into(), cause: "exit code 2: thread panicked".into() },
        exit_code: Some(2),
        duration_ms: 300,
        peak_memory_bytes: 1_000,
    };
    let key = keys::job_failure(&world.input.scan.tenant, world.input.scan.scan_id, 1);
    world.put(&key, serde_json::to_vec(&failure).unwrap()).await;
    let output = world.run().await;
    assert_eq!((output.state, output.summary.jobs_incomplete), (ScanState::Partial, 1));
    let view = world.view().await;
    assert_eq!(view.reason.as_deref(), Some("zizmor did not finish: engine crashed"));
    assert_eq!(view.jobs[1].outcome.as_deref(), Some("failed"));
    assert_eq!(view.jobs[1].error.as_deref(), Some("engine crashed: exit code 2: thread panicked"));
    assert_eq!((view.jobs[1].attempt, view.jobs[1].compute.as_str()), (2, "batch"));
}

#[tokio::test]
async fn files_that_were_left_out_make_the_scan_partial() {
    let mut world = World::new().await;
    everything_ran(&mut world);
    world.put_result(0, JobOutcome::PartlyAssessed, &two()).await;
    world.put_result(1, JobOutcome::Assessed, &[]).await;
    assert_eq!(world.run().await.state, ScanState::Partial);
    assert_eq!(world.view().await.reason.as_deref(), Some("ruff left files out: 2 files could not be parsed"));
}

/// Breaks the result of ruff, which the state machine has seen succeed.
async fn broken(bytes: impl FnOnce(&World) -> Option<Vec<u8>>) -> (ScanView, AggregatorOutput) {
    let mut world = World::new().await;
    everything_ran(&mut world);
    world
        .put_result(1, JobOutcome::Assessed, &[finding("zizmor", "unpinned", ".github/workflows/ci.yml", 3, "uses: x")])
        .await;
    if let Some(bytes) = bytes(&world) {
        world.put(&world.result_key(0), bytes).await;
    }
    let output = world.run().await;
    (world.view().await, output)
}

#[tokio::test]
async fn a_result_that_cannot_be_read_is_a_failed_job_and_never_silence() {
    type Break = fn(&PlannedJob, Vec<ResultLine>) -> Vec<u8>;
    let cases: [(&str, Break); 9] = [
        ("it is cut off", |_, lines| {
            let mut bytes = packed(&lines);
            bytes.truncate(bytes.len() - 3);
            bytes
        }),
        ("it is not valid zstd", |_, _| b"<Error>".to_vec()),
        ("it does not begin with its manifest", |_, lines| packed(&lines[1..])),
        ("it has 1 findings and promises 2", |_, mut lines| {
            lines.pop();
            packed(&lines)
        }),
        ("a line is not readable", |_, lines| {
            let first = serde_json::to_string(&lines[0]).unwrap();
            zstd::encode_all(format!("{first}\n{{\"finding\":1}}\n").as_bytes(), 3).unwrap()
        }),
        ("it is the result of something else", |_, mut lines| {
            if let ResultLine::Manifest(manifest) = &mut lines[0] {
                manifest.engine = "bandit".into();
            }
            packed(&lines)
        }),
        ("a finding names a rule that is not there", |_, mut lines| {
            lines.retain(|line| !matches!(line, ResultLine::Rule(_)));
            packed(&lines)
        }),
        ("it has a rule of another engine, or one whose id is too long", |_, mut lines| {
            if let ResultLine::Rule(rule) = &mut lines[1] {
                rule.id = "zizmor/unpinned".into();
            }
            packed(&lines)
        }),
        ("its lines are out of order", |_, mut lines| {
            lines.push(lines[1].clone());
            packed(&lines)
        }),
    ];
    for (what, make) in cases {
        let (view, output) = broken(|world| {
            Some(make(&world.plan.jobs[0], result_lines(&world.plan.jobs[0], JobOutcome::Assessed, &two())))
        })
        .await;
        let error = format!("its result cannot be read: {what}");
        assert_eq!(view.jobs[0].error.as_deref(), Some(error.as_str()));
        assert_eq!(view.reason, Some(format!("ruff did not finish: {error}")));
        assert_eq!((view.status.as_str(), view.jobs[0].outcome.as_deref()), ("partial", Some("failed")));
        // The other engine's finding is there, and nothing of the broken result.
        assert_eq!((output.summary.findings, view.jobs[1].findings), (1, Some(1)), "{what}");
    }
}

#[tokio::test]
async fn a_result_that_is_missing_is_a_failed_job() {
    let (view, output) = broken(|_| None).await;
    assert_eq!(view.reason.as_deref(), Some("ruff did not finish: its result is missing"));
    assert_eq!((output.state, output.summary.jobs_incomplete), (ScanState::Partial, 1));
}

#[tokio::test]
async fn a_scan_that_was_cancelled_stays_cancelled_and_gets_no_reports() {
    let world = World::new().await;
    world.put_result(0, JobOutcome::Assessed, &two()).await;
    let mut store = world.db.store().await;
    store.end_scan(&world.input.scan, ScanState::Cancelled, None).await.unwrap();
    let before = world.db.dump().await;
    let output = world.run().await;
    assert_eq!((output.state, output.summary), (ScanState::Cancelled, Summary::default()));
    assert_eq!(world.db.dump().await, before);
    assert!(!world.objects.keys().iter().any(|key| key.starts_with("reports/")));
}

#[tokio::test]
async fn an_aggregation_that_died_before_its_end_begins_again() {
    let world = World::new().await;
    world.put_result(0, JobOutcome::Assessed, &two()).await;
    world.objects.make_unavailable(Some("reports/"));
    let error = handle(&world.context, serde_json::to_value(&world.input).unwrap()).await.unwrap_err();
    assert_eq!(error.name(), "Aggregator.StorageUnavailable");
    let client = world.db.client().await;
    let kept: i64 = client.query_one("select count(*) from findings", &[]).await.unwrap().get(0);
    assert_eq!(kept, 0, "findings of a transaction that never ended");
    world.objects.make_unavailable(None);
    assert_eq!(world.run().await.summary.findings, 2);
}

#[tokio::test]
async fn errors_have_names_that_the_state_machine_knows() {
    let mut world = World::new().await;
    let run = async |world: &World| {
        handle(&world.context, serde_json::to_value(&world.input).unwrap()).await.unwrap_err().name()
    };
    world.objects.make_unavailable(Some("results/"));
    assert_eq!(run(&world).await, "Aggregator.StorageUnavailable");
    world.objects.make_unavailable(None);
    world.objects.remove(&world.input.plan_key);
    assert_eq!(run(&world).await, "Aggregator.PlanUnreadable");
    world.input.plan_key = "plans/umbrella/x/plan.json".into();
    assert_eq!(run(&world).await, "Aggregator.PlanUnreadable");
    world.context.database = DatabaseConfig {
        connect_timeout: Duration::from_millis(50),
        ..DatabaseConfig::new("/nonexistent/socket", 5432, "d", "u")
    };
    assert_eq!(run(&world).await, "Aggregator.DatabaseUnavailable");
    assert_eq!(handle(&world.context, serde_json::json!({})).await.unwrap_err().name(), "Aggregator.BadInput");
}
