//! Batches of prices: what the commands take, and how a file gets to the storage.

pub mod args;
pub mod upload;
