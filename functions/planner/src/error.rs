use dunlin_cloud::CloudError;
use dunlin_contracts::errors::planner as names;
use dunlin_runtime::Named;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the input is not a planner input")]
    BadInput(#[source] serde_json::Error),
    #[error("the snapshot cannot be read: {0}")]
    SnapshotUnreadable(String),
    #[error("nothing to scan: {0}")]
    NothingToScan(String),
    #[error("storage does not answer")]
    Storage(#[source] CloudError),
    #[error("storage refused")]
    StorageRefused(#[source] CloudError),
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
            Self::SnapshotUnreadable(_) => names::SNAPSHOT_UNREADABLE,
            Self::NothingToScan(_) => names::NOTHING_TO_SCAN,
            Self::Storage(_) => names::STORAGE_UNAVAILABLE,
            Self::StorageRefused(_) => names::STORAGE_REFUSED,
        }
    }
}
