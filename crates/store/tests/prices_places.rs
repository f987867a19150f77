//! Batches of ports and regions.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod prices;

use dunlin_contracts::prices::PriceBatchMessage;
use dunlin_core::prices::{BatchKind, BatchState, Faults, Reason};
use dunlin_store::{BatchRow, Inspected, PortRow, PreparedBatch, Published, RegionRow, Store, Withdrawal};
use dunlin_testkit::fixtures;
use futures::TryStreamExt;
use prices::{DAY, Kit, begin, finish, layout, ranges_of, sha, three};

fn region(line: u32, slug: &str, parent: Option<&str>) -> RegionRow {
    RegionRow { line, slug: slug.into(), name: format!("Region {slug}"), parent: parent.map(Into::into) }
}

fn port(line: u32, code: &str, region: &str) -> PortRow {
    PortRow { line, code: code.into(), name: format!("Port {code}"), region: region.into() }
}

async fn load(kit: &Kit, store: &mut Store, batch: &PriceBatchMessage, ports: &[PortRow], regions: &[RegionRow]) {
    kit.ready(store, batch, 1).await;
    let range = store.range(batch, 0).await.unwrap().unwrap();
    let mut load = begin(store.load_range(batch, &range).await.unwrap());
    for some in ports.chunks(2) {
        load.ports(some).await.unwrap();
    }
    for some in regions.chunks(2) {
        load.regions(some).await.unwrap();
    }
    load.finish((ports.len() + regions.len()) as u64, &Faults::default(), None).await.unwrap();
}

async fn ports(kit: &Kit, n: i64, rows: &[PortRow]) -> BatchRow {
    let (batch, mut store) = (kit.batch(BatchKind::Ports, n), kit.db.store().await);
    load(kit, &mut store, &batch, rows, &[]).await;
    finish(&mut store, &batch).await
}

async fn regions(kit: &Kit, n: i64, rows: &[RegionRow]) -> BatchRow {
    let (batch, mut store) = (kit.batch(BatchKind::Regions, n), kit.db.store().await);
    load(kit, &mut store, &batch, &[], rows).await;
    finish(&mut store, &batch).await
}

/// Line, column, value and reason of everything that is wrong, and the numbers.
async fn wrong(kit: &Kit, batch: &PriceBatchMessage, ports: &[PortRow], regions: &[RegionRow]) -> Vec<String> {
    let mut store = kit.db.store().await;
    load(kit, &mut store, batch, ports, regions).await;
    let PreparedBatch::Faulty(faults) = store.prepare_publication(batch).await.unwrap() else { panic!("no fault") };
    let named = store.whole_batch_faults(batch).await.unwrap();
    let rows: Vec<_> = named.rows().await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows, faults.first);
    assert_eq!(rows.len() as u64, faults.reasons.values().sum::<u64>());
    drop(named);
    assert_eq!(store.publish(batch).await.unwrap(), Published::NotClean);
    assert_eq!(store.reject(batch, &faults).await.unwrap().state, BatchState::Rejected);
    let left: i64 = kit.one("select (select count(*) from port_rows) + (select count(*) from region_rows)").await;
    assert_eq!(left, 0);
    let show = |row: &dunlin_core::prices::BadRow| {
        format!("{} {} {} {}", row.line, row.column.as_deref().unwrap_or_default(), row.value, row.reason.as_str())
    };
    rows.iter().map(show).collect()
}

#[tokio::test]
async fn places_are_added_and_changed_and_keep_their_ids() {
    let kit = Kit::new().await;
    let id = "select id from ports where tenant = 'acme' and code = 'NOOSL'";
    let before: i32 = kit.one(id).await;
    kit.publish(&kit.prices(1), &three(1000)).await;
    regions(
        &kit,
        2,
        &[region(2, "alps", Some("middle")), region(3, "middle", Some("europe")), region(4, "south", None)],
    )
    .await;
    let row = ports(&kit, 3, &[port(2, "CHBSL", "alps"), port(3, "NOOSL", "alps")]).await;
    assert_eq!((row.state, row.rows), (BatchState::Published, 2));
    assert_eq!(kit.one::<i32>(id).await, before);
    assert_eq!(kit.one::<String>("select name from ports where tenant = 'umbrella' and code = 'NOOSL'").await, "Oslo");
    // Oslo is in the Alps now, and the Alps are in Europe.
    assert_eq!(kit.rates("middle", "CNSHA", DAY, DAY).await, "10");
    assert_eq!(kit.rates("europe", "CNSHA", DAY, DAY).await, "10");
    assert_eq!(kit.rates("north", "CNSHA", DAY, DAY).await, "-");
    assert_eq!(kit.one::<i64>("select revision from price_revisions").await, 3);
    assert_eq!(kit.one::<i64>("select count(*) from port_rows").await, 0);
}

#[tokio::test]
async fn a_file_of_places_sent_again_sets_them_back() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let name = "select name from ports where tenant = 'acme' and code = 'AAAAA'";
    let [first, second, again, at_once] = [1, 2, 3, 4].map(|n| kit.batch(BatchKind::Ports, n));
    for (batch, content, expected) in [(&first, &first, "One"), (&second, &second, "Two"), (&again, &first, "One")] {
        store.register_batch(batch, None).await.unwrap();
        let inspected = store.inspected(batch, &sha(content), &layout(), &ranges_of(1)).await.unwrap();
        assert_eq!(inspected, Inspected::Ready);
        if batch == &again {
            // While one is on its way, the same file is no other batch.
            store.register_batch(&at_once, None).await.unwrap();
            let inspected = store.inspected(&at_once, &sha(content), &layout(), &ranges_of(1)).await.unwrap();
            assert_eq!(inspected, Inspected::Duplicate(again.batch_id));
        }
        let range = store.range(batch, 0).await.unwrap().unwrap();
        let mut load = begin(store.load_range(batch, &range).await.unwrap());
        load.ports(&[PortRow { name: expected.to_owned(), ..port(2, "AAAAA", "north") }]).await.unwrap();
        load.finish(1, &Faults::default(), None).await.unwrap();
        finish(&mut store, batch).await;
        assert_eq!(kit.one::<String>(name).await, expected);
    }
}

