//! `dunlin engines`: the scanner engines on this machine.

use crate::{
    engines::{
        self, State,
        args::Engines,
        check, install,
        render::{self, Checked, Health, Listed},
    },
    outcome::Outcome,
    terminal::Terminal,
    text,
};
use anyhow::{Context, anyhow};
use dunlin_engines::EngineManifest;
use futures::{StreamExt, stream};
use indicatif::ProgressBar;
use serde::Serialize;
use std::{
    cell::RefCell,
    path::Path,
    time::{Duration, Instant},
};

/// Installations at a time: more than one, for most of it is waiting for a registry; few, for the rest is unpacking.
const PARALLEL: usize = 2;

pub async fn run(command: Engines, terminal: &Terminal) -> anyhow::Result<Outcome> {
    match command {
        Engines::List { place, json } => list(&engines::folder(place.into.as_deref())?, json, terminal),
        Engines::Install { engines: names, place } => {
            let (wanted, folder) = (engines::named(&names)?, engines::folder(place.into.as_deref())?);
            tokio::select! {
                outcome = install_all(&wanted, &folder, terminal) => outcome,
                () = stopped() => {
                    terminal.note("interrupted; what was being installed is not, and what was there before is as it was");
                    Ok(Outcome::Error)
                }
            }
        }
        Engines::Check { engines: names, place, json } => {
            let (wanted, folder) = (engines::named(&names)?, engines::folder(place.into.as_deref())?);
            check_all(&wanted, !names.is_empty(), &folder, json, terminal).await
        }
        Engines::Remove { engines: names, all: _, place } => {
            remove_all(&engines::named(&names)?, &engines::folder(place.into.as_deref())?, terminal).await
        }
    }
}

fn list(folder: &Path, json: bool, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let listed: Vec<_> = dunlin_engines::catalog().iter().map(|engine| Listed::of(engine, folder)).collect();
    let text = if json { as_json(&listed)? } else { render::list(&listed, folder, terminal.out) };
    terminal.print(&text).context("the list could not be printed")?;
    Ok(Outcome::Clean)
}

async fn install_all(
    wanted: &[&'static EngineManifest],
    folder: &Path,
    terminal: &Terminal,
) -> anyhow::Result<Outcome> {
    // Where there is nothing to do, nothing is written: the folder may be somebody else's.
    let (there, missing): (Vec<_>, Vec<_>) =
        wanted.iter().copied().partition(|engine| State::of(engine, folder) == State::Installed);
    for engine in there {
        terminal.print(&format!("{} {} is installed\n", engine.name, engine.version))?;
    }
    if missing.is_empty() {
        return Ok(Outcome::Clean);
    }
    let waiting = || terminal.note("waiting for another dunlin that is changing the engines");
    let lock = install::lock(folder, waiting).await.context("the engines cannot be installed")?;
    let progress = Progress::new(terminal);
    let results = stream::iter(missing)
        .map(|engine| {
            let (progress, lock) = (&progress, &lock);
            async move {
                let began = Instant::now();
                progress.begin(&engine.name, &engine.version);
                let result = install::install(engine, folder, lock).await;
                progress.end(&engine.name);
                (engine, result.map(|()| began.elapsed()))
            }
        })
        .buffer_unordered(PARALLEL);
    let mut results = std::pin::pin!(results);
    let mut outcome = Outcome::Clean;
    while let Some((engine, result)) = results.next().await {
        let name = format!("{} {}", engine.name, engine.version);
        match result {
            Ok(took) => {
                let size = engines::size(&folder.join(&engine.name)).map(text::bytes).unwrap_or_default();
                progress.say(|| terminal.print(&format!("{name} installed: {size} in {}\n", text::duration(took))))?;
            }
            Err(error) => {
                // The others may go well, and then are there the next time.
                outcome = Outcome::Error;
                let error = anyhow::Error::new(error).context(format!("{name} could not be installed"));
                progress.say(|| {
                    terminal.error(&error);
                    Ok(())
                })?;
            }
        }
    }
    Ok(outcome)
}

async fn check_all(
    wanted: &[&'static EngineManifest],
    named: bool,
    folder: &Path,
    json: bool,
    terminal: &Terminal,
) -> anyhow::Result<Outcome> {
    let mut checked = Vec::new();
    for engine in wanted {
        let problem = match State::of(engine, folder) {
            State::NotInstalled if named => Some("not installed".to_owned()),
            State::NotInstalled => None,
            State::OutOfDate => Some("out of date: install it again".to_owned()),
            State::Installed => {
                check::version(engine, &folder.join(&engine.name)).await.err().map(|error| said(error.into()))
            }
        };
        let health = match (&problem, State::of(engine, folder)) {
            (Some(_), _) => Health::Wrong,
            (None, State::NotInstalled) => Health::NotInstalled,
            (None, _) => Health::Ok,
        };
        checked.push(Checked { name: &engine.name, version: &engine.version, health, problem });
    }
    let text = if json { as_json(&checked)? } else { render::checked(&checked, terminal.out) };
    terminal.print(&text).context("the result could not be printed")?;
    if checked.iter().all(|engine| engine.health == Health::NotInstalled) {
        // Nothing was checked, so nothing is known to be right.
        return Err(anyhow!("no engine is installed in {}; run `dunlin engines install`", folder.display()));
    }
    let right = checked.iter().all(|engine| engine.health != Health::Wrong);
    Ok(if right { Outcome::Clean } else { Outcome::Error })
}

/// The error and what led to it, in one line.
fn said(error: anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn remove_all(wanted: &[&'static EngineManifest], folder: &Path, terminal: &Terminal) -> anyhow::Result<Outcome> {
    if !folder.is_dir() {
        terminal.note(&format!("no engine is installed in {}", text::clean(&folder.to_string_lossy())));
        return Ok(Outcome::Clean);
    }
    let waiting = || terminal.note("waiting for another dunlin that is changing the engines");
    let lock = install::lock(folder, waiting).await.context("the engines cannot be removed")?;
    let mut outcome = Outcome::Clean;
    for engine in wanted {
        match install::remove(engine, folder, &lock) {
            Ok(true) => terminal.print(&format!("{} removed\n", engine.name))?,
            Ok(false) => terminal.note(&format!("{} is not installed", engine.name)),
            Err(error) => {
                outcome = Outcome::Error;
                terminal.error(&anyhow::Error::new(error).context(format!("{} could not be removed", engine.name)));
            }
        }
    }
    Ok(outcome)
}

fn as_json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Ctrl-C, or a polite request to end.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// On a terminal a line that turns while something is being installed; elsewhere a line for each beginning.
struct Progress<'a> {
    terminal: &'a Terminal,
    bar: Option<ProgressBar>,
    now: RefCell<Vec<String>>,
}

impl<'a> Progress<'a> {
    fn new(terminal: &'a Terminal) -> Self {
        let bar = terminal.err_is_terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { terminal, bar, now: RefCell::default() }
    }

    fn begin(&self, name: &str, version: &str) {
        self.now.borrow_mut().push(name.to_owned());
        match &self.bar {
            Some(_) => self.show(),
            None => self.terminal.note(&format!("{name} {version}: installing")),
        }
    }

    fn end(&self, name: &str) {
        self.now.borrow_mut().retain(|one| one != name);
        self.show();
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            let now = self.now.borrow();
            bar.set_message(if now.is_empty() { String::new() } else { format!("installing {}", now.join(" and ")) });
        }
    }

    /// Writes something while the line is out of the way.
    fn say(&self, write: impl FnOnce() -> std::io::Result<()>) -> std::io::Result<()> {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
