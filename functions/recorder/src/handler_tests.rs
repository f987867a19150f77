use super::*;
use crate::context::Context;
use dunlin_cloud::ObjectStore;
use dunlin_cloud::memory::MemoryObjects;
use dunlin_contracts::{
    api::ScanView,
    prices::{PriceBatchMessage, PriceNotice},
};
use dunlin_core::prices::{BadRow, Faults, Reason};
use dunlin_runtime::Named;
use dunlin_store::DatabaseConfig;
use dunlin_testkit::{TestDatabase, fixtures};
use serde_json::json;
use std::{path::Path, sync::Arc, time::Duration};

/// The scan of every sample under `events/recorder`.
const SCAN: &str = "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01";

struct World {
    context: Context,
    objects: Arc<MemoryObjects>,
    db: TestDatabase,
}

impl World {
    async fn new() -> Self {
        let db = TestDatabase::new().await;
        let objects = Arc::new(MemoryObjects::default());
        Self { context: Context { objects: objects.clone(), database: db.config() }, objects, db }
    }

    async fn send(&self, payload: Value) -> Value {
        handle(&self.context, payload).await.unwrap()
    }

    async fn put(&self, key: &str, value: &impl serde::Serialize) {
        self.objects.put(key, serde_json::to_vec(value).unwrap().into(), "application/json").await.unwrap();
    }

    async fn put_plan(&self) -> Plan {
        let (scan, snapshot) = (sample_scan(), sample_snapshot());
        let plan = fixtures::plan(&scan, &snapshot, &["ruff", "zizmor"]);
        self.put(&keys::plan(&scan.tenant, scan.scan_id), &plan).await;
        plan
    }

    async fn view(&self) -> ScanView {
        let scan = sample_scan();
        self.db.store().await.scan(&scan.tenant, scan.scan_id).await.unwrap().unwrap()
    }

    /// What `ended/` says of the sample scan.
    async fn handed_to_notifier(&self) -> Option<NotifierInput> {
        let scan = sample_scan();
        let body = self.objects.get(&keys::ended(&scan.tenant, scan.scan_id)).await.unwrap()?;
        Some(serde_json::from_slice(&body).unwrap())
    }

    /// Sends the same event twice: the second time, nothing may change.
    async fn send_twice(&self, payload: Value) -> Value {
        let first = self.send(payload.clone()).await;
        let before = self.db.dump().await;
        assert_eq!(self.send(payload).await, first);
        assert_eq!(self.db.dump().await, before);
        first
    }
}

fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/recorder").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn sample_scan() -> ScanMessage {
    serde_json::from_value(sample("register.json")["scan"].clone()).unwrap()
}

fn sample_snapshot() -> SnapshotRef {
    serde_json::from_value(sample("plan.json")["snapshot"].clone()).unwrap()
}

fn nothing_failed() -> Value {
    json!({ "batchItemFailures": [] })
}

fn record(body: &str) -> Value {
    json!({ "Records": [{ "messageId": "m-1", "body": body, "attributes": {} }] })
}

/// The first record of a sample, with the detail changed.
fn changed(name: &str, change: impl Fn(&mut Value)) -> Value {
    let mut event: Value = serde_json::from_str(sample(name)["Records"][0]["body"].as_str().unwrap()).unwrap();
    change(&mut event["detail"]);
    record(&event.to_string())
}

#[tokio::test]
async fn registering_twice_is_registering_once() {
    let world = World::new().await;
    let output = world.send_twice(sample("register.json")).await;
    assert_eq!(output, json!({ "state": "running", "ended": false }));
    assert_eq!(world.view().await.id.to_string(), SCAN);
}

#[tokio::test]
async fn a_scan_that_was_cancelled_while_it_waited_never_begins() {
    let world = World::new().await;
    let scan = sample_scan();
    world.put(&keys::cancelled(&scan.tenant, scan.scan_id), &json!({})).await;
    let output = world.send_twice(sample("register.json")).await;
    assert_eq!(output, json!({ "state": "cancelled", "ended": true }));
}

