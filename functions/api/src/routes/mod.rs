//! One file per resource.

pub mod findings;
pub mod prices;
pub mod rates;
pub mod report;
pub mod repositories;
pub mod scans;
pub mod service;

use crate::context::Context;
use dunlin_cloud::CloudError;
use dunlin_contracts::{problem::Problem, steps::ScanMessage};
use dunlin_core::{ScanId, keys};
use dunlin_runtime::http::Caller;
use dunlin_store::{Store, StoreError};
use serde::de::DeserializeOwned;
use std::{error::Error, future::Future};

/// Runs `work` on a connection of its own and closes it, whatever came of it: an open connection keeps the database awake.
pub async fn with_store<T, F>(context: &Context, work: F) -> Result<T, Problem>
where
    F: AsyncFnOnce(&mut Store) -> Result<T, StoreError>,
{
    let mut store = Store::connect(&context.database).await.map_err(|e| store_failed(&e))?;
    let result = work(&mut store).await;
    store.close().await;
    result.map_err(|e| store_failed(&e))
}

fn store_failed(error: &StoreError) -> Problem {
    if matches!(error, StoreError::BadCursor) {
        return Problem::invalid_field("?cursor", "this is not a cursor of this list");
    }
    let cause = error.source().map(ToString::to_string);
    tracing::error!(error.message = %error, error.cause = cause, "the database failed");
    if error.is_retryable() {
        Problem::unavailable("the database does not answer; it may be waking up, which takes half a minute")
    } else {
        Problem::internal()
    }
}

pub fn storage_failed(error: &CloudError) -> Problem {
    tracing::error!(error.call = error.call, error.message = %error, "a call to aws failed");
    if error.is_retryable() { Problem::unavailable("storage does not answer; try again") } else { Problem::internal() }
}

/// An id in a path. One that does not parse names nothing.
pub fn scan_id(text: &str) -> Result<ScanId, Problem> {
    text.parse().map_err(|_| Problem::not_found("scan"))
}

/// What intake wrote down. A scan that the database does not know yet is known here.
pub async fn accepted(context: &Context, caller: &Caller, scan: ScanId) -> Result<Option<ScanMessage>, Problem> {
    read_json(context, &keys::accepted(&caller.tenant, scan)).await
}

/// What somebody of ours wrote.
async fn read_json<T: DeserializeOwned>(context: &Context, key: &str) -> Result<Option<T>, Problem> {
    let Some(bytes) = context.objects.get(key).await.map_err(|e| storage_failed(&e))? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        tracing::error!(%error, object.key = key, "what was accepted cannot be read");
        Problem::internal()
    })
}

/// `known`, or what `unknown` makes of a scan that was accepted and is not in the database yet; else 404.
pub async fn or_accepted<T, Fut>(known: Option<T>, unknown: Fut) -> Result<T, Problem>
where
    Fut: Future<Output = Result<Option<T>, Problem>>,
{
    match known {
        Some(known) => Ok(known),
        None => unknown.await?.ok_or_else(|| Problem::not_found("scan")),
    }
}
