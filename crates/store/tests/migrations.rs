//! Migrations, roles and connections, against a real Postgres.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use dunlin_store::{ApplicationRole, DatabaseConfig, Store, StoreError, Tls};
use dunlin_testkit::TestDatabase;
use std::time::Duration;

#[tokio::test]
async fn migrations_run_once_however_often_they_are_asked_for() {
    let db = TestDatabase::empty().await;
    let mut store = db.store().await;
    let first = store.migrate().await.unwrap();
    assert_eq!(
        first.applied,
        ["V1__scans", "V2__findings", "V3__fail_on", "V4__nothing_to_read", "V5__enforced", "V6__resolved_at"]
    );
    let second = store.migrate().await.unwrap();
    assert_eq!((second.applied.len(), second.version), (0, first.version));
}

#[tokio::test]
async fn two_migrations_at_once_are_safe() {
    let db = TestDatabase::empty().await;
    let (mut one, mut two) = (db.store().await, db.store().await);
    let (a, b) = tokio::join!(one.migrate(), two.migrate());
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.applied.len() + b.applied.len(), 6, "{a:?} {b:?}");
    assert_eq!(a.version, b.version);
}

#[tokio::test]
async fn the_application_role_reads_and_writes_rows_and_changes_no_table() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    // Roles belong to the server, which other tests use too.
    let role = ApplicationRole { name: format!("app_{}", std::process::id()), iam: false };
    store.grant_application_role(&role).await.unwrap();
    store.grant_application_role(&role).await.unwrap();

    let mut application = Store::connect(&db.config_as(&role.name).await).await.unwrap();
    application.register_scan(&dunlin_testkit::fixtures::scan("acme", 1), false).await.unwrap();
    application.load().await.unwrap();
    let error = application.migrate().await.unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");

    let client = db.client().await;
    client.batch_execute(&format!("drop owned by {0}; drop role {0}", role.name)).await.unwrap();
}

#[tokio::test]
async fn a_role_name_is_checked_before_it_gets_near_a_statement() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    for bad in ["", "a; drop table scans", "Upper", "9a", &"x".repeat(64)] {
        let role = ApplicationRole { name: bad.to_owned(), iam: false };
        assert!(matches!(store.grant_application_role(&role).await, Err(StoreError::Invalid(_))), "{bad:?}");
    }
}

#[tokio::test]
async fn a_connection_that_must_be_encrypted_is_refused_without_encryption() {
    let port = server_without_tls().await;
    let config = DatabaseConfig {
        tls: Tls::Rds,
        connect_timeout: Duration::from_secs(5),
        ..DatabaseConfig::new("127.0.0.1", port, "dunlin", "dunlin")
    };
    let error = Store::connect(&config).await.err().unwrap();
    assert!(matches!(error, StoreError::NotTrusted(_)), "{error:?}");
}

/// A server that answers every request for TLS as Postgres does without it: `N`.
async fn server_without_tls() -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 8];
            let _ = socket.read_exact(&mut request).await;
            let _ = socket.write_all(b"N").await;
        }
    });
    port
}

#[tokio::test]
async fn a_wrong_user_is_refused_at_once() {
    let db = TestDatabase::new().await;
    let config = DatabaseConfig { user: "nobody_of_that_name".into(), ..db.config() };
    let started = std::time::Instant::now();
    let error = Store::connect(&config).await.err().unwrap();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_worth_another_try() {
    let db = TestDatabase::new().await;
    let mut blocker = db.client().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("lock table tenants").await.unwrap();
    let config = DatabaseConfig { statement_timeout: Duration::from_millis(200), ..db.config() };
    let mut store = Store::connect(&config).await.unwrap();
    let error = store.register_scan(&dunlin_testkit::fixtures::scan("acme", 1), false).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}
