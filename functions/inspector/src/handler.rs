use crate::{context::Context, error::Error};
use dunlin_contracts::prices::{InspectorInput, InspectorOutput};
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
    let output = dunlin_ingest::inspect(&context.objects, &context.database, &input.batch).await?;
    Ok(output)
}
