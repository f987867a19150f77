use crate::{
    batches,
    context::Context,
    error::Error,
    events::{self, ExecutionEnd, Work},
    reason,
};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use dunlin_contracts::{
    VERSION,
    plan::Plan,
    steps::{NotifierInput, RecorderInput, RecorderOutput, ScanMessage, SnapshotRef, StepError},
};
use dunlin_core::{ScanId, TenantId, keys, scan::ScanState};
use dunlin_runtime::{
    deadline, logging,
    metrics::{self, Unit},
    sqs::{RecordFailure, run_batch},
};
use dunlin_store::{Ending, JobEventOutcome, Store};
use serde_json::Value;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use tracing::Instrument;

/// What is kept of an invocation's time to say that the rest of it was not enough.
const RESERVE: Duration = Duration::from_secs(2);

/// [`handle`] with an end of its own: waiting for the database and for its answer may take longer than the function has, and a
/// function that is killed says nothing the state machine would wait an hour for.
pub async fn handle_before(context: &Context, payload: Value, deadline: SystemTime) -> Result<Value, Error> {
    deadline::before(deadline, RESERVE, handle(context, payload)).await.unwrap_or(Err(Error::OutOfTime))
}

/// A state of the state machine, or a batch of the `recordings` queue.
pub async fn handle(context: &Context, payload: Value) -> Result<Value, Error> {
    let bad = |e: serde_json::Error| Error::BadInput(e.to_string());
    if payload.get("Records").is_some() {
        let event: SqsEvent = serde_json::from_value(payload).map_err(bad)?;
        return serde_json::to_value(batch(context, &event).await?).map_err(bad);
    }
    let input: RecorderInput = serde_json::from_value(payload).map_err(bad)?;
    let scan = match &input {
        RecorderInput::Register { scan } | RecorderInput::Plan { scan, .. } | RecorderInput::Fail { scan, .. } => scan,
    };
    let span = logging::work_span("recorder", &scan.trace_id, &scan.scan_id.to_string());
    let output = step(context, &input).instrument(span).await?;
    serde_json::to_value(output).map_err(bad)
}

async fn step(context: &Context, input: &RecorderInput) -> Result<RecorderOutput, Error> {
    match input {
        RecorderInput::Register { scan } => {
            check(scan)?;
            let cancelled = is_cancelled(context, &scan.tenant, scan.scan_id).await?;
            let mut store = Store::connect(&context.database).await?;
            let ending = store.register_scan(scan, cancelled).await;
            store.close().await;
            Ok(told(ending?).into())
        }
        RecorderInput::Plan { scan, snapshot, plan_key } => {
            check(scan)?;
            let plan = read_plan(context, scan, plan_key).await?;
            record_plan(context, scan, snapshot, &plan).await
        }
        RecorderInput::Fail { scan, error } => {
            check(scan)?;
            let reason = reason::of_step(error);
            let mut store = Store::connect(&context.database).await?;
            let ending = store.end_scan(scan, ScanState::Failed, Some(&reason)).await;
            store.close().await;
            Ok(told(ending?).into())
        }
    }
}

async fn record_plan(
    context: &Context,
    scan: &ScanMessage,
    snapshot: &SnapshotRef,
    plan: &Plan,
) -> Result<RecorderOutput, Error> {
    let mut store = Store::connect(&context.database).await?;
    let output = store.record_plan(scan, snapshot, plan).await;
    store.close().await;
    let output = output?;
    let cached = plan.jobs.iter().filter(|job| job.cached).count();
    tracing::info!(jobs = plan.jobs.len(), jobs.cached = cached, "plan is recorded");
    Ok(output)
}

fn check(scan: &ScanMessage) -> Result<(), Error> {
    if scan.version == VERSION {
        return Ok(());
    }
    Err(Error::BadInput(format!("version {} of the scan message is not known here, only {VERSION}", scan.version)))
}

async fn read_plan(context: &Context, scan: &ScanMessage, key: &str) -> Result<Plan, Error> {
    // The key comes from a state's input: it must not lead to another tenant's plan.
    if key != keys::plan(&scan.tenant, scan.scan_id) {
        return Err(Error::BadInput(format!("{key:?} is not the key of this scan's plan")));
    }
    let body = context.objects.get(key).await?.ok_or_else(|| Error::BadInput(format!("there is no plan at {key}")))?;
    let plan: Plan =
        serde_json::from_slice(&body).map_err(|e| Error::BadInput(format!("the plan is not readable: {e}")))?;
    if plan.version == VERSION {
        Ok(plan)
    } else {
        Err(Error::BadInput(format!("version {} of the plan", plan.version)))
    }
}

async fn is_cancelled(context: &Context, tenant: &TenantId, scan: ScanId) -> Result<bool, Error> {
    Ok(context.objects.head(&keys::cancelled(tenant, scan)).await?.is_some())
}

/// Logs and counts an end, once.
fn told(ending: Ending) -> Ending {
    if ending.ended_now {
        tracing::info!(scan.state = ending.state.as_str(), "scan has ended");
        metrics::emit("ScansEnded", Unit::Count, 1.0, &[("outcome", ending.state.as_str())]);
    }
    ending
}

