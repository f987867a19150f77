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

async fn run(context: &Context, input: &LoaderInput) -> Result<LoaderOutput, Error> {
    let output = dunlin_ingest::load(&context.objects, &context.database, &input.batch, input.range).await?;
    Ok(output)
}
