//! Scanner engines: what each is (`engines/<name>/engine.toml`, embedded here), how it is started, and how its report
//! becomes findings. Pure: nothing here starts a process.

mod catalog;
mod command;
mod manifest;
mod readers;

pub use catalog::{catalog, find};
pub use command::{CommandError, CommandPaths};
pub use manifest::{
    CatalogEntry, Category, EngineManifest, Estimate, ExitCodes, ExitMeaning, Limits, LocalInstall, Network, Reads,
    ReportFormat, ReportSpec, Run, SeverityPolicy,
};
pub use readers::{READER_VERSION, ReadContext, Report, ReportError, read_report};
