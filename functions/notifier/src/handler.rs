//! Gives every channel its turn, each on its own: one that fails neither stops the others nor changes the scan.

use crate::{
    channels::{Channel, Failure, Sent},
    context::Context,
    error::Error,
};
use dunlin_contracts::steps::{Delivery, DeliveryOutcome, NotifierInput, NotifierOutput};
use dunlin_core::keys;
use dunlin_runtime::{
    logging,
    metrics::{self, Unit},
};
use serde_json::Value;
use tracing::Instrument;

/// The one event there is so far.
const ENDED: &str = "ended";

pub async fn handle(context: &Context, input: Value) -> Result<NotifierOutput, Error> {
    let input: NotifierInput = serde_json::from_value(input).map_err(Error::BadInput)?;
    let span = logging::work_span("notifier", &input.scan.trace_id, &input.scan.scan_id.to_string());
    run(context, &input).instrument(span).await
}

async fn run(context: &Context, input: &NotifierInput) -> Result<NotifierOutput, Error> {
    let mut deliveries = Vec::new();
    let mut again = Vec::new();
    for channel in &context.channels {
        match deliver(context, channel.as_ref(), input).await? {
            Ok(delivery) => {
                tracing::info!(channel = %delivery.channel, outcome = ?delivery.outcome, error = delivery.error, "channel done");
                deliveries.push(delivery);
            }
            Err(message) => again.push(format!("{}: {message}", channel.name())),
        }
    }
    if !again.is_empty() {
        return Err(Error::Delivery(again.join("; ")));
    }
    metrics::emit("ScansNotified", Unit::Count, 1.0, &[("outcome", input.state.as_str())]);
    Ok(NotifierOutput { deliveries })
}

/// The inner error is worth another try. A marker in S3 keeps a channel from telling the same thing twice.
async fn deliver(
    context: &Context,
    channel: &dyn Channel,
    input: &NotifierInput,
) -> Result<Result<Delivery, String>, Error> {
    let done = |outcome, error| Ok(Ok(Delivery { channel: channel.name().to_owned(), outcome, error }));
    let marker = keys::notification(&input.scan.tenant, input.scan.scan_id, channel.name(), ENDED);
    if context.objects.head(&marker).await.map_err(Error::Storage)?.is_some() {
        return done(DeliveryOutcome::AlreadyDelivered, None);
    }
    match channel.scan_ended(input).await {
        Ok(Sent::NotConfigured) => done(DeliveryOutcome::NotConfigured, None),
        Ok(Sent::Delivered) => {
            context.objects.put(&marker, "{}".into(), "application/json").await.map_err(Error::Storage)?;
            done(DeliveryOutcome::Delivered, None)
        }
        Err(Failure::ForGood(message)) => done(DeliveryOutcome::Failed, Some(message)),
        Err(Failure::Again(message)) => Ok(Err(message)),
    }
}

#[cfg(test)]
mod tests;
