//! `POST /v1/scans` and `DELETE /v1/scans/{id}`.

use super::{MAX_BODY_BYTES, failed, not_accepted};
use crate::{context::Context, validate};
use dunlin_cloud::{PutOutcome, WorkflowState};
use dunlin_contracts::{
    VERSION,
    api::{ScanAccepted, ScanRequest},
    problem::Problem,
    steps::ScanMessage,
};
use dunlin_core::{RepositoryId, ScanId, keys};
use dunlin_runtime::{
    http::{self, Caller},
    metrics::{self, Unit},
};
use lambda_http::{Body, Request, Response};
use time::OffsetDateTime;

/// Accepts a scan. What was accepted is written down first and sent second: a caller that got no answer asks again with the
/// same `Idempotency-Key`, and whatever was missing is done then.
pub async fn create(
    context: &Context,
    caller: &Caller,
    request: &Request,
    trace_id: &str,
) -> Result<Response<Body>, Problem> {
    let key = validate::idempotency_key(request)?;
    let body: ScanRequest = http::json_body(request, MAX_BODY_BYTES)?;
    let repository = validate::scan_request(&body, &context.egress_allow)?;
    let now = OffsetDateTime::now_utc();
    let scan_id = match &key {
        Some(key) => ScanId::derived(&caller.tenant, key),
        None => ScanId::new(now),
    };
    let message = ScanMessage {
        version: VERSION,
        scan_id,
        tenant: caller.tenant.clone(),
        repository_id: RepositoryId::derived(&caller.tenant, repository.as_str()),
        repository: repository.to_string(),
        request: body,
        requested_by: caller.subject.clone(),
        accepted_at: now,
        trace_id: trace_id.to_owned(),
    };
    let (message, outcome) = write_down(context, message).await?;
    let text = serde_json::to_string(&message).map_err(|_| Problem::internal())?;
    context.scans.send(&text, message.tenant.as_str(), &message.trace_id).await.map_err(|e| not_accepted(&e))?;
    // The same request again is the same scan, and is not one more.
    let replay = outcome == PutOutcome::Exists;
    if !replay {
        metrics::emit("ScansAccepted", Unit::Count, 1.0, &[]);
    }
    tracing::info!(scan.id = %message.scan_id, tenant = %message.tenant, repository.id = %message.repository_id, replay, "scan accepted");
    Ok(accepted(&message, "accepted"))
}

/// Keeps the first request of an id. The same request again is the same scan; another one under the same key is refused.
async fn write_down(context: &Context, message: ScanMessage) -> Result<(ScanMessage, PutOutcome), Problem> {
    let key = keys::accepted(&message.tenant, message.scan_id);
    let text = serde_json::to_string(&message).map_err(|_| Problem::internal())?;
    let outcome = context.objects.put_new(&key, text.into(), "application/json").await.map_err(|e| not_accepted(&e))?;
    match outcome {
        PutOutcome::Created => Ok((message, outcome)),
        PutOutcome::Exists => {
            let first = read_accepted(context, &key).await?.ok_or_else(Problem::internal)?;
            if first.request != message.request {
                return Err(Problem::new(
                    422,
                    "idempotency-key-reused",
                    "The Idempotency-Key was used before",
                    format!("the key belongs to scan {}, which was asked for with another body", first.scan_id),
                ));
            }
            Ok((first, outcome))
        }
    }
}

async fn read_accepted(context: &Context, key: &str) -> Result<Option<ScanMessage>, Problem> {
    let Some(bytes) = context.objects.get(key).await.map_err(|e| failed(&e))? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        tracing::error!(%error, object.key = key, "what was accepted cannot be read");
        Problem::internal()
    })
}

/// Cancels a scan. The tombstone comes first: an execution that starts later finds it, one that runs is stopped.
pub async fn cancel(context: &Context, caller: &Caller, id: &str, trace_id: &str) -> Result<Response<Body>, Problem> {
    let scan_id: ScanId = id.parse().map_err(|_| Problem::not_found("scan"))?;
    let message = read_accepted(context, &keys::accepted(&caller.tenant, scan_id))
        .await?
        .ok_or_else(|| Problem::not_found("scan"))?;
    let name = scan_id.to_string();
    let tombstone = keys::cancelled(&caller.tenant, scan_id);
    let state = context.workflows.state(&name).await.map_err(|e| failed(&e))?;
    if state == Some(WorkflowState::Ended) {
        let asked_before = context.objects.head(&tombstone).await.map_err(|e| failed(&e))?.is_some();
        if !asked_before {
            return Err(Problem::conflict("the scan has ended already"));
        }
    }
    let note = serde_json::json!({ "requested_by": caller.subject, "trace_id": trace_id }).to_string();
    context.objects.put_new(&tombstone, note.into(), "application/json").await.map_err(|e| failed(&e))?;
    context.workflows.stop(&name, "cancelled by its owner").await.map_err(|e| failed(&e))?;
    // Step Functions terminates the jobs of a stopped execution as best it can; this is the part that can be relied on.
    let jobs = context.batch_jobs.terminate_all(&format!("{name}-"), "scan cancelled").await.map_err(|e| failed(&e))?;
    tracing::info!(scan.id = %scan_id, jobs.terminated = jobs, "scan cancelled");
    Ok(accepted(&message, "cancelling"))
}

fn accepted(message: &ScanMessage, status: &str) -> Response<Body> {
    let answer = ScanAccepted {
        id: message.scan_id.as_uuid(),
        repository_id: message.repository_id.as_uuid(),
        status: status.to_owned(),
        trace_id: message.trace_id.clone(),
    };
    let mut response = http::json(202, &answer);
    if let Ok(location) = format!("/v1/scans/{}", message.scan_id).parse() {
        response.headers_mut().insert("location", location);
    }
    response
}
