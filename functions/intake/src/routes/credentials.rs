//! `PUT` and `DELETE /v1/credentials/{name}`: tokens for private repositories. They go straight into Secrets Manager; nothing
//! ever gives them back.

use super::{MAX_BODY_BYTES, failed};
use crate::{context::Context, validate};
use dunlin_contracts::{api::CredentialPut, problem::Problem};
use dunlin_runtime::http::{self, Caller};
use lambda_http::{Body, Request, Response};

pub async fn put(context: &Context, caller: &Caller, name: &str, request: &Request) -> Result<Response<Body>, Problem> {
    validate::credential_name(name, "name")?;
    let body: CredentialPut = http::json_body(request, MAX_BODY_BYTES)?;
    validate::credential(&body)?;
    let secret = serde_json::to_string(&body).map_err(|_| Problem::internal())?;
    context.secrets.put(&secret_name(context, caller, name), &secret).await.map_err(|e| failed(&e))?;
    tracing::info!(tenant = %caller.tenant, credential.name = name, "credential stored");
    Ok(http::empty(204))
}

pub async fn delete(context: &Context, caller: &Caller, name: &str) -> Result<Response<Body>, Problem> {
    validate::credential_name(name, "name")?;
    context.secrets.delete(&secret_name(context, caller, name)).await.map_err(|e| failed(&e))?;
    tracing::info!(tenant = %caller.tenant, credential.name = name, "credential deleted");
    Ok(http::empty(204))
}

fn secret_name(context: &Context, caller: &Caller, name: &str) -> String {
    format!("{}/tenants/{}/git/{name}", context.secrets_prefix, caller.tenant)
}
