//! The scan as people see it: in the types of the API, so that a local scan is rendered like any other.

use crate::{
    plan::Names,
    scan::{BASE_JOBS, Parts, Watcher},
    worker::Answer,
};
use dunlin_aggregation::Verdict;
use dunlin_contracts::{
    api::{JobView, ScanView},
    plan::{Plan, PlannedJob},
    steps::Summary,
};
use dunlin_core::{
    job::{JobOutcome, JobResult},
    scan::ScanState,
};
use dunlin_reports::{ReportEngine, ReportHead};
use std::{collections::BTreeMap, time::Instant};
use time::OffsetDateTime;

/// The line of history of a folder that names no branch.
const NO_BRANCH: &str = "HEAD";
/// Instead of `lambda` or `batch`.
const HERE: &str = "local";

pub fn begin(name: &str, track: Option<&str>, names: &Names, parts: &Parts, begun: OffsetDateTime) -> ScanView {
    ScanView {
        id: names.scan.as_uuid(),
        repository_id: names.repository.as_uuid(),
        repository: name.to_owned(),
        status: ScanState::Running.as_str().to_owned(),
        reason: None,
        track: Some(track.unwrap_or(NO_BRANCH).to_owned()),
        revision: Some(parts.plan.revision.clone()),
        requested_by: HERE.to_owned(),
        accepted_at: begun,
        started_at: Some(begun),
        ended_at: None,
        summary: None,
        fail_on: parts.plan.fail_on,
        warnings: Vec::new(),
        jobs: parts.jobs().map(|(number, job)| of_job(number, job)).collect(),
        trace_id: names.scan.as_uuid().simple().to_string(),
    }
}

fn of_job(number: u32, job: &PlannedJob) -> JobView {
    // Jobs over the earlier files are shown on the way and not at the end.
    let engine = if number >= BASE_JOBS { format!("{} before", job.engine) } else { job.engine.clone() };
    JobView {
        job: number,
        engine,
        engine_version: job.engine_version.clone(),
        advisory: job.advisory,
        state: if job.cached { "ended" } else { "queued" }.to_owned(),
        outcome: job.cached.then(|| JobOutcome::Assessed.as_str().to_owned()),
        cached: job.cached,
        compute: HERE.to_owned(),
        attempt: 0,
        files: job.files,
        findings: None,
        duration_ms: None,
        peak_memory_bytes: None,
        error: None,
        shard_index: job.selection.shard.index,
        shard_count: job.selection.shard.count,
    }
}

/// Brings what happens to jobs into the view.
pub struct Running<'a, W> {
    view: &'a mut ScanView,
    numbers: &'a BTreeMap<u32, Vec<u32>>,
    begun: BTreeMap<u32, Instant>,
    watcher: &'a mut W,
}

impl<'a, W: Watcher> Running<'a, W> {
    pub fn new(view: &'a mut ScanView, numbers: &'a BTreeMap<u32, Vec<u32>>, watcher: &'a mut W) -> Self {
        Self { view, numbers, begun: BTreeMap::new(), watcher }
    }

    fn each(&mut self, job: u32, change: impl Fn(&mut JobView)) {
        let own = [job];
        let numbers = self.numbers.get(&job).map_or(own.as_slice(), Vec::as_slice);
        self.view.jobs.iter_mut().filter(|view| numbers.contains(&view.job)).for_each(change);
    }

    pub fn started(&mut self, job: u32) {
        self.begun.insert(job, Instant::now());
        self.each(job, |view| "running".clone_into(&mut view.state));
        self.watcher.changed(self.view);
    }

    pub fn ended(&mut self, job: u32, attempts: u32, answer: &Answer) {
        let took = self.begun.remove(&job).map(milliseconds);
        let (outcome, error) = match answer {
            Answer::Done => (JobOutcome::Assessed, None),
            Answer::Failed(failure) => (failure.outcome, Some(failure.error.cause.clone())),
        };
        self.each(job, |view| {
            "ended".clone_into(&mut view.state);
            view.outcome = Some(outcome.as_str().to_owned());
            view.duration_ms = took;
            view.attempt = attempts;
            view.error.clone_from(&error);
        });
        self.watcher.changed(self.view);
    }

    pub fn tick(&mut self) {
        for (job, begun) in self.begun.clone() {
            self.each(job, |view| view.duration_ms = Some(milliseconds(begun)));
        }
        self.watcher.tick(self.view);
        // The passing of time is no change.
        for job in self.begun.clone().into_keys() {
            self.each(job, |view| view.duration_ms = None);
        }
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

pub fn end(
    view: &mut ScanView,
    plan: &Plan,
    results: &[JobResult],
    verdict: Verdict,
    summary: Summary,
    warnings: Vec<String>,
) {
    view.status = verdict.state.as_str().to_owned();
    view.reason = verdict.reason;
    view.summary = Some(summary);
    view.warnings = warnings;
    view.ended_at = Some(OffsetDateTime::now_utc());
    view.jobs = plan.jobs.iter().zip(results).map(|(job, result)| ended(job, result)).collect();
}

fn ended(job: &PlannedJob, result: &JobResult) -> JobView {
    JobView {
        state: "ended".to_owned(),
        outcome: Some(result.outcome.as_str().to_owned()),
        attempt: result.attempts,
        findings: result.findings,
        duration_ms: result.duration_ms,
        peak_memory_bytes: result.peak_memory_bytes,
        error: result.error.clone(),
        ..of_job(job.job, job)
    }
}

pub fn report_head(view: &ScanView, plan: &Plan, results: &[JobResult]) -> ReportHead {
    let engines = plan.jobs.iter().zip(results).map(|(job, result)| ReportEngine::of(job, result));
    ReportHead {
        scan_id: view.id.to_string(),
        repository: view.repository.clone(),
        repository_url: None,
        revision: plan.revision.clone(),
        track: view.track.clone().unwrap_or_default(),
        state: view.status.clone(),
        started_at: view.accepted_at,
        duration_ms: view.ended_at.and_then(|end| u64::try_from((end - view.accepted_at).whole_milliseconds()).ok()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        engines: engines.collect(),
        warnings: view.warnings.clone(),
    }
}
