//! Why an engine gave no result. The names are contracts: the state machine chooses by them what happens next.

use dunlin_contracts::{errors::runner as names, steps::StepError};
use dunlin_core::job::JobOutcome;
use dunlin_engines::ReportError;
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the engine cannot be started: {0}")]
    EngineMissing(String),
    #[error("the engine failed: {0}")]
    Engine(String),
    #[error("the engine's report cannot be used")]
    Report(#[source] ReportError),
    #[error("the engine's report cannot be used: {0}")]
    NoReport(String),
    #[error("nothing was assessed: the engine opened none of the {files} files it was given, and found nothing")]
    NothingAssessed { files: u64 },
    #[error("the job took longer than {seconds} s")]
    TimedOut { seconds: u64 },
    #[error("the engine needs more than {mib} MiB of memory")]
    OutOfMemory { mib: u64 },
    #[error("the disk is full")]
    DiskFull,
    #[error("a file of the job cannot be written or read")]
    Disk(#[source] io::Error),
    #[error("the job was told to stop")]
    Terminated,
}

impl Error {
    pub fn name(&self) -> &'static str {
        match self {
            Self::EngineMissing(_) => names::ENGINE_MISSING,
            Self::Engine(_) => names::ENGINE_CRASHED,
            Self::Report(_) | Self::NoReport(_) => names::REPORT_UNREADABLE,
            Self::NothingAssessed { .. } => names::NOTHING_ASSESSED,
            Self::TimedOut { .. } => names::TIMED_OUT,
            // A larger machine has a larger disk too.
            Self::OutOfMemory { .. } | Self::DiskFull => names::OUT_OF_MEMORY,
            Self::Disk(_) => names::STORAGE_UNAVAILABLE,
            Self::Terminated => names::TERMINATED,
        }
    }

    pub fn outcome(&self) -> JobOutcome {
        outcome_of(self.name())
    }

    pub fn step_error(&self) -> StepError {
        step_error(self.name(), self)
    }
}

/// How a job ended that failed with the error of this name.
pub fn outcome_of(name: &str) -> JobOutcome {
    match name {
        names::TIMED_OUT => JobOutcome::TimedOut,
        names::OUT_OF_MEMORY => JobOutcome::OutOfMemory,
        _ => JobOutcome::Failed,
    }
}

/// The error with everything below it, in at most 1,000 characters.
pub fn step_error(name: &str, error: &dyn std::error::Error) -> StepError {
    let mut cause = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        cause = format!("{cause}: {error}");
        below = error.source();
    }
    StepError { name: name.to_owned(), cause: cause.chars().take(1000).collect() }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::StorageFull { Self::DiskFull } else { Self::Disk(error) }
    }
}
