//! SQS batches: every record is handled and reported on its own, so one bad message never holds back the others.

use crate::naming::message;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::{StreamExt, stream};
use std::{error::Error, fmt::Display, future::Future};

/// Why a record was not handled. SQS delivers it again until `maxReceiveCount`; then it is in the dead-letter queue.
#[derive(Debug)]
pub struct RecordFailure {
    /// A stable name for logs and metrics.
    pub name: &'static str,
    pub message: String,
}

impl RecordFailure {
    pub fn new(name: &'static str, message: impl Display) -> Self {
        Self { name, message: message.to_string() }
    }

    pub fn from_error(name: &'static str, error: &dyn Error) -> Self {
        Self { name, message: message(error) }
    }
}

/// Handles each record of `event`, up to `concurrency` at once, and answers which ones failed.
pub async fn run_batch<'a, F, Fut>(event: &'a SqsEvent, concurrency: usize, handle: F) -> SqsBatchResponse
where
    F: Fn(&'a SqsMessage) -> Fut,
    Fut: Future<Output = Result<(), RecordFailure>> + 'a,
{
    let failures: Vec<String> = stream::iter(&event.records)
        .map(|record| {
            let work = handle(record);
            async move {
                let id = record.message_id.clone().unwrap_or_default();
                match work.await {
                    Ok(()) => None,
                    Err(failure) => {
                        let receives = record.attributes.get("ApproximateReceiveCount").map_or("", String::as_str);
                        tracing::error!(
                            message.id = %id, message.receives = receives,
                            error.name = failure.name, error.message = %failure.message,
                            "a message was not handled and will be delivered again"
                        );
                        Some(id)
                    }
                }
            }
        })
        .buffer_unordered(concurrency.max(1))
        .filter_map(|failed| async move { failed })
        .collect()
        .await;
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures
        .into_iter()
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        })
        .collect();
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bodies: &[&str]) -> SqsEvent {
        let records: Vec<_> = bodies
            .iter()
            .map(|body| serde_json::json!({ "messageId": format!("id-{body}"), "body": body, "attributes": {} }))
            .collect();
        serde_json::from_value(serde_json::json!({ "Records": records })).unwrap()
    }

    #[tokio::test]
    async fn only_the_records_that_failed_are_reported() {
        let event = event(&["good", "bad", "fine"]);
        let response = run_batch(&event, 2, |record| async move {
            match record.body.as_deref() {
                Some("bad") => Err(RecordFailure::new("Test.Bad", "no good")),
                _ => Ok(()),
            }
        })
        .await;
        let ids: Vec<_> = response.batch_item_failures.iter().map(|f| f.item_identifier.as_str()).collect();
        assert_eq!(ids, ["id-bad"]);
    }
}
