//! `GET /v1/health` and `GET /v1/openapi.json`: open to everybody, and no database in either.

use crate::context::Context;
use dunlin_contracts::{api::Health, openapi};
use dunlin_runtime::http;
use lambda_http::{Body, Response};

pub fn health(context: &Context) -> Response<Body> {
    let health = Health { status: "ok".into(), version: env!("CARGO_PKG_VERSION").into(), auth: context.auth.clone() };
    http::json(200, &health)
}

pub fn openapi() -> Response<Body> {
    http::json(200, &openapi::document())
}
