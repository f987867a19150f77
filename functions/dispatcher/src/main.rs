//! `dispatcher`: starts one execution for each message of the `scans` queue, and for each file that S3 tells of in the
//! `price-batches` queue.

mod context;
mod handler;
mod work;

use dunlin_runtime::logging;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    logging::init("dispatcher");
    let context = context::Context::from_env().await?;
    let context = &context;
    run(service_fn(move |event: LambdaEvent<_>| async move {
        Ok::<_, Error>(handler::handle(context, &event.payload).await)
    }))
    .await
}
