//! Publications, loaders and readers beside each other.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod prices;

use dunlin_core::prices::{BatchState, Faults};
use dunlin_store::{DatabaseConfig, Finished, LoadStart, PreparedBatch, Published, RatesAnswer, Store, Withdrawal};
use dunlin_testkit::fixtures;
use prices::{DAY, Kit, SOMEBODY_WAITS, begin, copy, day, days, finish, three, until};
use std::time::Duration;
use tokio::time::timeout;

/// Longer than anything here takes; shorter than any timeout of the server's.
const SOON: Duration = Duration::from_secs(10);

/// Loaded and found clean, with three prices.
async fn prepared(kit: &Kit, n: i64, price: i64) -> dunlin_contracts::prices::PriceBatchMessage {
    let mut store = kit.db.store().await;
    let batch = kit.prices(n);
    kit.ready(&mut store, &batch, 1).await;
    kit.load(&mut store, &batch, 0, &three(price)).await;
    assert_eq!(store.prepare_publication(&batch).await.unwrap(), PreparedBatch::Clean);
    batch
}

#[tokio::test]
async fn a_readers_open_transaction_blocks_no_publication_and_keeps_its_view() {
    let kit = Kit::new().await;
    kit.publish(&kit.prices(1), &three(1000)).await;
    let batch = prepared(&kit, 2, 2000).await;
    let mut client = kit.db.client().await;
    let reader = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .start()
        .await
        .unwrap();
    let rows = async || -> i64 {
        let published =
            "select count(*) from prices p join price_batches b on b.number = p.batch where b.state = 'published'";
        reader.query_one(published, &[]).await.unwrap().get(0)
    };
    assert_eq!(rows().await, 3);
    let mut store = kit.db.store().await;
    assert!(matches!(timeout(SOON, store.publish(&batch)).await.unwrap().unwrap(), Published::Done(_)));
    assert_eq!(rows().await, 3);
    assert_eq!(kit.rate().await, "15");
}

#[tokio::test]
async fn a_load_may_look_for_its_first_good_row_for_as_long_as_it_takes() {
    let kit = Kit::new().await;
    let config = DatabaseConfig { idle_in_transaction: Duration::from_millis(300), ..kit.db.config() };
    let (mut store, client) = (Store::connect(&config).await.unwrap(), kit.db.client().await);
    let (batch, rows) = (kit.prices(1), three(1000));
    kit.ready(&mut store, &batch, 1).await;
    let ports = kit.ports(&store).await;
    let range = store.range(&batch, 0).await.unwrap().unwrap();
    let mut load = begin(store.load_range(&batch, &range).await.unwrap());
    // Far longer than a connection may otherwise be idle in a transaction.
    let waits =
        "select count(*) = 0 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
        and state = 'idle in transaction' and state_change > clock_timestamp() - interval '1.5 s'";
    until(&client, waits).await;
    load.send(copy(range.number, 2, &rows, &ports)).await.unwrap();
    let loaded = load.finish(rows.len() as u64, &Faults::default(), days(&rows)).await.unwrap();
    assert_eq!(loaded, Finished::Loaded);
}

#[tokio::test]
async fn a_publication_in_progress_blocks_no_reader_and_shows_nothing() {
    let kit = Kit::new().await;
    kit.publish(&kit.prices(1), &three(1000)).await;
    let batch = prepared(&kit, 2, 2000).await;
    let mut client = kit.db.client().await;
    let publication = client.transaction().await.unwrap();
    publication
        .batch_execute(&format!(
            "select price_table_attach(2);
             update price_batches set state = 'published', rows = 3, first_day = '{DAY}', last_day = '{DAY}', ended_at = now()
             where id = '{}';
             update price_revisions set revision = revision + 1",
            batch.batch_id
        ))
        .await
        .unwrap();
    assert_eq!(timeout(SOON, kit.rate()).await.unwrap(), "10");
    publication.commit().await.unwrap();
    assert_eq!(kit.rate().await, "15");
}

