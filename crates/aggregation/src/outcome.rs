//! How each planned job ended: from its result if there is one, else from what the runner and the state machine say.

use crate::check::Loaded;
use dunlin_contracts::{
    errors,
    plan::PlannedJob,
    steps::{JobEnd, JobFailure, StepError},
};
use dunlin_core::job::{JobOutcome, JobResult};

const MAX_CHARS: usize = 500;

/// A job's end, with a few words for the scan's own reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnding {
    pub result: JobResult,
    /// `engine crashed`; none when the job assessed all it was given.
    pub words: Option<String>,
}

/// A result that is there counts, whatever the state machine has seen: it is stored under everything that decides it, and the
/// message about its success may have been lost.
pub fn of_job(job: &PlannedJob, loaded: Loaded, end: Option<&JobEnd>, failure: Option<&JobFailure>) -> JobEnding {
    let result = JobResult {
        job: job.job,
        outcome: JobOutcome::Failed,
        compute: end.map_or(job.compute, |end| end.compute),
        attempts: end.map_or(0, |end| end.attempts),
        findings: None,
        duration_ms: None,
        peak_memory_bytes: None,
        error: None,
    };
    match loaded {
        Loaded::Result(manifest) => {
            let partly = manifest.outcome == JobOutcome::PartlyAssessed;
            let note = partly.then(|| cut(manifest.note.as_deref().unwrap_or("files were left out")));
            JobEnding {
                result: JobResult {
                    outcome: manifest.outcome,
                    findings: Some(manifest.findings),
                    duration_ms: Some(manifest.duration_ms),
                    peak_memory_bytes: Some(manifest.peak_memory_bytes),
                    error: note.clone(),
                    ..result
                },
                words: note,
            }
        }
        Loaded::Unreadable(what) => failed(result, format!("its result cannot be read: {what}")),
        Loaded::Missing => without_result(job, result, end, failure),
    }
}

fn without_result(
    job: &PlannedJob,
    result: JobResult,
    end: Option<&JobEnd>,
    failure: Option<&JobFailure>,
) -> JobEnding {
    if job.cached {
        return failed(result, "its stored result is gone".to_owned());
    }
    let Some(end) = end else {
        let words = "it did not get its turn".to_owned();
        return JobEnding {
            result: JobResult { outcome: JobOutcome::NotRun, error: Some(words.clone()), ..result },
            words: Some(words),
        };
    };
    if end.ok {
        return failed(result, "its result is missing".to_owned());
    }
    // The runner's own words may be those of an earlier attempt. The state machine knows the last one, by name.
    let told = end.error.as_ref();
    let own_words = failure.filter(|failure| {
        let name = told.map(|error| error.name.as_str());
        name.is_none_or(|name| may_be(name, &failure.error.name) || !errors::ALL.contains(&name) && !is_timeout(name))
    });
    let unknown = StepError { name: "unknown error".to_owned(), cause: String::new() };
    let error = own_words.map(|failure| &failure.error).or(told).unwrap_or(&unknown);
    let words = words(&error.name);
    let cause = cut(&error.cause);
    let text = if cause.is_empty() { words.clone() } else { cut(&format!("{words}: {cause}")) };
    JobEnding {
        result: JobResult {
            outcome: outcome(&error.name),
            duration_ms: own_words.map(|failure| failure.duration_ms),
            peak_memory_bytes: own_words.map(|failure| failure.peak_memory_bytes),
            error: Some(text),
            ..result
        },
        words: Some(words),
    }
}

fn failed(result: JobResult, words: String) -> JobEnding {
    JobEnding { result: JobResult { error: Some(words.clone()), ..result }, words: Some(words) }
}

/// Whether the state machine's name may stand for the runner's: of a container it knows the exit code, and some share one.
fn may_be(told: &str, own: &str) -> bool {
    use errors::runner::*;
    let shared: &[&str] = match told {
        ENGINE_CRASHED => &[ENGINE_MISSING, REPORT_UNREADABLE, NOTHING_ASSESSED],
        BAD_INPUT => &[TICKET_UNREADABLE, SNAPSHOT_UNREADABLE],
        _ => &[],
    };
    told == own || shared.contains(&own)
}

fn is_timeout(name: &str) -> bool {
    matches!(name, "Runner.TimedOut" | "States.Timeout" | "Sandbox.Timedout")
}

fn is_out_of_memory(name: &str) -> bool {
    matches!(name, "Runner.OutOfMemory" | "Runtime.OutOfMemory")
}

fn outcome(name: &str) -> JobOutcome {
    if is_timeout(name) {
        JobOutcome::TimedOut
    } else if is_out_of_memory(name) {
        JobOutcome::OutOfMemory
    } else {
        JobOutcome::Failed
    }
}

