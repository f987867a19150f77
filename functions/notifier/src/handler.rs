//! Gives every channel its turn, each on its own: one that fails neither stops the others nor changes the scan or batch.

use crate::{
    channels::{Channel, Failure, Sent},
    context::Context,
    error::Error,
    notice::Notice,
};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use dunlin_contracts::{
    events::ObjectEvents,
    steps::{Delivery, DeliveryOutcome, NotifierOutput},
};
use dunlin_core::keys;
use dunlin_runtime::{
    logging,
    metrics::{self, Unit},
    sqs::run_batch,
};
use serde_json::Value;
use tracing::Instrument;

/// Records at once: a receiver that does not answer must not keep those of other organisations waiting.
const CONCURRENCY: usize = 5;

/// A receiver that was away for all these receives, two hours by the queue's visibility timeout, is given up, as the state
/// machine gives up after its retries. Only what an operator can mend ends in the dead-letter queue.
const RECEIVES_OF_A_DELIVERY: u32 = 10;

/// A state of the state machine, or a batch of the `notices` queue.
pub async fn handle(context: &Context, payload: Value) -> Result<Value, Error> {
    if payload.get("Records").is_some() {
        let event: SqsEvent = serde_json::from_value(payload).map_err(Error::BadInput)?;
        return serde_json::to_value(batch(context, &event).await).map_err(Error::BadInput);
    }
    let notice = Notice::read(payload).map_err(Error::BadInput)?;
    let output = tell(context, &notice).await?;
    serde_json::to_value(output).map_err(Error::BadInput)
}

async fn tell(context: &Context, notice: &Notice) -> Result<NotifierOutput, Error> {
    let (trace_id, id) = (notice.trace_id(), notice.id());
    let span = match notice {
        Notice::Scan(_) => logging::work_span("notifier", trace_id, &id),
        Notice::PriceBatch(_) => logging::batch_span("notifier", trace_id, &id),
    };
    run(context, notice).instrument(span).await
}

async fn batch(context: &Context, event: &SqsEvent) -> SqsBatchResponse {
    run_batch(event, CONCURRENCY, |record| async move {
        for key in ended_keys(record)? {
            let notice = read(context, &key).await?;
            match tell(context, &notice).await {
                Err(Error::Delivery(why)) if receives(record) >= RECEIVES_OF_A_DELIVERY => {
                    tracing::warn!(subject = notice.subject(), tenant = %notice.tenant(), error.message = why, "given up");
                }
                other => drop(other?),
            }
        }
        Ok(())
    })
    .await
}

/// The objects that an event of S3 is about. None: the message by which S3 makes sure that it may send.
fn ended_keys(record: &SqsMessage) -> Result<Vec<String>, Error> {
    let body = record.body.as_deref().unwrap_or_default();
    let event: ObjectEvents = serde_json::from_str(body).map_err(Error::BadInput)?;
    if event.records.is_empty() && event.event.is_none() {
        return Err(Error::NotEnded("the message is about no object".to_owned()));
    }
    let keys: Vec<String> = event.records.iter().filter_map(|record| decoded(&record.s3.object.key)).collect();
    match keys.iter().find(|key| !key.starts_with(keys::ENDED)) {
        Some(other) => Err(Error::NotEnded(format!("{other:?} says nothing of an end"))),
        None => Ok(keys),
    }
}

/// S3 encodes keys as values of a query string are.
fn decoded(key: &str) -> Option<String> {
    let pair = format!("key={}", key.replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
}

async fn read(context: &Context, key: &str) -> Result<Notice, Error> {
    let body = context.objects.get(key).await?;
    let body = body.ok_or_else(|| Error::NotEnded(format!("there is no {key}")))?;
    serde_json::from_slice(&body).and_then(Notice::read).map_err(Error::BadInput)
}

fn receives(record: &SqsMessage) -> u32 {
    record.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

async fn run(context: &Context, notice: &Notice) -> Result<NotifierOutput, Error> {
    let mut deliveries = Vec::new();
    let mut again = Vec::new();
    let mut storage = None;
    for channel in &context.channels {
        match deliver(context, channel.as_ref(), notice).await {
            Ok(Ok(delivery)) => {
                tracing::info!(channel = %delivery.channel, outcome = ?delivery.outcome, error = delivery.error, "channel done");
                deliveries.push(delivery);
            }
            Ok(Err(message)) => again.push(format!("{}: {message}", channel.name())),
            Err(error) => storage = Some(error),
        }
    }
    // Counted here, so that a channel that is told now is counted although another one needs another try.
    if deliveries.iter().any(|delivery| delivery.outcome == DeliveryOutcome::Delivered) {
        metrics::emit(notice.metric(), Unit::Count, 1.0, &[("outcome", notice.state())]);
    }
    if let Some(error) = storage {
        return Err(error);
    }
    if !again.is_empty() {
        return Err(Error::Delivery(again.join("; ")));
    }
    Ok(NotifierOutput { deliveries })
}

/// The inner error is worth another try. A marker in S3 keeps a channel from telling the same thing twice.
async fn deliver(context: &Context, channel: &dyn Channel, notice: &Notice) -> Result<Result<Delivery, String>, Error> {
    let done = |outcome, error| Ok(Ok(Delivery { channel: channel.name().to_owned(), outcome, error }));
    let marker = notice.marker(channel.name());
    if context.objects.head(&marker).await?.is_some() {
        return done(DeliveryOutcome::AlreadyDelivered, None);
    }
    match channel.tell(notice).await {
        Ok(Sent::NotConfigured) => done(DeliveryOutcome::NotConfigured, None),
        Ok(Sent::Delivered) => {
            context.objects.put(&marker, "{}".into(), "application/json").await?;
            done(DeliveryOutcome::Delivered, None)
        }
        Err(Failure::ForGood(message)) => done(DeliveryOutcome::Failed, Some(message)),
        Err(Failure::Again(message)) => Ok(Err(message)),
        Err(Failure::Ours(error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
