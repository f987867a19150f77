//! `api`: everything people read, and what only the database can decide. One database connection per request, closed before the answer.

mod context;
mod handler;
mod query;
mod routes;

use dunlin_runtime::logging;
use lambda_http::{Error, Request, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    logging::init("api");
    let context = context::Context::from_env().await?;
    let context = &context;
    run(service_fn(move |request: Request| async move { Ok::<_, Error>(handler::handle(context, &request).await) }))
        .await
}
