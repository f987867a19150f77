//! The `dunlin` command line: signs in, starts scans, follows them and prints what they found.
//!
//! Standard output carries results only; progress, notes and errors go to standard error.

pub mod api;
pub mod archive;
pub mod args;
pub mod cognito;
pub mod commands;
pub mod config;
pub mod engines;
pub mod error;
pub mod follow;
pub mod gitdir;
pub mod http;
pub mod interrupt;
pub mod outcome;
pub mod prices;
pub mod render;
pub mod session;
pub mod terminal;
pub mod text;
pub mod transfer;
pub mod worktree;

use args::Args;
use clap::{Parser, error::ErrorKind};
use outcome::Outcome;
use std::process::ExitCode;
use terminal::Terminal;

/// The processes that a local scan starts of this program: one for each job, and one that becomes the engine. They come before
/// anything else is set up: the second must have one thread.
#[cfg(target_os = "linux")]
fn inner_process() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next()?.to_str()? {
        "sandbox" => Some(dunlin_execution::sandbox::lockdown::become_engine(arguments)),
        "job" => Some(dunlin_local::worker::main()),
        _ => None,
    }
}

/// Parses the arguments, runs the command and turns whatever happens into an exit code.
pub fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(ended) = inner_process() {
        return ended;
    }
    let terminal = Terminal::detect();
    let args = match Args::try_parse() {
        Ok(args) => args,
        // Help and version come as errors; a wrong argument would exit with clap's 2, which means "incomplete" here.
        Err(error) => {
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let printed = error.print();
            return if asked_for && printed.is_ok() { Outcome::Clean.into() } else { Outcome::Error.into() };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal.error(&anyhow::Error::new(error).context("the program could not start"));
            return Outcome::Error.into();
        }
    };
    let outcome = runtime.block_on(commands::run(args, &terminal)).unwrap_or_else(|error| {
        terminal.error(&error);
        Outcome::Error
    });
    // A read of standard input that nobody will answer must not keep the program alive.
    runtime.shutdown_background();
    outcome.into()
}
