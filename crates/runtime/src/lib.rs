//! What every function needs: configuration, tracing, metrics, SQS batches, error names, the time left and the HTTP edge.

pub mod config;
pub mod deadline;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod naming;
pub mod sqs;

pub use config::{ConfigError, Env};
pub use deadline::time_left;
pub use naming::{Named, diagnostic, message};
