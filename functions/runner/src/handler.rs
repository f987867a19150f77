//! One invocation on Lambda.

use crate::{context::Context, error::Error, job};
use dunlin_contracts::steps::{RunnerInput, RunnerOutput};
use dunlin_runtime::{diagnostic, logging, time_left};
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;
use std::time::{Duration, SystemTime};
use tracing::Instrument;

/// Before Lambda ends the invocation, the engine is ended and the failure written down.
const RESERVE: Duration = Duration::from_secs(6);

pub async fn handle(context: &Context, event: LambdaEvent<Value>) -> Result<RunnerOutput, Diagnostic> {
    let input: RunnerInput =
        serde_json::from_value(event.payload).map_err(|error| diagnostic(&Error::BadInput(error.to_string())))?;
    let left = time_left(event.context.deadline(), SystemTime::now());
    let span = logging::work_span("runner", &input.trace_id, &input.scan_id.to_string());
    run(context, &input, left).instrument(span).await.map_err(|error| diagnostic(&error))
}

async fn run(context: &Context, input: &RunnerInput, left: Duration) -> Result<RunnerOutput, Error> {
    let time = left.saturating_sub(RESERVE);
    let stop = async {
        tokio::time::sleep(time).await;
        dunlin_execution::Error::TimedOut { seconds: time.as_secs() }.into()
    };
    job::run(context, input, stop).await
}
