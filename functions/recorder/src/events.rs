//! What an event on the bus asks the recorder to do. Pure: text in, work out.

use dunlin_contracts::{
    events::{
        BatchJobStateChange, Envelope, ExecutionOutput, ExecutionStatusChange, JOB_STATE_CHANGE, JobStateChange, SOURCE,
    },
    prices::PriceBatchMessage,
    steps::ScanMessage,
};
use dunlin_core::{ScanId, TenantId};
use dunlin_store::{BatchStatus, JobChange};
use serde::de::DeserializeOwned;

/// How the name of the state machine of price batches ends (`infra/terraform/locals.tf`).
const PRICE_BATCH_MACHINE: &str = "-price-batch";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    Job {
        /// Events of Batch know no tenant.
        tenant: Option<TenantId>,
        scan: ScanId,
        job: u32,
        change: JobChange,
    },
    /// The execution is over: see to it that the scan is, too.
    End { scan: ScanId, message: Option<Box<ScanMessage>>, end: ExecutionEnd },
    /// The same for the execution of a batch of prices.
    EndBatch { message: Box<PriceBatchMessage>, end: ExecutionEnd },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionEnd {
    pub status: String,
    /// The state machine has got as far as the receivers, and they have been told.
    pub receivers_told: bool,
    pub error: Option<String>,
    pub cause: Option<String>,
}

/// None: an event that asks for nothing. An error: an event that should have been readable.
pub fn decode(body: &str) -> Result<Option<Work>, String> {
    let envelope: Envelope = serde_json::from_str(body).map_err(|e| format!("the body is no event: {e}"))?;
    match (envelope.source.as_str(), envelope.detail_type.as_str()) {
        (SOURCE, JOB_STATE_CHANGE) => own_job(detail(&envelope)?).map(Some),
        ("aws.batch", "Batch Job State Change") => batch_job(detail(&envelope)?),
        ("aws.states", "Step Functions Execution Status Change") => execution(detail(&envelope)?),
        (source, kind) => {
            tracing::info!(event.id = %envelope.id, event.source = source, event.kind = kind, "event is not known and ignored");
            Ok(None)
        }
    }
}

fn detail<T: DeserializeOwned>(envelope: &Envelope) -> Result<T, String> {
    serde_json::from_value(envelope.detail.clone())
        .map_err(|e| format!("the detail of event {} ({}) is not readable: {e}", envelope.id, envelope.detail_type))
}

fn own_job(event: JobStateChange) -> Result<Work, String> {
    if event.attempt == 0 {
        return Err("attempts are counted from 1".to_owned());
    }
    let change = JobChange::Step { state: event.state, compute: event.compute, attempt: event.attempt };
    Ok(Work::Job { tenant: Some(event.tenant), scan: event.scan_id, job: event.job, change })
}

fn batch_job(event: BatchJobStateChange) -> Result<Option<Work>, String> {
    let Some((scan, job)) = scan_and_job(&event.job_name) else {
        tracing::info!(batch.job = %event.job_name, "batch job is none of a scan and ignored");
        return Ok(None);
    };
    let status = match event.status.as_str() {
        "SUBMITTED" | "PENDING" | "RUNNABLE" => BatchStatus::Waiting,
        "STARTING" => BatchStatus::Starting,
        "RUNNING" => BatchStatus::Running,
        "SUCCEEDED" => BatchStatus::Succeeded,
        "FAILED" => BatchStatus::Failed,
        other => return Err(format!("batch has no job status {other:?}")),
    };
    let finished_runs = u32::try_from(event.attempts.len()).unwrap_or(u32::MAX);
    let change = JobChange::Batch { batch_job: event.job_id, status, finished_runs };
    Ok(Some(Work::Job { tenant: None, scan, job, change }))
}

/// `<scan id>-<job>-<engine>`
fn scan_and_job(name: &str) -> Option<(ScanId, u32)> {
    let (scan, rest) = name.split_at_checked(36)?;
    let (job, engine) = rest.strip_prefix('-')?.split_once('-')?;
    if engine.is_empty() {
        return None;
    }
    Some((scan.parse().ok()?, job.parse().ok()?))
}

