//! `intake`: takes work in. No database, no VPC: it checks, writes down what was accepted, and sends one message.

mod context;
mod handler;
mod routes;
mod validate;

use dunlin_runtime::logging;
use lambda_http::{Error, Request, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    logging::init("intake");
    let context = context::Context::from_env().await?;
    let context = &context;
    run(service_fn(move |request: Request| async move { Ok::<_, Error>(handler::handle(context, &request).await) }))
        .await
}
