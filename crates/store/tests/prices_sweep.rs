//! What is left of batches that ended, and what the application may do.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod prices;

use dunlin_core::prices::{BatchState, Faults};
use dunlin_store::{ApplicationRole, DatabaseConfig, Store, Swept};
use dunlin_testkit::fixtures;
use prices::{Kit, finish, three};
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// Two batches published, the first of them withdrawn.
async fn withdrawn(kit: &Kit) -> Store {
    kit.publish(&kit.prices(1), &three(1000)).await;
    kit.publish(&kit.prices(2), &three(2000)).await;
    let mut store = kit.db.store().await;
    store.withdraw_batch(&kit.tenant, kit.prices(1).batch_id, "user-2", fixtures::EPOCH).await.unwrap();
    store
}

/// A reader in the middle of its transaction.
const READ: &str = "begin isolation level repeatable read read only; lock table only prices in access share mode;
     select from price_batches";

#[tokio::test]
async fn tables_of_withdrawn_batches_go_and_those_of_published_ones_stay() {
    let kit = Kit::new().await;
    let mut store = withdrawn(&kit).await;
    assert_eq!((kit.rate().await.as_str(), kit.tables().await), ("20", 2));
    assert_eq!(store.sweep().await.unwrap(), Swept { dropped: 1, left: 0 });
    assert_eq!(store.sweep().await.unwrap(), Swept::default());
    assert_eq!((kit.rate().await.as_str(), kit.tables().await, kit.partitions().await), ("20", 1, 1));
}

#[tokio::test]
async fn a_batch_that_is_loading_is_not_swept() {
    let kit = Kit::new().await;
    let mut store = kit.db.store().await;
    let batch = kit.prices(1);
    kit.ready(&mut store, &batch, 1).await;
    kit.load(&mut store, &batch, 0, &three(1000)).await;
    assert_eq!(store.sweep().await.unwrap(), Swept::default());
    assert_eq!(finish(&mut store, &batch).await.state, BatchState::Published);
}

#[tokio::test]
async fn a_detachment_that_a_reader_holds_up_is_finished_later_and_stops_nobody() {
    let kit = Kit::new().await;
    let mut store = withdrawn(&kit).await;
    let reader = kit.db.client().await;
    reader.batch_execute(READ).await.unwrap();
    // The owner's sweep gives up waiting for the reader; its first half is done.
    let hasty = DatabaseConfig { statement_timeout: Duration::from_millis(300), ..kit.db.config() };
    let mut hasty = Store::connect(&hasty).await.unwrap();
    assert_eq!(hasty.sweep().await.unwrap(), Swept { dropped: 0, left: 1 });
    assert!(kit.one::<bool>("select bool_or(inhdetachpending) from pg_inherits").await);
    // Meanwhile others read, publish and take back.
    assert_eq!(kit.rate().await, "20");
    kit.publish(&kit.prices(3), &three(4000)).await;
    store.withdraw_batch(&kit.tenant, kit.prices(2).batch_id, "user-2", fixtures::EPOCH).await.unwrap();
    assert_eq!(kit.rate().await, "40");

    reader.batch_execute("commit").await.unwrap();
    assert_eq!(store.sweep().await.unwrap(), Swept { dropped: 2, left: 0 });
    assert_eq!((kit.rate().await.as_str(), kit.tables().await), ("40", 1));
}

/// Its snapshot says that the batch is published, so its rows must be there.
#[tokio::test]
async fn no_row_goes_while_somebody_may_still_see_its_batch_published() {
    let kit = Kit::new().await;
    kit.publish(&kit.prices(1), &three(1000)).await;
    let reader = kit.db.client().await;
    reader.batch_execute(READ).await.unwrap();
    let mut store = kit.db.store().await;
    store.withdraw_batch(&kit.tenant, kit.prices(1).batch_id, "user-2", fixtures::EPOCH).await.unwrap();
    let hasty = DatabaseConfig { statement_timeout: Duration::from_millis(300), ..kit.db.config() };
    assert_eq!(Store::connect(&hasty).await.unwrap().sweep().await.unwrap().dropped, 0);
    let seen =
        "select count(*) from price_rows_1 p join price_batches b on b.number = p.batch where b.state = 'published'";
    assert_eq!(reader.query_one(seen, &[]).await.unwrap().get::<_, i64>(0), 3);
}

