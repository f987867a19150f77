//! `GET /v1/scans` and `GET /v1/scans/{id}`.

use super::{accepted, or_accepted, scan_id, with_store};
use crate::{context::Context, query::Query};
use dunlin_contracts::{api::ScanView, problem::Problem, steps::ScanMessage};
use dunlin_core::scan::ScanState;
use dunlin_runtime::http::{self, Caller};
use dunlin_store::ScanFilter;
use lambda_http::{Body, Response};

pub async fn list(context: &Context, caller: &Caller, mut query: Query) -> Result<Response<Body>, Problem> {
    let filter = ScanFilter { state: query.word("status"), repository: query.parsed("repository_id") };
    let page = query.page();
    query.finish()?;
    let scans = with_store(context, async |store| store.list_scans(&caller.tenant, &filter, &page).await).await?;
    Ok(http::json(200, &scans))
}

pub async fn get(context: &Context, caller: &Caller, id: &str, query: Query) -> Result<Response<Body>, Problem> {
    let id = scan_id(id)?;
    query.finish()?;
    let known = with_store(context, async |store| store.scan(&caller.tenant, id).await).await?;
    let scan = or_accepted(known, async { Ok(accepted(context, caller, id).await?.map(not_registered_yet)) }).await?;
    Ok(http::json(200, &scan))
}

fn not_registered_yet(message: ScanMessage) -> ScanView {
    ScanView {
        id: message.scan_id.as_uuid(),
        repository_id: message.repository_id.as_uuid(),
        repository: message.repository,
        status: ScanState::Accepted.as_str().to_owned(),
        reason: None,
        track: None,
        revision: None,
        requested_by: message.requested_by,
        accepted_at: message.accepted_at,
        started_at: None,
        ended_at: None,
        summary: None,
        fail_on: None,
        warnings: Vec::new(),
        jobs: Vec::new(),
        trace_id: message.trace_id,
    }
}
