//! `dunlin job`: one job in a process of its own, which is the subreaper of its engine. It gets its order on standard input, and
//! stops when that ends: when the scan is stopped, and when the process that scans is gone, however it went.

use crate::copy;
use dunlin_contracts::{VERSION, steps::JobFailure};
use dunlin_core::{ResultKey, selection::Selection};
use dunlin_execution::{Error, Facts, Finished, Job, Machine, OPEN_DISK, Scratch, supervise};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    future::Future,
    io::{self, BufRead, Read, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// The executable that becomes the engine is this one.
const THIS_PROGRAM: &str = "/proc/self/exe";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Number of the job.
    pub job: u32,
    pub engine: String,
    pub selection: Selection,
    pub files: u64,
    pub result_key: ResultKey,
    pub timeout_seconds: u32,
    pub memory_bytes: u64,
    pub engines_dir: PathBuf,
    /// The copy of the source that the scan made.
    pub source: PathBuf,
    /// Where scratch folders are made.
    pub scratch_dir: PathBuf,
    /// Where the job's copy of the source is made, when that is elsewhere.
    pub source_dir: Option<PathBuf>,
    /// Where the result file goes, and the raw report.
    pub result: PathBuf,
    pub report: PathBuf,
}

/// One line on standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Done,
    Failed(JobFailure),
}

pub fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> io::Result<()> {
    supervise::prepare_process()?;
    let mut line = String::new();
    let mut input = io::BufReader::new(io::stdin());
    input.read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line)?;
    // One thread starts the engine: it dies with the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (gone, end_of_input) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut input.by_ref(), &mut io::sink());
        let _ = gone.send(());
    });
    let answer = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async {
            tokio::select! {
                _ = end_of_input => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        io::Result::Ok(run(&order, stop).await)
    })?;
    serde_json::to_writer(io::stdout(), &answer)?;
    Ok(())
}

async fn run(order: &Order, stop: impl Future<Output = ()>) -> Answer {
    let mut facts = Facts::default();
    let done = tokio::select! {
        biased;
        () = stop => Err(Error::Terminated),
        done = perform(order, &mut facts) => done,
    };
    match done {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Failed(JobFailure {
            version: VERSION,
            job: order.job,
            outcome: error.outcome(),
            error: error.step_error(),
            exit_code: facts.exit_code,
            duration_ms: u64::try_from(facts.duration.as_millis()).unwrap_or(u64::MAX),
            peak_memory_bytes: facts.peak_memory_bytes,
        }),
    }
}

async fn perform(order: &Order, facts: &mut Facts) -> Result<(), Error> {
    let manifest = dunlin_engines::find(&order.engine)
        .ok_or_else(|| Error::EngineMissing(format!("there is no engine {:?}", order.engine)))?;
    let machine = Machine {
        engines_dir: order.engines_dir.clone(),
        scratch_dir: order.scratch_dir.clone(),
        source_dir: order.source_dir.clone(),
        sandbox_program: THIS_PROGRAM.into(),
        memory_bytes: order.memory_bytes,
        disk: OPEN_DISK,
        // The user's own files and keys are on this machine.
        landlock_required: true,
    };
    let selector = order.selection.compile().map_err(io::Error::other)?;
    let scratch = Arc::new(Scratch::create_apart(&machine.scratch_dir, machine.source_dir.as_deref())?);
    let copied = copy::selected(&order.source, &scratch.source, |path| selector.selects(path))?;
    if copied != order.files {
        return Err(io::Error::other(format!("{copied} files are there, planned were {}", order.files)).into());
    }
    let job = Job {
        manifest,
        selector,
        files: order.files,
        result_key: order.result_key.clone(),
        timeout_seconds: order.timeout_seconds,
    };
    let Finished { result, report, .. } = dunlin_execution::run(&machine, job, &scratch, facts).await?;
    fs::rename(report, &order.report)?;
    fs::rename(result, &order.result)?;
    Ok(())
}
