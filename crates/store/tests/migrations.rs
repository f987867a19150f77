//! Migrations, roles and connections, against a real Postgres.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use dunlin_store::{ApplicationRole, DatabaseConfig, Password, PasswordProvider, Secret, Store, StoreError, Tls};
use dunlin_testkit::TestDatabase;
use std::time::Duration;

#[tokio::test]
async fn migrations_run_once_however_often_they_are_asked_for() {
    let db = TestDatabase::empty().await;
    let mut store = db.store().await;
    let first = store.migrate().await.unwrap();
    assert_eq!(
        first.applied,
        [
            "V1__scans",
            "V2__findings",
            "V3__fail_on",
            "V4__nothing_to_read",
            "V5__enforced",
            "V6__resolved_at",
            "V7__latest_scan",
            "V8__fewer_indexes",
            "V9__prices",
            "V10__short_statistics",
            "V11__tables_of_one_range",
            "V12__places_again"
        ]
    );
    let second = store.migrate().await.unwrap();
    assert_eq!((second.applied.len(), second.version), (0, first.version));
}

/// What a later release leaves behind: a migration that this code does not know.
async fn add_a_later_migration(db: &TestDatabase, version: i32) {
    let row = "insert into refinery_schema_history (version, name, applied_on, checksum) values ($1, 'later', '2026-01-01T00:00:00Z', '1')";
    db.client().await.execute(row, &[&version]).await.unwrap();
}

#[tokio::test]
async fn code_of_an_older_release_leaves_a_later_schema_as_it_is() {
    let db = TestDatabase::new().await;
    let mut store = db.store().await;
    add_a_later_migration(&db, 900).await;
    let older = store.migrate().await.unwrap();
    assert_eq!((older.applied.len(), older.version), (0, 900));
}

#[tokio::test]
async fn a_schema_that_is_neither_older_nor_later_is_refused() {
    let db = TestDatabase::empty().await;
    let mut store = db.store().await;
    store.migrate().await.unwrap();
    add_a_later_migration(&db, 900).await;
    // The two have grown apart: each has one that the other does not know.
    db.client().await.execute("delete from refinery_schema_history where version = 3", &[]).await.unwrap();
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(error, StoreError::Migration(_)) && !error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn two_migrations_at_once_are_safe() {
    let db = TestDatabase::empty().await;
    let (mut one, mut two) = (db.store().await, db.store().await);
    let (a, b) = tokio::join!(one.migrate(), two.migrate());
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.version, b.version);
    // Each of them once.
    assert_eq!(a.applied.len() + b.applied.len(), a.version as usize, "{a:?} {b:?}");
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

#[tokio::test]
async fn a_migration_waits_for_another_one_however_long_it_takes() {
    let db = TestDatabase::empty().await;
    let other = db.client().await;
    other.execute("select pg_advisory_lock(x'64756e6c696e0001'::bigint)", &[]).await.unwrap();
    let config = DatabaseConfig { statement_timeout: Duration::from_millis(200), ..db.config() };
    let mut store = Store::connect(&config).await.unwrap();
    let release = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        other.execute("select pg_advisory_unlock_all()", &[]).await.unwrap();
    };
    let (migrated, ()) = tokio::join!(store.migrate(), release);
    assert!(!migrated.unwrap().applied.is_empty());
}

/// In AWS the roles are there first, and default privileges give them every table to come.
#[tokio::test]
async fn nobody_but_the_owner_writes_the_history_of_migrations() {
    let db = TestDatabase::empty().await;
    let client = db.client().await;
    let role = format!("early_{}", std::process::id());
    client
        .batch_execute(&format!(
            "create role {role};
             alter default privileges in schema public grant select, insert, update, delete on tables to {role};"
        ))
        .await
        .unwrap();
    db.store().await.migrate().await.unwrap();
    let may = async |table: &str, what: &str| -> bool {
        client.query_one("select has_table_privilege($1, $2, $3)", &[&role, &table, &what]).await.unwrap().get(0)
    };
    assert!(may("scans", "insert").await);
    assert!(may("refinery_schema_history", "select").await);
    for what in ["insert", "update", "delete"] {
        assert!(!may("refinery_schema_history", what).await, "{what}");
        assert!(!may("prices", what).await, "{what}");
    }
    assert!(may("ports", "update").await && !may("ports", "delete").await);
    let calls = "select has_function_privilege($1, 'price_table_make(integer)', 'execute')";
    assert!(client.query_one(calls, &[&role]).await.unwrap().get::<_, bool>(0));
    assert!(!client.query_one(calls, &[&"pg_monitor"]).await.unwrap().get::<_, bool>(0));
    client.batch_execute(&format!("drop owned by {role}; drop role {role}")).await.unwrap();
}

#[tokio::test]
async fn functions_with_their_owners_rights_find_their_own_tables_and_are_not_for_everybody() {
    let db = TestDatabase::new().await;
    let rows = db
        .client()
        .await
        .query(
            "select proname::text, prosecdef, array_to_string(proconfig, '; '),
                    exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0)
             from pg_proc where starts_with(proname, 'price_table_') order by 1",
            &[],
        )
        .await
        .unwrap();
    assert!(rows.len() >= 6, "{rows:?}");
    for row in rows {
        let (name, definer, settings, for_everybody): (&str, bool, &str, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        assert!(definer && !for_everybody, "{name}");
        assert!(settings.contains("search_path=public, pg_temp"), "{name}: {settings}");
        for setting in ["maintenance_work_mem=256MB", "lock_timeout=10min", "default_statistics_target=10"] {
            assert_eq!(settings.contains(setting), name == "price_table_index", "{name}: {settings}");
        }
    }
}

/// A server that refuses every password, and says how often it was asked.
async fn server_that_refuses() -> (u16, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let length = socket.read_u32().await.unwrap() as usize;
            socket.read_exact(&mut vec![0; length - 4]).await.unwrap();
            let fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0";
            socket.write_all(b"E").await.unwrap();
            socket.write_u32(u32::try_from(fields.len()).unwrap() + 4).await.unwrap();
            socket.write_all(fields).await.unwrap();
        }
    });
    (port, asked)
}

struct Rotated;

#[async_trait::async_trait]
impl PasswordProvider for Rotated {
    async fn password(&self) -> Result<Secret, dunlin_store::Cause> {
        Ok(Secret::new("old"))
    }
}

#[tokio::test]
async fn a_password_that_may_have_changed_meanwhile_is_asked_for_again() {
    let connect = async |password: Password| {
        let (port, asked) = server_that_refuses().await;
        let config = DatabaseConfig { password, ..DatabaseConfig::new("127.0.0.1", port, "d", "u") };
        let error = Store::connect(&config).await.err().unwrap();
        (error.is_retryable(), asked.load(std::sync::atomic::Ordering::SeqCst))
    };
    assert_eq!(connect(Password::Provider(std::sync::Arc::new(Rotated))).await, (true, 2));
    assert_eq!(connect(Password::Static(Secret::new("x"))).await, (false, 1));
}
