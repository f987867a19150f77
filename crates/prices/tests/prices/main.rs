//! Files of every format, whole and cut, good and bad.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, like the test")]

mod agree;
mod common;
mod csv;
mod files;
mod parquet;
