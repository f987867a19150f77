//! The domain of Dunlin: ids, scans, jobs, findings, fingerprints and planning.
//!
//! Pure code: no AWS, no Postgres, no environment, no clock. Everything here can be tested with values alone.

pub mod finding;
pub mod fingerprint;
pub mod ids;
pub mod job;
pub mod keys;
pub mod manifest;
pub mod mask;
pub mod matching;
pub mod owner_config;
pub mod prices;
pub mod repository;
pub mod scan;
pub mod selection;

pub use ids::{BatchId, FindingId, IdError, RepositoryId, ResultKey, ScanId, TenantId, UploadId};