#[tokio::test]
async fn a_plan_twice_makes_each_job_once() {
    let world = World::new().await;
    world.put_plan().await;
    world.send(sample("register.json")).await;
    world.send_twice(sample("plan.json")).await;
    let engines: Vec<_> = world.view().await.jobs.into_iter().map(|job| job.engine).collect();
    assert_eq!(engines, ["ruff", "zizmor"]);
}

#[tokio::test]
async fn a_plan_that_is_missing_or_somebody_elses_is_refused() {
    let world = World::new().await;
    let error = handle(&world.context, sample("plan.json")).await.unwrap_err();
    assert_eq!(error.name(), "Recorder.BadInput");
    let mut other = sample("plan.json");
    other["plan_key"] = json!("plans/umbrella/0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01/plan.json");
    let error = handle(&world.context, other).await.unwrap_err();
    assert!(error.to_string().contains("not the key of this scan's plan"), "{error}");
}

#[tokio::test]
async fn a_failure_ends_the_scan_once_with_its_reason() {
    let world = World::new().await;
    let output = world.send_twice(sample("fail.json")).await;
    assert_eq!(output, json!({ "state": "failed", "ended": true }));
    assert_eq!(world.view().await.reason.as_deref(), Some("there is no branch \"release\" in github.com/example/shop"));
    // The event about the failed execution comes after it, and changes nothing.
    let before = world.db.dump().await;
    assert_eq!(world.send(sample("execution-failed.json")).await, nothing_failed());
    assert_eq!(world.db.dump().await, before);
}

#[tokio::test]
async fn job_events_are_recorded_in_any_order_and_number() {
    let world = World::new().await;
    world.put_plan().await;
    world.send(sample("plan.json")).await;
    assert_eq!(world.send_twice(sample("job-events.json")).await, nothing_failed());
    let jobs = world.view().await.jobs;
    assert_eq!((jobs[0].state.as_str(), jobs[0].compute.as_str(), jobs[0].attempt), ("ended", "lambda", 1));
    assert_eq!((jobs[1].state.as_str(), jobs[1].compute.as_str(), jobs[1].attempt), ("running", "batch", 1));
}

#[tokio::test]
async fn an_execution_that_was_aborted_is_cancelled_only_when_somebody_asked() {
    let scan = sample_scan();
    let world = World::new().await;
    world.put(&keys::cancelled(&scan.tenant, scan.scan_id), &json!({})).await;
    assert_eq!(world.send_twice(sample("execution-aborted.json")).await, nothing_failed());
    assert_eq!((world.view().await.status.as_str(), world.view().await.reason), ("cancelled", None));

    let world = World::new().await;
    world.send_twice(sample("execution-aborted.json")).await;
    let view = world.view().await;
    assert_eq!((view.status.as_str(), view.reason.as_deref()), ("failed", Some("the scan was stopped")));
}

#[tokio::test]
async fn every_way_an_execution_ends_leaves_an_ended_scan() {
    for status in ["FAILED", "TIMED_OUT", "ABORTED", "SUCCEEDED"] {
        let world = World::new().await;
        let event = changed("execution-failed.json", |detail| detail["status"] = json!(status));
        world.send_twice(event).await;
        let view = world.view().await;
        assert_eq!(view.status, "failed", "{status}");
        assert!(view.reason.is_some(), "{status} has no reason");
    }
}

#[tokio::test]
async fn an_event_without_the_input_ends_a_scan_that_is_known_and_waits_for_one_that_is_not() {
    let world = World::new().await;
    let event = changed("execution-failed.json", |detail| {
        detail["input"] = Value::Null;
    });
    let failed = world.send(event.clone()).await;
    assert_eq!(failed["batchItemFailures"][0]["itemIdentifier"], "m-1");
    world.send(sample("register.json")).await;
    let scan = sample_scan();
    world.put(&keys::accepted(&scan.tenant, scan.scan_id), &scan).await;
    assert_eq!(world.send_twice(event).await, nothing_failed());
    assert_eq!(world.view().await.status, "failed");
    assert_eq!(world.handed_to_notifier().await.unwrap().scan, scan);
}

