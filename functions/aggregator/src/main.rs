//! `aggregator`: job results in, findings and reports out, and the scan has its end.

mod context;
mod error;
mod handler;
mod lines;
mod reports;
mod results;

use dunlin_runtime::{diagnostic, logging};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    logging::init("aggregator");
    let context = context::Context::from_env().await?;
    let context = &context;
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        handler::handle(context, event.payload).await.map_err(|e| diagnostic(&e))
    }))
    .await
}
