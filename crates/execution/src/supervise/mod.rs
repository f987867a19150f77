//! Runs one engine in the sandbox, watches it, and leaves no process behind.

pub(crate) mod meter;
mod output;
mod tree;

pub use meter::DiskLimits;
pub use tree::Before;

use crate::sandbox::{Layers, Policy, Status};
use output::Capture;
use rustix::process::{DumpableBehavior, Pid, set_child_subreaper, set_dumpable_behavior};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::process::Command;

/// Between two looks at the memory; shorter at the start, where short engines would not be seen, and near the limit.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_CLOSELY: Duration = Duration::from_millis(20);
const LOOK_FIRST: Duration = Duration::from_millis(2);
/// Between two looks at the disk.
const LOOK_AT_DISK: Duration = Duration::from_millis(400);
/// Standard error, and standard output when it is not the report.
const LOG_KEPT: u64 = 1 << 20;
/// Of what the engine printed, for the message of a failure.
const STDERR_TOLD: u64 = 600;

#[derive(Debug, Clone)]
pub struct Engine {
    /// The runner's own executable, which becomes the engine.
    pub sandbox_program: PathBuf,
    pub policy: Policy,
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub directory: PathBuf,
    /// A folder of the runner for what the engine prints.
    pub own: PathBuf,
    pub limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub wall: Duration,
    pub memory_bytes: u64,
    pub processes: usize,
    pub disk: DiskLimits,
    /// `Some` when standard output is the report: then the engine ends when it prints more.
    pub report_on_stdout: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    /// By a signal that the runner did not send.
    Signalled(i32),
    TimedOut,
    OutOfMemory,
    /// A bound was passed, in words.
    Exceeded(String),
    /// The lockdown failed, or the program could not be executed.
    NotStarted(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub end: End,
    pub duration: Duration,
    /// The most that was seen: all processes together at each look, and the engine's first process since it began.
    pub peak_memory_bytes: u64,
    /// The last words of the engine on standard error, not masked.
    pub last_words: String,
    /// Where standard error is, up to a bound.
    pub stderr: PathBuf,
    /// Where standard output is.
    pub stdout: PathBuf,
    pub layers: Option<Layers>,
}

/// Makes this process fit to run engines. Call once, before anything else.
///
/// Not dumpable: under the same user, the engine can read neither the runner's environment nor its memory. Subreaper: whatever
/// the engine leaves behind becomes the runner's child.
pub fn prepare_process() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // The engine, as another user, reads the source that the runner unpacks.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    set_child_subreaper(Pid::from_raw(std::process::id().cast_signed()))?;
    Ok(())
}

/// Makes this process the parent of whatever its children leave behind, and closes its memory to engines under the same
/// user. For a process that starts others which run engines. Answers what is below it already, which is somebody else's.
pub fn adopt_orphans() -> io::Result<Before> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_child_subreaper(Pid::from_raw(std::process::id().cast_signed()))?;
    Ok(Before::now())
}

/// Kills every descendant of this process but those of `before`; answers how many the kernel does not let go.
pub fn kill_descendants(before: &Before) -> usize {
    tree::kill_all(None, before)
}

/// Kills everything when it goes away: on return, on an early end of the future, on a panic.
struct NothingSurvives;

impl Drop for NothingSurvives {
    fn drop(&mut self) {
        tree::kill_all(None, &Before::default());
    }
}

