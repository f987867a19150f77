//! `loader`: one range of a price batch, checked row by row and copied into the batch's own table.

mod context;
mod error;
mod handler;

use dunlin_runtime::{diagnostic, logging};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    logging::init("loader");
    let context = context::Context::from_env().await?;
    let context = &context;
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        handler::handle(context, event.payload).await.map_err(|e| diagnostic(&e))
    }))
    .await
}
