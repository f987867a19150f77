//! `source`: fetches what a scan reads, once, and leaves it in S3 as a snapshot.

pub mod context;
mod credential;
pub mod error;
mod git;
pub mod handler;
mod store;
mod upload;

pub use context::{Context, Limits};
pub use error::Error;
