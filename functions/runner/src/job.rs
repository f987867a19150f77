//! One job from its ticket to its result. Nothing here knows Lambda or Batch.

use crate::{
    context::Context,
    error::Error,
    transfer::{Content, Stored, TransferError},
};
use dunlin_contracts::{
    VERSION,
    plan::Ticket,
    steps::{JobFailure, RunnerInput, RunnerOutput},
};
use dunlin_core::{manifest::ResultManifest, selection::Selector};
use dunlin_engines::EngineManifest;
use dunlin_execution::{Facts, Finished, Job, Scratch};
use dunlin_runtime::{
    Named,
    metrics::{self, Unit},
};
use dunlin_snapshot::{Limits, unpack_selected};
use std::{
    fs::File,
    future::Future,
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

const MAX_TICKET_BYTES: u64 = 4 << 20;
/// For the failure record, when the job is told to stop or runs out of time.
const LAST_WORDS: Duration = Duration::from_secs(4);

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
    let scratch = Arc::new(Scratch::create(&context.machine.scratch_dir)?);
    let done = tokio::select! {
        biased;
        error = &mut stop => Err(error),
        done = perform(context, &ticket, &scratch, &mut facts) => done,
    };
    // A thread may still be at work in there. It is not waited for, finds nothing, and ends.
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
    let selector = fetch_source(context, ticket, scratch).await?;
    let job = Job {
        manifest,
        selector,
        files: ticket.files,
        result_key: ticket.result_key.clone(),
        timeout_seconds: ticket.timeout_seconds,
    };
    let Finished { manifest, result, report } = dunlin_execution::run(&context.machine, job, scratch, facts).await?;
    store(context, ticket, report, result).await?;
    let ResultManifest { outcome, findings, duration_ms, .. } = manifest;
    Ok(RunnerOutput { job: ticket.job, outcome, findings, duration_ms })
}

fn find_engine(context: &Context, ticket: &Ticket) -> Result<&'static EngineManifest, Error> {
    let manifest = context.engines.iter().find(|engine| engine.name == ticket.engine);
    let manifest = manifest.ok_or_else(|| {
        dunlin_execution::Error::EngineMissing(format!("there is no engine {:?} here", ticket.engine))
    })?;
    if manifest.version != ticket.engine_version {
        let (here, wanted) = (&manifest.version, &ticket.engine_version);
        return Err(dunlin_execution::Error::EngineMissing(format!(
            "{} is version {here} here, and {wanted} was planned",
            manifest.name
        ))
        .into());
    }
    Ok(manifest)
}

/// Downloads, checks and unpacks what the job reads.
async fn fetch_source(context: &Context, ticket: &Ticket, scratch: &Arc<Scratch>) -> Result<Selector, Error> {
    let archive = scratch.own.join("snapshot.tar.zst");
    context.transfer.download(&ticket.snapshot_url, ticket.snapshot_bytes, &archive).await.map_err(
        |error| match error {
            TransferError::Unavailable(why) => Error::Storage(why),
            TransferError::Disk(error) => error.into(),
            error => Error::OtherSnapshot(error.to_string()),
        },
    )?;
    let selector = ticket.selection.compile().map_err(|error| Error::Ticket(error.to_string()))?;
    let sha256 = ticket.snapshot_sha256.clone();
    let scratch = scratch.clone();
    let (unpacked, selector) = blocking(move || {
        let reader = WhileThere { archive: File::open(&archive)?, scratch: &scratch };
        let unpacked = unpack_selected(reader, &sha256, &selector, &scratch.source, &Limits::default())?;
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
    Ok(selector)
}

/// An archive that ends with an error once the job is over: the thread that unpacks it cannot be stopped from outside.
struct WhileThere<'a> {
    archive: File,
    scratch: &'a Scratch,
}

impl Read for WhileThere<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.scratch.is_removed() {
            return Err(io::Error::other("the job is over"));
        }
        self.archive.read(buffer)
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
        Err(stopped) => Err(io::Error::other(stopped).into()),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
