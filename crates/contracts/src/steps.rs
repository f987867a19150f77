//! Inputs and outputs of the states of `statemachines/scan.asl.json`, and the body of the `scans` queue.

use crate::api::ScanRequest;
use dunlin_core::{
    RepositoryId, ScanId, TenantId,
    finding::Severity,
    job::{Compute, JobOutcome},
    scan::ScanState,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Body of a message in the `scans` queue, input of the execution, and content of `accepted/<tenant>/<scan>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanMessage {
    pub version: u32,
    pub scan_id: ScanId,
    pub tenant: TenantId,
    pub repository_id: RepositoryId,
    /// Canonical name of the repository.
    pub repository: String,
    pub request: ScanRequest,
    /// Who asked: the token's subject.
    pub requested_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub accepted_at: OffsetDateTime,
    /// 32 hexadecimal digits, the trace id of the W3C Trace Context.
    pub trace_id: String,
}

/// Input of `recorder` when a state calls it. (Its other input is an SQS batch of EventBridge events.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum RecorderInput {
    Register { scan: ScanMessage },
    Plan { scan: ScanMessage, snapshot: SnapshotRef, plan_key: String },
    Fail { scan: ScanMessage, error: StepError },
}

/// Output of `recorder`, whatever the action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecorderOutput {
    pub state: ScanState,
    /// The scan has an end already (a cancellation came first). `Register scan` stops quietly then; the other states go on, because
    /// whoever cancelled stops the execution too.
    pub ended: bool,
}

/// What a Catch has seen. `cause` is cut to 1,000 characters by the state machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    pub name: String,
    #[serde(default)]
    pub cause: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInput {
    pub scan: ScanMessage,
}

/// Output of `source`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// `snapshots/<tenant>/<repository>/<revision>`.
    pub prefix: String,
    pub revision: String,
    /// The line of history this scan belongs to: a branch (`HEAD` resolves to its branch), `tag:<name>`, a commit, or
    /// `upload:<branch>`; git allows no colon in a name.
    pub track: String,
    #[serde(with = "time::serde::rfc3339")]
    pub committed_at: OffsetDateTime,
    /// When the branch or tag was looked up; for an upload, when it was accepted. Of a track's scans, the latest decides.
    #[serde(with = "time::serde::rfc3339")]
    pub resolved_at: OffsetDateTime,
    pub files: u64,
    pub bytes: u64,
    /// The snapshot was there already: nothing was fetched.
    pub reused: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannerInput {
    pub scan: ScanMessage,
    pub snapshot: SnapshotRef,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannerOutput {
    pub plan_key: String,
    /// Jobs that must run. Those with a stored result are in the plan only.
    pub jobs: Vec<crate::plan::PlanItem>,
    pub planned: u32,
    pub cached: u32,
}

/// Input of `runner` on Lambda.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerInput {
    pub ticket_url: String,
    pub scan_id: ScanId,
    pub job: u32,
    pub trace_id: String,
}

/// Output of `runner` on Lambda. (On Batch the exit code says it, and S3 holds the rest.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerOutput {
    pub job: u32,
    pub outcome: JobOutcome,
    pub findings: u64,
    pub duration_ms: u64,
}

/// How the Map left one job. Output of an iteration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEnd {
    pub job: u32,
    pub ok: bool,
    pub compute: Compute,
    /// Runs it took: 1 when the first went well.
    pub attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
}

/// `plans/<tenant>/<scan>/jobs/<job>.failure.json`, written by the runner: the reason in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    pub version: u32,
    pub job: u32,
    pub outcome: JobOutcome,
    /// `Runner.EngineCrashed`, ...
    pub error: StepError,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    pub duration_ms: u64,
    pub peak_memory_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregatorInput {
    pub scan: ScanMessage,
    pub snapshot: SnapshotRef,
    pub plan_key: String,
    pub job_ends: Vec<JobEnd>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregatorOutput {
    /// `complete` or `partial` (or `cancelled`, when that came first).
    pub state: ScanState,
    pub summary: Summary,
}

/// Counts of a scan. Jobs are counted once whatever the number of attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Summary {
    pub findings: u64,
    /// By severity: `critical`, `high`, `medium`, `low`, `info`.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub by_severity: BTreeMap<Severity, u64>,
    /// The same without the findings of advisory engines. Only these count towards a threshold (`fail_on`).
    #[schema(value_type = BTreeMap<String, u64>)]
    pub enforced_by_severity: BTreeMap<Severity, u64>,
    /// Findings never seen before on this line of history; findings seen before and gone.
    pub new: u64,
    pub fixed: u64,
    pub jobs: u32,
    pub jobs_cached: u32,
    pub jobs_incomplete: u32,
}

/// Input of `notifier` when a state calls it, and content of `ended/<tenant>/<scan>.json`, which `recorder` writes when the
/// state machine could not call. (Its other input is an SQS batch of S3's events about those objects.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifierInput {
    pub scan: ScanMessage,
    pub state: ScanState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifierOutput {
    pub deliveries: Vec<Delivery>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub channel: String,
    /// `delivered`, `already_delivered`, `not_configured` or `failed`.
    pub outcome: DeliveryOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    Delivered,
    AlreadyDelivered,
    NotConfigured,
    Failed,
}
