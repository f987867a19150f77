//! One job from its ticket to its result. Nothing here knows Lambda or Batch.

use crate::{
    context::Context,
    engine::{self, Prepared},
    error::Error,
    report::{self, Kept},
    result,
    sandbox::paths::Scratch,
    transfer::{Content, Stored, TransferError},
};
use dunlin_contracts::{
    VERSION,
    plan::Ticket,
    steps::{JobFailure, RunnerInput, RunnerOutput},
};
use dunlin_core::{job::JobOutcome, manifest::ResultManifest, selection::Selector};
use dunlin_engines::{EngineManifest, ReadContext, Report};
use dunlin_runtime::{
    Named,
    metrics::{self, Unit},
};
use dunlin_snapshot::{Limits, unpack_selected};
use std::{
    fs::File,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use time::OffsetDateTime;

const MAX_TICKET_BYTES: u64 = 4 << 20;
/// For the failure record, when the job is told to stop or runs out of time.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// What is known of the engine's run, also when the job fails later.
#[derive(Debug, Default, Clone, Copy)]
pub struct Facts {
    pub exit_code: Option<i32>,
    pub duration: Duration,
    pub peak_memory_bytes: u64,
}

/// Runs the job. It ends early when `stop` does, with the error that `stop` gives; then the engine is killed.
///
/// Whatever happens after the ticket was read is written to storage: a result, or a failure record.
pub async fn run(
    context: &Context,
    input: &RunnerInput,
    stop: impl Future<Output = Error>,
) -> Result<RunnerOutput, Error> {
    let mut stop = std::pin::pin!(stop);
    let ticket = tokio::select! {
        ticket = read_ticket(context, input) => ticket?,
        error = &mut stop => return Err(error),
    };
    let begin = Instant::now();
    let mut facts = Facts::default();
    let scratch = Arc::new(Scratch::create(&context.scratch_dir)?);
    let done = tokio::select! {
        biased;
        error = &mut stop => Err(error),
        done = perform(context, &ticket, &scratch, &mut facts) => done,
    };
    // A thread may still be reading in there; it is not waited for.
    scratch.remove();
    let outcome = match &done {
        Ok(output) => output.outcome,
        Err(error) => error.outcome(),
    };
    let dimensions =
        [("engine", ticket.engine.as_str()), ("compute", context.compute.as_str()), ("outcome", outcome.as_str())];
    metrics::emit("JobDuration", Unit::Milliseconds, begin.elapsed().as_secs_f64() * 1000.0, &dimensions);
    metrics::emit("JobPeakMemory", Unit::Bytes, facts.peak_memory_bytes as f64, &dimensions[..2]);
    if let Err(error) = &done {
        if facts.duration.is_zero() {
            facts.duration = begin.elapsed();
        }
        record_failure(context, &ticket, error, facts).await;
    }
    done
}

async fn read_ticket(context: &Context, input: &RunnerInput) -> Result<Ticket, Error> {
    let bytes = context.transfer.get(&input.ticket_url, MAX_TICKET_BYTES).await.map_err(|error| match error {
        TransferError::Unavailable(why) => Error::Storage(why),
        error => Error::Ticket(error.to_string()),
    })?;
    // The version comes first: a ticket of another version may have other fields.
    let version =
        serde_json::from_slice::<serde_json::Value>(&bytes).ok().and_then(|ticket| ticket["version"].as_u64());
    if let Some(version) = version.filter(|version| *version != u64::from(VERSION)) {
        return Err(Error::Ticket(format!("its version is {version}, and only {VERSION} is known here")));
    }
    // serde tells the place, and it quotes at most a word: no url is shown.
    let ticket: Ticket = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Ticket(format!("line {}, column {}: not a ticket", error.line(), error.column())))?;
    if ticket.scan_id != input.scan_id || ticket.job != input.job {
        return Err(Error::Ticket("it belongs to another job".to_owned()));
    }
    Ok(ticket)
}

async fn perform(
    context: &Context,
    ticket: &Ticket,
    scratch: &Arc<Scratch>,
    facts: &mut Facts,
) -> Result<RunnerOutput, Error> {
    let manifest = find_engine(context, ticket)?;
    let (selector, files) = fetch_source(context, ticket, scratch, manifest.names_files()).await?;
    let Prepared { engine, output, watched } = engine::prepare(context, ticket, manifest, scratch, &files)?;
    drop(files);

    tracing::info!(engine = ticket.engine, files = ticket.files, "engine starts");
    let ran = crate::supervise::run(&engine).await?;
    facts.duration = ran.duration;
    facts.peak_memory_bytes = ran.peak_memory_bytes;
    let exit = engine::judge(context, ticket, manifest, scratch, &ran)?;
    facts.exit_code = Some(exit.code);
    let mut notes = Vec::new();
    if watched.is_some_and(|watched| !watched.anything_read().unwrap_or(true)) {
        notes.push(format!("the engine opened none of the {} files it was given", ticket.files));
    }

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
    notes.extend(report.partial.clone());
    if exit.has_findings && report.findings.is_empty() && report.outside == 0 && report.suppressed == 0 {
        notes.push(format!("exit code {} means findings, and the report has none", exit.code));
    }
    let outcome = if notes.is_empty() { JobOutcome::Assessed } else { JobOutcome::PartlyAssessed };
    let findings = report.findings.len() as u64;
    let result = ResultManifest {
        version: VERSION,
        result_key: ticket.result_key.clone(),
        engine: ticket.engine.clone(),
        engine_version: ticket.engine_version.clone(),
        outcome,
        note: (!notes.is_empty()).then(|| notes.join("; ")),
        files: ticket.files,
        findings,
        exit_code: exit.code,
        duration_ms: milliseconds(ran.duration),
        peak_memory_bytes: ran.peak_memory_bytes,
        report_sha256: kept.sha256,
        report_bytes: kept.bytes,
        finished_at: OffsetDateTime::now_utc(),
    };
    let result_file = scratch.own.join("result.ndjson.zst");
    let into = result_file.clone();
    blocking(move || Ok(result::write(&into, result, report)?)).await?;
    store(context, ticket, kept_file(scratch), result_file).await?;
    Ok(RunnerOutput { job: ticket.job, outcome, findings, duration_ms: milliseconds(ran.duration) })
}

