use crate::{context::Context, error::Error};
use dunlin_contracts::prices::{PublisherInput, PublisherOutput};
use dunlin_runtime::logging;
use serde_json::Value;
use tracing::Instrument;

pub async fn handle(context: &Context, payload: Value) -> Result<PublisherOutput, Error> {
    let input: PublisherInput = serde_json::from_value(payload).map_err(dunlin_ingest::Error::input)?;
    let batch = match &input {
        PublisherInput::Finish { batch } | PublisherInput::Fail { batch, .. } => batch,
    };
    let span = logging::batch_span("publisher", &batch.trace_id, &batch.batch_id.to_string());
    run(context, &input).instrument(span).await
}

async fn run(context: &Context, input: &PublisherInput) -> Result<PublisherOutput, Error> {
    let output = match input {
        PublisherInput::Finish { batch } => dunlin_ingest::finish(&context.objects, &context.database, batch).await?,
        PublisherInput::Fail { batch, error } => dunlin_ingest::fail(&context.database, batch, error).await?,
    };
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
    async fn a_batch_is_published_twice_without_harm() {
        let database = TestDatabase::new().await;
        let context = context(&database);
        let event = price_batch(&*context.objects, "publisher/finish.json").await;
        let batch: PriceBatchMessage = serde_json::from_value(event["batch"].clone()).unwrap();
        let limits = Limits { lambda_bytes: u64::MAX, at_once_bytes: 0 };
        dunlin_ingest::inspect(&context.objects, &context.database, &batch, limits).await.unwrap();
        assert_eq!(handle(&context, event.clone()).await.unwrap_err().name(), "Publisher.Incomplete");
        dunlin_ingest::load(&context.objects, &context.database, &batch, 0).await.unwrap();
        let first = handle(&context, event.clone()).await.unwrap();
        assert_eq!((first.state.as_str(), first.rows), ("published", 1));
        assert_eq!(handle(&context, event).await.unwrap(), first);
    }

    #[tokio::test]
    async fn a_batch_that_nobody_knows_fails_all_the_same() {
        let database = TestDatabase::new().await;
        let context = context(&database);
        for _ in 0..2 {
            assert_eq!(handle(&context, event("publisher/fail.json")).await.unwrap().state.as_str(), "failed");
        }
        assert_eq!(handle(&context, Value::Null).await.unwrap_err().name(), "Publisher.BadInput");
    }
}