#[tokio::test]
async fn attaching_reads_no_row_makes_no_index_and_takes_no_lock_that_readers_notice() {
    let kit = Kit::new().await;
    prepared(&kit, 1, 2000).await;
    let mut client = kit.db.client().await;
    let indexes = "select string_agg(indexrelid::text, ' ') from pg_index where indrelid = 'price_rows_1'::regclass";
    let before: String = client.query_one(indexes, &[]).await.unwrap().get(0);
    let tx = client.transaction().await.unwrap();
    tx.batch_execute("select price_table_attach(1)").await.unwrap();
    let locks = "select coalesce(string_agg(distinct mode, ' ' order by mode), '') from pg_locks
                 where pid = pg_backend_pid() and relation in ('prices'::regclass, 'prices_key'::regclass)";
    let locks: String = tx.query_one(locks, &[]).await.unwrap().get(0);
    assert_eq!(locks, "ShareUpdateExclusiveLock");
    let reads =
        "select seq_scan + idx_scan + seq_tup_read from pg_stat_xact_user_tables where relname = 'price_rows_1'";
    assert_eq!(tx.query_one(reads, &[]).await.unwrap().get::<_, i64>(0), 0);
    let after: String = tx.query_one(indexes, &[]).await.unwrap().get(0);
    assert_eq!(after, before);
    // That it would be seen: reading is counted.
    tx.query("select from price_rows_1", &[]).await.unwrap();
    assert!(tx.query_one(reads, &[]).await.unwrap().get::<_, i64>(0) > 0);
}

#[tokio::test]
async fn two_batches_published_at_once_wait_for_one_short_transaction_only() {
    let kit = Kit::new().await;
    let (one, two) = (prepared(&kit, 1, 1000).await, prepared(&kit, 2, 2000).await);
    let (mut a, mut b) = (kit.db.store().await, kit.db.store().await);
    let (first, second) = tokio::join!(a.publish(&one), b.publish(&two));
    assert!(matches!(first.unwrap(), Published::Done(_)));
    assert!(matches!(second.unwrap(), Published::Done(_)));
    assert_eq!(a.price_revision(&kit.tenant).await.unwrap(), 2);

    // A publication whose last statement was run, and that is about to commit.
    let three = prepared(&kit, 3, 3000).await;
    let (mut client, looker) = (kit.db.client().await, kit.db.client().await);
    let other = client.transaction().await.unwrap();
    other.batch_execute("update price_revisions set revision = revision + 1").await.unwrap();
    let release = async {
        until(&looker, SOMEBODY_WAITS).await;
        other.commit().await.unwrap();
    };
    let (published, ()) = tokio::join!(timeout(SOON, a.publish(&three)), release);
    assert!(matches!(published.unwrap().unwrap(), Published::Done(_)));
    assert_eq!((a.price_revision(&kit.tenant).await.unwrap(), kit.rate().await.as_str()), (4, "20"));
}

#[tokio::test]
async fn two_executions_of_one_batch_at_once_publish_it_once() {
    let kit = Kit::new().await;
    let (mut a, mut b) = (kit.db.store().await, kit.db.store().await);
    let batch = kit.prices(1);
    kit.ready(&mut a, &batch, 1).await;
    kit.load(&mut a, &batch, 0, &three(1000)).await;
    let (first, second) = tokio::join!(a.prepare_publication(&batch), b.prepare_publication(&batch));
    assert_eq!((first.unwrap(), second.unwrap()), (PreparedBatch::Clean, PreparedBatch::Clean));
    let (first, second) = tokio::join!(a.publish(&batch), b.publish(&batch));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!((a.price_revision(&kit.tenant).await.unwrap(), kit.rate().await.as_str()), (1, "10"));
}

#[tokio::test]
async fn two_loaders_of_one_range_load_it_once() {
    let kit = Kit::new().await;
    let (mut a, mut b) = (kit.db.store().await, kit.db.store().await);
    let batch = kit.prices(1);
    kit.ready(&mut a, &batch, 1).await;
    let (ports, range) = (kit.ports(&a).await, a.range(&batch, 0).await.unwrap().unwrap());
    let mut first = begin(a.load_range(&batch, &range).await.unwrap());
    first.send(copy(range.number, 2, &three(1000), &ports)).await.unwrap();
    let looker = kit.db.client().await;
    let finishes = async {
        until(&looker, SOMEBODY_WAITS).await;
        first.finish(3, &Faults::default(), days(&three(1000))).await.unwrap()
    };
    let (second, finished) = tokio::join!(b.load_range(&batch, &range), finishes);
    assert_eq!(finished, Finished::Loaded);
    assert!(matches!(second.unwrap(), LoadStart::Loaded { rows: 3, .. }));
    assert_eq!(finish(&mut a, &batch).await.rows, 3);
    assert_eq!(kit.one::<i64>("select count(*) from prices").await, 3);
}