#[tokio::test]
async fn a_known_port_uses_up_no_id() {
    let kit = Kit::new().await;
    ports(&kit, 1, &[port(2, "AAAAA", "north")]).await;
    let (first, sequence): (i32, i64) = (
        kit.one("select max(id) from ports").await,
        kit.one("select last_value from pg_sequences where sequencename = 'ports_id_seq'").await,
    );
    assert_eq!(i64::from(first), sequence);
    ports(&kit, 2, &[port(2, "AAAAA", "south")]).await;
    assert_eq!(
        kit.one::<i64>("select last_value from pg_sequences where sequencename = 'ports_id_seq'").await,
        sequence
    );
}

#[tokio::test]
async fn ports_in_regions_that_do_not_exist_and_codes_that_come_again_are_named() {
    let kit = Kit::new().await;
    let batch = kit.batch(BatchKind::Ports, 1);
    let rows =
        [port(2, "AAAAA", "north"), port(3, "BBBBB", "nowhere"), port(4, "AAAAA", "south"), port(5, "CCCCC", "secret")];
    assert_eq!(
        wrong(&kit, &batch, &rows, &[]).await,
        ["3 region nowhere unknown_region", "4 code AAAAA duplicate", "5 region secret unknown_region"]
    );
    assert_eq!(kit.one::<i64>("select count(*) from ports where tenant = 'acme'").await, 5);
}

#[tokio::test]
async fn regions_without_a_parent_around_themselves_or_twice_are_named() {
    let kit = Kit::new().await;
    let batch = kit.batch(BatchKind::Regions, 1);
    let rows = [
        region(2, "fine", Some("world")),
        region(3, "self", Some("self")),
        region(4, "a", Some("b")),
        region(5, "b", Some("c")),
        region(6, "c", Some("a")),
        // Below a circle, and on none.
        region(7, "below", Some("a")),
        region(8, "lost", Some("nowhere")),
        region(9, "fine", None),
        // Closes a circle with what is known: europe is in the world.
        region(10, "world", Some("europe")),
        region(11, "theirs", Some("secret")),
    ];
    assert_eq!(
        wrong(&kit, &batch, &[], &rows).await,
        [
            "3 parent self region_cycle",
            "4 parent b region_cycle",
            "5 parent c region_cycle",
            "6 parent a region_cycle",
            "8 parent nowhere unknown_region",
            "9 slug fine duplicate",
            "10 parent europe region_cycle",
            "11 parent secret unknown_region",
        ]
    );
}

#[tokio::test]
async fn a_long_chain_is_no_circle_and_a_long_circle_is_found() {
    let kit = Kit::new().await;
    let chain = |last: Option<&str>| -> Vec<RegionRow> {
        let parent = |n: u32| if n == 2999 { last.map(str::to_owned) } else { Some(format!("r{}", n + 1)) };
        (0..3000).map(|n| RegionRow { parent: parent(n), ..region(n + 2, &format!("r{n}"), None) }).collect()
    };
    let (batch, mut store) = (kit.batch(BatchKind::Regions, 1), kit.db.store().await);
    load(&kit, &mut store, &batch, &[], &chain(Some("r0"))).await;
    let PreparedBatch::Faulty(faults) = store.prepare_publication(&batch).await.unwrap() else { panic!("no fault") };
    assert_eq!((faults.rows, faults.reasons[&Reason::RegionCycle]), (3000, 3000));
    let row = regions(&kit, 2, &chain(None)).await;
    assert_eq!(row.rows, 3000);
}

/// Each is right alone: the second to be published finds out.
#[tokio::test]
async fn two_batches_that_close_a_circle_together_are_not_both_published() {
    let kit = Kit::new().await;
    let (one, two) = (kit.batch(BatchKind::Regions, 1), kit.batch(BatchKind::Regions, 2));
    let (mut a, mut b) = (kit.db.store().await, kit.db.store().await);
    load(&kit, &mut a, &one, &[], &[region(2, "north", Some("south"))]).await;
    load(&kit, &mut b, &two, &[], &[region(2, "south", Some("north"))]).await;
    assert_eq!(a.prepare_publication(&one).await.unwrap(), PreparedBatch::Clean);
    assert_eq!(b.prepare_publication(&two).await.unwrap(), PreparedBatch::Clean);
    let (first, second) = tokio::join!(a.publish(&one), b.publish(&two));
    let answers = [first.unwrap(), second.unwrap()];
    assert_eq!(answers.iter().filter(|a| **a == Published::NotClean).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|a| matches!(a, Published::Done(_))).count(), 1, "{answers:?}");
}

#[tokio::test]
async fn places_cannot_be_withdrawn() {
    let kit = Kit::new().await;
    ports(&kit, 1, &[port(2, "AAAAA", "north")]).await;
    let batch = kit.batch(BatchKind::Ports, 1);
    let mut store = kit.db.store().await;
    let answer = store.withdraw_batch(&kit.tenant, batch.batch_id, "user-2", fixtures::EPOCH).await.unwrap();
    assert_eq!(answer, Withdrawal::NotPossible);
    assert_eq!(kit.state(&batch).await, BatchState::Published);
}
