//! From a manifest to a run in the sandbox, and from its end to an answer.

use crate::{
    error::Error,
    job::Machine,
    report::{self, OutputFolder},
    sandbox::{
        Identity, Policy, ProcessLimits,
        paths::{self, Scratch},
    },
    supervise::{End, Engine, Limits, Ran},
    touched::Watched,
};
use dunlin_core::mask::mask;
use dunlin_engines::{CommandPaths, EngineManifest, ExitMeaning};
use nix::libc;
use std::{os::unix::fs::MetadataExt, path::Path, thread::available_parallelism, time::Duration};

/// Processes and threads together; the largest of the engines, Node.js, has a dozen.
const THREADS: u64 = 400;
/// What a user may start beside the engine while it runs, on a machine that is somebody's: a build has hundreds of processes, and
/// the kernel counts them with the engine's.
const OF_THE_USER: u64 = 4000;
/// Processes alone. Only a fork bomb gets there, and it shall end before it reaches the bound of the kernel, where it could
/// stay until its time is over.
const PROCESSES: usize = 200;
const OPEN_FILES: u64 = 4096;

pub struct Prepared {
    pub engine: Engine,
    pub output: OutputFolder,
    pub watched: Option<Watched>,
}

pub fn prepare(
    machine: &Machine,
    manifest: &EngineManifest,
    timeout_seconds: u32,
    scratch: &Scratch,
    files: &[String],
) -> Result<Prepared, Error> {
    let missing = |what: &str| Error::EngineMissing(format!("{}: {what}", manifest.name));
    let engine_dir =
        machine.engines_dir.join(&manifest.name).canonicalize().map_err(|_| missing("it is not installed here"))?;
    let out = scratch.out.join(report::NAME);
    let places = CommandPaths {
        root: &scratch.source,
        out: &out,
        engine: &engine_dir,
        tmp: &scratch.work,
        memory_bytes: machine.memory_bytes,
    };
    let command = manifest.command_line(&places, files).map_err(|error| Error::Engine(error.to_string()))?;
    let program = command.first().map(Path::new).filter(|program| program.is_file());
    let program = program.ok_or_else(|| missing("its program is not there"))?;

    let executable = paths::executable(&engine_dir, program);
    let mut needed = executable.clone();
    needed.push(machine.scratch_dir.clone());
    needed.extend(machine.source_dir.clone());
    let identity = paths::identity(&needed);
    scratch.hand_over(identity)?;
    let output = OutputFolder::open(&scratch.out)?;
    let watched = Watched::begin(&scratch.source, &scratch.probe)?;

    let mut environment = clean_environment(&engine_dir, scratch);
    environment.extend(manifest.environment(&places).map_err(|error| Error::Engine(error.to_string()))?);
    let mut read = paths::readable_system();
    read.push(scratch.source.clone());
    let wall = Duration::from_secs(u64::from(timeout_seconds));
    let processors = available_parallelism().map_or(1, |count| count.get() as u64);
    let policy = Policy {
        runner_pid: std::process::id(),
        identity,
        limits: ProcessLimits {
            cpu_seconds: wall.as_secs().saturating_mul(processors).saturating_add(5),
            file_bytes: manifest.report.max_bytes.max(machine.disk.bytes / 4),
            open_files: OPEN_FILES,
            processes: THREADS.saturating_add(of_others(machine, identity)),
        },
        read_and_execute: executable,
        read,
        write: vec![scratch.work.clone(), scratch.out.clone()],
        status_file: scratch.own.join("status"),
        landlock_required: machine.landlock_required,
    };
    let engine = Engine {
        sandbox_program: machine.sandbox_program.clone(),
        policy,
        command,
        environment,
        directory: scratch.source.clone(),
        own: scratch.own.clone(),
        limits: Limits {
            wall,
            memory_bytes: machine.memory_bytes,
            processes: PROCESSES,
            disk: machine.disk,
            report_on_stdout: manifest.run.stdout_report.then_some(manifest.report.max_bytes),
        },
    };
    Ok(Prepared { engine, output, watched })
}

