use dunlin_contracts::errors::inspector as names;
use dunlin_ingest::Kind;
use dunlin_runtime::Named;

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] pub dunlin_ingest::Error);

impl Named for Error {
    fn name(&self) -> &'static str {
        match self.0.kind() {
            Kind::DatabaseUnavailable => names::DATABASE_UNAVAILABLE,
            Kind::DatabaseRejected => names::DATABASE_REJECTED,
            // A disk may hold what an earlier invocation left: another environment has an empty one.
            Kind::StorageUnavailable | Kind::DiskFull => names::STORAGE_UNAVAILABLE,
            Kind::StorageRefused => names::STORAGE_REFUSED,
            Kind::FileUnusable => names::FILE_UNUSABLE,
            Kind::Incomplete => names::INCOMPLETE,
            Kind::BadInput => names::BAD_INPUT,
        }
    }
}
