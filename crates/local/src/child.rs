//! The process of one job, from outside.

use crate::worker::{Answer, Order};
use dunlin_contracts::steps::StepError;
use dunlin_contracts::{VERSION, errors::runner as names, steps::JobFailure};
use dunlin_core::job::JobOutcome;
use std::{fs::File, io, path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

/// The executable that does the job is this one.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// Killing a fork bomb takes its time.
const LAST_WORDS: Duration = Duration::from_secs(25);
const MAX_ANSWER: u64 = 64 << 10;

/// Runs the job in a process and waits for its end; `stop` ends it. What it prints goes to `log`.
pub async fn run(order: &Order, log: &Path, stop: CancellationToken) -> Answer {
    match talk(order, log, stop).await {
        Ok(Some(answer)) => answer,
        Ok(None) => failed(order, last_line(log)),
        Err(error) => failed(order, error.to_string()),
    }
}

async fn talk(order: &Order, log: &Path, stop: CancellationToken) -> io::Result<Option<Answer>> {
    let mut child = Command::new(THIS_PROGRAM)
        .arg("job")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(log)?)
        // Ctrl-C reaches the scan, which then stops its jobs.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let missing = || io::Error::other("no pipe to the job");
    let mut input = child.stdin.take().ok_or_else(missing)?;
    let mut output = child.stdout.take().ok_or_else(missing)?.take(MAX_ANSWER);
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    let mut answer = Vec::new();
    let whole = async {
        input.write_all(&line).await?;
        input.flush().await?;
        output.read_to_end(&mut answer).await
    };
    let ended = tokio::select! {
        read = whole => { read?; true }
        () = stop.cancelled() => false,
    };
    // The end of its input tells the job to stop.
    drop(input);
    wait(&mut child).await?;
    Ok(if ended { serde_json::from_slice(&answer).ok() } else { None })
}

async fn wait(child: &mut Child) -> io::Result<()> {
    match tokio::time::timeout(LAST_WORDS, child.wait()).await {
        Ok(ended) => ended.map(|_| ()),
        Err(_) => child.kill().await,
    }
}

fn failed(order: &Order, cause: String) -> Answer {
    Answer::Failed(JobFailure {
        version: VERSION,
        job: order.job,
        outcome: JobOutcome::Failed,
        error: StepError { name: names::TERMINATED.to_owned(), cause },
        exit_code: None,
        duration_ms: 0,
        peak_memory_bytes: 0,
    })
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("its process ended without an answer");
    line.chars().take(500).collect()
}
