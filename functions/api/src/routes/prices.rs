//! `GET /v1/price-batches`, `GET /v1/price-batches/{id}` and `POST /v1/price-batches/{id}/withdraw`.

use super::{read_json, storage_failed, with_store};
use crate::{context::Context, query::Query};
use dunlin_contracts::{
    prices::{PriceBatchAsked, PriceBatchView},
    problem::Problem,
};
use dunlin_core::{BatchId, keys, prices::BatchState};
use dunlin_runtime::http::{self, Caller};
use dunlin_store::{PriceBatchFilter, Withdrawal};
use lambda_http::{Body, Response};
use std::time::Duration;
use time::OffsetDateTime;

/// For how long the list of bad rows can be fetched.
const VALID: Duration = Duration::from_secs(3600);

pub async fn list(context: &Context, caller: &Caller, mut query: Query) -> Result<Response<Body>, Problem> {
    let filter = PriceBatchFilter { kind: query.word("kind"), state: query.word("status") };
    if filter.state == Some(BatchState::Accepted) {
        query.fault("status", "a batch is in this list as soon as its file has arrived, and loading from then on");
    }
    let page = query.page();
    query.finish()?;
    let batches = with_store(context, async |store| store.price_batches(&caller.tenant, &filter, &page).await).await?;
    Ok(http::json(200, &batches))
}

pub async fn get(context: &Context, caller: &Caller, id: &str, query: Query) -> Result<Response<Body>, Problem> {
    let id = batch_id(id)?;
    query.finish()?;
    let known = with_store(context, async |store| store.price_batch(&caller.tenant, id).await).await?;
    let mut batch = match known {
        Some(batch) => batch,
        None => asked(context, caller, id).await?.map(not_registered_yet).ok_or_else(no_such_batch)?,
    };
    add_report(context, caller, &mut batch).await?;
    Ok(http::json(200, &batch))
}

/// Takes a batch back. Asking twice is the same as asking once.
pub async fn withdraw(context: &Context, caller: &Caller, id: &str, query: Query) -> Result<Response<Body>, Problem> {
    let id = batch_id(id)?;
    query.finish()?;
    let now = OffsetDateTime::now_utc();
    let (withdrawal, batch) = with_store(context, async |store| {
        let withdrawal = store.withdraw_batch(&caller.tenant, id, &caller.subject, now).await?;
        Ok((withdrawal, store.price_batch(&caller.tenant, id).await?))
    })
    .await?;
    let only_published = |state: BatchState| {
        Problem::conflict(format!("the batch is {}; only a published batch can be withdrawn", state.as_str()))
    };
    match withdrawal {
        Withdrawal::Withdrawn => {
            tracing::info!(batch.id = %id, tenant = %caller.tenant, "batch withdrawn");
            Ok(http::json(200, &batch.ok_or_else(no_such_batch)?))
        }
        Withdrawal::NotPublished(state) => Err(only_published(state)),
        Withdrawal::NotPossible => Err(Problem::conflict(
            "only prices can be withdrawn: ports and regions stay, because prices refer to them; send them again to change them",
        )),
        Withdrawal::NotThere => match asked(context, caller, id).await? {
            Some(_) => Err(only_published(BatchState::Accepted)),
            None => Err(no_such_batch()),
        },
    }
}

/// An id in a path. One that does not parse names nothing.
fn batch_id(text: &str) -> Result<BatchId, Problem> {
    text.parse().map_err(|_| no_such_batch())
}

fn no_such_batch() -> Problem {
    Problem::not_found("batch")
}

/// What intake wrote down. A batch whose file has not arrived is known here only.
async fn asked(context: &Context, caller: &Caller, batch: BatchId) -> Result<Option<PriceBatchAsked>, Problem> {
    read_json(context, &keys::price_batch_request(&caller.tenant, batch)).await
}

async fn add_report(context: &Context, caller: &Caller, batch: &mut PriceBatchView) -> Result<(), Problem> {
    if batch.status != BatchState::Rejected {
        return Ok(());
    }
    let key = keys::price_batch_report(&caller.tenant, BatchId::from_uuid(batch.id));
    // Reports do not live as long as batches.
    if context.objects.head(&key).await.map_err(|e| storage_failed(&e))?.is_some() {
        let url = context.objects.presign_get(&key, VALID).await.map_err(|e| storage_failed(&e))?;
        batch.report_url = Some(url);
    }
    Ok(())
}

fn not_registered_yet(asked: PriceBatchAsked) -> PriceBatchView {
    PriceBatchView {
        id: asked.batch_id.as_uuid(),
        kind: asked.request.kind,
        status: BatchState::Accepted,
        key: Some(keys::price_batch_upload(&asked.tenant, asked.request.kind, asked.batch_id)),
        name: asked.request.name,
        sent_by: Some(asked.requested_by),
        bytes: Some(asked.request.bytes),
        sha256: None,
        received_at: asked.accepted_at,
        ended_at: None,
        withdrawn_at: None,
        withdrawn_by: None,
        rows_read: 0,
        ranges: 0,
        ranges_read: 0,
        rows: None,
        first_day: None,
        last_day: None,
        bad_rows: 0,
        reasons: Default::default(),
        first_bad_rows: Vec::new(),
        report_url: None,
        replaces: asked.request.replaces,
        replaced_by: None,
        same_as: None,
        error: None,
    }
}
