//! `dunlin scan --local`: a scan on this machine.

use super::{result, scan};
use crate::{
    args::Scan,
    engines::{self, State},
    outcome::Outcome,
    render::{self, live::Progress},
    terminal::Terminal,
    text, worktree,
};
use anyhow::{Context, bail, ensure};
use dunlin_engines::EngineManifest;
use dunlin_local::{Error, Request, Scanned, cache::Cache};
use dunlin_reports::{ReportFormat, ReportWriter};
use std::{
    env,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// For the end of a report, once the program was told to stop.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub async fn run(args: &Scan, terminal: &Terminal) -> anyhow::Result<Outcome> {
    if scan::address(&args.target)?.is_some() {
        bail!("--local scans a folder; clone {} and give the folder that it is in", args.target);
    }
    let tree = worktree::inspect(Path::new(&args.target), scan::choice(args))?;
    let cache = if args.no_cache { None } else { open_cache(terminal) };
    let engines_dir = engines::folder(None)?;
    let request = Request {
        root: tree.root,
        paths: tree.files,
        name: args.name.clone().unwrap_or(tree.name),
        track: args.branch.clone().or(tree.branch),
        engines: (!args.engines.is_empty()).then(|| args.engines.clone()),
        unusable: Box::new({
            let folder = engines_dir.clone();
            move |engine| unusable(engine, &folder)
        }),
        engines_dir,
        cache,
        since: args.since.clone(),
        git: worktree::git,
    };
    ensure!(request.since.is_none() || tree.commit.is_some(), "--since needs a git repository with a commit");

    let (stop, scanned_all) = (CancellationToken::new(), CancellationToken::new());
    listen(&stop, &scanned_all)?;
    let mut progress = Progress::new(terminal, Uuid::nil(), !args.follow.no_progress);
    let scanned = dunlin_local::scan(&request, &mut progress, &stop).await;
    progress.finish();
    scanned_all.cancel();
    let outcome = match scanned {
        Ok(scanned) => {
            let outcome = tell(&scanned, args, terminal, &stop);
            // The process ends now. To give back a hundred thousand findings, string by string, takes as long as to write them.
            let _: &Scanned = Box::leak(Box::new(scanned));
            outcome
        }
        Err(error) => Err(error.into()),
    };
    if stop.is_cancelled() {
        terminal.warning("the scan was stopped; results that were ready are kept");
        return Ok(Outcome::Incomplete);
    }
    outcome
}

/// From here on a signal stops the scan in order, and no process and no copy of the source stays. A second one ends the program
/// at once, and so does the first when only the report is left and nobody reads it.
fn listen(stop: &CancellationToken, scanned: &CancellationToken) -> anyhow::Result<()> {
    let failed = "signals cannot be received";
    let mut interrupt = signal(SignalKind::interrupt()).context(failed)?;
    let mut terminate = signal(SignalKind::terminate()).context(failed)?;
    let (stop, scanned) = (stop.clone(), scanned.clone());
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = async { scanned.cancelled().await; tokio::time::sleep(LAST_WORDS).await } => {}
        }
        std::process::exit(Outcome::Incomplete as i32);
    });
    Ok(())
}

/// Why an engine must not run. One that is out of date finds other things than its results are kept for.
fn unusable(engine: &EngineManifest, folder: &Path) -> Option<String> {
    match State::of(engine, folder) {
        State::Installed => None,
        state => Some(format!("{0} is {1}; run dunlin engines install {0}", engine.name, state.words())),
    }
}

/// In the user's folder for what can be computed again (XDG Base Directory Specification: relative paths are ignored).
fn cache_folder() -> anyhow::Result<PathBuf> {
    let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".cache"));
    let folder = named.or_else(home).context("there is no cache folder; set XDG_CACHE_HOME, or use --no-cache")?;
    Ok(folder.join("dunlin"))
}

/// Without a cache a scan is only slower.
fn open_cache(terminal: &Terminal) -> Option<Cache> {
    let opened = cache_folder().and_then(|folder| {
        Cache::open(&folder).with_context(|| format!("the cache folder {} cannot be used", folder.display()))
    });
    opened.inspect_err(|error| terminal.warning(&format!("nothing is kept for the next scan: {error:#}"))).ok()
}

fn tell(scanned: &Scanned, args: &Scan, terminal: &Terminal, stop: &CancellationToken) -> anyhow::Result<Outcome> {
    let (view, result) = (&scanned.view, &args.result);
    scan::tell_left(scanned.left.missing, scanned.left.behind_links, terminal);
    match result.format.report() {
        None => result::tell_people(view, &scanned.findings.findings, None, result, terminal)?,
        Some(format) => {
            match &result.output {
                // A program that reads it gets the bytes; a terminal would obey what a file's name says.
                None if io::stdout().is_terminal() => {
                    let mut safe = text::Cleaning::new(io::stdout().lock());
                    report(scanned, format, stop, &mut safe)?;
                    safe.finish().context("the report could not be written")?;
                }
                None => match report(scanned, format, stop, &mut BufWriter::new(io::stdout().lock())) {
                    Err(error) if is_closed_pipe(&error) => {}
                    other => other?,
                },
                Some(path) => {
                    result::write_file(path, |file| {
                        report(scanned, format, stop, &mut BufWriter::new(file.as_file_mut()))
                    })?;
                }
            }
            terminal.note(render::scan::conclusion(view, None, terminal.err).trim_end());
        }
    }
    if let Some(since) = &args.since {
        terminal.note(&format!("only what is new since {}", text::clean(since)));
    }
    Ok(result::judge(view, result, terminal))
}

fn report(
    scanned: &Scanned,
    format: ReportFormat,
    stop: &CancellationToken,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut writer: Box<dyn ReportWriter + '_> = format.writer(out, &scanned.head)?;
    for rule in &scanned.findings.rules {
        writer.rule(rule)?;
    }
    for finding in &scanned.findings.findings {
        ensure!(!stop.is_cancelled(), Error::Stopped);
        writer.finding(finding)?;
    }
    writer.finish().context("the report cannot be written")
}

/// A reader that has seen enough (`| head`) is no error.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
