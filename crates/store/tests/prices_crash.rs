//! Connections that die at each step: all or nothing, and the next try goes well.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod prices;

use dunlin_contracts::prices::PriceBatchMessage;
use dunlin_core::prices::{BatchState, Faults};
use dunlin_store::{PreparedBatch, Published, StoreError};
use prices::{Kit, SOMEBODY_WAITS, asked, begin, copy, days, finish, three, until};
use tokio_postgres::Client;

/// Ends every connection of a store, as a lost host would.
async fn kill(client: &Client) {
    let killed = client
        .query(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity
             where datname = current_database() and application_name = 'dunlin'",
            &[],
        )
        .await
        .unwrap();
    assert!(!killed.is_empty(), "there was nobody to kill");
}

/// Old prices that stay until the new ones are there.
async fn corrected(kit: &Kit) -> (PriceBatchMessage, PriceBatchMessage) {
    let (old, new) = (kit.prices(1), kit.prices(2));
    kit.publish(&old, &three(1000)).await;
    let mut store = kit.db.store().await;
    store.register_batch(&new, Some(&asked(&new, Some(old.batch_id.as_uuid())))).await.unwrap();
    kit.ready(&mut store, &new, 1).await;
    kit.load(&mut store, &new, 0, &three(3000)).await;
    store.close().await;
    (old, new)
}

#[tokio::test]
async fn a_load_that_dies_leaves_no_row() {
    let kit = Kit::new().await;
    let looker = kit.db.client().await;
    let batch = kit.prices(1);
    let mut store = kit.db.store().await;
    kit.ready(&mut store, &batch, 1).await;
    let (ports, range) = (kit.ports(&store).await, store.range(&batch, 0).await.unwrap().unwrap());
    let bytes = copy(range.number, 2, &three(1000), &ports);

    let mut load = begin(store.load_range(&batch, &range).await.unwrap());
    load.send(bytes.clone()).await.unwrap();
    kill(&looker).await;
    let error = load.finish(3, &Faults::default(), days(&three(1000))).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");

    // The loader itself gives up, between two pieces: its connection is still good.
    let mut store = kit.db.store().await;
    let mut load = begin(store.load_range(&batch, &range).await.unwrap());
    load.send(bytes.slice(..50)).await.unwrap();
    drop(load);
    assert_eq!(kit.tables().await, 0, "the only range makes the table, with its rows");
    assert!(!store.range(&batch, 0).await.unwrap().unwrap().loaded);

    kit.load(&mut store, &batch, 0, &three(1000)).await;
    finish(&mut store, &batch).await;
    assert_eq!(kit.rate().await, "10");
}

#[tokio::test]
async fn rows_that_did_not_all_arrive_are_not_kept() {
    let kit = Kit::new().await;
    let batch = kit.prices(1);
    let mut store = kit.db.store().await;
    kit.ready(&mut store, &batch, 1).await;
    let (ports, range) = (kit.ports(&store).await, store.range(&batch, 0).await.unwrap().unwrap());
    for (number, said) in [(range.number, 4), (range.number + 1, 3)] {
        let mut load = begin(store.load_range(&batch, &range).await.unwrap());
        load.send(copy(number, 2, &three(1000), &ports)).await.unwrap();
        let error = load.finish(said, &Faults::default(), days(&three(1000))).await.unwrap_err();
        assert!(!error.is_retryable(), "{error:?}");
    }
    assert!(!store.range(&batch, 0).await.unwrap().unwrap().loaded);
    assert_eq!(kit.tables().await, 0);
}

/// Each lock stops the publication at another of its steps.
#[tokio::test]
async fn a_publication_that_dies_at_any_step_changes_nothing() {
    let steps = [
        // Before the index is made.
        "lock table price_rows_2 in row exclusive mode",
        // Before the table becomes a partition.
        "lock table only prices in share update exclusive mode",
        // Before the batch is looked at again, with its table attached already.
        "select from price_batches where number = 1 for update",
        // When the states are written already, and nothing is committed.
        "update price_revisions set revision = revision",
    ];
    let kit = Kit::new().await;
    let (old, new) = corrected(&kit).await;
    let looker = kit.db.client().await;
    for step in steps {
        let mut blocker = kit.db.client().await;
        let lock = blocker.transaction().await.unwrap();
        lock.batch_execute(step).await.unwrap();
        let mut store = kit.db.store().await;
        let publication = async {
            match store.prepare_publication(&new).await {
                Ok(PreparedBatch::Clean) => store.publish(&new).await.map(|_| ()),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error),
            }
        };
        let killing = async {
            until(&looker, SOMEBODY_WAITS).await;
            kill(&looker).await;
        };
        let (result, ()) = tokio::join!(publication, killing);
        let error: StoreError = result.expect_err(step);
        assert!(error.is_retryable(), "{step}: {error:?}");
        lock.rollback().await.unwrap();
        assert_eq!(
            (kit.state(&old).await, kit.state(&new).await),
            (BatchState::Published, BatchState::Loading),
            "{step}"
        );
        assert_eq!(kit.rate().await, "10", "{step}");
        assert_eq!(kit.one::<i64>("select revision from price_revisions").await, 1, "{step}");
    }
    let mut store = kit.db.store().await;
    assert_eq!(store.prepare_publication(&new).await.unwrap(), PreparedBatch::Clean);
    assert!(matches!(store.publish(&new).await.unwrap(), Published::Done(_)));
    assert_eq!((kit.state(&old).await, kit.rate().await.as_str()), (BatchState::Replaced, "30"));
}

#[tokio::test]
async fn a_publisher_that_dies_after_it_has_committed_is_told_so_when_it_comes_again() {
    let kit = Kit::new().await;
    let (_, new) = corrected(&kit).await;
    let mut store = kit.db.store().await;
    let row = finish(&mut store, &new).await;
    drop(store);
    let mut store = kit.db.store().await;
    assert_eq!(store.prepare_publication(&new).await.unwrap(), PreparedBatch::AlreadyEnded(row.clone()));
    assert_eq!(store.publish(&new).await.unwrap(), Published::Done(row));
    assert_eq!(store.price_revision(&kit.tenant).await.unwrap(), 2);
}

#[tokio::test]
async fn a_batch_that_fails_between_the_steps_of_its_publication_is_swept_away() {
    let kit = Kit::new().await;
    let batch = kit.prices(1);
    let mut store = kit.db.store().await;
    kit.ready(&mut store, &batch, 1).await;
    kit.load(&mut store, &batch, 0, &three(1000)).await;
    store.prepare_publication(&batch).await.unwrap();
    kit.sql("select price_table_attach(1)").await;
    for _ in 0..2 {
        assert_eq!(store.fail_batch(&batch, &prices::error()).await.unwrap().state, BatchState::Failed);
    }
    assert_eq!((kit.rate().await.as_str(), kit.partitions().await), ("-", 1));
    assert_eq!(store.sweep().await.unwrap().dropped, 1);
    assert_eq!((kit.partitions().await, kit.tables().await), (0, 0));
}
