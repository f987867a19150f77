//! One job, from files in a scratch folder to a result file and a raw report.

use crate::{
    engine::{self, Prepared},
    error::Error,
    report::{self, Kept},
    result,
    sandbox::paths::Scratch,
    supervise::{self, DiskLimits},
};
use dunlin_contracts::VERSION;
use dunlin_core::{ResultKey, job::JobOutcome, manifest::ResultManifest, selection::Selector};
use dunlin_engines::{EngineManifest, ReadContext, Report};
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use time::OffsetDateTime;

/// What an engine may write in all, the report included.
pub const OPEN_DISK: DiskLimits = DiskLimits { bytes: 2 << 30, entries: 100_000 };

/// Where engines run.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The engine `x` is installed in `<engines_dir>/x`.
    pub engines_dir: PathBuf,
    /// Scratch folders are made below it.
    pub scratch_dir: PathBuf,
    /// Where copies of the source are made, when that is elsewhere.
    pub source_dir: Option<PathBuf>,
    /// Started as `<program> sandbox <policy> -- <engine>`, it becomes the engine.
    pub sandbox_program: PathBuf,
    /// For the engine with all its processes.
    pub memory_bytes: u64,
    /// What the engine may write, the report included.
    pub disk: DiskLimits,
    /// No engine starts on a kernel without Landlock.
    pub landlock_required: bool,
}

/// What is run over the files in [`Scratch::source`].
pub struct Job {
    pub manifest: &'static EngineManifest,
    /// What selected the files.
    pub selector: Selector,
    pub files: u64,
    pub result_key: ResultKey,
    pub timeout_seconds: u32,
}

/// What is known of the engine's run, also when the job fails later.
#[derive(Debug, Default, Clone, Copy)]
pub struct Facts {
    pub exit_code: Option<i32>,
    pub duration: Duration,
    pub peak_memory_bytes: u64,
}

/// Both files are in the scratch folder and vanish with it.
#[derive(Debug)]
pub struct Finished {
    pub manifest: ResultManifest,
    pub result: PathBuf,
    pub report: PathBuf,
}

/// Runs the engine and reads its report. Dropping the future kills the engine.
pub async fn run(machine: &Machine, job: Job, scratch: &Arc<Scratch>, facts: &mut Facts) -> Result<Finished, Error> {
    let Job { manifest, selector, files, result_key, timeout_seconds } = job;
    let named = if manifest.names_files() { paths_below(&scratch.source)? } else { Vec::new() };
    let Prepared { engine, output, watched } = engine::prepare(machine, manifest, timeout_seconds, scratch, &named)?;
    drop(named);

    tracing::info!(engine = manifest.name, files, "engine starts");
    let ran = supervise::run(&engine).await?;
    facts.duration = ran.duration;
    facts.peak_memory_bytes = ran.peak_memory_bytes;
    let exit = engine::judge(machine, manifest, timeout_seconds, scratch, &ran)?;
    facts.exit_code = Some(exit.code);
    let read_nothing = watched.is_some_and(|watched| watched.nothing_read().unwrap_or(false));

    // Reading is work for the processor; the signals and the deadline must be heard meanwhile.
    let reading = Reading {
        manifest,
        selector,
        scratch: scratch.clone(),
        output,
        stdout: ran.stdout.clone(),
        stderr: ran.stderr.clone(),
    };
    let (report, kept) = blocking(move || reading.read()).await.map_err(|error| match error {
        Error::NoReport(why) => Error::NoReport(engine::with_words(&why, scratch, &ran)),
        error => error,
    })?;
    let mut notes = Vec::new();
    if read_nothing {
        // "No findings" of an engine that looked at nothing is no result.
        if report.findings.is_empty() {
            return Err(Error::NothingAssessed { files });
        }
        notes.push(format!("the engine opened none of the {files} files it was given"));
    }
    notes.extend(report.partial.clone());
    if exit.has_findings && report.findings.is_empty() && report.outside == 0 && report.suppressed == 0 {
        notes.push(format!("exit code {} means findings, and the report has none", exit.code));
    }
    let outcome = if notes.is_empty() { JobOutcome::Assessed } else { JobOutcome::PartlyAssessed };
    let manifest = ResultManifest {
        version: VERSION,
        result_key,
        engine: manifest.name.clone(),
        engine_version: manifest.version.clone(),
        outcome,
        note: (!notes.is_empty()).then(|| notes.join("; ")),
        files,
        findings: report.findings.len() as u64,
        exit_code: exit.code,
        duration_ms: milliseconds(ran.duration),
        peak_memory_bytes: ran.peak_memory_bytes,
        report_sha256: kept.sha256,
        report_bytes: kept.bytes,
        finished_at: OffsetDateTime::now_utc(),
    };
    let result = scratch.own.join("result.ndjson.zst");
    let (into, first) = (result.clone(), manifest.clone());
    blocking(move || Ok(result::write(&into, first, report)?)).await?;
    Ok(Finished { manifest, result, report: kept_file(scratch) })
}

/// Relative, ordered.
fn paths_below(root: &Path) -> std::io::Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(Some(relative)) = path.strip_prefix(root).map(Path::to_str) {
                found.push(relative.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn kept_file(scratch: &Scratch) -> PathBuf {
    scratch.own.join("report.zst")
}

struct Reading {
    manifest: &'static EngineManifest,
    selector: Selector,
    scratch: Arc<Scratch>,
    output: report::OutputFolder,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Reading {
    fn read(self) -> Result<(Report, Kept), Error> {
        let open = || -> Result<File, Error> {
            if self.manifest.run.stdout_report {
                Ok(File::open(&self.stdout)?)
            } else {
                self.output.report(self.manifest.report.max_bytes)
            }
        };
        // A pattern also matches paths that do not exist: only what was unpacked was given to the engine.
        let selected = |path: &str| self.selector.selects(path) && self.scratch.source.join(path).is_file();
        let context = ReadContext { root: &self.scratch.source, selected: &selected };
        let mut report = dunlin_engines::read_report(self.manifest, open()?, &context).map_err(Error::Report)?;
        report.heed_log(self.manifest, &String::from_utf8_lossy(&std::fs::read(&self.stderr)?));
        let nameless = |text: &str| self.scratch.hide(text);
        let kept = report::keep(open()?, &kept_file(&self.scratch), nameless, self.manifest.finds_secrets())?;
        Ok((report, kept))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => Err(Error::Disk(std::io::Error::other(stopped))),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
