//! Decodes, decides what is wanted, reuses or fetches, answers.

use crate::{Context, Error, git, upload};
use dunlin_contracts::{
    VERSION,
    api::Target,
    steps::{SnapshotRef, SourceInput},
};
use dunlin_core::{UploadId, keys};
use dunlin_runtime::{
    logging,
    metrics::{self, Unit},
    time_left,
};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};
use tracing::Instrument;

/// Left of Lambda's time for packing, writing and answering when the git server takes all it may.
const RESERVE: Duration = Duration::from_secs(60);

/// `deadline` is when Lambda ends the invocation.
pub async fn handle(context: &Context, input: Value, deadline: SystemTime) -> Result<SnapshotRef, Error> {
    let input: SourceInput = serde_json::from_value(input).map_err(|e| Error::BadInput(e.to_string()))?;
    let span = logging::work_span("source", &input.scan.trace_id, &input.scan.scan_id.to_string());
    let left = time_left(deadline, SystemTime::now());
    run(context, &input, left.saturating_sub(RESERVE)).instrument(span).await
}

/// `time` is what may be spent on the git server, at most.
pub async fn run(context: &Context, input: &SourceInput, time: Duration) -> Result<SnapshotRef, Error> {
    let scan = &input.scan;
    if scan.version != VERSION {
        return Err(Error::BadInput(format!("version {} is not known here, only {VERSION}", scan.version)));
    }
    let started = Instant::now();
    let snapshot = match &scan.request.target {
        Target::Git { url, branch, tag, commit, credential } => {
            let wanted = git::Wanted::new(branch.as_deref(), tag.as_deref(), commit.as_deref())?;
            let request = git::Request { url, wanted, credential: credential.as_deref() };
            git::snapshot(context, scan, request, time.min(context.limits.fetch_time)).await?
        }
        Target::Upload { upload_id, branch, .. } => {
            let key = keys::upload(&scan.tenant, UploadId::from_uuid(*upload_id));
            upload::snapshot(context, scan, &key, branch.as_deref()).await?
        }
    };
    let duration_ms = started.elapsed().as_millis();
    tracing::info!(
        snapshot.reused = snapshot.reused,
        snapshot.files = snapshot.files,
        snapshot.bytes = snapshot.bytes,
        duration_ms,
        "snapshot is ready"
    );
    let reused = if snapshot.reused { "true" } else { "false" };
    metrics::emit("SnapshotDuration", Unit::Milliseconds, duration_ms as f64, &[("reused", reused)]);
    Ok(snapshot)
}
