//! The end of a price batch whose execution is over.

use crate::{context::Context, error::Error, events::ExecutionEnd, reason};
use dunlin_contracts::{
    VERSION,
    prices::{PriceBatchMessage, PriceNotice},
    steps::StepError,
};
use dunlin_core::{keys, prices::BatchState};
use dunlin_store::Store;

/// A batch that has an end keeps it; one without failed, and nothing of it stays. Its receivers are told where the state machine may
/// not have got that far.
pub async fn end(
    context: &Context,
    store: &mut Store,
    message: &PriceBatchMessage,
    end: &ExecutionEnd,
) -> Result<(), Error> {
    if message.version != VERSION {
        return Err(Error::BadInput(format!("version {} of the batch's message is not known here", message.version)));
    }
    let why = reason::of_execution("batch", &end.status, end.error.as_deref(), end.cause.as_deref());
    let name = end.error.clone().unwrap_or_else(|| end.status.clone());
    let batch = store.fail_batch(message, &StepError { name: name.clone(), cause: why }).await?;
    if end.receivers_told && batch.state != BatchState::Failed {
        return Ok(());
    }
    tracing::info!(batch.state = batch.state.as_str(), execution.status = %end.status, "execution of the batch is over");
    let notice = PriceNotice {
        price_batch: message.clone(),
        state: batch.state,
        rows: batch.rows,
        bad_rows: batch.bad_rows,
        error: (batch.state == BatchState::Failed)
            .then(|| StepError { name, cause: end.cause.clone().unwrap_or_default() }),
    };
    let text = serde_json::to_vec(&notice).map_err(|e| Error::BadInput(e.to_string()))?;
    let key = keys::price_batch_ended(&message.tenant, message.batch_id);
    context.objects.put_new(&key, text.into(), "application/json").await?;
    Ok(())
}
