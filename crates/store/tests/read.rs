//! Pages, filters and orders, as the API asks for them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Run, World};
use dunlin_core::{finding::Severity, job::JobOutcome::*, scan::ScanState};
use dunlin_store::{FindingFilter, FindingSort, PageRequest, ScanFilter, Store, StoreError};
use dunlin_testkit::{TestDatabase, fixtures};

async fn pages(
    store: &Store,
    scan: &dunlin_contracts::steps::ScanMessage,
    sort: FindingSort,
    limit: u32,
) -> Vec<String> {
    let (mut all, mut page) = (Vec::new(), PageRequest::first(limit));
    loop {
        let found = store
            .scan_findings(&scan.tenant, scan.scan_id, &FindingFilter::default(), sort, &page)
            .await
            .unwrap()
            .unwrap();
        assert!(found.items.len() <= limit as usize);
        all.extend(
            found.items.iter().map(|f| format!("{} {}:{}", f.severity.as_str(), f.path, f.start_line.unwrap_or(0))),
        );
        match found.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return all,
        }
    }
}

/// 20 findings in 4 files, of all severities, two engines.
async fn world() -> (World, dunlin_contracts::steps::ScanMessage) {
    let mut world = World::new().await;
    let make = |engine: &str, n: u32| {
        let mut f =
            fixtures::finding(engine, &format!("R{}", n % 3), &format!("src/{}/f.py", n % 4), n, &format!("code {n}"));
        f.severity = Severity::ALL[n as usize % 5];
        f
    };
    let ruff: Vec<_> = (0..14).map(|n| make("ruff", n)).collect();
    let zizmor: Vec<_> = (14..20).map(|n| make("zizmor", n)).collect();
    world.scan(1, Run::of("ruff").found(ruff).and(Run::of("zizmor").found(zizmor))).await;
    (world, fixtures::scan("acme", 1))
}

#[tokio::test]
async fn pages_of_any_size_give_every_finding_once_and_in_order() {
    let (world, scan) = world().await;
    let store = world.db.store().await;
    for sort in [FindingSort::Severity, FindingSort::Path] {
        let whole = pages(&store, &scan, sort, 200).await;
        assert_eq!(whole.len(), 20);
        for limit in [1, 3, 19, 20] {
            assert_eq!(pages(&store, &scan, sort, limit).await, whole, "{sort:?} by {limit}");
        }
    }
    let worst_first = pages(&store, &scan, FindingSort::Severity, 200).await;
    assert!(worst_first[0].starts_with("critical") && worst_first[19].starts_with("info"), "{worst_first:?}");
    let by_path = pages(&store, &scan, FindingSort::Path, 200).await;
    assert!(by_path[0].ends_with("src/0/f.py:0") && by_path[19].ends_with("src/3/f.py:19"), "{by_path:?}");
}

#[tokio::test]
async fn filters_narrow_and_combine() {
    let (world, scan) = world().await;
    let store = world.db.store().await;
    let count = async |filter: FindingFilter| {
        let page = PageRequest::first(200);
        let found = store.scan_findings(&scan.tenant, scan.scan_id, &filter, FindingSort::Severity, &page).await;
        found.unwrap().unwrap().items.len()
    };
    let none = FindingFilter::default;
    assert_eq!(count(FindingFilter { min_severity: Some(Severity::High), ..none() }).await, 8);
    assert_eq!(count(FindingFilter { severities: vec![Severity::Low, Severity::Critical], ..none() }).await, 8);
    assert_eq!(count(FindingFilter { engine: Some("zizmor".into()), ..none() }).await, 6);
    assert_eq!(count(FindingFilter { rule: Some("ruff/R0".into()), ..none() }).await, 5);
    assert_eq!(count(FindingFilter { path_prefix: Some("src/1/".into()), ..none() }).await, 5);
    assert_eq!(count(FindingFilter { state: Some("open".into()), ..none() }).await, 20);
    assert_eq!(count(FindingFilter { state: Some("fixed".into()), ..none() }).await, 0);
    assert_eq!(count(FindingFilter { new: Some(true), ..none() }).await, 20);
    assert_eq!(count(FindingFilter { new: Some(false), ..none() }).await, 0);
    let both = FindingFilter { engine: Some("ruff".into()), path_prefix: Some("src/1/".into()), ..none() };
    assert_eq!(count(both).await, 4);
    assert_eq!(count(FindingFilter { path_prefix: Some("%' or true --".into()), ..none() }).await, 0);
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let (world, scan) = world().await;
    let store = world.db.store().await;
    let first = PageRequest::first(2);
    let filter = FindingFilter::default();
    let page =
        store.scan_findings(&scan.tenant, scan.scan_id, &filter, FindingSort::Path, &first).await.unwrap().unwrap();
    let next = PageRequest { limit: 2, cursor: page.next_cursor };
    let wrong = store.scan_findings(&scan.tenant, scan.scan_id, &filter, FindingSort::Severity, &next).await;
    assert!(matches!(wrong, Err(StoreError::BadCursor)));
    assert!(matches!(store.list_scans(&scan.tenant, &ScanFilter::default(), &next).await, Err(StoreError::BadCursor)));
    assert!(matches!(store.list_repositories(&scan.tenant, &next).await, Err(StoreError::BadCursor)));
}

