//! What keeps rows of one organisation apart from those of another, and from nowhere.

mod common;

use common::{Run, World};
use dunlin_testkit::fixtures::finding;
use tokio_postgres::error::SqlState;

async fn scanned() -> World {
    let mut world = World::new().await;
    world
        .scan(1, Run::of("ruff").found([finding("ruff", "S1", "a.py", 3, "x"), finding("ruff", "S1", "b.py", 4, "y")]))
        .await;
    world
}

#[tokio::test]
async fn no_row_points_into_another_organisation_or_nowhere() {
    let world = scanned().await;
    let client = world.db.client().await;
    client.batch_execute("insert into tenants (tenant) values ('umbrella')").await.unwrap();
    let columns = "finding_id, job, engine, severity, confidence, path, message, fingerprint, is_new";
    let copies = [
        // A row of another organisation that names this one's scan, finding and rule.
        format!(
            "create temporary table kept on commit drop as select * from scan_findings; delete from scan_findings;
             insert into scan_findings (tenant, scan_id, rule_id, {columns})
             select 'umbrella', scan_id, rule_id, {columns} from kept"
        ),
        format!(
            "insert into scan_findings (tenant, scan_id, rule_id, {columns})
             select tenant, gen_random_uuid(), rule_id, {columns} from scan_findings"
        ),
        // In one transaction with what it replaces, because the primary key is asked first.
        format!(
            "create temporary table kept on commit drop as select * from scan_findings; delete from scan_findings;
             insert into scan_findings (tenant, scan_id, rule_id, {columns})
             select tenant, scan_id, 'no/rule', {columns} from kept"
        ),
        format!(
            "create temporary table kept on commit drop as select * from scan_findings; delete from scan_findings;
             update kept set finding_id = gen_random_uuid();
             insert into scan_findings (tenant, scan_id, rule_id, {columns}) select tenant, scan_id, rule_id, {columns} from kept"
        ),
        "insert into finding_events (tenant, finding_id, kind, to_state) select 'umbrella', id, 'decided', 'open' from findings"
            .to_owned(),
        "insert into findings (tenant, repository_id, track, rule_id, engine, fingerprint, content_key, state, present,
                               first_seen_scan, last_seen_scan, first_seen_at, last_seen_at)
         select 'umbrella', repository_id, track, rule_id, engine, fingerprint, content_key, state, present,
                first_seen_scan, last_seen_scan, first_seen_at, last_seen_at from findings"
            .to_owned(),
    ];
    for statement in copies {
        let error = client.batch_execute(&statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::FOREIGN_KEY_VIOLATION), "{statement}: {error:?}");
    }
}

#[tokio::test]
async fn what_hangs_on_a_finding_goes_with_it() {
    let world = scanned().await;
    let client = world.db.client().await;
    let count = async |table: &str| -> i64 {
        client.query_one(&format!("select count(*) from {table}"), &[]).await.unwrap().get(0)
    };
    let error = client.batch_execute("delete from jobs; delete from scans").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::FOREIGN_KEY_VIOLATION), "a scan went before its findings: {error:?}");
    client.batch_execute("delete from findings where id = (select min(id::text)::uuid from findings)").await.unwrap();
    assert_eq!((count("finding_events").await, count("scan_findings").await), (1, 1));
    client.batch_execute("delete from findings; delete from jobs; delete from scans").await.unwrap();
    assert_eq!((count("finding_events").await, count("scan_findings").await), (0, 0));
}
