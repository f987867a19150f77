//! `engine.toml`: everything the pipeline needs to know about one engine.

use dunlin_core::{finding::Severity, job::Size};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineManifest {
    /// Name of the folder; part of rule ids, function names and job definitions. Lower-case letters, digits, dashes.
    pub name: String,
    /// The engine's own version, exactly.
    pub version: String,
    pub title: String,
    pub description: String,
    /// SPDX expression of the engine's licence.
    pub licence: String,
    pub homepage: String,
    pub category: Category,
    /// Findings of an advisory engine never make a scan fail its threshold.
    #[serde(default)]
    pub advisory: bool,
    #[serde(default)]
    pub network: Network,
    pub reads: Reads,
    pub run: Run,
    pub report: ReportSpec,
    #[serde(default)]
    pub severity: SeverityPolicy,
    pub exit: ExitCodes,
    pub limits: Limits,
    pub local: LocalInstall,
    /// Hash of this manifest, the engine's own rules and configuration, and the reader.
    #[serde(skip)]
    pub(crate) identity: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    Python,
    Javascript,
    Secrets,
    Iac,
    Ci,
    Shell,
    Docker,
    Multi,
}

/// What an engine may reach. There is one answer today, and a manifest may spell it out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    #[default]
    None,
}

/// Globs over the path from the repository's root, in the dialect of [`dunlin_core::selection::glob`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reads {
    pub include: Vec<String>,
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// How the engine is started. The working directory is the source directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Program and arguments. `{root}` is the source directory, `{out}` the report, `{engine}` the folder the engine is
    /// installed in, `{tmp}` a writable folder; the argument `{files}` becomes one argument for each selected file.
    /// A program without a slash is in the engine's own `bin`.
    pub command: Vec<String>,
    /// The report comes on standard output; otherwise the engine writes it to `{out}`.
    #[serde(default)]
    pub stdout_report: bool,
    /// Added to a clean environment; the same placeholders but `{files}` and `{out}`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Added as well: what makes the engine quicker and changes nothing that it finds. `{heap_mib}` is three quarters of the
    /// memory that it may have.
    #[serde(default)]
    pub tuning: BTreeMap<String, String>,
    /// Arguments that print the version, for the check after an installation.
    pub version_command: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportSpec {
    pub format: ReportFormat,
    /// A longer report is refused.
    pub max_bytes: u64,
    /// Rule id of results that come without one.
    #[serde(default = "unnamed")]
    pub unnamed_rule: String,
    /// Of a message of many lines, the line that begins with this is what people need.
    #[serde(default)]
    pub message_line: Option<String>,
    /// Rules whose place in the source is a secret: every string literal of their snippets is masked.
    #[serde(default)]
    pub secret_rules: Vec<String>,
    /// A line of standard error with one of these says that something was not assessed.
    #[serde(default)]
    pub log_complaints: Vec<String>,
    /// Link to the help of a rule, for reports without links; `{rule}` is the engine's own id.
    #[serde(default)]
    pub help_url: Option<String>,
    /// Rules that mean "this file was not assessed": they make the job partly assessed.
    #[serde(default)]
    pub unassessed_rules: Vec<String>,
}

fn unnamed() -> String {
    "unnamed".to_owned()
}

/// How bad a finding is, where the engine does not say it or says the same of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityPolicy {
    /// For every rule that is not in `rules`, instead of what the engine says.
    #[serde(default)]
    pub default: Option<Severity>,
    /// By the engine's own rule id.
    #[serde(default)]
    pub rules: BTreeMap<String, Severity>,
}

/// Which reader understands the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportFormat {
    Sarif,
    /// ShellCheck's `json1`.
    ShellcheckJson1,
}

/// Every code that is in no list is a crash.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitCodes {
    pub done: Vec<i32>,
    #[serde(default)]
    pub findings: Vec<i32>,
    #[serde(default)]
    pub bad_input: Vec<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitMeaning {
    Done,
    Findings,
    BadInput,
    Crash,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// First rung of the memory ladder on Batch.
    pub size: Size,
    pub timeout_seconds: u32,
    /// Whether the engine may run on Lambda at all.
    pub lambda: bool,
    pub lambda_memory_mib: u32,
    /// Most files of one shard; 0 means that the engine needs all files at once.
    pub shard: u32,
    pub estimate: Estimate,
}

/// A guess at the duration, for engines and repositories without a history.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    pub seconds_fixed: f64,
    pub bytes_per_second: u64,
}

/// What Terraform needs to know of an engine. `engines/catalog.json` has this for every engine; a test keeps it current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CatalogEntry {
    pub lambda: bool,
    pub lambda_memory_mib: u32,
    pub size: Size,
    pub timeout_seconds: u32,
}

/// How `dunlin engines install` installs the engine. Exactly one of `pip` and `npm`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalInstall {
    /// A requirements file in the engine's folder, with hashes.
    #[serde(default)]
    pub pip: Option<String>,
    /// `true`: `package.json` and `package-lock.json` in the engine's folder.
    #[serde(default)]
    pub npm: bool,
    /// Name in `bin` -> path in the installed package.
    pub executables: BTreeMap<String, String>,
}

impl EngineManifest {
    /// Changes whenever the same input could give another result: engine version, command, our rules and configuration for
    /// the engine, pinned packages, reader. Hexadecimal. It belongs in the result key.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub fn exit_meaning(&self, code: i32) -> ExitMeaning {
        if self.exit.done.contains(&code) {
            ExitMeaning::Done
        } else if self.exit.findings.contains(&code) {
            ExitMeaning::Findings
        } else if self.exit.bad_input.contains(&code) {
            ExitMeaning::BadInput
        } else {
            ExitMeaning::Crash
        }
    }

    pub fn catalog_entry(&self) -> CatalogEntry {
        CatalogEntry {
            lambda: self.limits.lambda,
            lambda_memory_mib: self.limits.lambda_memory_mib,
            size: self.limits.size,
            timeout_seconds: self.limits.timeout_seconds,
        }
    }

    /// Whether the places of findings are secrets themselves.
    pub fn finds_secrets(&self) -> bool {
        self.category == Category::Secrets
    }

    /// Seconds, rounded up.
    pub fn estimate_seconds(&self, bytes: u64) -> u32 {
        let estimate = &self.limits.estimate;
        let seconds = estimate.seconds_fixed + bytes as f64 / estimate.bytes_per_second.max(1) as f64;
        seconds.ceil().min(f64::from(u32::MAX)) as u32
    }
}
