//! One message is one scan, or one batch of prices, is one execution, named by its id. A message that comes again finds the
//! execution there.

use crate::{
    context::Context,
    work::{self, Work},
};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use dunlin_cloud::{StartOutcome, Workflows};
use dunlin_contracts::errors::dispatcher as names;
use dunlin_core::TenantId;
use dunlin_runtime::{
    logging,
    metrics::{self, Unit},
    sqs::{RecordFailure, run_batch},
};
use serde::Serialize;
use time::OffsetDateTime;
use tracing::Instrument;

/// Starts at once; Step Functions throttles long before this function is busy.
const CONCURRENCY: usize = 5;

pub async fn handle(context: &Context, event: &SqsEvent) -> SqsBatchResponse {
    run_batch(event, CONCURRENCY, |record| start(context, record)).await
}

async fn start(context: &Context, record: &SqsMessage) -> Result<(), RecordFailure> {
    // The body itself stays out of the log; the dead-letter queue keeps it.
    let body = record.body.as_deref().unwrap_or_default();
    match work::decode(body).map_err(|why| RecordFailure::new(names::BAD_MESSAGE, why))? {
        Work::Nothing => {
            tracing::info!("the object is no file, and starts nothing");
            Ok(())
        }
        Work::Scan(message) => {
            let id = message.scan_id.to_string();
            let span = logging::work_span("dispatcher", &message.trace_id, &id);
            let execution = Execution {
                workflows: &*context.scans,
                queue: "scans",
                tenant: &message.tenant,
                since: message.accepted_at,
            };
            execution.start(&id, &message).instrument(span).await
        }
        Work::PriceBatch(message) => {
            let id = message.batch_id.to_string();
            let span = logging::batch_span("dispatcher", &message.trace_id, &id);
            let execution = Execution {
                workflows: &*context.price_batches,
                queue: "price-batches",
                tenant: &message.tenant,
                since: message.received_at,
            };
            execution.start(&id, &message).instrument(span).await
        }
    }
}

struct Execution<'a> {
    workflows: &'a dyn Workflows,
    queue: &'a str,
    tenant: &'a TenantId,
    /// When the work was accepted.
    since: OffsetDateTime,
}

impl Execution<'_> {
    async fn start(&self, name: &str, input: &impl Serialize) -> Result<(), RecordFailure> {
        let input = serde_json::to_string(input).map_err(|e| RecordFailure::from_error(names::BAD_MESSAGE, &e))?;
        let outcome =
            self.workflows.start(name, &input).await.map_err(|e| RecordFailure::from_error(names::START_FAILED, &e))?;
        let waited_ms = (OffsetDateTime::now_utc() - self.since).whole_milliseconds().max(0);
        metrics::emit("QueueAge", Unit::Milliseconds, waited_ms as f64, &[("queue", self.queue)]);
        let (tenant, queue) = (self.tenant, self.queue);
        match outcome {
            StartOutcome::Started => tracing::info!(%tenant, queue, waited_ms, "started"),
            StartOutcome::AlreadyExists => tracing::info!(%tenant, queue, "was started before"),
        }
        Ok(())
    }
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
        let price_batches = Arc::new(MemoryWorkflows::default());
        (Context { scans: workflows.clone(), price_batches }, workflows)
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

    #[tokio::test]
    async fn a_file_that_s3_tells_of_three_times_is_one_execution_of_the_other_machine() {
        let (scans, batches) = (Arc::new(MemoryWorkflows::default()), Arc::new(MemoryWorkflows::default()));
        let context = Context { scans: scans.clone(), price_batches: batches.clone() };
        for _ in 0..3 {
            assert!(handle(&context, &sample("price-file.json")).await.batch_item_failures.is_empty());
        }
        assert!(scans.executions().is_empty());
        assert_eq!(batches.executions().len(), 1);
        assert_eq!(failed(&handle(&context, &sample("price-file-misplaced.json")).await).len(), 1);
    }
}