#[tokio::test]
async fn scans_are_listed_newest_first_and_by_state() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    for minute in 1..=7 {
        let scan = fixtures::scan("acme", minute);
        store.register_scan(&scan, minute % 2 == 0).await.unwrap();
    }
    let tenant = fixtures::tenant("acme");
    let (mut seen, mut page) = (Vec::new(), PageRequest::first(3));
    loop {
        let found = store.list_scans(&tenant, &ScanFilter::default(), &page).await.unwrap();
        seen.extend(found.items.iter().map(|s| s.id));
        let Some(cursor) = found.next_cursor else { break };
        page.cursor = Some(cursor);
    }
    let expected: Vec<_> = (1..=7).rev().map(|minute| fixtures::scan("acme", minute).scan_id.as_uuid()).collect();
    assert_eq!(seen, expected);

    let cancelled = ScanFilter { state: Some(ScanState::Cancelled), repository: None };
    assert_eq!(store.list_scans(&tenant, &cancelled, &PageRequest::first(50)).await.unwrap().items.len(), 3);
    let elsewhere = ScanFilter { state: None, repository: Some(fixtures::scan("umbrella", 1).repository_id) };
    assert!(store.list_scans(&tenant, &elsewhere, &PageRequest::first(50)).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_repository_shows_the_newest_commit_and_what_is_open_there() {
    let mut world = World::new().await;
    let (a, b) = (fixtures::finding("ruff", "S1", "a.py", 1, "a"), fixtures::finding("ruff", "S1", "b.py", 1, "b"));
    world.scan(10, Run::of("ruff").found([a.clone(), b.clone()])).await;
    world.scan(5, Run::of("ruff").found([a])).await;
    let mut store = world.db.store().await;
    let newest = fixtures::scan("acme", 10);
    // A later scan that failed has no result to show.
    store.end_scan(&fixtures::scan("acme", 20), ScanState::Failed, Some("no such branch")).await.unwrap();

    let view = store.repository(&newest.tenant, newest.repository_id).await.unwrap().unwrap();
    assert_eq!(view.latest.as_ref().unwrap().id, newest.scan_id.as_uuid());
    assert_eq!((view.open_findings, view.first_scanned_at), (2, fixtures::scan("acme", 5).accepted_at));
    let listed = store.list_repositories(&newest.tenant, &PageRequest::first(10)).await.unwrap();
    assert_eq!(listed.items, [view]);
    assert_eq!(listed.next_cursor, None);

    world.scan(30, Run::of("ruff").found([b]).and(Run::of("zizmor").outcome(Failed))).await;
    let view = store.repository(&newest.tenant, newest.repository_id).await.unwrap().unwrap();
    assert_eq!((view.latest.unwrap().status.as_str(), view.open_findings), ("partial", 1));
}

#[tokio::test]
async fn a_repository_whose_only_scan_failed_says_so() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    let scan = fixtures::scan("acme", 1);
    store.end_scan(&scan, ScanState::Failed, Some("no such repository")).await.unwrap();
    let view = store.repository(&scan.tenant, scan.repository_id).await.unwrap().unwrap();
    assert_eq!((view.latest.unwrap().status.as_str(), view.open_findings), ("failed", 0));
}
