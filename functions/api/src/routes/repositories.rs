//! `GET /v1/repositories` and `GET /v1/repositories/{id}`.

use super::with_store;
use crate::{context::Context, query::Query};
use dunlin_contracts::problem::Problem;
use dunlin_core::RepositoryId;
use dunlin_runtime::http::{self, Caller};
use lambda_http::{Body, Response};

pub async fn list(context: &Context, caller: &Caller, mut query: Query) -> Result<Response<Body>, Problem> {
    let page = query.page();
    query.finish()?;
    let repositories = with_store(context, async |store| store.list_repositories(&caller.tenant, &page).await).await?;
    Ok(http::json(200, &repositories))
}

pub async fn get(context: &Context, caller: &Caller, id: &str, query: Query) -> Result<Response<Body>, Problem> {
    let id: RepositoryId = id.parse().map_err(|_| Problem::not_found("repository"))?;
    query.finish()?;
    let repository = with_store(context, async |store| store.repository(&caller.tenant, id).await)
        .await?
        .ok_or_else(|| Problem::not_found("repository"))?;
    Ok(http::json(200, &repository))
}
