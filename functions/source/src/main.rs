//! `source`: fetches what a scan reads, once, and leaves it in S3 as a snapshot.

use dunlin_runtime::{diagnostic, logging};
use dunlin_source::{Context, handler};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    logging::init("source");
    let context = Context::from_env().await?;
    let context = &context;
    run(service_fn(move |event: LambdaEvent<Value>| async move {
        let deadline = event.context.deadline();
        handler::handle(context, event.payload, deadline).await.map_err(|e| diagnostic(&e))
    }))
    .await
}
