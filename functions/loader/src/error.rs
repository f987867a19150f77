use dunlin_contracts::errors::loader as names;
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
            Kind::StorageUnavailable => names::STORAGE_UNAVAILABLE,
            Kind::StorageRefused => names::STORAGE_REFUSED,
            Kind::DiskFull => names::DISK_FULL,
            Kind::FileUnusable => names::FILE_UNUSABLE,
            Kind::BadInput | Kind::Incomplete => names::BAD_INPUT,
        }
    }
}