fn find_engine(context: &Context, ticket: &Ticket) -> Result<&'static EngineManifest, Error> {
    let manifest = context.engines.iter().find(|engine| engine.name == ticket.engine);
    let manifest =
        manifest.ok_or_else(|| Error::EngineMissing(format!("there is no engine {:?} here", ticket.engine)))?;
    if manifest.version != ticket.engine_version {
        let (here, wanted) = (&manifest.version, &ticket.engine_version);
        return Err(Error::EngineMissing(format!(
            "{} is version {here} here, and {wanted} was planned",
            manifest.name
        )));
    }
    Ok(manifest)
}

/// Downloads, checks and unpacks what the job reads. Answers the paths when `list` is set.
async fn fetch_source(
    context: &Context,
    ticket: &Ticket,
    scratch: &Arc<Scratch>,
    list: bool,
) -> Result<(Selector, Vec<String>), Error> {
    let archive = scratch.own.join("snapshot.tar.zst");
    context.transfer.download(&ticket.snapshot_url, ticket.snapshot_bytes, &archive).await.map_err(
        |error| match error {
            TransferError::Unavailable(why) => Error::Storage(why),
            TransferError::Disk(error) => error.into(),
            error => Error::OtherSnapshot(error.to_string()),
        },
    )?;
    let selector = ticket.selection.compile().map_err(|error| Error::Ticket(error.to_string()))?;
    let (sha256, into) = (ticket.snapshot_sha256.clone(), scratch.source.clone());
    let (unpacked, selector) = blocking(move || {
        let unpacked = unpack_selected(File::open(&archive)?, &sha256, &selector, &into, &Limits::default())?;
        std::fs::remove_file(&archive)?;
        Ok((unpacked, selector))
    })
    .await?;
    if unpacked.files != ticket.files || unpacked.input_digest != ticket.input_digest {
        return Err(Error::OtherSnapshot(format!(
            "{} files with digest {:.12}, planned were {} with {:.12}",
            unpacked.files, unpacked.input_digest, ticket.files, ticket.input_digest
        )));
    }
    let files = if list { paths_below(&scratch.source)? } else { Vec::new() };
    Ok((selector, files))
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
        let place = self.scratch.root().to_string_lossy();
        let kept = report::keep(open()?, &kept_file(&self.scratch), &place, self.manifest.finds_secrets())?;
        Ok((report, kept))
    }
}

/// The report first: a result whose evidence is missing would stay for ever.
async fn store(context: &Context, ticket: &Ticket, report: PathBuf, result: PathBuf) -> Result<(), Error> {
    let failed = |error: TransferError| match error {
        TransferError::Disk(error) => error.into(),
        error => Error::Storage(error.to_string()),
    };
    context.transfer.put(&ticket.report_put, &Content::File(report)).await.map_err(failed)?;
    match context.transfer.put(&ticket.result_put, &Content::File(result)).await.map_err(failed)? {
        Stored::Now => tracing::info!("result stored"),
        Stored::Before => tracing::info!("result was stored before"),
    }
    Ok(())
}

async fn record_failure(context: &Context, ticket: &Ticket, error: &Error, facts: Facts) {
    let record = JobFailure {
        version: VERSION,
        job: ticket.job,
        outcome: error.outcome(),
        error: error.step_error(),
        exit_code: facts.exit_code,
        duration_ms: milliseconds(facts.duration),
        peak_memory_bytes: facts.peak_memory_bytes,
    };
    let Ok(bytes) = serde_json::to_vec(&record) else { return };
    let content = Content::Bytes(bytes);
    let put = tokio::time::timeout(LAST_WORDS, context.transfer.put(&ticket.failure_put, &content)).await;
    // The error itself still reaches the state machine.
    match put {
        Ok(Ok(_)) => {}
        Ok(Err(why)) => tracing::warn!(failure = error.name(), %why, "failure record could not be stored"),
        Err(_) => tracing::warn!(failure = error.name(), "failure record could not be stored in time"),
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
