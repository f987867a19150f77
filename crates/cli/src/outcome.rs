//! Exit codes. When several apply, the worst wins: error, then incomplete, then findings.

use crate::args::Threshold;
use dunlin_contracts::{api::ScanView, prices::PriceBatchView};
use dunlin_core::{prices::BatchState, scan::ScanState};
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Clean = 0,
    /// Findings at or above the threshold, or bad rows in a batch.
    Findings = 1,
    /// The scan is partial or cancelled, or has not ended: what it did not look at may hold anything. Of a batch: it is still
    /// loading, or its rows are not what queries answer from any more.
    Incomplete = 2,
    /// The command or the scan failed.
    Error = 3,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome as u8)
    }
}

/// The state in the types of this version; `None` when the server is newer and knows another.
pub fn state(scan: &ScanView) -> Option<ScanState> {
    [
        ScanState::Accepted,
        ScanState::Running,
        ScanState::Complete,
        ScanState::Partial,
        ScanState::Failed,
        ScanState::Cancelled,
    ]
    .into_iter()
    .find(|state| state.as_str() == scan.status)
}

pub fn has_ended(scan: &ScanView) -> bool {
    state(scan).is_some_and(ScanState::is_end)
}

/// What a scan means for whoever asked. Findings of advisory engines are told and never fail it. The threshold is theirs, else
/// that of the repository's `.dunlin.toml`.
pub fn judge(scan: &ScanView, asked: Option<Threshold>) -> Outcome {
    let fail_on = match asked {
        Some(threshold) => threshold.severity(),
        None => scan.fail_on,
    };
    match state(scan) {
        Some(ScanState::Failed) => Outcome::Error,
        Some(ScanState::Complete) => match (fail_on, &scan.summary) {
            (None, _) => Outcome::Clean,
            // Without counts nobody can say that it is clean.
            (Some(_), None) => Outcome::Incomplete,
            (Some(least), Some(summary)) => {
                let found =
                    summary.enforced_by_severity.iter().any(|(severity, count)| *severity >= least && *count > 0);
                if found { Outcome::Findings } else { Outcome::Clean }
            }
        },
        _ => Outcome::Incomplete,
    }
}

/// What a batch means for whoever sent it. A duplicate means what the batch means that it is the same as.
pub fn judge_batch(batch: &PriceBatchView) -> Outcome {
    match batch.status {
        BatchState::Published => Outcome::Clean,
        BatchState::Rejected => Outcome::Findings,
        BatchState::Failed => Outcome::Error,
        BatchState::Accepted
        | BatchState::Loading
        | BatchState::Duplicate
        | BatchState::Replaced
        | BatchState::Withdrawn => Outcome::Incomplete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;
    use dunlin_core::finding::Severity;

    #[test]
    fn every_state_and_threshold_has_its_exit_code() {
        let complete = |high: u64| sample::scan_with("complete", &[(Severity::High, high), (Severity::Low, 4)]);
        let table = [
            (complete(1), None, Outcome::Clean),
            (complete(1), Some(Threshold::Critical), Outcome::Clean),
            (complete(1), Some(Threshold::High), Outcome::Findings),
            (complete(1), Some(Threshold::Medium), Outcome::Findings),
            (complete(0), Some(Threshold::Medium), Outcome::Clean),
            (complete(0), Some(Threshold::Low), Outcome::Findings),
            (ScanView { summary: None, ..complete(0) }, Some(Threshold::Low), Outcome::Incomplete),
            (ScanView { status: "partial".into(), ..complete(1) }, Some(Threshold::Low), Outcome::Incomplete),
            (ScanView { status: "partial".into(), ..complete(0) }, None, Outcome::Incomplete),
            (ScanView { status: "cancelled".into(), ..complete(0) }, None, Outcome::Incomplete),
            (ScanView { status: "failed".into(), ..complete(1) }, Some(Threshold::Low), Outcome::Error),
            (ScanView { status: "running".into(), ..complete(0) }, None, Outcome::Incomplete),
            (ScanView { status: "hibernating".into(), ..complete(0) }, None, Outcome::Incomplete),
        ];
        for (scan, fail_on, expected) in table {
            assert_eq!(judge(&scan, fail_on), expected, "{} with {fail_on:?}", scan.status);
        }
    }

    #[test]
    fn the_owners_threshold_holds_until_somebody_asks_for_another() {
        let owned = |status: &str, fail_on| ScanView {
            fail_on: Some(fail_on),
            ..sample::scan_with(status, &[(Severity::High, 1), (Severity::Info, 4)])
        };
        let table = [
            (owned("complete", Severity::High), None, Outcome::Findings),
            (owned("complete", Severity::Info), None, Outcome::Findings),
            (owned("complete", Severity::Critical), None, Outcome::Clean),
            (owned("complete", Severity::High), Some(Threshold::Critical), Outcome::Clean),
            (owned("complete", Severity::High), Some(Threshold::None), Outcome::Clean),
            (owned("partial", Severity::High), Some(Threshold::None), Outcome::Incomplete),
            (owned("complete", Severity::Critical), Some(Threshold::High), Outcome::Findings),
            (owned("partial", Severity::High), None, Outcome::Incomplete),
            (owned("failed", Severity::High), None, Outcome::Error),
        ];
        for (scan, asked, expected) in table {
            assert_eq!(judge(&scan, asked), expected, "{} of {:?} with {asked:?}", scan.status, scan.fail_on);
        }
    }

    #[test]
    fn findings_of_advisory_engines_fail_no_threshold() {
        let mut scan = sample::scan_with("complete", &[(Severity::High, 3)]);
        if let Some(summary) = &mut scan.summary {
            summary.enforced_by_severity = [(Severity::Low, 1)].into();
        }
        assert_eq!(judge(&scan, Some(Threshold::High)), Outcome::Clean);
        assert_eq!(judge(&scan, Some(Threshold::Low)), Outcome::Findings);
    }

    #[test]
    fn the_worst_wins() {
        assert!(Outcome::Error > Outcome::Incomplete && Outcome::Incomplete > Outcome::Findings);
        assert_eq!(
            [Outcome::Clean as u8, Outcome::Findings as u8, Outcome::Incomplete as u8, Outcome::Error as u8],
            [0, 1, 2, 3]
        );
    }
}
