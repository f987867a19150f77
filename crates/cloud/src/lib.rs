//! The only crate that builds AWS clients. Everybody else sees small ports with two or three calls each, an adapter per
//! port, and a fake with state in [`memory`] for tests.

mod aws;
pub mod database;
mod error;
pub mod memory;
mod objects;
mod ports;
mod queue;
mod secrets;
#[cfg(test)]
mod test_server;
mod workflows;

pub use aws::{Aws, Patience};
pub use error::{CloudError, Kind};
pub use objects::S3Objects;
pub use ports::{
    BatchJobs, Completion, ObjectInfo, ObjectReader, ObjectStore, PutOutcome, Queue, Secrets, StartOutcome, UploadSlot,
    WorkflowState, Workflows,
};
pub use queue::SqsQueue;
pub use secrets::SecretsManager;
pub use workflows::{AwsBatchJobs, StepFunctions};
