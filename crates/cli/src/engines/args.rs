//! Arguments of `dunlin engines`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

pub const EXAMPLES: &str = "\
Examples:
  dunlin engines list
  dunlin engines install                 all of them
  dunlin engines install ruff gitleaks
  dunlin engines check                   start each and compare its version

Engines are installed with pip and npm, from the registries that these are configured for, each package pinned by its hash.";

#[derive(Debug, Subcommand)]
pub enum Engines {
    /// List the engines: what each looks at, and whether it is installed
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Install engines, or bring them up to date
    Install {
        /// Which ones [default: all]
        #[arg(value_name = "ENGINE")]
        engines: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Start installed engines once and compare their versions; exits with 3 when one is not as it should be
    Check {
        /// Which ones [default: all that are installed]
        #[arg(value_name = "ENGINE")]
        engines: Vec<String>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove installed engines
    Remove {
        #[arg(value_name = "ENGINE", required_unless_present = "all", conflicts_with = "all")]
        engines: Vec<String>,
        /// Remove every engine
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub struct Place {
    /// The folder of the engines [default: $DUNLIN_ENGINES_DIR, else dunlin/engines in your data folder]
    #[arg(long, visible_alias = "in", value_name = "FOLDER")]
    pub into: Option<PathBuf>,
}
