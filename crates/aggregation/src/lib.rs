//! From job results to a scan's findings, without any database: which results count, how each job ended, what the scan's
//! verdict is. The aggregator uses the rules; `dunlin scan --local` uses them and [`memory`], which holds a scan's findings
//! in memory.

pub mod check;
pub mod memory;
pub mod outcome;
pub mod verdict;

pub use check::Loaded;
pub use outcome::JobEnding;
pub use verdict::Verdict;
