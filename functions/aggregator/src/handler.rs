use crate::{context::Context, error::Error, reports, results};
use dunlin_aggregation::{
    Loaded, Verdict,
    outcome::{self, JobEnding},
    verdict,
};
use dunlin_contracts::{
    VERSION,
    api::JobView,
    plan::{Plan, PlannedJob},
    steps::{AggregatorInput, AggregatorOutput, JobEnd, JobFailure, Summary},
};
use dunlin_core::{keys, scan::ScanState};
use dunlin_reports::ReportEngine;
use dunlin_runtime::{
    logging,
    metrics::{self, Unit},
};
use dunlin_store::{Aggregation, Commit, JobResult, Prepared, Store};
use serde_json::Value;
use tracing::Instrument;

pub async fn handle(context: &Context, payload: Value) -> Result<AggregatorOutput, Error> {
    let input: AggregatorInput = serde_json::from_value(payload).map_err(|e| Error::BadInput(e.to_string()))?;
    if input.scan.version != VERSION {
        return Err(Error::BadInput(format!("version {} of the scan message", input.scan.version)));
    }
    let span = logging::work_span("aggregator", &input.scan.trace_id, &input.scan.scan_id.to_string());
    async {
        let mut store = Store::connect(&context.database).await?;
        let output = run(context, &mut store, &input).await;
        store.close().await;
        output
    }
    .instrument(span)
    .await
}

async fn run(context: &Context, store: &mut Store, input: &AggregatorInput) -> Result<AggregatorOutput, Error> {
    // The second delivery of the same input, or somebody was faster: nothing to load.
    if let Some(output) = as_it_ended(context, store, input).await? {
        return Ok(output);
    }
    let plan = read_plan(context, input).await?;
    let endings = load(context, store, input, &plan).await?;
    let verdict = verdict::of_scan(&plan, &endings);
    match publish(context, store, input, &plan, &endings, &verdict).await? {
        Some(output) => {
            tell(&output);
            Ok(output)
        }
        None => as_it_ended(context, store, input)
            .await?
            .ok_or_else(|| Error::BadInput("the scan has an end and has none".to_owned())),
    }
}

/// What a scan that has ended says of itself. Its reports are written again where one is missing.
async fn as_it_ended(
    context: &Context,
    store: &mut Store,
    input: &AggregatorInput,
) -> Result<Option<AggregatorOutput>, Error> {
    let scan = &input.scan;
    let Some(view) = store.scan(&scan.tenant, scan.scan_id).await? else { return Ok(None) };
    let Some(ended) = store.ended(scan).await? else { return Ok(None) };
    let state = ended.state;
    let has_result = matches!(state, ScanState::Complete | ScanState::Partial);
    if has_result && !reports::all_there(&*context.objects, scan).await? {
        let engines = view.jobs.into_iter().map(engine_of_view).collect();
        let (track, revision) = (view.track.unwrap_or_default(), view.revision.unwrap_or_default());
        let head = reports::head(scan, state.as_str(), &track, &revision, engines, view.warnings);
        let rules = ended.rules().await?;
        reports::write(&*context.objects, scan, &head, &rules, ended.findings(&rules).await?).await?;
    }
    tracing::info!(scan.state = state.as_str(), "scan had ended before");
    Ok(Some(AggregatorOutput { state, summary: ended.summary.unwrap_or_default() }))
}

async fn read_plan(context: &Context, input: &AggregatorInput) -> Result<Plan, Error> {
    let scan = &input.scan;
    // The key comes from a state's input: it must not lead to another tenant's plan.
    if input.plan_key != keys::plan(&scan.tenant, scan.scan_id) {
        return Err(Error::PlanUnreadable(format!("{:?} is not the key of this scan's plan", input.plan_key)));
    }
    let body = context.objects.get(&input.plan_key).await?;
    let body = body.ok_or_else(|| Error::PlanUnreadable("it is not there".to_owned()))?;
    let plan: Plan = serde_json::from_slice(&body).map_err(|e| Error::PlanUnreadable(e.to_string()))?;
    if plan.version != VERSION {
        return Err(Error::PlanUnreadable(format!("version {} is not known here", plan.version)));
    }
    if plan.scan_id != scan.scan_id || plan.tenant != scan.tenant {
        return Err(Error::PlanUnreadable("it is the plan of another scan".to_owned()));
    }
    Ok(plan)
}

