//! `publisher`: a price batch goes in whole, or is rejected with a report of every bad row.

mod context;
mod error;
mod handler;

use dunlin_runtime::{diagnostic, logging};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    logging::init("publisher");
    let context = context::Context::from_env().await?;
    let context = &context;
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        handler::handle(context, event.payload).await.map_err(|e| diagnostic(&e))
    }))
    .await
}
