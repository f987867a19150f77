//! Events on the bus that Dunlin sends itself, and those of AWS that it reads. They reach `recorder` through the `recordings` queue.

use dunlin_core::{
    ScanId, TenantId,
    job::{Compute, JobState},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Source and detail type of [`JobStateChange`], sent by the state machine.
pub const SOURCE: &str = "dunlin.scan";
pub const JOB_STATE_CHANGE: &str = "Job State Change";

/// The envelope of EventBridge (AWS, "Events in EventBridge").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    pub id: String,
    pub source: String,
    #[serde(rename = "detail-type")]
    pub detail_type: String,
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    pub detail: serde_json::Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStateChange {
    pub scan_id: ScanId,
    pub tenant: TenantId,
    pub job: u32,
    pub state: JobState,
    pub compute: Compute,
    /// From 1.
    pub attempt: u32,
    pub ok: Option<bool>,
}

/// A notification of S3 about objects (Amazon S3 User Guide, "Event message structure"); only what is read. `Records` is
/// missing from the message that S3 sends once, to see whether it may send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEvents {
    #[serde(rename = "Records", default)]
    pub records: Vec<ObjectEvent>,
    /// `s3:TestEvent` on that first message.
    #[serde(rename = "Event", default)]
    pub event: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEvent {
    pub s3: ObjectEventPlace,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEventPlace {
    pub object: ObjectEventKey,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEventKey {
    /// Encoded as in a query string.
    pub key: String,
}

/// Detail of `Object Created` (source `aws.s3`; Amazon S3 User Guide, "EventBridge event message structure"); only what is read.
/// It reaches `dispatcher` through the `price-batches` queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCreated {
    pub object: CreatedObject,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedObject {
    /// As it is: EventBridge's events do not encode keys.
    pub key: String,
    #[serde(default)]
    pub size: u64,
    #[serde(default)]
    pub etag: String,
}

/// Source and detail type of [`ObjectCreated`].
pub const S3: &str = "aws.s3";
pub const OBJECT_CREATED: &str = "Object Created";

/// Detail of `Batch Job State Change` (source `aws.batch`); only what is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchJobStateChange {
    pub job_id: String,
    /// `<scan id>-<job>-<engine>`.
    pub job_name: String,
    /// SUBMITTED, PENDING, RUNNABLE, STARTING, RUNNING, SUCCEEDED or FAILED.
    pub status: String,
    #[serde(default)]
    pub status_reason: Option<String>,
    #[serde(default)]
    pub attempts: Vec<serde_json::Value>,
}

/// What both state machines end with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecutionOutput {
    /// False when the notifier gave up: whoever hears of the end sees to it that it has longer.
    pub receivers_told: bool,
}

/// Detail of `Step Functions Execution Status Change` (source `aws.states`); only what is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionStatusChange {
    pub execution_arn: String,
    pub state_machine_arn: String,
    /// The scan id.
    pub name: String,
    /// RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED.
    pub status: String,
    /// JSON text of [`crate::steps::ScanMessage`]; absent when it was too large for an event.
    #[serde(default)]
    pub input: Option<String>,
    /// JSON text of [`ExecutionOutput`], of an execution that succeeded.
    #[serde(default)]
    pub output: Option<String>,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub cause: Option<String>,
}
