//! The plan of a scan: what the planner decides and everybody after it reads.

use dunlin_core::{
    RepositoryId, ResultKey, ScanId, TenantId,
    job::{Compute, JobOutcome, JobResult, Size},
    selection::Selection,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// At most this many jobs a scan, so that the Map's input stays under the 256 KiB of a state payload. A test holds it.
pub const MAX_JOBS: usize = 60;

/// `plans/<tenant>/<scan>/plan.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub version: u32,
    pub scan_id: ScanId,
    pub tenant: TenantId,
    pub repository_id: RepositoryId,
    /// Commit id or tree digest.
    pub revision: String,
    pub jobs: Vec<PlannedJob>,
    /// Engines that may run by request and owner, and select no file: nothing is left of what they found. One that was left out
    /// by name has not looked and is not here.
    #[serde(default)]
    pub nothing_to_read: Vec<String>,
    /// Files that are there and are not in the snapshot: what was found in them before is not gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// There are more of these than `unread` names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread_more: bool,
    /// What people should know: an invalid `.dunlin.toml` with line and column, files left out of the snapshot ...
    pub warnings: Vec<String>,
    /// `fail_on` of `.dunlin.toml`, when it is set there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_on: Option<dunlin_core::finding::Severity>,
}

impl Plan {
    /// Engines whose every planned job assessed all it was given. Only they can say that something is gone: an engine that
    /// crashed, ran out of time, left files out or misses a shard has not looked everywhere. One that may run and has nothing
    /// left to read saw everything without a job; one that was left out saw nothing. What is in [`Self::unread`] nobody saw.
    pub fn engines_that_saw_everything(&self, results: &[JobResult]) -> Vec<String> {
        if self.unread_more {
            return Vec::new();
        }
        let outcomes: BTreeMap<u32, JobOutcome> = results.iter().map(|job| (job.job, job.outcome)).collect();
        let mut shards: BTreeMap<&str, (BTreeSet<u32>, u32, bool)> = BTreeMap::new();
        for job in &self.jobs {
            let entry = shards.entry(&job.engine).or_insert((BTreeSet::new(), 0, true));
            entry.0.insert(job.selection.shard.index);
            entry.1 = entry.1.max(job.selection.shard.count);
            entry.2 &= outcomes.get(&job.job) == Some(&JobOutcome::Assessed);
        }
        let without_a_job = self.nothing_to_read.iter().filter(|engine| !shards.contains_key(engine.as_str()));
        shards
            .iter()
            .filter(|(_, (present, count, assessed))| *assessed && present.len() == *count as usize)
            .map(|(engine, _)| (*engine).to_owned())
            .chain(without_a_job.cloned())
            .collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedJob {
    /// Its number, from 0.
    pub job: u32,
    pub engine: String,
    pub engine_version: String,
    /// Advisory engines never make a scan fail its threshold.
    pub advisory: bool,
    pub selection: Selection,
    /// Files selected, and the sum of their sizes.
    pub files: u64,
    pub bytes: u64,
    /// [`dunlin_core::selection::InputDigest`] of the files selected.
    pub input_digest: String,
    pub result_key: ResultKey,
    /// The result was there already: nothing runs.
    pub cached: bool,
    pub compute: Compute,
    pub size: Size,
    pub timeout_seconds: u32,
}

/// One item of the Map. Everything else is behind `ticket_url`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanItem {
    pub job: u32,
    pub engine: String,
    pub compute: Compute,
    /// Name of the Lambda function that runs this engine.
    pub function: String,
    /// Name of the Batch job definition of this engine.
    pub job_definition: String,
    /// `<scan id>-<job>-<engine>`: events about the Batch job are matched by it.
    pub job_name: String,
    /// First rung first. Step Functions goes one up when memory was not enough.
    pub ladder: Vec<Rung>,
    pub timeout_seconds: u32,
    /// A presigned URL of the [`Ticket`].
    pub ticket_url: String,
}

/// Strings, because Batch wants strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    pub size: Size,
    pub vcpu: String,
    pub memory_mib: String,
}

impl From<Size> for Rung {
    fn from(size: Size) -> Self {
        Self { size, vcpu: size.vcpu().to_string(), memory_mib: size.memory_mib().to_string() }
    }
}

/// Everything a runner needs for one job, and all the access it has: presigned URLs for its own objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    pub version: u32,
    pub scan_id: ScanId,
    pub tenant: TenantId,
    pub job: u32,
    pub trace_id: String,
    pub engine: String,
    pub engine_version: String,
    pub snapshot_url: String,
    pub snapshot_sha256: String,
    pub snapshot_bytes: u64,
    pub selection: Selection,
    pub files: u64,
    pub input_digest: String,
    pub result_key: ResultKey,
    pub timeout_seconds: u32,
    pub result_put: PresignedPut,
    pub report_put: PresignedPut,
    pub failure_put: PresignedPut,
}

/// A PUT that must be sent with exactly these headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresignedPut {
    pub url: String,
    pub headers: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_saw_everything_where_it_is_not_known_what_was_left_out() {
        let plan: Plan = serde_json::from_value(serde_json::json!({
            "version": 1, "scan_id": "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01", "tenant": "acme",
            "repository_id": "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a02", "revision": "1", "jobs": [],
            "nothing_to_read": ["ruff"], "warnings": [],
        }))
        .unwrap();
        assert_eq!(plan.engines_that_saw_everything(&[]), ["ruff"]);
        assert!(Plan { unread_more: true, ..plan }.engines_that_saw_everything(&[]).is_empty());
    }
}