/// Nothing of the runner's own environment, which holds keys on Lambda and the ticket on Batch.
fn clean_environment(engine_dir: &Path, scratch: &Scratch) -> Vec<(String, String)> {
    let work = scratch.work.display().to_string();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", engine_dir.join("bin").display());
    [("PATH", path), ("HOME", work.clone()), ("TMPDIR", work), ("LANG", "C.UTF-8".to_owned())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// The kernel counts the processes and threads of a user, whoever started them. A user who is not only the engine's has
/// some already, and starts others; in a function nobody does. (Root is not bound, except for the root of mapped users.)
fn of_others(machine: &Machine, identity: Identity) -> u64 {
    if matches!(identity, Identity::Become { .. }) {
        return 0;
    }
    let more = if machine.landlock_required { OF_THE_USER } else { 0 };
    running_already().saturating_add(more)
}

fn running_already() -> u64 {
    let user = rustix::process::getuid().as_raw();
    let threads = |pid: &Path| std::fs::read_dir(pid.join("task")).map_or(0, |tasks| tasks.count() as u64);
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter(|entry| entry.metadata().is_ok_and(|about| about.uid() == user))
        .map(|entry| threads(&entry.path()))
        .sum()
}

/// How an engine ended that came to an end by itself, in a way that its manifest knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    pub has_findings: bool,
}

pub fn judge(
    machine: &Machine,
    manifest: &EngineManifest,
    timeout_seconds: u32,
    scratch: &Scratch,
    ran: &Ran,
) -> Result<Exit, Error> {
    if let Some(layers) = &ran.layers {
        let (landlock, identity) = (layers.landlock, layers.identity);
        if landlock == 0 {
            tracing::warn!("no landlock on this kernel: the engine can read what the runner's user can read");
        }
        tracing::info!(landlock, ?identity, seccomp = true, "engine was locked in");
    }
    let code = match &ran.end {
        End::Exited(code) => *code,
        End::Signalled(signal) => return Err(Error::Engine(with_words(&signal_words(*signal), scratch, ran))),
        End::TimedOut => return Err(Error::TimedOut { seconds: u64::from(timeout_seconds) }),
        End::OutOfMemory => return Err(Error::OutOfMemory { mib: machine.memory_bytes >> 20 }),
        End::Exceeded(what) => return Err(Error::Engine(with_words(what, scratch, ran))),
        End::NotStarted(why) => return Err(Error::EngineMissing(with_words(why, scratch, ran))),
    };
    match manifest.exit_meaning(code) {
        ExitMeaning::Done => Ok(Exit { code, has_findings: false }),
        ExitMeaning::Findings => Ok(Exit { code, has_findings: true }),
        ExitMeaning::BadInput => {
            Err(Error::Engine(with_words(&format!("it refused its input, exit code {code}"), scratch, ran)))
        }
        ExitMeaning::Crash => Err(Error::Engine(with_words(&format!("it crashed, exit code {code}"), scratch, ran))),
    }
}

fn signal_words(signal: i32) -> String {
    match signal {
        libc::SIGXFSZ => "it wrote a file that is too large".to_owned(),
        libc::SIGXCPU => "it used too much processor time".to_owned(),
        signal => format!("it was ended by signal {signal}"),
    }
}

/// What the engine said last may quote the source, so it is masked; and it says where it ran, which nobody needs to know.
pub fn with_words(what: &str, scratch: &Scratch, ran: &Ran) -> String {
    let said = scratch.hide(&ran.last_words);
    let said: String = mask(&said).chars().filter(|c| !c.is_control() || *c == '\n').collect();
    if said.is_empty() { what.to_owned() } else { format!("{what}; it said: {}", said.replace('\n', " | ")) }
}
