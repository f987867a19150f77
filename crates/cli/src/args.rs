//! The arguments. Help texts are part of the product: they say what a command does, and show it.

use crate::text::parse_duration;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use dunlin_core::finding::Severity;
use dunlin_reports::ReportFormat;
use std::{path::PathBuf, time::Duration};
use uuid::Uuid;

const EXAMPLES: &str = "\
Examples:
  dunlin login --endpoint https://api.example.com --username ann
  dunlin scan .
  dunlin scan https://github.com/psf/requests --tag v2.32.0
  dunlin scan . --fail-on high --format sarif --output results.sarif

Exit codes:
  0  done, and no finding at or above --fail-on (or fail_on of the repository's .dunlin.toml)
  1  findings at or above it
  2  the scan is incomplete: partial, cancelled, or not ended yet
  3  error";

const SCAN_EXAMPLES: &str = "\
Examples:
  dunlin scan .                                    the files that git tracks, as they are now
  dunlin scan services/shop --untracked            a folder, with files that are not added yet
  dunlin scan https://github.com/psf/requests      the default branch of a public repository
  dunlin scan https://git.example.com/a/b --branch next --credential work
  dunlin scan . --engines ruff,gitleaks --fail-on medium
  dunlin scan . --local                            on this machine, without a server
  dunlin scan . --local --since origin/main        what is new on this branch
  dunlin scan . --format sarif --output results.sarif --no-progress
  dunlin scan . --format html --output report.html

Exit codes: 0 done, 1 findings at or above --fail-on, 2 incomplete, 3 error.";

#[derive(Debug, Parser)]
#[command(name = "dunlin", version, about = "Scans code with many engines and tells what they found", after_help = EXAMPLES)]
pub struct Args {
    /// Configuration file [default: dunlin/config.toml in your configuration folder]
    #[arg(long, global = true, env = "DUNLIN_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign in and remember the session
    Login(Login),
    /// End the session and forget it
    Logout,
    /// Scan a folder or a git repository, and follow the scan to its end
    #[command(after_help = SCAN_EXAMPLES)]
    Scan(Box<Scan>),
    /// List scans, newest first
    Scans(Scans),
    /// Show a scan: its jobs, findings and links
    Show(Show),
    /// Cancel a scan that has not ended
    Cancel {
        /// Id of the scan
        id: Uuid,
    },
    /// Keep a token for private repositories on the server
    #[command(subcommand)]
    Credential(Credential),
    /// List, install and check the scanner engines on this machine
    #[command(subcommand, after_help = crate::engines::args::EXAMPLES)]
    Engines(crate::engines::args::Engines),
    /// Send batches of prices, ports and regions, and ask what prices there are
    #[command(subcommand, after_help = crate::prices::args::EXAMPLES)]
    Prices(crate::prices::args::Prices),
    /// Have an address told about every scan and every price batch that ends
    #[command(subcommand)]
    Webhook(Webhook),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of the program, or of a command
    Man {
        /// The command, such as `scan` or `credential set`
        command: Vec<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub struct Login {
    /// Address of the server; the one of the last time when left out
    #[arg(long, env = "DUNLIN_ENDPOINT", value_name = "URL")]
    pub endpoint: Option<String>,
    /// User name; asked for when left out
    #[arg(long, env = "DUNLIN_USERNAME", value_name = "NAME")]
    pub username: Option<String>,
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    pub password_stdin: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Scan {
    /// A folder in a git work tree, or the address of a git repository (https://host/path)
    #[arg(value_name = "PATH|URL")]
    pub target: String,
    /// Branch to scan; for a folder, the branch that the result belongs to [default: the one checked out]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["tag", "commit"])]
    pub branch: Option<String>,
    /// Tag to scan (addresses only)
    #[arg(long, value_name = "NAME", conflicts_with = "commit")]
    pub tag: Option<String>,
    /// Commit to scan, by its full id (addresses only)
    #[arg(long, value_name = "ID")]
    pub commit: Option<String>,
    /// Stored credential for a private repository (addresses only); see `dunlin credential`
    #[arg(long, value_name = "NAME")]
    pub credential: Option<String>,
    /// What to call the repository (folders only) [default: from the remote `origin`, else the folder's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Also send files that git does not track and does not ignore (folders only)
    #[arg(long, conflicts_with = "all_files")]
    pub untracked: bool,
    /// Send every file of the folder, whatever git says; also works outside of a git work tree (folders only)
    #[arg(long)]
    pub all_files: bool,
    /// Only these engines [default: every engine that has something to read]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub engines: Vec<String>,
    #[command(flatten)]
    pub result: ResultArgs,
    #[command(flatten)]
    pub follow: FollowArgs,
    /// Scan on this machine: no server and no account, results are kept in your cache folder (folders only)
    #[arg(long, conflicts_with_all = ["tag", "commit", "credential", "detach", "idempotency_key", "timeout"])]
    pub local: bool,
    /// Only findings that are new since this commit, branch or tag (with --local)
    #[arg(long, value_name = "REF", requires = "local")]
    pub since: Option<String>,
    /// Neither read nor keep results of other scans (with --local)
    #[arg(long, requires = "local")]
    pub no_cache: bool,
    /// Start the scan, print its id and do not wait
    #[arg(long, conflicts_with_all = ["fail_on", "format", "output", "timeout"])]
    pub detach: bool,
    /// Repeating a command with the same key gives the same scan; for a folder, which is sent anew, it is refused
    /// [default: a new key each time]
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// How a result is told.
#[derive(Debug, ClapArgs)]
pub struct ResultArgs {
    /// Exit with 1 when there are findings of this severity or a higher one; `none`: findings never decide
    /// [default: `fail_on` of the repository's .dunlin.toml]
    #[arg(long, value_name = "SEVERITY")]
    pub fail_on: Option<Threshold>,
    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Write the result into this file instead of printing it
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct FollowArgs {
    /// Do not show the progress
    #[arg(long)]
    pub no_progress: bool,
    /// Stop waiting after this time (90s, 10m, 2h); the work goes on, and the exit code is 2
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, ClapArgs)]
pub struct Scans {
    /// Only scans in this state
    #[arg(long, value_name = "STATE")]
    pub status: Option<Status>,
    /// Only scans of this repository, by its id, its address, or its name or the end of it
    #[arg(long, value_name = "NAME|ID")]
    pub repository: Option<String>,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

#[derive(Debug, ClapArgs)]
pub struct Show {
    /// Id of the scan
    pub id: Uuid,
    /// Wait until the scan has ended
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub result: ResultArgs,
    #[command(flatten)]
    pub progress: FollowArgs,
}

#[derive(Debug, Subcommand)]
pub enum Credential {
    /// Store a token, or replace it; it is never given back
    Set(CredentialSet),
    /// Delete a token
    Delete {
        /// Name of the credential
        name: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct CredentialSet {
    /// Name of the credential, as used in `dunlin scan --credential`
    pub name: String,
    /// The one host that ever sees the token, such as github.com
    #[arg(long)]
    pub host: String,
    /// User name that goes with the token; GitHub takes x-access-token
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// Read the token from standard input instead of asking for it
    #[arg(long)]
    pub token_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub enum Webhook {
    /// Set the address; prints the key that signs what is sent there, once
    Set {
        /// Where to send (https://...)
        url: String,
    },
    /// Stop telling
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Threshold {
    /// Whatever is found, and whatever the repository's owner says
    None,
    Low,
    Medium,
    High,
    Critical,
}

impl Threshold {
    /// The lowest severity that decides; nothing when none does.
    pub const fn severity(self) -> Option<Severity> {
        match self {
            Self::None => None,
            Self::Low => Some(Severity::Low),
            Self::Medium => Some(Severity::Medium),
            Self::High => Some(Severity::High),
            Self::Critical => Some(Severity::Critical),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For GitHub code scanning and other tools
    Sarif,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
    /// A page to read and pass on, in one file
    Html,
    /// For servers that show test results
    Junit,
}

impl Format {
    /// `None` for what is rendered for the terminal.
    pub const fn report(self) -> Option<ReportFormat> {
        match self {
            Self::Table => None,
            Self::Sarif => Some(ReportFormat::Sarif),
            Self::Json => Some(ReportFormat::Json),
            Self::Csv => Some(ReportFormat::Csv),
            Self::Html => Some(ReportFormat::Html),
            Self::Junit => Some(ReportFormat::Junit),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Status {
    Accepted,
    Running,
    Complete,
    Partial,
    Failed,
    Cancelled,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_scan_has_one_reference_at_most() {
        assert!(Args::try_parse_from(["dunlin", "scan", ".", "--branch", "a", "--tag", "b"]).is_err());
        assert!(Args::try_parse_from(["dunlin", "scan", ".", "--tag", "a", "--commit", "b"]).is_err());
        assert!(Args::try_parse_from(["dunlin", "scan", ".", "--tag", "a", "--engines", "x,y"]).is_ok());
    }
}
