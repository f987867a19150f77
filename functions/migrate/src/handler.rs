use crate::{context::Context, error::Error};
use dunlin_runtime::message;
use dunlin_store::{Migrated, Store, StoreError};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// The function has 300 s, and the migrations come first.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(30);
/// A table that readers hold for longer is left where it is.
const SWEEP_STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
pub struct Output {
    /// Migrations of this run, in order; empty when the schema was up to date.
    pub applied: Vec<String>,
    /// The schema's version now.
    pub version: u32,
}

pub async fn handle(context: &Context, payload: Value) -> Result<Output, Error> {
    // Terraform adds its own key to the input of an invocation with a lifecycle; anything else is a mistake.
    let empty = payload.as_object().is_some_and(|fields| fields.keys().all(|key| key == "tf"));
    if !empty {
        return Err(Error::BadInput);
    }
    let mut store = Store::connect(&context.database).await?;
    let result = bring_up_to_date(context, &mut store).await;
    if result.is_ok() {
        sweep(&mut store).await;
    }
    store.close().await;
    let Migrated { applied, version } = result?;
    tracing::info!(schema.version = version, schema.applied = applied.len(), "the schema is up to date");
    Ok(Output { applied, version })
}

async fn bring_up_to_date(context: &Context, store: &mut Store) -> Result<Migrated, StoreError> {
    let migrated = store.migrate().await?;
    if let Some(role) = &context.application {
        store.grant_application_role(role).await?;
    }
    Ok(migrated)
}

/// What only the owner can remove while people read. No deployment fails of what the next one can remove as well.
async fn sweep(store: &mut Store) {
    match timeout(SWEEP_TIMEOUT, store.sweep_within(SWEEP_STATEMENT_TIMEOUT)).await {
        Ok(Ok(swept)) => {
            tracing::info!(tables.dropped = swept.dropped, tables.left = swept.left, "tables of ended price batches");
        }
        Ok(Err(error)) => {
            let why = message(&error);
            tracing::warn!(error.message = why, "tables of ended price batches are left for the next deployment");
        }
        Err(_) => tracing::warn!("the rest of the tables of ended price batches is left for the next deployment"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_runtime::Named;
    use dunlin_store::{ApplicationRole, DatabaseConfig};
    use dunlin_testkit::TestDatabase;
    use serde_json::json;
    use std::{path::Path, time::Duration};

    fn sample() -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/migrate/run.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_second_run_changes_nothing() {
        let db = TestDatabase::empty().await;
        let role = ApplicationRole { name: format!("migrate_test_{}", std::process::id()), iam: false };
        let context = Context { database: db.config(), application: Some(role.clone()) };
        let first = handle(&context, sample()).await.unwrap();
        assert!(!first.applied.is_empty());
        let before = db.dump().await;
        let second = handle(&context, sample()).await.unwrap();
        assert_eq!((second.applied.len(), second.version), (0, first.version));
        assert_eq!(db.dump().await, before);

        let application = Store::connect(&db.config_as(&role.name).await).await.unwrap();
        application.close().await;
        let client = db.client().await;
        client.batch_execute(&format!("drop owned by {0}; drop role {0}", role.name)).await.unwrap();
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_worth_another_try() {
        let database = DatabaseConfig {
            connect_timeout: Duration::from_millis(50),
            ..DatabaseConfig::new("/nonexistent/socket", 5432, "d", "u")
        };
        let error = handle(&Context { database, application: None }, sample()).await.unwrap_err();
        assert_eq!(error.name(), "Migrate.DatabaseUnavailable");
    }

    #[tokio::test]
    async fn a_schema_that_is_not_ours_is_left_alone() {
        let db = TestDatabase::empty().await;
        db.client().await.batch_execute("create table scans (something_else text)").await.unwrap();
        let context = Context { database: db.config(), application: None };
        let error = handle(&context, sample()).await.unwrap_err();
        assert_eq!(error.name(), "Migrate.Failed");
        assert_eq!(handle(&context, json!({ "target": 1 })).await.unwrap_err().name(), "Migrate.Failed");
    }

    /// A batch that was withdrawn, with its table among the prices.
    const WITHDRAWN: &str = "
        insert into tenants (tenant) values ('demo');
        insert into price_batches (id, tenant, kind, state, key, etag, bytes, trace_id, received_at)
        values (gen_random_uuid(), 'demo', 'prices', 'loading', 'k', 'e', 1, 't', now());
        select price_table_make(number) from price_batches;
        select price_table_index(number) from price_batches;
        select price_table_attach(number) from price_batches;
        update price_batches set state = 'withdrawn', ended_at = now(), withdrawn_at = now()";

    #[tokio::test]
    async fn tables_of_ended_batches_go_with_a_deployment_that_does_not_fail_where_they_cannot() {
        let db = TestDatabase::new().await;
        let client = db.client().await;
        client.batch_execute(WITHDRAWN).await.unwrap();
        let tables = async || -> i64 {
            let sql = "select count(*) from pg_class where relname ~ '^price_rows_[0-9]+$' and relkind = 'r'";
            client.query_one(sql, &[]).await.unwrap().get(0)
        };
        let context = Context { database: db.config(), application: None };
        let reader = db.client().await;
        reader.batch_execute("begin; lock table prices in access share mode").await.unwrap();
        handle(&context, sample()).await.unwrap();
        assert_eq!(tables().await, 1, "somebody reads it");
        reader.batch_execute("commit; alter table region_rows rename to elsewhere").await.unwrap();
        handle(&context, sample()).await.unwrap();
        assert_eq!(tables().await, 1, "the sweep failed");
        reader.batch_execute("alter table elsewhere rename to region_rows").await.unwrap();
        handle(&context, sample()).await.unwrap();
        assert_eq!(tables().await, 0);
    }
}
