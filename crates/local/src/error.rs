use dunlin_snapshot::SnapshotError;
use std::{io, path::PathBuf};

/// Why there is no scan. What goes wrong with one engine is no error: the scan is partial then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the files cannot be scanned")]
    Files(#[source] SnapshotError),
    #[error("{} cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("of {files} files, no engine that may run reads any")]
    NothingToScan { files: usize },
    #[error("there is no engine {given:?}; there are {}", known.join(", "))]
    UnknownEngine { given: String, known: Vec<String> },
    #[error("the files change faster than they can be read; the last one was {path}")]
    Restless { path: String },
    #[error("a pattern of an engine is not a glob")]
    Pattern(#[from] dunlin_core::selection::BadPattern),
    #[error("{reference} cannot be read: {why}")]
    Since { reference: String, why: String },
    #[error("there is no room for the scan's own files")]
    Scratch(#[source] io::Error),
    #[error("the scan was stopped")]
    Stopped,
}

impl From<SnapshotError> for Error {
    fn from(error: SnapshotError) -> Self {
        Self::Files(error)
    }
}
