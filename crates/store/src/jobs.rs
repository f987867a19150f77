//! States of jobs as events tell them: late, twice, and from two senders that do not know each other.

use crate::{
    Store, StoreError,
    values::{self, signed32, unsigned32},
};
use dunlin_core::{
    ScanId, TenantId,
    job::{Compute, JobState},
};
use serde::{Deserialize, Serialize};

/// What an event says about one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobChange {
    /// From the state machine, which counts its attempts from 1.
    Step { state: JobState, compute: Compute, attempt: u32 },
    /// From Batch, which knows its own job id and how many runs of it have finished (it runs a job again after a lost host).
    Batch { batch_job: String, status: BatchStatus, finished_runs: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStatus {
    /// SUBMITTED, PENDING, RUNNABLE.
    Waiting,
    Starting,
    Running,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEventOutcome {
    Applied,
    /// Seen before, or overtaken by a later one.
    Stale,
    /// The scan has ended: at most the number of attempts was corrected.
    ScanEnded,
    UnknownJob,
}

/// Column `progress`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    /// Of the state machine; 0 before the first.
    attempt: u32,
    /// Batch's own retries within this attempt.
    retry: u32,
    batch: Vec<BatchRun>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct BatchRun {
    id: String,
    attempt: u32,
    retries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    state: JobState,
    compute: Compute,
    progress: Progress,
}

impl Job {
    /// The order of everything that can be known of a job.
    fn position(&self) -> (u32, u32, JobState) {
        (self.progress.attempt, self.progress.retry, self.state)
    }

    /// Runs begun so far, whoever began them.
    fn attempts(&self) -> u32 {
        self.progress.attempt + self.progress.batch.iter().map(|run| run.retries).sum::<u32>()
    }

    /// The job after `change`; none when it tells nothing new.
    fn after(&self, change: &JobChange) -> Option<Self> {
        match change {
            JobChange::Step { state, compute, attempt } => self.after_step(*state, *compute, *attempt),
            JobChange::Batch { batch_job, status, finished_runs } => {
                self.after_batch(batch_job, *status, *finished_runs)
            }
        }
    }

    fn after_step(&self, state: JobState, compute: Compute, attempt: u32) -> Option<Self> {
        let mut next = self.clone();
        if attempt > self.progress.attempt {
            (next.progress.attempt, next.progress.retry) = (attempt, 0);
        } else if attempt < self.progress.attempt || state <= self.state {
            return None;
        }
        (next.state, next.compute) = (state, compute);
        Some(next)
    }

    fn after_batch(&self, id: &str, status: BatchStatus, finished_runs: u32) -> Option<Self> {
        let mut next = self.clone();
        let ended = matches!(status, BatchStatus::Succeeded | BatchStatus::Failed);
        // The runs that finished include the last one once the job itself has.
        let retry = if ended { finished_runs.saturating_sub(1) } else { finished_runs };
        let known = next.progress.batch.iter().position(|run| run.id == id);
        let run = match known {
            Some(index) => index,
            None => {
                next.progress.batch.push(BatchRun {
                    id: id.to_owned(),
                    attempt: self.attempt_of_new_batch_job()?,
                    retries: 0,
                });
                next.progress.batch.len() - 1
            }
        };
        let run = next.progress.batch.get_mut(run)?;
        run.retries = run.retries.max(retry);
        let attempt = run.attempt;
        let state = match status {
            BatchStatus::Waiting => Some(JobState::Queued),
            BatchStatus::Starting => Some(JobState::Starting),
            BatchStatus::Running => Some(JobState::Running),
            BatchStatus::Succeeded => Some(JobState::Ended),
            // Perhaps the state machine tries once more: only it knows.
            BatchStatus::Failed => None,
        };
        if let Some(state) = state
            && (attempt, retry, state) > self.position()
        {
            (next.progress.attempt, next.progress.retry) = (attempt, retry);
            (next.state, next.compute) = (state, Compute::Batch);
        }
        (next != *self).then_some(next)
    }

    /// Which attempt a Batch job belongs to that was never heard of; none when it comes too late to matter.
    fn attempt_of_new_batch_job(&self) -> Option<u32> {
        let current = self.progress.attempt;
        if self.state == JobState::Ended {
            return None;
        }
        if current == 0 {
            return Some(1);
        }
        // The event is ahead of the state machine's own when the current attempt is taken already.
        let taken = self.compute == Compute::Lambda || self.progress.batch.iter().any(|run| run.attempt == current);
        Some(if taken { current + 1 } else { current })
    }
}

impl Store {
    pub async fn record_job_change(
        &mut self,
        tenant: &TenantId,
        scan: ScanId,
        job: u32,
        change: &JobChange,
    ) -> Result<JobEventOutcome, StoreError> {
        let key: (&str, _, _) = (tenant.as_str(), scan.as_uuid(), signed32(job));
        let tx = self.client.transaction().await?;
        let row = tx
            .query_opt(
                "select state, compute, progress, attempt from jobs where tenant = $1 and scan_id = $2 and job = $3 for update",
                &[&key.0, &key.1, &key.2],
            )
            .await?;
        let Some(row) = row else { return Ok(JobEventOutcome::UnknownJob) };
        let progress: serde_json::Value = row.get(2);
        let before = Job {
            state: values::job_state(row.get(0))?,
            compute: values::compute(row.get(1))?,
            progress: serde_json::from_value(progress)
                .map_err(|e| StoreError::Unreadable { column: "progress", value: e.to_string() })?,
        };
        let attempts = unsigned32(row.get(3));
        // Asked after the job's row is locked: whoever ends the scan touches that row too.
        let scan_state: String =
            tx.query_one("select state from scans where tenant = $1 and id = $2", &[&key.0, &key.1]).await?.get(0);
        let Some(mut after) = before.after(change) else { return Ok(JobEventOutcome::Stale) };
        let ended = values::scan_state(&scan_state)?.is_end();
        let attempts = signed32(after.attempts().max(attempts));
        if ended {
            (after.state, after.compute) = (before.state, before.compute);
        }
        let progress = serde_json::to_value(&after.progress).map_err(|e| StoreError::Invalid(e.to_string()))?;
        tx.execute(
            "update jobs set state = $4, compute = $5, progress = $6, attempt = $7,
                 started_at = case when $4 = 'running' then coalesce(started_at, now()) else started_at end,
                 ended_at = case when $4 = 'ended' then coalesce(ended_at, now()) end
             where tenant = $1 and scan_id = $2 and job = $3",
            &[&key.0, &key.1, &key.2, &after.state.as_str(), &after.compute.as_str(), &progress, &attempts],
        )
        .await?;
        tx.commit().await?;
        Ok(if ended { JobEventOutcome::ScanEnded } else { JobEventOutcome::Applied })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(compute: Compute) -> Job {
        Job { state: JobState::Queued, compute, progress: Progress::default() }
    }
    fn step(state: JobState, compute: Compute, attempt: u32) -> JobChange {
        JobChange::Step { state, compute, attempt }
    }
    fn batch(id: &str, status: BatchStatus, finished_runs: u32) -> JobChange {
        JobChange::Batch { batch_job: id.to_owned(), status, finished_runs }
    }
    /// Applies in order; stale ones change nothing.
    fn run(job: Job, changes: &[JobChange]) -> Job {
        changes.iter().fold(job, |job, change| job.after(change).unwrap_or(job))
    }

    #[test]
    fn late_and_repeated_events_never_go_back() {
        let order = [
            step(JobState::Queued, Compute::Lambda, 1),
            step(JobState::Running, Compute::Lambda, 1),
            step(JobState::Ended, Compute::Lambda, 1),
        ];
        let end = run(fresh(Compute::Lambda), &order);
        assert_eq!((end.state, end.attempts()), (JobState::Ended, 1));
        for late in &order {
            assert_eq!(end.after(late), None);
        }
        let backwards: Vec<_> = order.iter().rev().cloned().collect();
        assert_eq!(run(fresh(Compute::Lambda), &backwards), end);
    }

    #[test]
    fn a_second_attempt_starts_over_on_batch() {
        let job = run(
            fresh(Compute::Lambda),
            &[
                step(JobState::Running, Compute::Lambda, 1),
                step(JobState::Queued, Compute::Batch, 2),
                batch("b1", BatchStatus::Starting, 0),
                step(JobState::Ended, Compute::Lambda, 1),
            ],
        );
        assert_eq!((job.state, job.compute, job.attempts()), (JobState::Starting, Compute::Batch, 2));
    }

    #[test]
    fn a_lost_host_is_one_more_attempt_and_the_job_waits_again() {
        let job = run(
            fresh(Compute::Batch),
            &[
                step(JobState::Queued, Compute::Batch, 1),
                batch("b1", BatchStatus::Running, 0),
                batch("b1", BatchStatus::Waiting, 1),
            ],
        );
        assert_eq!((job.state, job.attempts()), (JobState::Queued, 2));
        let job = run(job, &[batch("b1", BatchStatus::Running, 1), batch("b1", BatchStatus::Running, 0)]);
        assert_eq!((job.state, job.attempts()), (JobState::Running, 2));
        let job = run(job, &[batch("b1", BatchStatus::Succeeded, 2)]);
        assert_eq!((job.state, job.attempts()), (JobState::Ended, 2));
    }

    #[test]
    fn events_of_an_earlier_batch_job_do_not_disturb_the_next() {
        let job = run(
            fresh(Compute::Batch),
            &[
                batch("small", BatchStatus::Running, 0),
                batch("small", BatchStatus::Failed, 1),
                step(JobState::Queued, Compute::Batch, 2),
                batch("medium", BatchStatus::Starting, 0),
                batch("small", BatchStatus::Running, 0),
                batch("small", BatchStatus::Failed, 1),
            ],
        );
        assert_eq!((job.state, job.attempts()), (JobState::Starting, 2));
    }

    #[test]
    fn batch_may_be_ahead_of_the_state_machine() {
        let ahead = [
            step(JobState::Running, Compute::Lambda, 1),
            batch("b1", BatchStatus::Running, 0),
            step(JobState::Queued, Compute::Batch, 2),
        ];
        let job = run(fresh(Compute::Lambda), &ahead);
        assert_eq!((job.state, job.compute, job.attempts()), (JobState::Running, Compute::Batch, 2));
    }

    #[test]
    fn a_failed_batch_job_has_not_ended_until_the_state_machine_says_so() {
        let job =
            run(fresh(Compute::Batch), &[batch("b", BatchStatus::Running, 0), batch("b", BatchStatus::Failed, 1)]);
        assert_eq!(job.state, JobState::Running);
        assert_eq!(run(job, &[step(JobState::Ended, Compute::Batch, 1)]).state, JobState::Ended);
    }

    #[test]
    fn nothing_wakes_a_job_that_ended() {
        let job = run(fresh(Compute::Batch), &[step(JobState::Ended, Compute::Batch, 1)]);
        assert_eq!(job.after(&batch("late", BatchStatus::Running, 0)), None);
    }
}
