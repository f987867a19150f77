use crate::{context::Context, error::Error};
use dunlin_contracts::prices::{LoaderInput, LoaderOutput};
use dunlin_runtime::logging;
use serde_json::Value;
use tracing::Instrument;

pub async fn handle(context: &Context, payload: Value) -> Result<LoaderOutput, Error> {
    let input: LoaderInput = serde_json::from_value(payload).map_err(dunlin_ingest::Error::input)?;
    let batch = &input.batch;
    let span = logging::batch_span("loader", &batch.trace_id, &batch.batch_id.to_string());
    run(context, &input).instrument(span).await
}

pub async fn run(context: &Context, input: &LoaderInput) -> Result<LoaderOutput, Error> {
    let output = dunlin_ingest::load(&context.objects, &context.database, &input.batch, input.range).await?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_cloud::memory::MemoryObjects;
    use dunlin_contracts::prices::PriceBatchMessage;
    use dunlin_ingest::Limits;
    use dunlin_runtime::Named;
    use dunlin_testkit::{
        TestDatabase,
        samples::{event, price_batch},
    };
    use std::sync::Arc;

    fn context(database: &TestDatabase) -> Context {
        Context { objects: Arc::new(MemoryObjects::default()), database: database.config() }
    }

    #[tokio::test]
    async fn a_range_is_loaded_twice_without_harm() {
        let database = TestDatabase::new().await;
        let context = context(&database);
        let event = price_batch(&*context.objects, "loader/range.json").await;
        assert_eq!(handle(&context, event.clone()).await.unwrap_err().name(), "Loader.BadInput", "nobody inspected it");
        let batch: PriceBatchMessage = serde_json::from_value(event["batch"].clone()).unwrap();
        let limits = Limits { lambda_bytes: u64::MAX, at_once_bytes: 0 };
        dunlin_ingest::inspect(&context.objects, &context.database, &batch, limits).await.unwrap();
        let first = handle(&context, event.clone()).await.unwrap();
        assert_eq!((first.rows, first.bad_rows), (1, 0));
        assert_eq!(handle(&context, event).await.unwrap(), first);
    }

    #[tokio::test]
    async fn what_fails_has_a_name_that_the_state_machine_knows() {
        let database = TestDatabase::new().await;
        let mut context = context(&database);
        assert_eq!(handle(&context, Value::Null).await.unwrap_err().name(), "Loader.BadInput");
        context.database.port = 1;
        context.database.connect_timeout = std::time::Duration::from_secs(1);
        let away = handle(&context, event("loader/range.json")).await.unwrap_err();
        assert_eq!(away.name(), "Loader.DatabaseUnavailable");
    }
}
