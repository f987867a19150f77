//! Reports of a scan as files: SARIF 2.1.0, JSON, CSV, HTML and JUnit XML. Each writer's memory is bounded, whatever the number of
//! findings: the first three hold one at a time, JUnit keeps them in files of its own, and HTML keeps as many as people can read.

mod csv_format;
mod html;
mod json;
mod junit;
mod replay;
mod sarif;
mod words;

pub use csv_format::CsvReport;
pub use html::HtmlReport;
pub use json::JsonReport;
pub use junit::JunitReport;
pub use replay::convert;
pub use sarif::SarifReport;
pub use words::outcome as outcome_in_words;

use dunlin_contracts::{api::FindingView, plan::PlannedJob};
use dunlin_core::{finding::Rule, job::JobResult};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("report cannot be written")]
    Io(#[from] io::Error),
    #[error("report cannot be encoded")]
    Json(#[from] serde_json::Error),
    #[error("report cannot be encoded")]
    Csv(#[from] csv::Error),
    #[error("report cannot be read")]
    Unreadable(#[source] serde_json::Error),
    #[error("finding names rule {0:?}, which is not in the report")]
    UnknownRule(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReportFormat {
    Sarif,
    Json,
    Csv,
    Html,
    Junit,
}

impl ReportFormat {
    pub const ALL: [Self; 5] = [Self::Sarif, Self::Json, Self::Csv, Self::Html, Self::Junit];
    /// Those that every scan leaves behind on the server. The others are made from its JSON by whoever wants them.
    pub const STORED: [Self; 3] = [Self::Sarif, Self::Json, Self::Csv];

    /// Also the `format` of the API and of the command line, and the extension of the stored object.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sarif => "sarif",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Html => "html",
            Self::Junit => "junit",
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Sarif => "application/sarif+json",
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Junit => "application/xml",
        }
    }

    /// A writer of this format. Everything is written by the time [`ReportWriter::finish`] returns.
    pub fn writer<'a, W: Write + 'a>(
        self,
        out: W,
        head: &ReportHead,
    ) -> Result<Box<dyn ReportWriter + 'a>, ReportError> {
        Ok(match self {
            Self::Sarif => Box::new(SarifReport::begin(out, head)?),
            Self::Json => Box::new(JsonReport::begin(out, head)?),
            Self::Csv => Box::new(CsvReport::begin(out)?),
            Self::Html => Box::new(HtmlReport::begin(out, head)?),
            Self::Junit => Box::new(JunitReport::begin(out, head)?),
        })
    }
}

/// What is known of the scan before its findings are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportHead {
    pub scan_id: String,
    /// Canonical name of the repository.
    pub repository: String,
    /// `https://...` of the repository, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_url: Option<String>,
    /// Commit id or tree digest.
    pub revision: String,
    pub track: String,
    /// `complete` or `partial`.
    pub state: String,
    /// When the scan was accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: time::OffsetDateTime,
    /// From there to the end, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Version of Dunlin.
    pub version: String,
    pub engines: Vec<ReportEngine>,
    /// What people should know; also in the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One job of the scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportEngine {
    pub engine: String,
    pub version: String,
    /// `assessed`, `partly_assessed`, `failed`, `timed_out`, `out_of_memory` or `not_run`.
    pub outcome: String,
    pub files: u64,
    /// How long the engine ran. Of a stored result, how long it took then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Why the outcome is not `assessed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl ReportEngine {
    pub fn of(job: &PlannedJob, result: &JobResult) -> Self {
        Self {
            engine: job.engine.clone(),
            version: job.engine_version.clone(),
            outcome: result.outcome.as_str().to_owned(),
            files: job.files,
            duration_ms: result.duration_ms,
            note: result.error.clone(),
        }
    }
}

impl ReportEngine {
    pub fn is_complete(&self) -> bool {
        self.outcome == "assessed"
    }
}

/// Call in this order: every rule once, then the findings, then [`ReportWriter::finish`].
pub trait ReportWriter {
    fn rule(&mut self, rule: &Rule) -> Result<(), ReportError>;
    fn finding(&mut self, finding: &FindingView) -> Result<(), ReportError>;
    fn finish(&mut self) -> Result<(), ReportError>;
}

/// Writes `[`, then values with commas between them.
struct Items {
    any: bool,
}

impl Items {
    const fn new() -> Self {
        Self { any: false }
    }

    fn write(&mut self, out: &mut impl Write, value: &impl Serialize) -> Result<(), ReportError> {
        out.write_all(if self.any { b",\n" } else { b"\n" })?;
        self.any = true;
        serde_json::to_writer(out, value)?;
        Ok(())
    }
}
