//! Decodes a request, calls its route, encodes the answer.

use crate::{context::Context, routes};
use dunlin_contracts::problem::Problem;
use dunlin_runtime::{http, logging};
use lambda_http::{Body, Request, RequestExt, Response};
use tracing::Instrument;

/// Answers every request; a failure is an answer too.
pub async fn handle(context: &Context, request: &Request) -> Response<Body> {
    let trace_id = http::request_trace(request);
    let span = logging::work_span("intake", &trace_id, "");
    async {
        match http::in_time(request, route(context, request, &trace_id)).await {
            Ok(response) => response,
            Err(problem) => {
                if problem.status >= 500 {
                    tracing::error!(problem.kind = %problem.kind, problem.detail = %problem.detail, "request failed");
                } else {
                    tracing::info!(problem.kind = %problem.kind, problem.status = problem.status, "request refused");
                }
                http::problem(problem, Some(&trace_id))
            }
        }
    }
    .instrument(span)
    .await
}

async fn route(context: &Context, request: &Request, trace_id: &str) -> Result<Response<Body>, Problem> {
    let caller = http::caller(request)?;
    let path: Vec<&str> = request.raw_http_path().trim_matches('/').split('/').collect();
    match (request.method().as_str(), path.as_slice()) {
        ("POST", ["v1", "scans"]) => routes::scans::create(context, &caller, request, trace_id).await,
        ("DELETE", ["v1", "scans", id]) => routes::scans::cancel(context, &caller, id, trace_id).await,
        ("POST", ["v1", "price-batches"]) => routes::prices::create(context, &caller, request).await,
        ("POST", ["v1", "price-batches", id, "complete"]) => {
            routes::prices::complete(context, &caller, id, request).await
        }
        ("POST", ["v1", "uploads"]) => routes::uploads::create(context, &caller, request).await,
        ("PUT", ["v1", "credentials", name]) => routes::credentials::put(context, &caller, name, request).await,
        ("DELETE", ["v1", "credentials", name]) => routes::credentials::delete(context, &caller, name).await,
        ("PUT", ["v1", "webhook"]) => routes::webhook::put(context, &caller, request).await,
        ("DELETE", ["v1", "webhook"]) => routes::webhook::delete(context, &caller).await,
        _ => Err(Problem::not_found("route")),
    }
}

#[cfg(test)]
mod tests;
