//! Why a job has no result. The names are contracts: the state machine chooses by them what happens next.

use dunlin_contracts::{errors::runner as names, steps::StepError};
use dunlin_core::job::JobOutcome;
use dunlin_engines::ReportError;
use dunlin_runtime::Named;
use dunlin_snapshot::SnapshotError;
use std::{error::Error as _, io};

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
    #[error("the engine cannot be started: {0}")]
    EngineMissing(String),
    #[error("the engine failed: {0}")]
    Engine(String),
    #[error("the engine's report cannot be used")]
    Report(#[source] ReportError),
    #[error("the engine's report cannot be used: {0}")]
    NoReport(String),
    #[error("the job took longer than {seconds} s")]
    TimedOut { seconds: u64 },
    #[error("the engine needs more than {mib} MiB of memory")]
    OutOfMemory { mib: u64 },
    #[error("the disk is full")]
    DiskFull,
    #[error("storage does not answer: {0}")]
    Storage(String),
    #[error("a file of the job cannot be written or read")]
    Disk(#[source] io::Error),
    #[error("the job was told to stop")]
    Terminated,
}

impl Named for Error {
    fn name(&self) -> &'static str {
        match self {
            Self::BadInput(_) => names::BAD_INPUT,
            Self::Ticket(_) => names::TICKET_UNREADABLE,
            Self::Snapshot(_) | Self::OtherSnapshot(_) => names::SNAPSHOT_UNREADABLE,
            Self::EngineMissing(_) => names::ENGINE_MISSING,
            Self::Engine(_) => names::ENGINE_CRASHED,
            Self::Report(_) | Self::NoReport(_) => names::REPORT_UNREADABLE,
            Self::TimedOut { .. } => names::TIMED_OUT,
            // A larger machine has a larger disk too.
            Self::OutOfMemory { .. } | Self::DiskFull => names::OUT_OF_MEMORY,
            Self::Storage(_) | Self::Disk(_) => names::STORAGE_UNAVAILABLE,
            Self::Terminated => names::TERMINATED,
        }
    }
}

impl Error {
    pub fn outcome(&self) -> JobOutcome {
        match self.name() {
            names::TIMED_OUT => JobOutcome::TimedOut,
            names::OUT_OF_MEMORY => JobOutcome::OutOfMemory,
            _ => JobOutcome::Failed,
        }
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
        let mut cause = self.to_string();
        let mut below = self.source();
        while let Some(error) = below {
            cause = format!("{cause}: {error}");
            below = error.source();
        }
        StepError { name: self.name().to_owned(), cause: cause.chars().take(1000).collect() }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::StorageFull { Self::DiskFull } else { Self::Disk(error) }
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
            Error::EngineMissing(String::new()),
            Error::Engine(String::new()),
            Error::NoReport(String::new()),
            Error::TimedOut { seconds: 1 },
            Error::DiskFull,
            Error::Storage(String::new()),
            Error::Terminated,
        ];
        let mut named: Vec<_> = all.iter().map(Error::name).collect();
        named.sort_unstable();
        let mut runner: Vec<_> =
            dunlin_contracts::errors::ALL.iter().copied().filter(|name| name.starts_with("Runner.")).collect();
        runner.sort_unstable();
        assert_eq!(named, runner);
    }
}
