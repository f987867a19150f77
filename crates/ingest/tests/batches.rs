//! Batches from a file to rows, over a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, in its helpers too")]

mod support;

use dunlin_contracts::{prices::RangeItem, steps::StepError};
use dunlin_core::{
    job::Compute,
    prices::{BatchKind, BatchState, Reason},
};
use dunlin_ingest::{Kind, Limits};
use flate2::{Compression, write::GzEncoder};
use std::{fmt::Write as _, io::Write as _};
use support::{LAMBDA_BYTES, World};

const HEADER: &str = "orig_code,dest_code,day,price\n";

fn good_rows(count: usize) -> String {
    let mut file = HEADER.to_owned();
    for n in 0..count {
        let (origin, destination) = [("AAAAA", "BBBBB"), ("BBBBB", "CCCCC")][n % 2];
        writeln!(file, "{origin},{destination},2026-01-{:02},{}.{:02}", 1 + n % 28, 1 + n / 100, n % 100).unwrap();
    }
    file
}

async fn rows_in_the_database(world: &World) -> i64 {
    let client = world.database.client().await;
    let sql = "select count(*) from prices p join price_batches b on b.number = p.batch where b.state = 'published'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn every_step_may_come_twice() {
    let world = World::with_ports().await;
    let batch = world.put(BatchKind::Prices, "a.csv", good_rows(1000).as_bytes()).await;
    let first = world.inspect(&batch).await.unwrap();
    assert_eq!(first, world.inspect(&batch).await.unwrap());
    assert_eq!(first.ranges.len(), 1);
    let loaded = world.load(&batch, 0).await.unwrap();
    assert_eq!((loaded.rows, loaded.bad_rows), (1000, 0));
    assert_eq!(loaded, world.load(&batch, 0).await.unwrap());
    assert_eq!(rows_in_the_database(&world).await, 0, "loaded is not published");
    let published = world.finish(&batch).await.unwrap();
    assert_eq!((published.state, published.rows), (BatchState::Published, 1000));
    assert_eq!(published, world.finish(&batch).await.unwrap());
    assert_eq!(rows_in_the_database(&world).await, 1000);
    // Late deliveries of everything before.
    assert!(world.inspect(&batch).await.unwrap().ended);
    world.load(&batch, 0).await.unwrap();
    let error = StepError { name: "States.Timeout".into(), cause: String::new() };
    let failed = dunlin_ingest::fail(&world.config(), &batch, &error).await.unwrap();
    assert_eq!(failed.state, BatchState::Published, "what is published stays");
    assert_eq!(rows_in_the_database(&world).await, 1000);
}

#[tokio::test]
async fn everything_that_is_wrong_is_in_one_report() {
    let world = World::with_ports().await;
    let mut file = good_rows(50);
    file.push_str("AAAAA,XXXXX,2026-02-30,1\nAAAAA,BBBBB,2026-01-01,1.00\nAAAAA,BBBBB,2026-01-02,=1+1\n");
    let batch = world.put(BatchKind::Prices, "bad.csv", file.as_bytes()).await;
    let rejected = world.run(&batch).await.unwrap();
    assert_eq!((rejected.state, rejected.rows, rejected.bad_rows), (BatchState::Rejected, 0, 3));
    let report = world.objects.get(&format!("reports/demo/{}/bad-rows.csv", batch.batch_id)).await.unwrap().unwrap();
    assert_eq!(
        String::from_utf8(report.to_vec()).unwrap(),
        "line,column,value,reason\r\n\
         52,dest_code,XXXXX,unknown_port\r\n\
         52,day,2026-02-30,invalid_date\r\n\
         53,,\"AAAAA,BBBBB,2026-01-01,1.00\",duplicate\r\n\
         54,price,'=1+1,not_a_number\r\n"
    );
    assert_eq!(rows_in_the_database(&world).await, 0);
    let view = world.store().await.price_batch(&batch.tenant, batch.batch_id).await.unwrap().unwrap();
    assert_eq!(view.reasons[&Reason::Duplicate], 1);
    let lines: Vec<u64> = view.first_bad_rows.iter().map(|row| row.line).collect();
    assert_eq!(lines, [52, 52, 53, 54]);
    // The same bad file may be sent again, for instance when its ports have come.
    let again = world.put(BatchKind::Prices, "again.csv", file.as_bytes()).await;
    assert_eq!(world.run(&again).await.unwrap().state, BatchState::Rejected);
}

