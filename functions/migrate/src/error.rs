use dunlin_contracts::errors::migrate as names;
use dunlin_runtime::Named;
use dunlin_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the input must be an empty object: this function takes no orders")]
    BadInput,
    #[error("the database is not available")]
    DatabaseUnavailable(#[source] StoreError),
    #[error("the schema is not up to date")]
    Failed(#[source] StoreError),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if error.is_retryable() { Self::DatabaseUnavailable(error) } else { Self::Failed(error) }
    }
}

impl Named for Error {
    fn name(&self) -> &'static str {
        match self {
            Self::DatabaseUnavailable(_) => names::DATABASE_UNAVAILABLE,
            Self::BadInput | Self::Failed(_) => names::FAILED,
        }
    }
}
