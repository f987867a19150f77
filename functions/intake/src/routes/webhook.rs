//! `PUT` and `DELETE /v1/webhook`: where an organisation hears about its scans. The URL is a secret: it often carries one.

use super::{MAX_BODY_BYTES, failed};
use crate::{context::Context, validate};
use base64::{Engine, engine::general_purpose::STANDARD};
use dunlin_contracts::{
    api::{WebhookCreated, WebhookPut},
    problem::Problem,
};
use dunlin_runtime::http::{self, Caller};
use lambda_http::{Body, Request, Response};

/// Stores the URL with a new signing key, and shows the key this once. Setting it again rotates the key.
pub async fn put(context: &Context, caller: &Caller, request: &Request) -> Result<Response<Body>, Problem> {
    let body: WebhookPut = http::json_body(request, MAX_BODY_BYTES)?;
    validate::webhook(&body, &context.egress_allow)?;
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Problem::internal()
    })?;
    let signing_key = format!("whsec_{}", STANDARD.encode(random));
    let secret = serde_json::json!({ "url": body.url, "signing_key": signing_key }).to_string();
    context.secrets.put(&secret_name(context, caller), &secret).await.map_err(|e| failed(&e))?;
    tracing::info!(tenant = %caller.tenant, "webhook stored");
    Ok(http::json(200, &WebhookCreated { signing_key }))
}

pub async fn delete(context: &Context, caller: &Caller) -> Result<Response<Body>, Problem> {
    context.secrets.delete(&secret_name(context, caller)).await.map_err(|e| failed(&e))?;
    Ok(http::empty(204))
}

fn secret_name(context: &Context, caller: &Caller) -> String {
    // A name that no credential can have: the notifier's role reads every secret that ends so.
    format!("{}/tenants/{}/webhook/receiver", context.secrets_prefix, caller.tenant)
}