fn words(name: &str) -> String {
    let known = match name {
        name if is_timeout(name) => "timed out",
        name if is_out_of_memory(name) => "out of memory",
        "Runner.EngineCrashed" => "engine crashed",
        "Runner.EngineMissing" => "engine is not installed",
        "Runner.ReportUnreadable" => "its report cannot be read",
        "Runner.NothingAssessed" => "it opened none of its files",
        "Runner.SnapshotUnreadable" => "the snapshot cannot be read",
        "Runner.TicketUnreadable" | "Runner.BadInput" => "the job's input cannot be read",
        "Runner.StorageUnavailable" => "storage did not answer",
        "Runner.Terminated" => "it was terminated",
        other => return format!("it failed ({})", cut(other)),
    };
    known.to_owned()
}

/// One line, bounded: a cause may be a page.
fn cut(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::job::Compute;
    use dunlin_testkit::fixtures;

    fn job() -> PlannedJob {
        fixtures::job(&fixtures::scan("acme", 1), 0, "zizmor", dunlin_core::selection::Shard::WHOLE)
    }
    fn end(name: &str, cause: &str) -> JobEnd {
        let error = Some(StepError { name: name.to_owned(), cause: cause.to_owned() });
        JobEnd { job: 0, ok: false, compute: Compute::Batch, attempts: 2, error }
    }
    fn failure(name: &str, cause: &str) -> JobFailure {
        JobFailure {
            version: 1,
            job: 0,
            outcome: JobOutcome::Failed,
            error: StepError { name: name.to_owned(), cause: cause.to_owned() },
            exit_code: Some(2),
            duration_ms: 77,
            peak_memory_bytes: 88,
        }
    }

    #[test]
    fn the_runner_tells_it_best() {
        let told = failure("Runner.EngineCrashed", "exit code 2: panicked at 'x'\nbacktrace");
        let ending = of_job(&job(), Loaded::Missing, Some(&end("Runner.EngineCrashed", "exit code 70")), Some(&told));
        assert_eq!(ending.result.error.as_deref(), Some("engine crashed: exit code 2: panicked at 'x'"));
        assert_eq!((ending.result.outcome, ending.result.duration_ms), (JobOutcome::Failed, Some(77)));
        assert_eq!((ending.words.as_deref(), ending.result.attempts), (Some("engine crashed"), 2));
    }

    #[test]
    fn of_a_container_only_the_exit_code_is_known() {
        for (own, code) in [
            ("Runner.ReportUnreadable", "Runner.EngineCrashed"),
            ("Runner.NothingAssessed", "Runner.EngineCrashed"),
            ("Runner.SnapshotUnreadable", "Runner.BadInput"),
        ] {
            let told = failure(own, "why");
            let ending = of_job(&job(), Loaded::Missing, Some(&end(code, "exit code 70")), Some(&told));
            assert_eq!(ending.words, Some(words(own)));
            assert_eq!(ending.result.error, Some(format!("{}: why", words(own))));
            assert_eq!(ending.result.outcome, JobOutcome::Failed);
        }
    }

    #[test]
    fn but_not_about_an_attempt_that_was_not_the_last() {
        let earlier = failure("Runner.TimedOut", "after 60 s");
        let ending = of_job(&job(), Loaded::Missing, Some(&end("Runner.OutOfMemory", "exit code 137")), Some(&earlier));
        assert_eq!(ending.result.outcome, JobOutcome::OutOfMemory);
        assert_eq!(ending.result.error.as_deref(), Some("out of memory: exit code 137"));
        let ending = of_job(&job(), Loaded::Missing, Some(&end("States.Timeout", "")), Some(&earlier));
        assert_eq!((ending.result.outcome, ending.result.duration_ms), (JobOutcome::TimedOut, None));
    }

    #[test]
    fn a_name_that_is_not_ours_leaves_the_word_to_the_runner() {
        let told = failure("Runner.ReportUnreadable", "line 3");
        let ending = of_job(&job(), Loaded::Missing, Some(&end("States.TaskFailed", "x")), Some(&told));
        assert_eq!(ending.words.as_deref(), Some("its report cannot be read"));
        let ending = of_job(&job(), Loaded::Missing, Some(&end("States.TaskFailed", "Host EC2 terminated")), None);
        assert_eq!(ending.result.error.as_deref(), Some("it failed (States.TaskFailed): Host EC2 terminated"));
    }

    #[test]
    fn success_without_a_result_is_no_success() {
        let ok = JobEnd { ok: true, error: None, ..end("", "") };
        let ending = of_job(&job(), Loaded::Missing, Some(&ok), None);
        assert_eq!(
            (ending.result.outcome, ending.words.as_deref()),
            (JobOutcome::Failed, Some("its result is missing"))
        );
        let ending = of_job(&job(), Loaded::Missing, None, None);
        assert_eq!(ending.result.outcome, JobOutcome::NotRun);
        let cached = PlannedJob { cached: true, ..job() };
        let ending = of_job(&cached, Loaded::Missing, None, None);
        assert_eq!(
            (ending.result.outcome, ending.words.as_deref()),
            (JobOutcome::Failed, Some("its stored result is gone"))
        );
    }
}
