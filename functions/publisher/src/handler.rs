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