#[tokio::test]
async fn ranges_of_one_batch_are_loaded_beside_each_other() {
    let kit = Kit::new().await;
    let (mut a, mut b) = (kit.db.store().await, kit.db.store().await);
    let batch = kit.prices(1);
    kit.ready(&mut a, &batch, 2).await;
    let ports = kit.ports(&a).await;
    let (r0, r1) = (a.range(&batch, 0).await.unwrap().unwrap(), a.range(&batch, 1).await.unwrap().unwrap());
    let mut first = begin(a.load_range(&batch, &r0).await.unwrap());
    first.send(copy(r0.number, 2, &three(1000), &ports)).await.unwrap();
    let mut second = begin(timeout(SOON, b.load_range(&batch, &r1)).await.unwrap().unwrap());
    second.send(copy(r1.number, 1002, &three(2000), &ports)).await.unwrap();
    let done = timeout(SOON, second.finish(3, &Faults::default(), days(&three(1)))).await.unwrap();
    assert_eq!(done.unwrap(), Finished::Loaded);
    assert_eq!(first.finish(3, &Faults::default(), days(&three(1))).await.unwrap(), Finished::Loaded);
    assert_eq!(finish(&mut a, &batch).await.rows, 6);
}

#[tokio::test]
async fn a_loader_waits_for_the_server_to_take_what_it_has_sent() {
    const ROWS: u32 = 600_000;
    let kit = Kit::new().await;
    let batch = kit.prices(1);
    let mut store = kit.db.store().await;
    kit.ready(&mut store, &batch, 1).await;
    // A server that is busy with the first row until it is told to go on.
    kit.sql(
        "create function busy() returns trigger language plpgsql as $$ begin
             perform pg_advisory_xact_lock_shared(7); return new;
         end $$;
         select price_table_make(1);
         create trigger busy before insert on price_rows_1 for each row when (new.line = 2) execute function busy()",
    )
    .await;
    let (busy, looker) = (kit.db.client().await, kit.db.client().await);
    busy.batch_execute("select pg_advisory_lock(7)").await.unwrap();
    let (ports, range) = (kit.ports(&store).await, store.range(&batch, 0).await.unwrap().unwrap());
    let rows: Vec<_> = (0..ROWS).map(|price| ("NOOSL", "CNSHA", DAY, i64::from(price))).collect();
    let bytes = copy(range.number, 2, &rows, &ports);
    let mut load = begin(store.load_range(&batch, &range).await.unwrap());
    let sent = std::cell::Cell::new(0);
    let sending = async {
        for piece in bytes.chunks(64 * 1024) {
            load.send(bytes.slice_ref(piece)).await.unwrap();
            sent.set(sent.get() + piece.len());
        }
        load.finish(u64::from(ROWS), &Faults::default(), days(&rows[..1])).await.unwrap()
    };
    let mut sending = std::pin::pin!(sending);
    tokio::select! {
        _ = &mut sending => panic!("the server was busy"),
        () = until(&looker, SOMEBODY_WAITS) => {}
    }
    // As long as anything moves.
    let mut before = usize::MAX;
    while sent.get() != before {
        before = sent.get();
        assert!(timeout(Duration::from_millis(200), &mut sending).await.is_err());
    }
    // The rest is what the kernel keeps between the two, which is some megabytes on either side.
    assert!(before < bytes.len() / 2, "{before} of {} bytes were sent", bytes.len());
    busy.batch_execute("select pg_advisory_unlock(7)").await.unwrap();
    assert_eq!(sending.await, Finished::Loaded);
}

#[tokio::test]
async fn rows_of_a_batch_of_one_range_are_answered_by_the_index_alone_from_the_first_question_on() {
    let kit = Kit::new().await;
    kit.publish(&kit.prices(1), &three(1000)).await;
    let mut store = kit.db.store().await;
    let batch = kit.prices(2);
    kit.ready(&mut store, &batch, 2).await;
    kit.load(&mut store, &batch, 0, &three(1000)).await;
    kit.load(&mut store, &batch, 1, &three(2000)).await;
    finish(&mut store, &batch).await;
    assert!(
        kit.one::<bool>(
            "select relallvisible = relpages and relpages > 0 from pg_class where relname = 'price_rows_1'"
        )
        .await
    );
    // A table that other ranges are in is never emptied.
    let third = kit.prices(3);
    kit.ready(&mut store, &third, 2).await;
    kit.load(&mut store, &third, 0, &three(1000)).await;
    for number in [1, 2, 3] {
        let error = kit.db.client().await.execute("select price_table_empty($1)", &[&number]).await.unwrap_err();
        assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::RAISE_EXCEPTION), "{error:?}");
    }
    assert_eq!(kit.one::<i64>("select count(*) from price_rows_2").await, 6);
}