fn execution(event: ExecutionStatusChange) -> Result<Option<Work>, String> {
    match event.status.as_str() {
        "RUNNING" | "PENDING_REDRIVE" => return Ok(None),
        "SUCCEEDED" | "FAILED" | "TIMED_OUT" | "ABORTED" => {}
        other => return Err(format!("step functions has no execution status {other:?}")),
    }
    let output = event.output.as_deref().and_then(|text| serde_json::from_str::<ExecutionOutput>(text).ok());
    let end = ExecutionEnd {
        status: event.status,
        receivers_told: output.unwrap_or_default().receivers_told,
        error: event.error,
        cause: event.cause,
    };
    if event.state_machine_arn.ends_with(PRICE_BATCH_MACHINE) {
        let message = message_of::<PriceBatchMessage>(&event.name, event.input.as_deref())?
            .filter(|message| message.batch_id.to_string() == event.name)
            .ok_or_else(|| format!("execution {} does not say its batch", event.name))?;
        return Ok(Some(Work::EndBatch { message: Box::new(message), end }));
    }
    let Ok(scan) = event.name.parse::<ScanId>() else {
        tracing::info!(execution.name = %event.name, "execution is none of a scan and ignored");
        return Ok(None);
    };
    let message = message_of::<ScanMessage>(&event.name, event.input.as_deref())?;
    if let Some(other) = message.as_ref().filter(|message| message.scan_id != scan) {
        return Err(format!("execution {} has the input of scan {}", event.name, other.scan_id));
    }
    Ok(Some(Work::End { scan, message: message.map(Box::new), end }))
}

fn message_of<T: DeserializeOwned>(execution: &str, input: Option<&str>) -> Result<Option<T>, String> {
    let read = |input| {
        serde_json::from_str(input).map_err(|e| format!("the input of execution {execution} is not readable: {e}"))
    };
    input.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(source: &str, kind: &str, detail: &str) -> String {
        format!(
            r#"{{"id":"e-1","source":"{source}","detail-type":"{kind}","time":"2026-11-01T10:00:00Z","detail":{detail}}}"#
        )
    }

    #[test]
    fn job_names_are_taken_apart() {
        let id = "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01";
        let (scan, job) = scan_and_job(&format!("{id}-12-semgrep-pro")).unwrap();
        assert_eq!((scan.to_string().as_str(), job), (id, 12));
        for bad in
            ["", "nightly", id, "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01-x-ruff", &format!("{id}-1-"), &format!("{id}-1")]
        {
            assert_eq!(scan_and_job(bad), None, "{bad}");
        }
    }

    #[test]
    fn unknown_events_are_ignored_and_malformed_ones_are_not() {
        assert_eq!(decode(&event("aws.s3", "Object Created", "{}")), Ok(None));
        assert_eq!(
            decode(&event(
                "aws.batch",
                "Batch Job State Change",
                r#"{"jobId":"b","jobName":"nightly","status":"RUNNING"}"#
            )),
            Ok(None)
        );
        let running = r#"{"executionArn":"a","stateMachineArn":"m","name":"x","status":"RUNNING"}"#;
        assert_eq!(decode(&event("aws.states", "Step Functions Execution Status Change", running)), Ok(None));
        for bad in [
            "",
            "{}",
            "[1]",
            &event(SOURCE, JOB_STATE_CHANGE, "{}"),
            &event("aws.states", "Step Functions Execution Status Change", "{}"),
        ] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_end_of_a_price_batch_is_told_from_that_of_a_scan() {
        let id = "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01";
        let input = serde_json::json!({
            "version": 1, "batch_id": id, "tenant": "demo", "kind": "prices", "key": "price-batches/demo/prices/a.csv",
            "etag": "e", "bytes": 3, "received_at": "2026-01-01T00:00:00Z", "trace_id": "t"
        });
        let detail = |name: &str, input: &serde_json::Value| {
            serde_json::json!({
                "executionArn": "a", "stateMachineArn": "arn:aws:states:eu-central-1:0:stateMachine:dunlin-dev-price-batch",
                "name": name, "status": "TIMED_OUT", "input": input.to_string()
            })
            .to_string()
        };
        let decoded = |detail: &str| decode(&event("aws.states", "Step Functions Execution Status Change", detail));
        match decoded(&detail(id, &input)).unwrap().unwrap() {
            Work::EndBatch { message, end } => {
                assert_eq!((message.batch_id.to_string().as_str(), end.status.as_str()), (id, "TIMED_OUT"));
            }
            other => panic!("{other:?}"),
        }
        assert!(decoded(&detail("0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a02", &input)).is_err());
        assert!(decoded(&detail(id, &serde_json::json!({"scan_id": id}))).is_err());
    }
}
