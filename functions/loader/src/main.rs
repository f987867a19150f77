//! `loader`: one range of a price batch, checked row by row and copied into the batch's own table. A Lambda function, and with
//! `loader batch` a job on Batch for a range that is too large for that.

mod batch;
mod context;
mod error;
mod handler;

use context::Context;
use dunlin_runtime::{Env, diagnostic, logging};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    logging::init("loader");
    match std::env::args().nth(1).as_deref() {
        Some("batch") => return Ok(batch::run(Env::process()).await),
        Some(other) => {
            return Err(format!("usage: loader batch, or without an argument on Lambda; not {other:?}").into());
        }
        None => {}
    }
    let context = Context::read(Env::process()).await?;
    let context = &context;
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        handler::handle(context, event.payload).await.map_err(|e| diagnostic(&e))
    }))
    .await?;
    Ok(ExitCode::SUCCESS)
}
