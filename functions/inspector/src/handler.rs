use crate::{context::Context, error::Error};
use dunlin_contracts::prices::{InspectorInput, InspectorOutput};
use dunlin_ingest::Limits;
use dunlin_runtime::logging;
use serde_json::Value;
use tracing::Instrument;

pub async fn handle(context: &Context, payload: Value) -> Result<InspectorOutput, Error> {
    let input: InspectorInput = serde_json::from_value(payload).map_err(dunlin_ingest::Error::input)?;
    let batch = &input.batch;
    let span = logging::batch_span("inspector", &batch.trace_id, &batch.batch_id.to_string());
    run(context, &input).instrument(span).await
}

async fn run(context: &Context, input: &InspectorInput) -> Result<InspectorOutput, Error> {
    let Context { objects, database, limits } = context;
    let at_once_bytes = if input.at_once { limits.at_once_bytes } else { 0 };
    let limits = Limits { at_once_bytes, ..*limits };
    let output = dunlin_ingest::inspect(objects, database, &input.batch, limits).await?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_cloud::memory::MemoryObjects;
    use dunlin_runtime::Named;
    use dunlin_testkit::{
        TestDatabase,
        samples::{event, price_batch},
    };
    use std::sync::Arc;

    fn context(database: &TestDatabase) -> Context {
        let limits = Limits { lambda_bytes: 1000, at_once_bytes: 0 };
        Context { objects: Arc::new(MemoryObjects::default()), database: database.config(), limits }
    }

    #[tokio::test]
    async fn a_file_is_inspected_twice_without_harm() {
        let database = TestDatabase::new().await;
        let context = context(&database);
        let event = price_batch(&*context.objects, "inspector/file.json").await;
        let first = handle(&context, event.clone()).await.unwrap();
        assert_eq!((first.ended, first.ranges.len()), (false, 1));
        assert_eq!(handle(&context, event).await.unwrap(), first);
    }

    #[tokio::test]
    async fn a_small_file_is_published_twice_without_harm() {
        let database = TestDatabase::new().await;
        let mut context = context(&database);
        context.limits.at_once_bytes = 1000;
        let mut event = price_batch(&*context.objects, "inspector/file.json").await;
        assert_eq!(event["at_once"], true);
        event["at_once"] = false.into();
        let asked_by_an_older_definition = handle(&context, event.clone()).await.unwrap();
        assert_eq!((asked_by_an_older_definition.ended, asked_by_an_older_definition.ranges.len()), (false, 1));
        event["at_once"] = true.into();
        let first = handle(&context, event.clone()).await.unwrap();
        assert_eq!((first.ended, first.state.as_str(), first.rows, first.ranges.len()), (true, "published", 1, 0));
        assert_eq!(handle(&context, event).await.unwrap(), first);
    }

    #[tokio::test]
    async fn what_fails_has_a_name_that_the_state_machine_knows() {
        let database = TestDatabase::new().await;
        let mut context = context(&database);
        let missing = handle(&context, event("inspector/ended.json")).await.unwrap_err();
        assert_eq!(missing.name(), "Inspector.FileUnusable");
        assert_eq!(handle(&context, Value::Null).await.unwrap_err().name(), "Inspector.BadInput");
        context.database.port = 1;
        context.database.connect_timeout = std::time::Duration::from_secs(1);
        let away = handle(&context, event("inspector/ended.json")).await.unwrap_err();
        assert_eq!(away.name(), "Inspector.DatabaseUnavailable");
    }
}
