use dunlin_cloud::CloudError;
use dunlin_contracts::errors::notifier as names;
use dunlin_runtime::Named;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the input is not a notifier input")]
    BadInput(#[source] serde_json::Error),
    #[error("storage does not answer")]
    Storage(#[source] CloudError),
    /// Told once every channel had its turn; what was delivered is not delivered again.
    #[error("not delivered yet: {0}")]
    Delivery(String),
}

impl Named for Error {
    fn name(&self) -> &'static str {
        match self {
            Self::BadInput(_) => names::BAD_INPUT,
            Self::Storage(_) => names::STORAGE_UNAVAILABLE,
            Self::Delivery(_) => names::DELIVERY_UNAVAILABLE,
        }
    }
}
