//! Arguments of `dunlin prices`.

use crate::args::FollowArgs;
use clap::{Args, Subcommand, ValueEnum};
use dunlin_contracts::prices::Day;
use dunlin_core::prices::{BatchKind, BatchState};
use std::path::PathBuf;
use uuid::Uuid;

pub const EXAMPLES: &str = "\
Examples:
  dunlin prices send regions.csv --kind regions
  dunlin prices send ports.csv --kind ports
  dunlin prices send q4.csv.gz --kind prices --name \"Q4, northern Europe\"
  dunlin prices send q4-corrected.csv --kind prices --replaces 0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01
  dunlin prices list --status rejected
  dunlin prices rates CNSGH north_europe_main --from 2026-01-01 --to 2026-01-31";

const SEND_EXAMPLES: &str = "\
The file is CSV (RFC 4180, with a header), NDJSON or Parquet; CSV and NDJSON also compressed with gzip or zstd. Its columns, in any order:
  prices   orig_code, dest_code, day (YYYY-MM-DD), price
  ports    code, name, region
  regions  slug, name, parent

A batch goes in whole or not at all: with one bad row, none of its rows is seen by anybody.

Exit codes:
  0  published, or the same file was published before
  1  rejected: rows are bad, and the first of them are shown
  2  not ended yet (--timeout, Ctrl-C)
  3  failed, or an error";

#[derive(Debug, Subcommand)]
pub enum Prices {
    /// Send a file, and follow its load to the end
    #[command(after_help = SEND_EXAMPLES)]
    Send(Send),
    /// List batches, newest first
    List(List),
    /// Show a batch: how it stands, and what is wrong with it
    Show(Show),
    /// Take a published batch of prices back
    Withdraw {
        /// Id of the batch
        id: Uuid,
    },
    /// Average price a day between two places
    Rates(RatesArgs),
}

#[derive(Debug, Args)]
pub struct Send {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What its rows are
    #[arg(long, value_name = "KIND")]
    pub kind: Kind,
    /// What to call the batch, for people [default: the name of the file]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The batch that this one corrects; it goes in the moment in which this one is published
    #[arg(long, value_name = "ID")]
    pub replaces: Option<Uuid>,
    /// Follow the load to its end; this is what happens anyway
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Send the file, print the id of the batch and do not wait
    #[arg(long, overrides_with = "wait", conflicts_with_all = ["timeout", "bad_rows"])]
    pub no_wait: bool,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub follow: FollowArgs,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Write every bad row into this file, as CSV, when the batch is rejected
    #[arg(long, value_name = "FILE")]
    pub bad_rows: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct List {
    /// Only batches of this kind
    #[arg(long, value_name = "KIND")]
    pub kind: Option<Kind>,
    /// Only batches in this state
    #[arg(long, value_name = "STATE")]
    pub status: Option<Status>,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub struct Show {
    /// Id of the batch
    pub id: Uuid,
    /// Wait until its load has ended
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub progress: FollowArgs,
}

#[derive(Debug, Args)]
pub struct RatesArgs {
    /// Code of a port, or slug of a region
    #[arg(value_name = "ORIGIN")]
    pub origin: String,
    /// Code of a port, or slug of a region
    #[arg(value_name = "DESTINATION")]
    pub destination: String,
    /// The first day, YYYY-MM-DD
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub from: Day,
    /// The last day
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub to: Day,
    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: RatesFormat,
}

fn day(text: &str) -> Result<Day, String> {
    text.parse().map_err(|()| "this is no day of the calendar; write YYYY-MM-DD".to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RatesFormat {
    /// For people
    Table,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Prices,
    Ports,
    Regions,
}

impl From<Kind> for BatchKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Prices => Self::Prices,
            Kind::Ports => Self::Ports,
            Kind::Regions => Self::Regions,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Status {
    Loading,
    Published,
    Rejected,
    Failed,
    Duplicate,
    Replaced,
    Withdrawn,
}

impl From<Status> for BatchState {
    fn from(status: Status) -> Self {
        match status {
            Status::Loading => Self::Loading,
            Status::Published => Self::Published,
            Status::Rejected => Self::Rejected,
            Status::Failed => Self::Failed,
            Status::Duplicate => Self::Duplicate,
            Status::Replaced => Self::Replaced,
            Status::Withdrawn => Self::Withdrawn,
        }
    }
}