/// Each record is reported on its own; but without a database the whole batch waits, instead of each record in turn.
async fn batch(context: &Context, event: &SqsEvent) -> Result<SqsBatchResponse, Error> {
    let needs_database = event.records.iter().any(|record| matches!(decode(record), Ok(Some(_))));
    let store = if needs_database { Some(Store::connect(&context.database).await?) } else { None };
    let store = Mutex::new(store);
    let response = run_batch(event, 1, |record| {
        let store = &store;
        async move {
            let Some(work) = decode(record)? else { return Ok(()) };
            match store.lock().await.as_mut() {
                Some(store) => record_work(context, store, work).await.map_err(RecordFailure::from),
                None => Ok(()),
            }
        }
    })
    .await;
    if let Some(store) = store.into_inner() {
        store.close().await;
    }
    Ok(response)
}

fn decode(record: &SqsMessage) -> Result<Option<Work>, RecordFailure> {
    let body = record.body.as_deref().unwrap_or_default();
    events::decode(body).map_err(|what| RecordFailure::from(Error::BadInput(what)))
}

async fn record_work(context: &Context, store: &mut Store, work: Work) -> Result<(), Error> {
    match work {
        Work::Job { tenant, scan, job, change } => {
            let tenant = match tenant {
                Some(tenant) => Some(tenant),
                None => store.tenant_of_scan(scan).await?,
            };
            let outcome = match &tenant {
                Some(tenant) => store.record_job_change(tenant, scan, job, &change).await?,
                None => JobEventOutcome::UnknownJob,
            };
            let (scan, outcome) = (scan.to_string(), format!("{outcome:?}"));
            tracing::info!(scan.id = %scan, job, outcome = %outcome, "job event is recorded");
            Ok(())
        }
        Work::End { scan, message, end } => {
            let scan_id = scan.to_string();
            let span = logging::work_span("recorder", message.as_ref().map_or("", |m| &m.trace_id), &scan_id);
            end_scan(context, store, scan, message.as_deref(), &end).instrument(span).await
        }
        Work::EndBatch { message, end } => {
            let span = logging::batch_span("recorder", &message.trace_id, &message.batch_id.to_string());
            batches::end(context, store, &message, &end).instrument(span).await
        }
    }
}

async fn end_scan(
    context: &Context,
    store: &mut Store,
    scan: ScanId,
    message: Option<&ScanMessage>,
    end: &ExecutionEnd,
) -> Result<(), Error> {
    let tenant = match message {
        Some(message) => Some(message.tenant.clone()),
        None => store.tenant_of_scan(scan).await?,
    };
    let Some(tenant) = tenant else {
        // It stays in the queue, then in the dead-letter queue: an accepted scan without any end must be looked at.
        return Err(Error::BadInput(format!("scan {scan} is not known and the event does not say what was asked for")));
    };
    let cancelled = end.status == "ABORTED" && is_cancelled(context, &tenant, scan).await?;
    let reason = reason::of_execution("scan", &end.status, end.error.as_deref(), end.cause.as_deref());
    let (state, reason) =
        if cancelled { (ScanState::Cancelled, None) } else { (ScanState::Failed, Some(reason.as_str())) };
    let ending = match message {
        Some(message) => Some(store.end_scan(message, state, reason).await?),
        None => store.end_known_scan(&tenant, scan, state, reason).await?,
    };
    match ending.map(told) {
        Some(ending) if !told_by_the_state_machine(end, ending.state) => {
            hand_to_notifier(context, store, &tenant, scan, message, ending.state, end).await
        }
        _ => Ok(()),
    }
}

/// Only an execution that says so told the receivers for certain. Another may have, and may have failed on the way there, or
/// given up on a receiver that was away: the notifier's marker knows, and its queue has hours.
fn told_by_the_state_machine(end: &ExecutionEnd, state: ScanState) -> bool {
    end.receivers_told && matches!(state, ScanState::Complete | ScanState::Partial)
}

/// Writes down how the scan ended; the new object is the notifier's event. This function cannot call it: it sits in a network
/// that leads to the database and to S3 only. The first writer wins, and an event that comes again finds the object there, so
/// this is also done when it was not this event that ended the scan: the one that did may have died before it got here.
async fn hand_to_notifier(
    context: &Context,
    store: &Store,
    tenant: &TenantId,
    scan: ScanId,
    message: Option<&ScanMessage>,
    state: ScanState,
    end: &ExecutionEnd,
) -> Result<(), Error> {
    let message = match message {
        Some(message) => message.clone(),
        None => read_accepted(context, tenant, scan).await?,
    };
    let summary = store.scan(tenant, scan).await?.and_then(|view| view.summary);
    let error = end.error.clone().filter(|_| state == ScanState::Failed);
    let error = error.map(|name| StepError { name, cause: end.cause.clone().unwrap_or_default() });
    let input = NotifierInput { scan: message, state, summary, error };
    let text = serde_json::to_vec(&input).map_err(|e| Error::BadInput(e.to_string()))?;
    context.objects.put_new(&keys::ended(tenant, scan), text.into(), "application/json").await?;
    Ok(())
}

async fn read_accepted(context: &Context, tenant: &TenantId, scan: ScanId) -> Result<ScanMessage, Error> {
    let key = keys::accepted(tenant, scan);
    let body = context.objects.get(&key).await?.ok_or_else(|| Error::BadInput(format!("there is no {key}")))?;
    serde_json::from_slice(&body).map_err(|e| Error::BadInput(format!("{key}: {e}")))
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
