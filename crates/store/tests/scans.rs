//! The life of a scan in a real Postgres: it ends once, whoever comes late or twice.

use dunlin_contracts::plan::Plan;
use dunlin_core::{
    finding::Severity,
    job::{Compute, JobState},
    scan::ScanState,
};
use dunlin_store::{BatchStatus, JobChange, JobEventOutcome, PageRequest, ScanFilter, StoreError};
use dunlin_testkit::{TestDatabase, fixtures};

#[tokio::test]
async fn registering_twice_makes_one_scan() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    let scan = fixtures::scan("acme", 1);
    let first = store.register_scan(&scan, false).await.unwrap();
    assert_eq!((first.state, first.ended_now), (ScanState::Running, false));
    let before = db.dump().await;
    assert_eq!(store.register_scan(&scan, false).await.unwrap(), first);
    assert_eq!(db.dump().await, before);
    let view = store.scan(&scan.tenant, scan.scan_id).await.unwrap().unwrap();
    assert_eq!((view.status.as_str(), view.repository.as_str()), ("running", "github.com/example/app"));
}

#[tokio::test]
async fn a_scan_that_was_cancelled_before_it_began_is_cancelled() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    let scan = fixtures::scan("acme", 1);
    let standing = store.register_scan(&scan, true).await.unwrap();
    assert_eq!((standing.state, standing.ended_now), (ScanState::Cancelled, true));
    // Delivered again without the request for cancellation in sight: it stays what it is.
    let again = store.register_scan(&scan, false).await.unwrap();
    assert_eq!((again.state, again.ended_now), (ScanState::Cancelled, false));
}

#[tokio::test]
async fn a_scan_ends_once_and_its_waiting_jobs_end_with_it() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    let scan = fixtures::scan("acme", 1);
    let snapshot = fixtures::snapshot(&scan, 1);
    let mut plan = fixtures::plan(&scan, &snapshot, &["ruff", "zizmor"]);
    plan.jobs[1].cached = true;
    plan.warnings = vec!["dunlin.toml: line 3: unknown key".into()];
    store.register_scan(&scan, false).await.unwrap();
    store.record_plan(&scan, &snapshot, &plan).await.unwrap();
    let once = db.dump().await;
    store.record_plan(&scan, &snapshot, &plan).await.unwrap();
    assert_eq!(db.dump().await, once);

    let ended = store.end_scan(&scan, ScanState::Failed, Some("the planner failed")).await.unwrap();
    assert_eq!((ended.state, ended.ended_now), (ScanState::Failed, true));
    let view = store.scan(&scan.tenant, scan.scan_id).await.unwrap().unwrap();
    assert_eq!(view.reason.as_deref(), Some("the planner failed"));
    assert_eq!(view.warnings, plan.warnings);
    assert_eq!((view.jobs[0].state.as_str(), view.jobs[0].outcome.as_deref()), ("ended", Some("not_run")));
    // Its result is stored, and nobody will look at it for this scan.
    assert_eq!((view.jobs[1].state.as_str(), view.jobs[1].outcome.as_deref()), ("ended", Some("not_run")));

    let before = db.dump().await;
    for other in [ScanState::Cancelled, ScanState::Failed] {
        assert_eq!(store.end_scan(&scan, other, Some("too late")).await.unwrap().state, ScanState::Failed);
    }
    assert_eq!(store.register_scan(&scan, true).await.unwrap().state, ScanState::Failed);
    assert_eq!(db.dump().await, before);
}

#[tokio::test]
async fn what_the_owner_fails_on_is_told_with_the_scan() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    for (minute, fail_on) in [(1, None), (2, Some(Severity::Info)), (3, Some(Severity::High))] {
        let scan = fixtures::scan("acme", minute);
        let snapshot = fixtures::snapshot(&scan, minute);
        let plan = Plan { fail_on, ..fixtures::plan(&scan, &snapshot, &["ruff"]) };
        store.register_scan(&scan, false).await.unwrap();
        store.record_plan(&scan, &snapshot, &plan).await.unwrap();
        let view = store.scan(&scan.tenant, scan.scan_id).await.unwrap().unwrap();
        assert_eq!(view.fail_on, fail_on);
        let list = store.list_scans(&scan.tenant, &ScanFilter::default(), &PageRequest::first(1)).await.unwrap();
        assert_eq!((list.items[0].id, list.items[0].fail_on), (view.id, fail_on));
    }
}

#[tokio::test]
async fn a_scan_that_never_registered_can_be_ended() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    let scan = fixtures::scan("acme", 1);
    store.end_scan(&scan, ScanState::Failed, Some("the execution timed out")).await.unwrap();
    let view = store.scan(&scan.tenant, scan.scan_id).await.unwrap().unwrap();
    assert_eq!(view.status, "failed");
    let unknown = fixtures::scan("acme", 2);
    assert_eq!(store.end_known_scan(&scan.tenant, unknown.scan_id, ScanState::Failed, None).await.unwrap(), None);
    assert!(store.end_scan(&scan, ScanState::Running, None).await.is_err(), "running is not an end");
}

