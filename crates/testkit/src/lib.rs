//! For tests only: a real Postgres database per test, and scans, plans and findings to put into it.

mod database;
pub mod fixtures;
pub mod git;
pub mod network;
pub mod samples;
mod server;

pub use database::TestDatabase;
