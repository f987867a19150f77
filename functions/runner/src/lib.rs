//! `runner`: one scanner engine over one snapshot, on Lambda and on Batch alike.

pub mod batch;
pub mod context;
mod engine;
pub mod error;
pub mod handler;
mod job;
mod report;
mod result;
pub mod sandbox;
pub mod supervise;
mod touched;
pub mod transfer;