#[tokio::test]
async fn a_correction_of_what_is_not_there_says_so_at_once_and_again() {
    let world = World::with_ports().await;
    let missing = world.put(BatchKind::Prices, "never.csv", b"").await.batch_id.as_uuid();
    for (name, at_once) in [("a.csv", false), ("b.csv", true)] {
        let batch = world.put(BatchKind::Prices, name, good_rows(9).as_bytes()).await;
        world.store().await.register_batch(&batch, None).await.unwrap();
        let sql = "update price_batches set replaces = $2 where id = $1";
        world.database.client().await.execute(sql, &[&batch.batch_id.as_uuid(), &missing]).await.unwrap();
        for _ in 0..2 {
            let error = if at_once {
                let limits = Limits { lambda_bytes: LAMBDA_BYTES, at_once_bytes: LAMBDA_BYTES };
                let ended = dunlin_ingest::inspect(&world.objects, &world.config(), &batch, limits).await.unwrap();
                assert_eq!(ended.state, BatchState::Failed);
                ended.error.unwrap()
            } else {
                let ended = world.run(&batch).await.unwrap();
                assert_eq!(ended.state, BatchState::Failed);
                ended.error.unwrap()
            };
            assert_eq!(error.name, "PriceBatch.CannotReplace");
            assert!(error.cause.contains(&missing.to_string()), "{}", error.cause);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_bad_as_a_whole_says_what_is_wrong_with_it() {
    let world = World::with_ports().await;
    for (name, file, reason) in [
        ("missing.csv", "orig_code,dest_code,price\nAAAAA,BBBBB,1\n", Reason::MissingColumn),
        ("extra.csv", "orig_code,dest_code,day,price,currency\nAAAAA,BBBBB,2026-01-01,1,USD\n", Reason::ExtraColumn),
        ("header.csv", HEADER, Reason::Empty),
        ("nothing.csv", "", Reason::Empty),
    ] {
        let batch = world.put(BatchKind::Prices, name, file.as_bytes()).await;
        let rejected = world.run(&batch).await.unwrap();
        assert_eq!(rejected.state, BatchState::Rejected, "{name}");
        let view = world.store().await.price_batch(&batch.tenant, batch.batch_id).await.unwrap().unwrap();
        assert!(view.reasons.contains_key(&reason), "{name}: {view:?}");
    }
}

#[tokio::test]
async fn a_file_that_changes_under_the_load_is_not_mixed() {
    let world = World::with_ports().await;
    let batch = world.put(BatchKind::Prices, "a.csv", good_rows(10).as_bytes()).await;
    let inspected = world.inspect(&batch).await.unwrap();
    assert_eq!(inspected.ranges.len(), 1);
    let other = world.put(BatchKind::Prices, "a.csv", good_rows(20).as_bytes()).await;
    assert_ne!(other.batch_id, batch.batch_id);
    assert_eq!(world.load(&batch, 0).await.unwrap_err().kind(), Kind::FileUnusable);
    assert_eq!(world.finish(&batch).await.unwrap_err().kind(), Kind::Incomplete);
    world.memory.remove(&other.key);
    let gone = world.inspect(&other).await;
    assert_eq!(gone.unwrap_err().kind(), Kind::FileUnusable);
}

#[tokio::test]
async fn a_file_that_cannot_be_cut_and_is_large_is_for_batch() {
    let world = World::with_ports().await;
    let (small, large) = (good_rows(20), good_rows(20_000));
    let files = [
        ("plain.csv", large.clone().into_bytes(), Compute::Lambda),
        ("small.csv.gz", gzip(&small), Compute::Lambda),
        ("large.csv.gz", gzip(&large), Compute::Batch),
    ];
    for (name, file, compute) in files {
        assert_eq!(file.len() as u64 > LAMBDA_BYTES, name != "small.csv.gz");
        let batch = world.put(BatchKind::Prices, name, &file).await;
        let inspected = world.inspect(&batch).await.unwrap();
        assert_eq!(inspected.ranges, [RangeItem { range: 0, compute }], "{name}");
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn a_message_leads_to_its_own_tenants_files_only() {
    let world = World::with_ports().await;
    let mut batch = world.put(BatchKind::Prices, "a.csv", good_rows(10).as_bytes()).await;
    batch.key = batch.key.replace("/demo/", "/other/");
    let refused = world.inspect(&batch).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::BadInput);
    batch.key = format!("price-batches/demo/prices/upload/{}", batch.batch_id);
    let unasked = world.inspect(&batch).await;
    assert_eq!(unasked.unwrap_err().kind(), Kind::BadInput, "an upload that nobody asked for");
}

#[tokio::test]
async fn storage_that_stops_in_the_middle_leaves_nothing_and_is_tried_again() {
    let world = World::with_ports().await;
    let batch = world.put(BatchKind::Prices, "a.csv", good_rows(1000).as_bytes()).await;
    world.inspect(&batch).await.unwrap();
    world.memory.break_streams(Some("price-batches/"));
    assert_eq!(world.load(&batch, 0).await.unwrap_err().kind(), Kind::StorageUnavailable);
    world.memory.break_streams(None);
    assert_eq!(world.load(&batch, 0).await.unwrap().rows, 1000);
    assert_eq!(world.finish(&batch).await.unwrap().rows, 1000);
}

#[tokio::test]
async fn a_file_that_breaks_off_is_read_on_where_it_ended() {
    let world = World::with_ports().await;
    // Larger than a piece, so that later ones break too.
    let batch = world.put(BatchKind::Prices, "a.csv", good_rows(30_000).as_bytes()).await;
    world.memory.break_next_streams("price-batches/", 3);
    world.inspect(&batch).await.unwrap();
    world.memory.break_next_streams("price-batches/", 3);
    assert_eq!(world.load(&batch, 0).await.unwrap().rows, 30_000);
    assert_eq!(world.finish(&batch).await.unwrap().rows, 30_000);
    let client = world.database.client().await;
    let lines = client.query_one("select count(distinct line), max(line) from prices", &[]).await.unwrap();
    assert_eq!((lines.get::<_, i64>(0), lines.get::<_, i32>(1)), (30_000, 30_001));
}

#[tokio::test]
async fn parquet_goes_the_same_way() {
    let world = World::with_ports().await;
    let file = support::parquet(&[("AAAAA", "BBBBB", "2026-01-01", 125), ("BBBBB", "CCCCC", "2026-01-02", 7)]);
    let batch = world.put(BatchKind::Prices, "a.parquet", &file).await;
    let published = world.run(&batch).await.unwrap();
    assert_eq!((published.state, published.rows), (BatchState::Published, 2));
    let client = world.database.client().await;
    let prices = client.query("select price from prices order by line", &[]).await.unwrap();
    assert_eq!(prices.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [12_500, 700]);

    let bad = support::parquet(&[("AAAAA", "BBBBB", "2026-01-01", 125), ("XXXXX", "CCCCC", "2026-01-02", 0)]);
    let batch = world.put(BatchKind::Prices, "b.parquet", &bad).await;
    let rejected = world.run(&batch).await.unwrap();
    assert_eq!((rejected.state, rejected.bad_rows), (BatchState::Rejected, 1));
    let cut = world.put(BatchKind::Prices, "c.parquet", &file[..file.len() - 20]).await;
    assert_eq!(world.run(&cut).await.unwrap().state, BatchState::Rejected);
}