/// Takes in every job's result, one after the other, and says how each job ended.
async fn load(
    context: &Context,
    store: &mut Store,
    input: &AggregatorInput,
    plan: &Plan,
) -> Result<Vec<JobEnding>, Error> {
    let mut loader = store.load().await?;
    let mut endings = Vec::with_capacity(plan.jobs.len());
    for job in &plan.jobs {
        let loaded = results::load(&*context.objects, &input.scan.tenant, job, &mut loader).await?;
        let end = input.job_ends.iter().find(|end| end.job == job.job);
        let failure = match (&loaded, end) {
            (Loaded::Missing, Some(JobEnd { ok: false, .. })) => read_failure(context, input, job).await?,
            _ => None,
        };
        let ending = outcome::of_job(job, loaded, end, failure.as_ref());
        if let Some(error) = &ending.result.error {
            let outcome = ending.result.outcome.as_str();
            tracing::warn!(job = job.job, engine = %job.engine, outcome, error.message = %error, "job is not complete");
        }
        endings.push(ending);
    }
    Ok(endings)
}

/// The runner's own words, when it had the time to write them down.
async fn read_failure(
    context: &Context,
    input: &AggregatorInput,
    job: &PlannedJob,
) -> Result<Option<JobFailure>, Error> {
    let key = keys::job_failure(&input.scan.tenant, input.scan.scan_id, job.job);
    let Some(body) = context.objects.get(&key).await? else { return Ok(None) };
    // The state machine's words are there in any case.
    Ok(serde_json::from_slice(&body).ok().filter(|failure: &JobFailure| failure.job == job.job))
}

/// Matches, writes the reports and ends the scan; none when it had an end already.
async fn publish(
    context: &Context,
    store: &mut Store,
    input: &AggregatorInput,
    plan: &Plan,
    endings: &[JobEnding],
    verdict: &Verdict,
) -> Result<Option<AggregatorOutput>, Error> {
    let (scan, snapshot) = (&input.scan, &input.snapshot);
    let jobs: Vec<JobResult> = endings.iter().map(|ending| ending.result.clone()).collect();
    let aggregation = Aggregation { scan, snapshot, plan, jobs: &jobs };
    let aggregated = match store.aggregate(aggregation).await? {
        Prepared::Ended(_) => return Ok(None),
        Prepared::Ready(aggregated) => aggregated,
    };
    let engines = plan.jobs.iter().zip(&jobs).map(|(job, result)| ReportEngine::of(job, result)).collect();
    let state = verdict.state;
    let head = reports::head(scan, state.as_str(), &snapshot.track, &snapshot.revision, engines, plan.warnings.clone());
    let rules = aggregated.rules().await?;
    reports::write(&*context.objects, scan, &head, &rules, aggregated.findings(&rules).await?).await?;
    let summary = aggregated.summary().clone();
    match aggregated.commit(state, verdict.reason.as_deref()).await? {
        Commit::Done => Ok(Some(AggregatorOutput { state, summary })),
        Commit::EndedAs(_) => Ok(None),
    }
}

fn engine_of_view(job: JobView) -> ReportEngine {
    ReportEngine {
        engine: job.engine,
        version: job.engine_version,
        outcome: job.outcome.unwrap_or_default(),
        files: job.files,
        duration_ms: job.duration_ms,
        note: job.error,
    }
}

/// Logs and counts an end, once: whoever comes later finds the scan ended.
fn tell(output: &AggregatorOutput) {
    let Summary { findings, new, fixed, jobs, jobs_cached, jobs_incomplete, .. } = &output.summary;
    let state = output.state.as_str();
    tracing::info!(scan.state = state, findings, new, fixed, jobs, jobs_cached, jobs_incomplete, "scan has ended");
    metrics::emit("ScansEnded", Unit::Count, 1.0, &[("outcome", state)]);
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
