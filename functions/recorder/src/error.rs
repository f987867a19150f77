use dunlin_cloud::CloudError;
use dunlin_contracts::errors::recorder as names;
use dunlin_runtime::{Named, sqs::RecordFailure};
use dunlin_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the input is not one of the recorder's: {0}")]
    BadInput(String),
    #[error("the database is not available")]
    DatabaseUnavailable(#[source] StoreError),
    #[error("the database does not answer in time")]
    OutOfTime,
    #[error("the database refused")]
    DatabaseRejected(#[source] StoreError),
    #[error("storage does not answer")]
    Storage(#[source] CloudError),
    #[error("storage refused")]
    StorageRefused(#[source] CloudError),
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
        if error.is_retryable() { Self::Storage(error) } else { Self::StorageRefused(error) }
    }
}

impl Named for Error {
    fn name(&self) -> &'static str {
        match self {
            Self::BadInput(_) => names::BAD_INPUT,
            Self::DatabaseUnavailable(_) | Self::OutOfTime => names::DATABASE_UNAVAILABLE,
            Self::DatabaseRejected(_) => names::DATABASE_REJECTED,
            Self::Storage(_) => names::STORAGE_UNAVAILABLE,
            Self::StorageRefused(_) => names::STORAGE_REFUSED,
        }
    }
}

impl From<Error> for RecordFailure {
    fn from(error: Error) -> Self {
        Self::from_error(error.name(), &error)
    }
}