#[tokio::test]
async fn two_sweeps_at_once_do_not_disturb_each_other() {
    let kit = Kit::new().await;
    let mut one = withdrawn(&kit).await;
    let mut two = kit.db.store().await;
    let (a, b) = tokio::join!(one.sweep(), two.sweep());
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((a.dropped + b.dropped, a.left + b.left), (1, 0), "{a:?} {b:?}");
}

#[tokio::test]
async fn the_application_role_does_all_of_it_and_nothing_else() {
    let kit = Kit::new().await;
    // Roles belong to the server, which other tests use too.
    let role = ApplicationRole { name: format!("prices_{}", std::process::id()), iam: false };
    kit.db.store().await.grant_application_role(&role).await.unwrap();
    let config = kit.db.config_as(&role.name).await;
    let mut store = Store::connect(&config).await.unwrap();
    let (one, two, bad) = (kit.prices(1), kit.prices(2), kit.prices(3));
    for (batch, price) in [(&one, 1000), (&two, 2000), (&bad, 3000)] {
        kit.ready(&mut store, batch, 1).await;
        kit.load(&mut store, batch, 0, &three(price)).await;
    }
    finish(&mut store, &one).await;
    finish(&mut store, &two).await;
    store.reject(&bad, &Faults::default()).await.unwrap();
    assert_eq!(kit.tables().await, 2);
    store.withdraw_batch(&kit.tenant, one.batch_id, "user-2", fixtures::EPOCH).await.unwrap();
    // It makes nobody wait: with a reader there, it leaves the table for another time.
    let reader = kit.db.client().await;
    reader.batch_execute(READ).await.unwrap();
    assert_eq!(store.sweep().await.unwrap(), Swept { dropped: 0, left: 1 });
    assert_eq!(kit.rate().await, "20");
    reader.batch_execute("commit").await.unwrap();
    assert_eq!(store.sweep().await.unwrap(), Swept { dropped: 1, left: 0 });
    assert_eq!(kit.rate().await, "20");
    store.close().await;
    // As every deployment does.
    kit.db.store().await.grant_application_role(&role).await.unwrap();

    let client = kit.db.client().await;
    client.batch_execute(&format!("set role {}", role.name)).await.unwrap();
    for statement in [
        "delete from prices",
        "insert into prices values (2, 1, 1, '2026-01-01', 1, 1)",
        "insert into price_rows_2 values (2, 1, 1, '2026-01-01', 1, 1)",
        "update price_rows_2 set price = 1",
        "delete from price_rows_2",
        "truncate price_rows_2",
        "drop table price_rows_2",
        "alter table prices detach partition price_rows_2",
        "delete from ports",
        "delete from regions",
        "delete from price_batches",
    ] {
        let error = client.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error:?}");
    }
    // What a function refuses, and what a temporary table cannot make it do.
    client.batch_execute("create temporary table price_batches (number int, state text, kind text)").await.unwrap();
    client.batch_execute("insert into pg_temp.price_batches values (2, 'withdrawn', 'prices')").await.unwrap();
    for statement in ["select price_table_detach(2)", "select price_table_drop(2)", "select price_table_make(2)"] {
        let error = client.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::RAISE_EXCEPTION), "{statement}: {error:?}");
    }
    client.batch_execute("reset role").await.unwrap();
    assert_eq!(kit.rate().await, "20");
    client.batch_execute(&format!("drop owned by {0}; drop role {0}", role.name)).await.unwrap();
}
