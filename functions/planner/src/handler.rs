//! Decodes, plans, looks up stored results, writes the plan and a ticket for each job that must run.

use crate::{context::Context, error::Error, history::History, snapshot};
use dunlin_contracts::{
    VERSION,
    plan::{Plan, PlanItem, PlannedJob, Rung, Ticket},
    steps::{PlannerInput, PlannerOutput},
};
use dunlin_core::{
    job::Compute,
    keys,
    manifest::SnapshotManifest,
    owner_config::{self, OwnerConfig},
};
use dunlin_engines::EngineManifest;
use dunlin_planning::{self as planning, Draft};
use dunlin_runtime::logging;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use std::time::Duration;
use tracing::Instrument;

/// As long as an execution may last: a ticket outlives its job, and nothing more.
const TICKET_VALID: Duration = Duration::from_secs(6 * 3600);
/// Calls to S3 at once.
const CONCURRENCY: usize = 8;

pub async fn handle(context: &Context, input: Value) -> Result<PlannerOutput, Error> {
    let input: PlannerInput = serde_json::from_value(input).map_err(Error::BadInput)?;
    let span = logging::work_span("planner", &input.scan.trace_id, &input.scan.scan_id.to_string());
    run(context, dunlin_engines::catalog(), &input).instrument(span).await
}

pub async fn run(context: &Context, engines: &[EngineManifest], input: &PlannerInput) -> Result<PlannerOutput, Error> {
    let objects = context.objects.as_ref();
    let prefix = &input.snapshot.prefix;
    let manifest = snapshot::manifest(objects, prefix).await?;
    let files = snapshot::files(objects, prefix).await?;
    let mut warnings = planning::left_out(&manifest.skipped, manifest.skipped_total);
    let owner = if files.iter().any(|file| file.path == owner_config::PATH) {
        let text = snapshot::owner_config(objects, prefix, &manifest).await?;
        planning::owner(&text, engines, &mut warnings)
    } else {
        OwnerConfig::default()
    };
    let asked = input.scan.request.engines.as_deref();
    let drafts = planning::plan(engines, &files, asked, &owner, context.settings.lambda_threshold_seconds)
        .map_err(|e| Error::SnapshotUnreadable(e.to_string()))?;
    if drafts.jobs.is_empty() {
        return Err(Error::NothingToScan(format!("of {} files, no engine that may run reads any", files.len())));
    }
    warnings.extend(drafts.warnings);

    let history = History::read(objects, &input.scan.tenant, input.scan.repository_id).await?;
    let prepared: Vec<(PlannedJob, Option<PlanItem>)> = stream::iter(drafts.jobs.iter().enumerate())
        .map(|(n, draft)| prepare(context, input, &manifest, &history, &owner, n as u32, draft))
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let (jobs, items): (Vec<_>, Vec<_>) = prepared.into_iter().unzip();
    let items: Vec<PlanItem> = items.into_iter().flatten().collect();
    let (unread, unread_more) = planning::unread(&manifest.skipped, manifest.skipped_total);
    let plan = Plan {
        version: VERSION,
        scan_id: input.scan.scan_id,
        tenant: input.scan.tenant.clone(),
        repository_id: input.scan.repository_id,
        revision: input.snapshot.revision.clone(),
        jobs,
        nothing_to_read: drafts.nothing_to_read,
        unread,
        unread_more,
        warnings,
        fail_on: owner.fail_on,
    };
    let plan_key = keys::plan(&plan.tenant, plan.scan_id);
    put_json(context, &plan_key, &plan).await?;
    let history_key = keys::plan_history(&plan.tenant, plan.repository_id);
    put_json(context, &history_key, &history.with(&plan.jobs)).await?;
    let planned = plan.jobs.len() as u32;
    let cached = planned - items.len() as u32;
    tracing::info!(jobs.planned = planned, jobs.cached = cached, files = files.len(), "scan planned");
    Ok(PlannerOutput { plan_key, jobs: items, planned, cached })
}

