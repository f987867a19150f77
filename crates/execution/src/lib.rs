//! One scanner engine over files in a scratch folder, in a sandbox, from its command line to a result file. Nothing here
//! knows where the files come from or where the result goes: the runner and `dunlin scan --local` share it.

mod engine;
pub mod error;
mod job;
mod report;
mod result;
pub mod sandbox;
pub mod supervise;
mod touched;

pub use error::Error;
pub use job::{Facts, Finished, Job, Machine, OPEN_DISK, run};
pub use sandbox::{paths::Scratch, remove::remove_tree};
pub use supervise::DiskLimits;
