//! Decodes a request, calls its route, encodes the answer.

use crate::{context::Context, query::Query, routes};
use dunlin_contracts::problem::Problem;
use dunlin_runtime::{http, logging};
use lambda_http::{Body, Request, RequestExt, Response};
use tracing::Instrument;

/// Seconds after which a caller may ask again when the database is waking up.
const RETRY_AFTER: &str = "5";

/// Answers every request; a failure is an answer too.
pub async fn handle(context: &Context, request: &Request) -> Response<Body> {
    let trace_id = http::request_trace(request);
    let span = logging::work_span("api", &trace_id, "");
    async {
        match http::in_time(request, route(context, request)).await {
            Ok(response) => response,
            Err(problem) => {
                if problem.status >= 500 {
                    tracing::error!(problem.kind = %problem.kind, problem.detail = %problem.detail, "request failed");
                }
                let unavailable = problem.status == 503;
                let mut response = http::problem(problem, Some(&trace_id));
                if unavailable {
                    response
                        .headers_mut()
                        .insert("retry-after", lambda_http::http::HeaderValue::from_static(RETRY_AFTER));
                }
                response
            }
        }
    }
    .instrument(span)
    .await
}

async fn route(context: &Context, request: &Request) -> Result<Response<Body>, Problem> {
    let path: Vec<&str> = request.raw_http_path().trim_matches('/').split('/').collect();
    match (request.method().as_str(), path.as_slice()) {
        ("GET", ["v1", "health"]) => return Ok(routes::service::health(context)),
        ("GET", ["v1", "openapi.json"]) => return Ok(routes::service::openapi()),
        // The only one that changes anything.
        ("POST", ["v1", "price-batches", id, "withdraw"]) => {
            return routes::prices::withdraw(context, &http::caller(request)?, id, Query::of(request)).await;
        }
        ("GET", _) => {}
        _ => return Err(Problem::not_found("route")),
    }
    let caller = http::caller(request)?;
    let query = Query::of(request);
    match path.as_slice() {
        ["v1", "scans"] => routes::scans::list(context, &caller, query).await,
        ["v1", "scans", id] => routes::scans::get(context, &caller, id, query).await,
        ["v1", "scans", id, "findings"] => routes::findings::list(context, &caller, id, query).await,
        ["v1", "scans", id, "report"] => routes::report::get(context, &caller, id, query).await,
        ["v1", "repositories"] => routes::repositories::list(context, &caller, query).await,
        ["v1", "repositories", id] => routes::repositories::get(context, &caller, id, query).await,
        ["v1", "price-batches"] => routes::prices::list(context, &caller, query).await,
        ["v1", "price-batches", id] => routes::prices::get(context, &caller, id, query).await,
        ["v1", "rates"] => routes::rates::get(context, &caller, request, query).await,
        _ => Err(Problem::not_found("route")),
    }
}

#[cfg(test)]
mod tests;
