//! `GET /v1/scans/{id}/report`: the aggregator has written it; here is the way to it.

use super::{accepted, or_accepted, scan_id, storage_failed, with_store};
use crate::{context::Context, query::Query};
use dunlin_contracts::problem::Problem;
use dunlin_core::keys;
use dunlin_runtime::http::{self, Caller};
use lambda_http::{Body, Response};
use serde::Deserialize;
use std::time::Duration;

const VALID: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Sarif,
    Json,
    Csv,
}

impl Format {
    const fn extension(self) -> &'static str {
        match self {
            Self::Sarif => "sarif",
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

pub async fn get(context: &Context, caller: &Caller, id: &str, mut query: Query) -> Result<Response<Body>, Problem> {
    let id = scan_id(id)?;
    let format = query.word("format").unwrap_or(Format::Sarif);
    query.finish()?;
    let known = with_store(context, async |store| store.scan(&caller.tenant, id).await).await?;
    let status = or_accepted(known.map(|scan| scan.status), async {
        Ok(accepted(context, caller, id).await?.map(|_| "accepted".to_owned()))
    })
    .await?;
    let key = keys::report(&caller.tenant, id, format.extension());
    if !matches!(status.as_str(), "complete" | "partial") {
        return Err(Problem::conflict(format!("the scan is {status}; only complete and partial scans have a report")));
    }
    if context.objects.head(&key).await.map_err(|e| storage_failed(&e))?.is_none() {
        return Err(Problem::conflict("the report is no longer kept; scan again to make it anew"));
    }
    let url = context.objects.presign_get(&key, VALID).await.map_err(|e| storage_failed(&e))?;
    let mut response = http::empty(303);
    let location = url.parse().map_err(|_| Problem::internal())?;
    response.headers_mut().insert("location", location);
    Ok(response)
}