/// Runs the engine to its end. Dropping the future kills it.
pub async fn run(engine: &Engine) -> io::Result<Ran> {
    let begin = Instant::now();
    let status_file = &engine.policy.status_file;
    File::create_new(status_file)?;
    let _guard = NothingSurvives;
    let mut child = Command::new(&engine.sandbox_program)
        .arg0("runner")
        .arg("sandbox")
        .arg(serde_json::to_string(&engine.policy)?)
        .arg("--")
        .args(&engine.command)
        .env_clear()
        .envs(engine.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&engine.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout_file = engine.own.join("stdout");
    let stderr_file = engine.own.join("stderr");
    let missing = || io::Error::other("no pipe to the engine");
    let stdout_limit = engine.limits.report_on_stdout.unwrap_or(LOG_KEPT);
    let stdout = Capture::start(child.stdout.take().ok_or_else(missing)?, stdout_file.clone(), stdout_limit)?;
    let stderr = Capture::start(child.stderr.take().ok_or_else(missing)?, stderr_file.clone(), LOG_KEPT)?;

    let mut watch = Watch::new(&engine.limits, &engine.policy.write, begin);
    let stopped = loop {
        let too_long = engine.limits.report_on_stdout.is_some() && stdout.is_too_long();
        if let Some(end) = watch.look(child.id(), too_long) {
            break Err(end);
        }
        let pause = tokio::time::sleep(watch.next_look());
        tokio::select! {
            biased;
            status = child.wait() => break Ok(status?),
            () = pause => {}
        }
    };
    let duration = begin.elapsed();
    // What is left is dying inside the kernel, and runs no further; it is in the log.
    tree::kill_all(child.id().map(u32::cast_signed), &Before::default());
    if stopped.is_err() {
        let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
    }
    let all_kept = stdout.finish().await;
    stderr.finish().await;

    let Told { layers, refusal, memory_bytes } = read_status(status_file)?;
    // An engine that was faster than every look had at least what the process had that became it.
    let peak_memory_bytes = watch.peak.max(memory_bytes);
    let end = match stopped {
        _ if refusal.is_some() => End::NotStarted(refusal.unwrap_or_default()),
        Err(end) => end,
        Ok(status) if layers.is_none() => End::NotStarted(format!("the sandbox ended early, {status}")),
        Ok(_) if engine.limits.report_on_stdout.is_some() && !all_kept => too_much_output(&engine.limits),
        Ok(status) => watch.classify(status),
    };
    let last_words = last_words(&stderr_file).unwrap_or_default();
    Ok(Ran { end, duration, peak_memory_bytes, last_words, stderr: stderr_file, stdout: stdout_file, layers })
}

fn too_much_output(limits: &Limits) -> End {
    End::Exceeded(format!("it printed more than {} bytes", limits.report_on_stdout.unwrap_or_default()))
}

/// What the process that became the engine said about itself.
#[derive(Default)]
struct Told {
    layers: Option<Layers>,
    refusal: Option<String>,
    memory_bytes: u64,
}

/// A later line takes the place of an earlier one.
fn read_status(file: &Path) -> io::Result<Told> {
    let mut told = Told::default();
    for line in std::fs::read_to_string(file)?.lines() {
        match serde_json::from_str(line)? {
            Status::Locked { layers, memory_bytes } => {
                told.layers = Some(layers);
                told.memory_bytes = memory_bytes;
            }
            Status::Refused(why) | Status::NotExecuted(why) => told.refusal = Some(why),
        }
    }
    Ok(told)
}

fn last_words(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(STDERR_TOLD)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

struct Watch<'a> {
    limits: &'a Limits,
    written: &'a [PathBuf],
    begin: Instant,
    disk_looked_at: Instant,
    pause: Duration,
    peak: u64,
    now: u64,
    kills_by_kernel: Option<u64>,
}

impl<'a> Watch<'a> {
    fn new(limits: &'a Limits, written: &'a [PathBuf], begin: Instant) -> Self {
        Self {
            limits,
            written,
            begin,
            disk_looked_at: begin,
            pause: LOOK_FIRST,
            peak: 0,
            now: 0,
            kills_by_kernel: kills_by_kernel(),
        }
    }

    /// By the number of looks and not by the clock, which has run while the process was made: that may take longer than the engine.
    fn next_look(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LOOK);
        let pause = if self.now > self.limits.memory_bytes / 2 { pause.min(LOOK_CLOSELY) } else { pause };
        pause.min(self.limits.wall.saturating_sub(self.begin.elapsed()))
    }

    fn look(&mut self, child: Option<u32>, output_too_long: bool) -> Option<End> {
        // First, because an engine may end while the records of all processes are read.
        self.peak = self.peak.max(child.and_then(|pid| meter::high_water(&pid.to_string())).unwrap_or(0));
        let mut processes = tree::descendants();
        tree::reap(&processes, child.map(u32::cast_signed));
        processes.retain(|process| !process.zombie);
        if processes.len() > self.limits.processes {
            return Some(End::Exceeded(format!("it started more than {} processes", self.limits.processes)));
        }
        self.now = meter::memory(&processes);
        self.peak = self.peak.max(self.now);
        if self.now > self.limits.memory_bytes {
            return Some(End::OutOfMemory);
        }
        if self.begin.elapsed() >= self.limits.wall {
            return Some(End::TimedOut);
        }
        if output_too_long {
            return Some(too_much_output(self.limits));
        }
        if self.disk_looked_at.elapsed() >= LOOK_AT_DISK {
            let problem = meter::disk(self.written, self.limits.disk);
            self.disk_looked_at = Instant::now();
            return problem.map(End::Exceeded);
        }
        None
    }

    /// The kernel may have been faster than the runner: it kills when the container's memory is used up.
    fn classify(&self, status: ExitStatus) -> End {
        match (status.code(), status.signal()) {
            (Some(code), _) => End::Exited(code),
            (None, Some(9)) if self.killed_by_kernel() => End::OutOfMemory,
            (None, Some(signal)) => End::Signalled(signal),
            (None, None) => End::Exited(-1),
        }
    }

    fn killed_by_kernel(&self) -> bool {
        let near_the_limit = self.peak > self.limits.memory_bytes / 4 * 3;
        near_the_limit || kills_by_kernel().zip(self.kills_by_kernel).is_some_and(|(after, before)| after > before)
    }
}

/// How often memory ran out in this container, where the kernel keeps count.
fn kills_by_kernel() -> Option<u64> {
    let events = std::fs::read_to_string("/sys/fs/cgroup/memory.events").ok()?;
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMITS: Limits = Limits {
        wall: Duration::from_secs(60),
        memory_bytes: 100 * MIB,
        processes: 10,
        disk: DiskLimits { bytes: MIB, entries: 10 },
        report_on_stdout: None,
    };

    fn watch(limits: &Limits, begin: Instant) -> Watch<'_> {
        Watch::new(limits, &[], begin)
    }

    fn pauses(watch: &mut Watch<'_>, count: usize) -> Vec<u128> {
        (0..count).map(|_| watch.next_look().as_millis()).collect()
    }

    #[test]
    fn the_first_looks_come_soon_however_long_the_start_took() {
        let slow_start = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        assert_eq!(pauses(&mut watch(&LIMITS, slow_start), 9), [2, 4, 8, 16, 32, 64, 100, 100, 100]);
    }

    #[test]
    fn looks_stay_close_near_the_limit_and_the_last_one_is_on_time() {
        let mut near = watch(&LIMITS, Instant::now());
        near.now = 80 * MIB;
        assert_eq!(pauses(&mut near, 6), [2, 4, 8, 16, 20, 20]);
        let soon = Limits { wall: Duration::from_millis(3), ..LIMITS };
        let mut ending = watch(&soon, Instant::now());
        assert!(pauses(&mut ending, 9).iter().all(|pause| *pause <= 3));
    }
}
