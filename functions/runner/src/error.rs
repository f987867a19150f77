//! Why a job has no result. The names are contracts: the state machine chooses by them what happens next.

use dunlin_contracts::{errors::runner as names, steps::StepError};
use dunlin_core::job::JobOutcome;
use dunlin_execution::error::{self as execution, Error as Execution};
use dunlin_runtime::Named;
use dunlin_snapshot::SnapshotError;
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the job's input is not valid: {0}")]
    BadInput(String),
    #[error("the ticket cannot be used: {0}")]
    Ticket(String),
    #[error("the snapshot cannot be used")]
    Snapshot(#[source] SnapshotError),
    #[error("the snapshot is not what the plan says: {0}")]
    OtherSnapshot(String),
    #[error("storage does not answer: {0}")]
    Storage(String),
    #[error(transparent)]
    Execution(#[from] Execution),
}

impl Named for Error {
    fn name(&self) -> &'static str {
        match self {
            Self::BadInput(_) => names::BAD_INPUT,
            Self::Ticket(_) => names::TICKET_UNREADABLE,
            Self::Snapshot(_) | Self::OtherSnapshot(_) => names::SNAPSHOT_UNREADABLE,
            Self::Storage(_) => names::STORAGE_UNAVAILABLE,
            Self::Execution(error) => error.name(),
        }
    }
}

impl Error {
    pub fn outcome(&self) -> JobOutcome {
        execution::outcome_of(self.name())
    }

    /// Exit code on Batch. 75 is "try again" of sysexits.h; 124, 137 and 143 are what shells say for the same.
    pub fn exit_code(&self) -> u8 {
        match self.name() {
            names::BAD_INPUT | names::TICKET_UNREADABLE | names::SNAPSHOT_UNREADABLE => 64,
            names::STORAGE_UNAVAILABLE => 75,
            names::TIMED_OUT => 124,
            names::OUT_OF_MEMORY => 137,
            names::TERMINATED => 143,
            _ => 70,
        }
    }

    pub fn step_error(&self) -> StepError {
        execution::step_error(self.name(), self)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Execution::from(error).into()
    }
}

impl From<SnapshotError> for Error {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Read(error) | SnapshotError::Write(error) => error.into(),
            error => Self::Snapshot(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_asks_for_a_larger_machine() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Error::from(full()).exit_code(), 137);
        assert_eq!(Error::from(SnapshotError::Write(full())).outcome(), JobOutcome::OutOfMemory);
        assert_eq!(Error::from(SnapshotError::Truncated).exit_code(), 64);
    }

    #[test]
    fn every_name_is_in_the_contract() {
        let all = [
            Error::BadInput(String::new()),
            Error::Ticket(String::new()),
            Error::OtherSnapshot(String::new()),
            Execution::EngineMissing(String::new()).into(),
            Execution::Engine(String::new()).into(),
            Execution::NoReport(String::new()).into(),
            Execution::NothingAssessed { files: 1 }.into(),
            Execution::TimedOut { seconds: 1 }.into(),
            Execution::DiskFull.into(),
            Error::Storage(String::new()),
            Execution::Terminated.into(),
        ];
        let mut named: Vec<_> = all.iter().map(Error::name).collect();
        named.sort_unstable();
        let mut runner: Vec<_> =
            dunlin_contracts::errors::ALL.iter().copied().filter(|name| name.starts_with("Runner.")).collect();
        runner.sort_unstable();
        assert_eq!(named, runner);
    }
}