#[tokio::test]
async fn a_load_that_takes_long_holds_no_lock_on_prices() {
    let kit = Kit::new().await;
    kit.publish(&kit.prices(1), &three(1000)).await;
    let mut store = kit.db.store().await;
    let batch = kit.prices(2);
    kit.ready(&mut store, &batch, 1).await;
    let (ports, range) = (kit.ports(&store).await, store.range(&batch, 0).await.unwrap().unwrap());
    let bytes = copy(range.number, 2, &three(2000), &ports);
    let mut load = begin(store.load_range(&batch, &range).await.unwrap());
    load.send(bytes.slice(..50)).await.unwrap();
    let copies = "select exists (select from pg_stat_progress_copy where datname = current_database())";
    while !kit.one::<bool>(copies).await {}
    let held = "select count(*) from pg_locks where relation in ('prices'::regclass, 'prices_key'::regclass)
                and pid in (select pid from pg_stat_progress_copy where datname = current_database())";
    assert_eq!(kit.one::<i64>(held).await, 0);
    // So whatever was published before can be taken out of `prices` meanwhile.
    let first = kit.prices(1).batch_id;
    kit.db.store().await.withdraw_batch(&kit.tenant, first, "user-1", fixtures::EPOCH).await.unwrap();
    assert_eq!(kit.db.store().await.sweep().await.unwrap().dropped, 1);
}

#[tokio::test]
async fn a_large_table_has_statistics_at_once_and_a_small_one_leaves_them_to_the_server() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    for (number, rows, expected) in [(1, 50_000, false), (2, 50_001, true)] {
        let batch = kit.prices(number);
        kit.ready(&mut store, &batch, 2).await;
        kit.sql(&format!(
            "insert into price_rows_{number} select {number}, 1, 2, date '{DAY}', g, g from generate_series(1, {rows}) g;
             select price_table_index({number})"
        ))
        .await;
        let has = format!("select exists (select from pg_stats where tablename = 'price_rows_{number}')");
        assert_eq!(kit.one::<bool>(&has).await, expected, "{rows}");
    }
}

#[tokio::test]
async fn a_batch_is_corrected_or_withdrawn_but_not_both() {
    let kit = Kit::new().await;
    let old = kit.prices(1);
    kit.publish(&old, &three(1000)).await;
    let new = kit.prices(2);
    let mut a = kit.db.store().await;
    a.register_batch(&new, Some(&prices::asked(&new, Some(old.batch_id.as_uuid())))).await.unwrap();
    kit.ready(&mut a, &new, 1).await;
    kit.load(&mut a, &new, 0, &three(3000)).await;
    a.prepare_publication(&new).await.unwrap();
    let mut b = kit.db.store().await;
    let (published, withdrawn) =
        tokio::join!(a.publish(&new), b.withdraw_batch(&kit.tenant, old.batch_id, "user-2", fixtures::EPOCH));
    match (published.unwrap(), withdrawn.unwrap()) {
        (Published::Done(_), Withdrawal::NotPublished(BatchState::Replaced)) => assert_eq!(kit.rate().await, "30"),
        (Published::Failed(..), Withdrawal::Withdrawn) => assert_eq!(kit.rate().await, "-"),
        both => panic!("{both:?}"),
    }
    assert_eq!(b.price_revision(&kit.tenant).await.unwrap(), 2);
}

/// Corrections follow each other, tables are swept, and somebody asks all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_never_stops_sees_one_whole_batch_each_time() {
    let kit = Kit::new().await;
    kit.publish(&kit.prices(0), &three(1000)).await;
    let (mut reader, tenant) = (kit.db.store().await, kit.tenant.clone());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let polling = tokio::spawn(async move {
        let (mut asked, mut last) = (0, 0.0);
        while !*stopped.borrow() {
            let answer = reader.rates(&tenant, "NOOSL", "CNSHA", day(DAY), day(DAY)).await.unwrap();
            let RatesAnswer::Rates { rates, revision } = answer else { panic!("no such place") };
            let price = rates.rates[0].average_price.expect("a batch is always published");
            assert!((price - 9.0 - revision as f64).abs() < 1e-9, "revision {revision} answers {price}");
            assert!(price >= last, "{price} after {last}");
            last = price;
            asked += 1;
        }
        asked
    });
    let mut sweeper = kit.db.store().await;
    let mut old = kit.prices(0);
    for n in 1..=30 {
        let new = kit.prices(n);
        let published = kit.correct(&new, old.batch_id, &three(1000 + n * 100)).await;
        assert!(matches!(published, Published::Done(_)), "{published:?}");
        sweeper.sweep().await.unwrap();
        old = new;
    }
    stop.send(true).unwrap();
    let asked = polling.await.unwrap();
    assert!(asked > 30, "asked {asked} times only");
    sweeper.sweep().await.unwrap();
    assert_eq!((kit.tables().await, kit.rate().await.as_str()), (1, "40"));
}
