use dunlin_cloud::CloudError;
use dunlin_contracts::errors::source as names;
use dunlin_egress::{EgressError, Refused};
use dunlin_runtime::Named;
use dunlin_snapshot::SnapshotError;
use std::io;

/// Why there is no snapshot. People who asked for the scan read these texts: no text holds a token, a path of this machine or
/// what a server sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the input is not a source input: {0}")]
    BadInput(String),
    #[error("the repository does not exist: {0}")]
    RepositoryNotFound(&'static str),
    #[error("the repository has no {kind} {name:?}")]
    RefNotFound { kind: &'static str, name: String },
    #[error("access is denied: {0}")]
    AccessDenied(String),
    #[error("the address is refused")]
    AddressRefused(#[source] Refused),
    #[error("the address is refused: {0}")]
    UrlRefused(&'static str),
    #[error("the repository is too large: {0}")]
    TooLarge(String),
    #[error("the files are too large or too many")]
    FilesTooLarge(#[source] SnapshotError),
    #[error("the upload cannot be used")]
    ArchiveRefused(#[source] SnapshotError),
    #[error("the repository cannot be used: {0}")]
    RepositoryRefused(String),
    #[error("the repository is empty: it has no commit yet")]
    Empty,
    #[error("nothing was uploaded with this id, or it was deleted meanwhile")]
    UploadMissing,
    #[error("the git server cannot be reached or does not answer properly: {0}")]
    Unavailable(String),
    #[error("there is no room or no access for temporary files")]
    Scratch(#[source] io::Error),
    #[error("storage does not answer")]
    Storage(#[source] CloudError),
    #[error("storage refused")]
    StorageRefused(#[source] CloudError),
}

impl Error {
    /// An error of packing what came from a repository.
    pub(crate) fn in_repository(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Write(e) | SnapshotError::Read(e) => Self::Scratch(e),
            e if e.is_too_large() => Self::FilesTooLarge(e),
            e => Self::RepositoryRefused(e.to_string()),
        }
    }

    pub(crate) fn in_upload(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Write(e) | SnapshotError::Read(e) => Self::Scratch(e),
            e if e.is_too_large() => Self::FilesTooLarge(e),
            e => Self::ArchiveRefused(e),
        }
    }
}

impl From<CloudError> for Error {
    fn from(error: CloudError) -> Self {
        if error.is_retryable() { Self::Storage(error) } else { Self::StorageRefused(error) }
    }
}

impl From<EgressError> for Error {
    fn from(error: EgressError) -> Self {
        match error {
            EgressError::Refused(refused) => Self::AddressRefused(refused),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl Named for Error {
    fn name(&self) -> &'static str {
        match self {
            Self::BadInput(_) => names::BAD_INPUT,
            Self::RepositoryNotFound(_) => names::REPOSITORY_NOT_FOUND,
            Self::RefNotFound { .. } => names::REF_NOT_FOUND,
            Self::AccessDenied(_) => names::ACCESS_DENIED,
            Self::AddressRefused(_) | Self::UrlRefused(_) => names::ADDRESS_REFUSED,
            Self::TooLarge(_) | Self::FilesTooLarge(_) => names::TOO_LARGE,
            Self::ArchiveRefused(_) | Self::RepositoryRefused(_) => names::ARCHIVE_REFUSED,
            Self::Empty => names::EMPTY,
            Self::UploadMissing => names::UPLOAD_MISSING,
            Self::Unavailable(_) | Self::Scratch(_) | Self::Storage(_) => names::UNAVAILABLE,
            Self::StorageRefused(_) => names::STORAGE_REFUSED,
        }
    }
}