#[tokio::test]
async fn a_job_that_had_ended_before_its_scan_was_cancelled_has_an_outcome() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    let scan = fixtures::scan("acme", 1);
    let snapshot = fixtures::snapshot(&scan, 1);
    store.record_plan(&scan, &snapshot, &fixtures::plan(&scan, &snapshot, &["ruff"])).await.unwrap();
    let ended = JobChange::Step { state: JobState::Ended, compute: Compute::Lambda, attempt: 1 };
    store.record_job_change(&scan.tenant, scan.scan_id, 0, &ended).await.unwrap();
    let at = "select ended_at::text from jobs";
    let before: String = db.client().await.query_one(at, &[]).await.unwrap().get(0);
    store.end_scan(&scan, ScanState::Cancelled, None).await.unwrap();
    let job = store.scan(&scan.tenant, scan.scan_id).await.unwrap().unwrap().jobs.remove(0);
    assert_eq!((job.state.as_str(), job.outcome.as_deref()), ("ended", Some("not_run")));
    assert_eq!(db.client().await.query_one(at, &[]).await.unwrap().get::<_, String>(0), before);
}

#[tokio::test]
async fn job_events_move_a_job_forward_only_and_not_after_the_scan_has_ended() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    let scan = fixtures::scan("acme", 1);
    let snapshot = fixtures::snapshot(&scan, 1);
    store.record_plan(&scan, &snapshot, &fixtures::plan(&scan, &snapshot, &["ruff"])).await.unwrap();

    let running = JobChange::Step { state: JobState::Running, compute: Compute::Lambda, attempt: 1 };
    macro_rules! tell {
        ($change:expr) => {
            store.record_job_change(&scan.tenant, scan.scan_id, 0, &$change).await.unwrap()
        };
    }
    assert_eq!(tell!(running), JobEventOutcome::Applied);
    assert_eq!(tell!(running), JobEventOutcome::Stale);
    let queued = JobChange::Step { state: JobState::Queued, compute: Compute::Batch, attempt: 2 };
    assert_eq!(tell!(queued), JobEventOutcome::Applied);
    let batch = |status, finished_runs| JobChange::Batch { batch_job: "b-1".into(), status, finished_runs };
    assert_eq!(tell!(batch(BatchStatus::Running, 0)), JobEventOutcome::Applied);
    assert_eq!(tell!(running), JobEventOutcome::Stale);
    let job = store.scan(&scan.tenant, scan.scan_id).await.unwrap().unwrap().jobs.remove(0);
    assert_eq!((job.state.as_str(), job.compute.as_str(), job.attempt), ("running", "batch", 2));

    let missing = store.record_job_change(&scan.tenant, scan.scan_id, 7, &running).await.unwrap();
    assert_eq!(missing, JobEventOutcome::UnknownJob);
    let stranger = fixtures::tenant("umbrella");
    let foreign = store.record_job_change(&stranger, scan.scan_id, 0, &running).await.unwrap();
    assert_eq!(foreign, JobEventOutcome::UnknownJob);

    store.end_scan(&scan, ScanState::Cancelled, None).await.unwrap();
    assert_eq!(tell!(batch(BatchStatus::Running, 1)), JobEventOutcome::ScanEnded);
    let job = store.scan(&scan.tenant, scan.scan_id).await.unwrap().unwrap().jobs.remove(0);
    assert_eq!((job.state.as_str(), job.outcome.as_deref(), job.attempt), ("ended", Some("not_run"), 3));
}

#[tokio::test]
async fn another_tenant_sees_nothing_and_takes_nothing() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    let mine = fixtures::scan("acme", 1);
    store.register_scan(&mine, false).await.unwrap();
    let stranger = fixtures::tenant("umbrella");
    assert_eq!(store.scan(&stranger, mine.scan_id).await.unwrap(), None);
    assert_eq!(store.repository(&stranger, mine.repository_id).await.unwrap(), None);
    let list = store.list_scans(&stranger, &ScanFilter::default(), &PageRequest::first(10)).await.unwrap();
    assert!(list.items.is_empty());
    assert!(store.list_repositories(&stranger, &PageRequest::first(10)).await.unwrap().items.is_empty());
    let all = (&dunlin_store::FindingFilter::default(), dunlin_store::FindingSort::Path, &PageRequest::first(5));
    assert_eq!(store.scan_findings(&stranger, mine.scan_id, all.0, all.1, all.2).await.unwrap(), None);
    assert_eq!(store.end_known_scan(&stranger, mine.scan_id, ScanState::Failed, None).await.unwrap(), None);

    let mut stolen = fixtures::scan("umbrella", 1);
    stolen.scan_id = mine.scan_id;
    let error = store.register_scan(&stolen, false).await.unwrap_err();
    assert!(matches!(error, StoreError::NotOwned(id) if id == mine.scan_id), "{error:?}");
    assert_eq!(store.tenant_of_scan(mine.scan_id).await.unwrap(), Some(mine.tenant));
}

#[tokio::test]
async fn two_events_at_once_end_a_scan_once() {
    let db = TestDatabase::new().await;
    let scan = fixtures::scan("acme", 1);
    let (mut one, mut two) = (db.store().await, db.store().await);
    let (a, b) = tokio::join!(
        one.end_scan(&scan, ScanState::Cancelled, None),
        two.end_scan(&scan, ScanState::Failed, Some("the execution failed")),
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.state, b.state);
    assert!(a.ended_now != b.ended_now, "{a:?} {b:?}");
}
