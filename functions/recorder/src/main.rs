//! `recorder`: what people see of scans and jobs, and the one place that ends a scan whose execution did not.

mod batches;
mod context;
mod error;
mod events;
mod handler;
mod reason;

use dunlin_runtime::{diagnostic, logging};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    logging::init("recorder");
    let context = context::Context::from_env().await?;
    let context = &context;
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        handler::handle_before(context, event.payload, event.context.deadline()).await.map_err(|e| diagnostic(&e))
    }))
    .await
}
