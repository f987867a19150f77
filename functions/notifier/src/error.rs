use dunlin_cloud::CloudError;
use dunlin_contracts::errors::notifier as names;
use dunlin_runtime::{Named, sqs::RecordFailure};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the input is not a notifier input")]
    BadInput(#[source] serde_json::Error),
    #[error("the event is not about the end of a scan: {0}")]
    NotEnded(String),
    #[error("storage does not answer")]
    Storage(#[source] CloudError),
    #[error("storage refused")]
    StorageRefused(#[source] CloudError),
    /// Told once every channel had its turn; what was delivered is not delivered again.
    #[error("not delivered yet: {0}")]
    Delivery(String),
}

impl From<CloudError> for Error {
    fn from(error: CloudError) -> Self {
        if error.is_retryable() { Self::Storage(error) } else { Self::StorageRefused(error) }
    }
}

impl Named for Error {
    fn name(&self) -> &'static str {
        match self {
            Self::BadInput(_) | Self::NotEnded(_) => names::BAD_INPUT,
            Self::Storage(_) => names::STORAGE_UNAVAILABLE,
            Self::StorageRefused(_) => names::STORAGE_REFUSED,
            Self::Delivery(_) => names::DELIVERY_UNAVAILABLE,
        }
    }
}

impl From<Error> for RecordFailure {
    fn from(error: Error) -> Self {
        Self::from_error(error.name(), &error)
    }
}
