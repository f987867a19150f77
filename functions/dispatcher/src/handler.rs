//! One message is one scan is one execution, named by the scan's id. A message that comes again finds the execution there.

use crate::context::Context;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use dunlin_cloud::StartOutcome;
use dunlin_contracts::{VERSION, errors::dispatcher as names, steps::ScanMessage};
use dunlin_runtime::{
    logging,
    metrics::{self, Unit},
    sqs::{RecordFailure, run_batch},
};
use time::OffsetDateTime;
use tracing::Instrument;

/// Starts at once; Step Functions throttles long before this function is busy.
const CONCURRENCY: usize = 5;

pub async fn handle(context: &Context, event: &SqsEvent) -> SqsBatchResponse {
    run_batch(event, CONCURRENCY, |record| start(context, record)).await
}

async fn start(context: &Context, record: &SqsMessage) -> Result<(), RecordFailure> {
    let body = record.body.as_deref().unwrap_or_default();
    // The body itself stays out of the log; the dead-letter queue keeps it.
    let message: ScanMessage = serde_json::from_str(body)
        .map_err(|e| RecordFailure::new(names::BAD_MESSAGE, format!("not a scan message: {e}")))?;
    if message.version != VERSION {
        let text = format!("version {} is not known here, only {VERSION}", message.version);
        return Err(RecordFailure::new(names::BAD_MESSAGE, text));
    }
    let scan_id = message.scan_id.to_string();
    let span = logging::work_span("dispatcher", &message.trace_id, &scan_id);
    async {
        let input = serde_json::to_string(&message).map_err(|e| RecordFailure::from_error(names::BAD_MESSAGE, &e))?;
        let outcome = context
            .workflows
            .start(&scan_id, &input)
            .await
            .map_err(|e| RecordFailure::from_error(names::START_FAILED, &e))?;
        let waited_ms = (OffsetDateTime::now_utc() - message.accepted_at).whole_milliseconds().max(0);
        metrics::emit("QueueAge", Unit::Milliseconds, waited_ms as f64, &[("queue", "scans")]);
        match outcome {
            StartOutcome::Started => tracing::info!(tenant = %message.tenant, waited_ms, "scan started"),
            StartOutcome::AlreadyExists => tracing::info!(tenant = %message.tenant, "scan was started before"),
        }
        Ok(())
    }
    .instrument(span)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_cloud::memory::MemoryWorkflows;
    use std::{path::Path, sync::Arc};

    fn sample(name: &str) -> SqsEvent {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/dispatcher").join(name);
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn context() -> (Context, Arc<MemoryWorkflows>) {
        let workflows = Arc::new(MemoryWorkflows::default());
        (Context { workflows: workflows.clone() }, workflows)
    }

    fn failed(response: &SqsBatchResponse) -> Vec<&str> {
        response.batch_item_failures.iter().map(|f| f.item_identifier.as_str()).collect()
    }

    #[tokio::test]
    async fn the_same_message_three_times_is_one_execution() {
        let (context, workflows) = context();
        for _ in 0..3 {
            assert!(handle(&context, &sample("one-scan.json")).await.batch_item_failures.is_empty());
        }
        let executions = workflows.executions();
        assert_eq!(executions.len(), 1);
        assert_eq!(executions[0].0, "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01");
    }

    #[tokio::test]
    async fn a_poison_message_fails_alone() {
        let (context, workflows) = context();
        let response = handle(&context, &sample("one-scan-one-poison.json")).await;
        assert_eq!(failed(&response), ["2c5a2c0e-7d55-4a5e-9a30-7a0f6f3c0002"]);
        assert_eq!(workflows.executions().len(), 1);
    }

    #[tokio::test]
    async fn a_message_of_another_version_is_kept_and_not_misread() {
        let (context, workflows) = context();
        let mut event = sample("one-scan.json");
        let body = event.records[0].body.take().unwrap();
        event.records[0].body = Some(body.replace("\"version\":1", "\"version\":2"));
        assert_eq!(handle(&context, &event).await.batch_item_failures.len(), 1);
        assert!(workflows.executions().is_empty());
    }

    #[tokio::test]
    async fn while_step_functions_is_down_the_message_stays() {
        let (context, workflows) = context();
        workflows.make_unavailable(true);
        assert_eq!(handle(&context, &sample("one-scan.json")).await.batch_item_failures.len(), 1);
        workflows.make_unavailable(false);
        assert!(handle(&context, &sample("one-scan.json")).await.batch_item_failures.is_empty());
        assert_eq!(workflows.executions().len(), 1);
    }
}