/// Looks the result up; without one, writes a ticket and makes the item that runs the job.
async fn prepare(
    context: &Context,
    input: &PlannerInput,
    manifest: &SnapshotManifest,
    history: &History,
    owner: &OwnerConfig,
    job: u32,
    draft: &Draft<'_>,
) -> Result<(PlannedJob, Option<PlanItem>), Error> {
    let (tenant, scan_id) = (&input.scan.tenant, input.scan.scan_id);
    let cached = context.objects.head(&keys::result(tenant, &draft.result_key)).await?.is_some();
    let compute = if cached { draft.compute } else { compute(context, input, history, owner, draft).await? };
    let planned = draft.planned(job, cached, compute);
    if cached {
        return Ok((planned, None));
    }
    let ticket = ticket(context, input, manifest, job, draft).await?;
    let ticket_key = keys::ticket(tenant, scan_id, job);
    put_json(context, &ticket_key, &ticket).await?;
    let engine = &draft.engine.name;
    let item = PlanItem {
        job,
        engine: engine.clone(),
        compute,
        function: format!("{}{engine}", context.settings.runner_function_prefix),
        job_definition: format!("{}{engine}", context.settings.job_definition_prefix),
        job_name: format!("{scan_id}-{job}-{engine}"),
        ladder: draft.size.and_up().map(Rung::from).collect(),
        timeout_seconds: draft.timeout_seconds,
        ticket_url: context.objects.presign_get(&ticket_key, TICKET_VALID).await?,
    };
    Ok((planned, Some(item)))
}

/// Where the job runs: what the engine did on this repository before goes before a guess from sizes, the owner before both.
async fn compute(
    context: &Context,
    input: &PlannerInput,
    history: &History,
    owner: &OwnerConfig,
    draft: &Draft<'_>,
) -> Result<Compute, Error> {
    let wished = owner.engine.get(&draft.engine.name).is_some_and(|options| options.compute.is_some());
    if wished || !draft.engine.limits.lambda {
        return Ok(draft.compute);
    }
    let objects = context.objects.as_ref();
    Ok(match history.seconds(objects, &input.scan.tenant, draft.engine, draft.bytes).await? {
        None => draft.compute,
        Some(seconds) if seconds < context.settings.lambda_threshold_seconds => Compute::Lambda,
        Some(_) => Compute::Batch,
    })
}

async fn ticket(
    context: &Context,
    input: &PlannerInput,
    manifest: &SnapshotManifest,
    job: u32,
    draft: &Draft<'_>,
) -> Result<Ticket, Error> {
    let objects = &context.objects;
    let (tenant, scan_id) = (&input.scan.tenant, input.scan.scan_id);
    Ok(Ticket {
        version: VERSION,
        scan_id,
        tenant: tenant.clone(),
        job,
        trace_id: input.scan.trace_id.clone(),
        engine: draft.engine.name.clone(),
        engine_version: draft.engine.version.clone(),
        snapshot_url: objects
            .presign_get(&keys::snapshot_archive(&input.snapshot.prefix, &manifest.archive_sha256), TICKET_VALID)
            .await?,
        snapshot_sha256: manifest.archive_sha256.clone(),
        snapshot_bytes: manifest.archive_bytes,
        selection: draft.selection.clone(),
        files: draft.files,
        input_digest: draft.input_digest.clone(),
        result_key: draft.result_key.clone(),
        timeout_seconds: draft.timeout_seconds,
        result_put: objects.presign_put(&keys::result(tenant, &draft.result_key), true, TICKET_VALID).await?,
        report_put: objects.presign_put(&keys::raw_report(tenant, &draft.result_key), false, TICKET_VALID).await?,
        failure_put: objects.presign_put(&keys::job_failure(tenant, scan_id, job), false, TICKET_VALID).await?,
    })
}

async fn put_json<T: serde::Serialize>(context: &Context, key: &str, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec(value).map_err(|e| Error::SnapshotUnreadable(e.to_string()))?;
    Ok(context.objects.put(key, text.into(), "application/json").await?)
}

#[cfg(test)]
mod tests;
