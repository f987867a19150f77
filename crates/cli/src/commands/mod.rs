//! One module per command.

mod credential;
mod engines;
#[cfg(target_os = "linux")]
mod local;
mod login;
mod logout;
mod prices;
mod result;
mod scan;
mod scans;
mod show;
mod webhook;
mod written;

use crate::{
    api::Api,
    args::{Args, Command},
    config::ConfigFile,
    outcome::Outcome,
    terminal::Terminal,
};
use anyhow::Context;

pub async fn run(args: Args, terminal: &Terminal) -> anyhow::Result<Outcome> {
    if let Command::Scan(scan) = &args.command
        && scan.local
    {
        #[cfg(target_os = "linux")]
        return local::run(scan, terminal).await;
        #[cfg(not(target_os = "linux"))]
        anyhow::bail!("--local needs the sandbox of Linux (landlock and seccomp); without it no engine is started");
    }
    // Looked for only by the commands that need a server.
    let config = || match args.config.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => Ok(ConfigFile::at(path)),
        None => ConfigFile::default_place(),
    };
    match args.command {
        Command::Login(login) => login::run(login, config()?, terminal).await,
        Command::Logout => logout::run(config()?, terminal).await,
        Command::Scan(scan) => scan::run(*scan, &Api::open(config()?)?, terminal).await,
        Command::Scans(scans) => scans::run(scans, &Api::open(config()?)?, terminal).await,
        Command::Show(show) => show::run(show, &Api::open(config()?)?, terminal).await,
        Command::Cancel { id } => {
            let answer = Api::open(config()?)?.cancel(id).await.context("the scan cannot be cancelled")?;
            terminal.note(&format!("scan {id}: {}", crate::text::clean(&answer.status)));
            Ok(Outcome::Clean)
        }
        Command::Credential(command) => credential::run(command, &Api::open(config()?)?, terminal).await,
        Command::Engines(command) => engines::run(command, terminal).await,
        Command::Prices(command) => prices::run(command, &Api::open(config()?)?, terminal).await,
        Command::Completions { shell } => {
            terminal.print(&written::completions(shell)).context("the completions could not be printed")?;
            Ok(Outcome::Clean)
        }
        Command::Man { command } => {
            terminal.print(&written::manual(&command)?).context("the page could not be printed")?;
            Ok(Outcome::Clean)
        }
        Command::Webhook(command) => webhook::run(command, &Api::open(config()?)?, terminal).await,
    }
}
