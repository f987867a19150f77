//! The only crate that knows SQL. One [`Store`] is one connection for one invocation; every call takes the tenant, and a row of
//! another tenant does not exist for it.

mod aggregate;
mod config;
mod connect;
mod error;
mod jobs;
mod migrate;
mod param;
mod prices;
mod read;
mod scans;
mod values;

pub use aggregate::{Aggregated, Aggregation, Commit, Ended, FindingSink, Loader, Prepared};
pub use config::{DatabaseConfig, Password, PasswordProvider, Secret, Tls};
pub use connect::Store;
pub use dunlin_core::job::JobResult;
pub use error::{Cause, StoreError};
pub use jobs::{BatchStatus, JobChange, JobEventOutcome};
pub use migrate::{ApplicationRole, Migrated};
pub use prices::{
    BatchRow, Finished, Inspected, LoadStart, PortRow, Prepared as PreparedBatch, Published, RangeLoad, RangeRow,
    RatesAnswer, RegionRow, Swept, UnknownPlace, WholeBatchFaults, Withdrawal,
};
pub use read::{FindingFilter, FindingSort, PageRequest, PriceBatchFilter, ScanFilter};
pub use scans::Ending;