#[tokio::test]
async fn whoever_is_cancelled_timed_out_or_failed_is_told_so_through_the_notifier() {
    let scan = sample_scan();
    for (status, cancelled, state) in [
        ("ABORTED", true, ScanState::Cancelled),
        ("ABORTED", false, ScanState::Failed),
        ("TIMED_OUT", false, ScanState::Failed),
        ("FAILED", false, ScanState::Failed),
        ("SUCCEEDED", false, ScanState::Failed),
    ] {
        let world = World::new().await;
        if cancelled {
            world.put(&keys::cancelled(&scan.tenant, scan.scan_id), &json!({})).await;
        }
        let event = changed("execution-failed.json", |detail| detail["status"] = json!(status));
        // The first time, it dies between the scan's end and the word about it.
        world.objects.make_unavailable(Some("ended/"));
        assert_eq!(world.send(event.clone()).await["batchItemFailures"].as_array().unwrap().len(), 1, "{status}");
        assert_eq!(world.view().await.status, state.as_str(), "{status}");
        world.objects.make_unavailable(None);
        assert_eq!(world.send(event).await, nothing_failed(), "{status}");
        let told = world.handed_to_notifier().await.unwrap();
        assert_eq!((told.state, told.scan), (state, scan.clone()), "{status}");
        assert_eq!(told.error.is_some(), state == ScanState::Failed, "{status}");
    }
}

#[tokio::test]
async fn a_scan_that_was_cancelled_before_it_began_is_told_of_when_its_execution_is_over() {
    let world = World::new().await;
    let scan = sample_scan();
    world.put(&keys::cancelled(&scan.tenant, scan.scan_id), &json!({})).await;
    world.send(sample("register.json")).await;
    assert_eq!(world.handed_to_notifier().await, None);
    world.send_twice(changed("execution-failed.json", |detail| detail["status"] = json!("SUCCEEDED"))).await;
    assert_eq!(world.handed_to_notifier().await.unwrap().state, ScanState::Cancelled);
}

#[test]
fn what_the_state_machine_told_is_not_told_again() {
    let end = |status: &str, receivers_told| ExecutionEnd {
        status: status.to_owned(),
        receivers_told,
        error: None,
        cause: None,
    };
    for state in [ScanState::Complete, ScanState::Partial] {
        assert!(told_by_the_state_machine(&end("SUCCEEDED", true), state));
        assert!(!told_by_the_state_machine(&end("SUCCEEDED", false), state), "the receiver was away");
        assert!(!told_by_the_state_machine(&end("ABORTED", false), state), "stopped on the way to the receivers");
    }
    assert!(!told_by_the_state_machine(&end("SUCCEEDED", true), ScanState::Cancelled));
    assert!(!told_by_the_state_machine(&end("FAILED", false), ScanState::Failed));
}

#[tokio::test]
async fn a_malformed_record_fails_alone() {
    let world = World::new().await;
    let response = world.send(sample("one-malformed.json")).await;
    let failures = response["batchItemFailures"].as_array().unwrap();
    let ids: Vec<_> = failures.iter().map(|f| f["itemIdentifier"].as_str().unwrap()).collect();
    assert_eq!(ids, ["b7a9c6de-5c1f-4f0e-8a8f-0d2f6c2d0002"]);
    assert_eq!(world.view().await.status, "failed", "the good record was not handled");
}

#[tokio::test]
async fn events_of_somebody_else_need_no_database() {
    let nowhere = DatabaseConfig {
        connect_timeout: Duration::from_millis(50),
        ..DatabaseConfig::new("/nonexistent/socket", 5432, "d", "u")
    };
    let context = Context { objects: Arc::new(MemoryObjects::default()), database: nowhere };
    let stranger =
        r#"{"id":"e","source":"aws.s3","detail-type":"Object Created","time":"2026-11-01T10:00:00Z","detail":{}}"#;
    assert_eq!(handle(&context, record(stranger)).await.unwrap(), nothing_failed());
    // But one of ours makes the whole batch wait.
    let error = handle(&context, sample("execution-failed.json")).await.unwrap_err();
    assert_eq!(error.name(), "Recorder.DatabaseUnavailable");
    let error = handle(&context, sample("register.json")).await.unwrap_err();
    assert_eq!(error.name(), "Recorder.DatabaseUnavailable");
}

