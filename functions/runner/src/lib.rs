//! `runner`: one scanner engine over one snapshot, on Lambda and on Batch alike.

pub mod sandbox;
pub mod supervise;
