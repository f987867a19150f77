use dunlin_cloud::CloudError;
use dunlin_store::StoreError;
use std::io;

/// Why a step of a batch fails. Bad rows are no failure: they reject the batch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the input is not one of this function's: {0}")]
    BadInput(String),
    /// No other try will find another file.
    #[error("the file cannot be used: {0}")]
    FileUnusable(String),
    #[error("not every range was loaded: {0}")]
    Incomplete(String),
    #[error("the database is not available")]
    DatabaseUnavailable(#[source] StoreError),
    #[error("the database refused")]
    DatabaseRejected(#[source] StoreError),
    #[error("storage does not answer")]
    Storage(#[source] CloudError),
    #[error("storage refused")]
    StorageRefused(#[source] CloudError),
    #[error("the file stopped in the middle")]
    StorageStream(#[source] io::Error),
    #[error("there is no room for the list of bad rows")]
    Scratch(#[source] io::Error),
}

/// What the caller has to know of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    BadInput,
    FileUnusable,
    Incomplete,
    /// Worth another try, for long.
    DatabaseUnavailable,
    DatabaseRejected,
    /// Worth another try.
    StorageUnavailable,
    StorageRefused,
    /// Of the machine's own: another one may have more of it.
    DiskFull,
}

impl Error {
    pub fn kind(&self) -> Kind {
        match self {
            Self::BadInput(_) => Kind::BadInput,
            Self::FileUnusable(_) => Kind::FileUnusable,
            Self::Incomplete(_) => Kind::Incomplete,
            Self::DatabaseUnavailable(_) => Kind::DatabaseUnavailable,
            Self::DatabaseRejected(_) => Kind::DatabaseRejected,
            Self::StorageRefused(_) => Kind::StorageRefused,
            Self::Scratch(error) if is_full(error) => Kind::DiskFull,
            Self::Storage(_) | Self::StorageStream(_) | Self::Scratch(_) => Kind::StorageUnavailable,
        }
    }

    /// The payload is not what the function takes.
    pub fn input(error: serde_json::Error) -> Self {
        Self::BadInput(error.to_string())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            error if error.is_retryable() => Self::DatabaseUnavailable(error),
            StoreError::Invalid(what) => Self::BadInput(what),
            error => Self::DatabaseRejected(error),
        }
    }
}

impl From<CloudError> for Error {
    fn from(error: CloudError) -> Self {
        match error.kind {
            dunlin_cloud::Kind::Changed => Self::FileUnusable("it is not the one that was announced".to_owned()),
            dunlin_cloud::Kind::NotFound => Self::FileUnusable("it is not there".to_owned()),
            _ if error.is_retryable() => Self::Storage(error),
            _ => Self::StorageRefused(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_told_from_one_that_fails() {
        let kind = |code: i32| Error::Scratch(io::Error::from_raw_os_error(code)).kind();
        // ENOSPC and EDQUOT of Linux; EIO.
        assert_eq!([28, 122, 5].map(kind), [Kind::DiskFull, Kind::DiskFull, Kind::StorageUnavailable]);
    }
}
