//! `runner`: one scanner engine over one snapshot, on Lambda and on Batch alike.

pub mod batch;
pub mod context;
pub mod error;
pub mod handler;
mod job;
pub mod transfer;