#[tokio::test]
async fn a_database_that_hangs_is_told_of_before_the_function_is_killed() {
    // It accepts connections and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let database = DatabaseConfig::new("127.0.0.1", listener.local_addr().unwrap().port(), "d", "u");
    let context = Context { objects: Arc::new(MemoryObjects::default()), database };
    let deadline = SystemTime::now() + RESERVE + Duration::from_millis(200);
    let error = handle_before(&context, sample("register.json"), deadline).await.unwrap_err();
    assert_eq!(error.name(), "Recorder.DatabaseUnavailable");
    assert!(SystemTime::now() < deadline, "it was told too late");
}

#[tokio::test]
async fn while_storage_is_away_a_cancellation_is_not_mistaken() {
    let world = World::new().await;
    world.objects.make_unavailable(Some("cancelled/"));
    let error = handle(&world.context, sample("register.json")).await.unwrap_err();
    assert_eq!(error.name(), "Recorder.StorageUnavailable");
    let response = world.send(sample("execution-aborted.json")).await;
    assert_eq!(response["batchItemFailures"].as_array().unwrap().len(), 1);
    // A role without the permission is not mended by waiting.
    world.objects.make_unavailable(None);
    world.objects.deny(Some("cancelled/"));
    let error = handle(&world.context, sample("register.json")).await.unwrap_err();
    assert_eq!(error.name(), "Recorder.StorageRefused");
}

#[tokio::test]
async fn input_that_nobody_sends_is_named_as_such() {
    let world = World::new().await;
    for bad in [json!({}), json!({ "action": "dance" }), json!([1])] {
        assert_eq!(handle(&world.context, bad).await.unwrap_err().name(), "Recorder.BadInput");
    }
    let mut other = sample("register.json");
    other["scan"]["version"] = json!(2);
    assert_eq!(handle(&world.context, other).await.unwrap_err().name(), "Recorder.BadInput");
}

#[tokio::test]
async fn a_price_batch_whose_execution_timed_out_has_failed_and_its_receivers_are_told() {
    let world = World::new().await;
    assert_eq!(world.send_twice(sample("price-batch-timed-out.json")).await, nothing_failed());
    let notice = world.objects.get(&format!("ended/demo/{SCAN}.json")).await.unwrap().unwrap();
    let notice: PriceNotice = serde_json::from_slice(&notice).unwrap();
    assert_eq!(notice.state.as_str(), "failed");
    assert_eq!(notice.error.unwrap().name, "States.Timeout");
    let batch = notice.price_batch;
    let view = world.db.store().await.price_batch(&batch.tenant, batch.batch_id).await.unwrap().unwrap();
    assert_eq!(view.error.unwrap(), "States.Timeout: the batch took longer than it may");
}

#[tokio::test]
async fn a_price_batch_that_had_ended_keeps_its_end() {
    let world = World::new().await;
    let event = sample("price-batch-timed-out.json");
    let body: Value = serde_json::from_str(event["Records"][0]["body"].as_str().unwrap()).unwrap();
    let batch: PriceBatchMessage = serde_json::from_str(body["detail"]["input"].as_str().unwrap()).unwrap();
    let mut store = world.db.store().await;
    store.register_batch(&batch, None).await.unwrap();
    let mut faults = Faults::default();
    faults.add(&BadRow::new(1, None, "", Reason::Empty), true);
    store.reject(&batch, &faults).await.unwrap();
    let rejected = |told: bool| {
        changed("price-batch-timed-out.json", |detail| {
            detail["status"] = "SUCCEEDED".into();
            detail["output"] = json!({ "receivers_told": told }).to_string().into();
        })
    };
    assert_eq!(world.send_twice(rejected(true)).await, nothing_failed());
    let key = format!("ended/demo/{SCAN}.json");
    assert!(world.objects.get(&key).await.unwrap().is_none(), "the state machine has told of it");
    // Its receiver was away for longer than a state machine waits.
    assert_eq!(world.send_twice(rejected(false)).await, nothing_failed());
    let notice: PriceNotice = serde_json::from_slice(&world.objects.get(&key).await.unwrap().unwrap()).unwrap();
    assert_eq!((notice.state.as_str(), notice.bad_rows, notice.error), ("rejected", 1, None));
}
