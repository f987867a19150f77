//! `planner`: which engines run over which files of a snapshot, where, and with how much memory and time.

mod context;
mod error;
mod handler;
mod history;
mod snapshot;

use dunlin_runtime::{diagnostic, logging};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    logging::init("planner");
    let context = context::Context::from_env().await?;
    let context = &context;
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        handler::handle(context, event.payload).await.map_err(|e| diagnostic(&e))
    }))
    .await
}
