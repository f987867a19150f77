use dunlin_cloud::CloudError;
use dunlin_contracts::errors::aggregator as names;
use dunlin_reports::ReportError;
use dunlin_runtime::Named;
use dunlin_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the input is not an aggregator input: {0}")]
    BadInput(String),
    #[error("the plan cannot be read: {0}")]
    PlanUnreadable(String),
    #[error("the database is not available")]
    DatabaseUnavailable(#[source] StoreError),
    #[error("the database takes too long")]
    DatabaseTimedOut(#[source] StoreError),
    #[error("the database refused")]
    DatabaseRejected(#[source] StoreError),
    #[error("storage does not answer")]
    Storage(#[source] CloudError),
    #[error("storage refused")]
    StorageRefused(#[source] CloudError),
    #[error("an object stopped in the middle")]
    StorageStream(#[source] std::io::Error),
    #[error("a report cannot be written")]
    Report(#[source] ReportError),
    #[error("there is no room for the reports")]
    Scratch(#[source] std::io::Error),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TimedOut { .. } => Self::DatabaseTimedOut(error),
            error if error.is_retryable() => Self::DatabaseUnavailable(error),
            error => Self::DatabaseRejected(error),
        }
    }
}

impl From<CloudError> for Error {
    fn from(error: CloudError) -> Self {
        if error.is_retryable() { Self::Storage(error) } else { Self::StorageRefused(error) }
    }
}

impl From<ReportError> for Error {
    fn from(error: ReportError) -> Self {
        Self::Report(error)
    }
}

impl Named for Error {
    fn name(&self) -> &'static str {
        match self {
            Self::BadInput(_) => names::BAD_INPUT,
            Self::PlanUnreadable(_) => names::PLAN_UNREADABLE,
            Self::DatabaseUnavailable(_) => names::DATABASE_UNAVAILABLE,
            Self::DatabaseTimedOut(_) => names::DATABASE_TIMED_OUT,
            Self::DatabaseRejected(_) => names::DATABASE_REJECTED,
            Self::StorageRefused(_) => names::STORAGE_REFUSED,
            // A full disk may hold what an earlier invocation left: another environment has an empty one.
            Self::Storage(_) | Self::StorageStream(_) | Self::Report(_) | Self::Scratch(_) => {
                names::STORAGE_UNAVAILABLE
            }
        }
    }
}
