//! What every function needs: configuration, tracing, metrics, SQS batches, error names and the HTTP edge.

pub mod config;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod naming;
pub mod sqs;

pub use config::{ConfigError, Env};
pub use naming::{Named, diagnostic};
