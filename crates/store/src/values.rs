//! Words and ranks of the database, both ways.

use crate::error::StoreError;
use dunlin_core::{
    finding::{Confidence, Severity},
    job::{Compute, JobState},
    prices::{BatchKind, BatchState},
    scan::ScanState,
};
use std::borrow::Cow;

/// Lists every value once, so that reading is the inverse of `as_str` by construction.
macro_rules! parse {
    ($name:ident, $type:ty, $column:literal, [$($value:expr),+ $(,)?]) => {
        pub(crate) fn $name(text: &str) -> Result<$type, StoreError> {
            [$($value),+]
                .into_iter()
                .find(|value| value.as_str() == text)
                .ok_or_else(|| StoreError::Unreadable { column: $column, value: text.to_owned() })
        }
    };
}

parse!(
    scan_state,
    ScanState,
    "state",
    [
        ScanState::Accepted,
        ScanState::Running,
        ScanState::Complete,
        ScanState::Partial,
        ScanState::Failed,
        ScanState::Cancelled,
    ]
);
parse!(job_state, JobState, "state", [JobState::Queued, JobState::Starting, JobState::Running, JobState::Ended]);
parse!(compute, Compute, "compute", [Compute::Lambda, Compute::Batch]);
parse!(confidence, Confidence, "confidence", [Confidence::Low, Confidence::Medium, Confidence::High]);
parse!(batch_kind, BatchKind, "kind", [BatchKind::Prices, BatchKind::Ports, BatchKind::Regions]);
parse!(
    batch_state,
    BatchState,
    "state",
    [
        BatchState::Loading,
        BatchState::Published,
        BatchState::Rejected,
        BatchState::Failed,
        BatchState::Duplicate,
        BatchState::Replaced,
        BatchState::Withdrawn,
    ]
);

/// Severities are stored as ranks, so that the database can sort by them.
pub(crate) const fn rank(severity: Severity) -> i16 {
    match severity {
        Severity::Info => 0,
        Severity::Low => 1,
        Severity::Medium => 2,
        Severity::High => 3,
        Severity::Critical => 4,
    }
}

pub(crate) fn severity(value: i16) -> Result<Severity, StoreError> {
    Severity::ALL
        .into_iter()
        .find(|s| rank(*s) == value)
        .ok_or_else(|| StoreError::Unreadable { column: "severity", value: value.to_string() })
}

/// Postgres has no character 0 in text, and one in a message must not lose the whole scan.
pub(crate) fn text(value: &str) -> Cow<'_, str> {
    if value.contains('\0') { Cow::Owned(value.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(value) }
}

/// Counters are unsigned everywhere but in Postgres.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn signed32(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(crate) fn unsigned32(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_go_both_ways_and_keep_the_order() {
        for s in Severity::ALL {
            assert_eq!(severity(rank(s)).unwrap(), s);
        }
        assert!(rank(Severity::Critical) > rank(Severity::Info));
        assert!(severity(9).is_err());
    }

    #[test]
    fn an_unknown_word_names_its_column() {
        assert!(scan_state("finished").unwrap_err().to_string().contains("state holds \"finished\""));
        assert_eq!(scan_state("partial").unwrap(), ScanState::Partial);
    }

    #[test]
    fn the_character_zero_is_replaced() {
        assert_eq!(text("a\0b"), "a\u{fffd}b");
    }
}
