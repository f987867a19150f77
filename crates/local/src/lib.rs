//! A scan without a cloud: `dunlin scan --local`. The planner's decisions, the runner's execution and the aggregator's rules,
//! in one process and its children, with a store of results in the user's cache folder. See
//! `docs/decisions/0021-local-scans.md`.

mod base;
pub mod cache;
mod child;
mod copy;
mod error;
mod jobs;
mod machine;
mod plan;
mod scan;
mod scratch;
mod tree;
mod view;
pub mod worker;

pub use error::Error;
pub use scan::{Request, Scanned, Watcher, scan};
pub use tree::Left;
