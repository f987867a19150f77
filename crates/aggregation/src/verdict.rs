//! Complete or partial, and why. Incomplete is not clean.

use crate::outcome::JobEnding;
use dunlin_contracts::plan::Plan;
use dunlin_core::{job::JobOutcome, scan::ScanState};

const MAX_CHARS: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub state: ScanState,
    /// One sentence; none when the scan is complete.
    pub reason: Option<String>,
}

/// `endings` are those of the plan's jobs, in the plan's order.
pub fn of_scan(plan: &Plan, endings: &[JobEnding]) -> Verdict {
    // Shards of one engine that ended in the same way are told once.
    let mut groups: Vec<(&str, bool, &str, u32)> = Vec::new();
    for (job, ending) in plan.jobs.iter().zip(endings) {
        let Some(words) = &ending.words else { continue };
        let finished = ending.result.outcome == JobOutcome::PartlyAssessed;
        let group = groups.iter_mut().find(|g| (g.0, g.1, g.2) == (job.engine.as_str(), finished, words.as_str()));
        match group {
            Some(group) => group.3 += 1,
            None => groups.push((&job.engine, finished, words, 1)),
        }
    }
    if groups.is_empty() {
        return Verdict { state: ScanState::Complete, reason: None };
    }
    let parts: Vec<String> = groups
        .into_iter()
        .map(|(engine, finished, words, count)| {
            let shards = plan.jobs.iter().filter(|job| job.engine == engine).count();
            let which = if shards > 1 { format!(" ({count} of {shards} shards)") } else { String::new() };
            let what = if finished { "left files out" } else { "did not finish" };
            format!("{engine} {what}{which}: {words}")
        })
        .collect();
    Verdict { state: ScanState::Partial, reason: Some(parts.join("; ").chars().take(MAX_CHARS).collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check::Loaded, outcome};
    use dunlin_contracts::steps::{JobEnd, StepError};
    use dunlin_core::{job::Compute, selection::Shard};
    use dunlin_testkit::fixtures;

    #[test]
    fn the_reason_names_each_engine_once() {
        let scan = fixtures::scan("acme", 1);
        let mut plan = fixtures::plan(&scan, &fixtures::snapshot(&scan, 1), &["zizmor"]);
        for index in 0..3 {
            plan.jobs.push(fixtures::job(&scan, index + 1, "semgrep", Shard { index, count: 3 }));
        }
        let end = |name: &str| JobEnd {
            job: 0,
            ok: false,
            compute: Compute::Lambda,
            attempts: 1,
            error: Some(StepError { name: name.into(), cause: String::new() }),
        };
        let ending = |n: usize, name: &str| outcome::of_job(&plan.jobs[n], Loaded::Missing, Some(&end(name)), None);
        let endings = [
            ending(0, "Runner.EngineCrashed"),
            ending(1, "Runner.TimedOut"),
            ending(2, "Runner.TimedOut"),
            ending(3, "Runner.OutOfMemory"),
        ];
        let verdict = of_scan(&plan, &endings);
        assert_eq!(verdict.state, ScanState::Partial);
        assert_eq!(
            verdict.reason.as_deref(),
            Some(
                "zizmor did not finish: engine crashed; semgrep did not finish (2 of 3 shards): timed out; \
                 semgrep did not finish (1 of 3 shards): out of memory"
            )
        );
    }
}
