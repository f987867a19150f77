//! What one engine may do: decided by the runner, applied by [`super::lockdown`] in the process that becomes the engine.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Passed to `<program> sandbox` as one JSON argument. It holds paths and numbers, never a secret: the command line of a
/// process can be read by everybody on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The engine may send this process no signal and change none of its limits.
    pub runner_pid: u32,
    pub identity: Identity,
    pub limits: ProcessLimits,
    /// Files and folders it may read and execute. One that does not exist is left out.
    pub read_and_execute: Vec<PathBuf>,
    /// Files and folders it may read.
    pub read: Vec<PathBuf>,
    /// Folders it may write in.
    pub write: Vec<PathBuf>,
    /// Without Landlock the engine does not start: there is more on this machine than what is scanned.
    pub landlock_required: bool,
    /// Where the lockdown says how it went ([`Status`]). The engine cannot reach it.
    pub status_file: PathBuf,
}

/// Whose rights the engine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The runner is not root and cannot become anybody else (Lambda).
    Inherit,
    /// The runner is root and the engine becomes this user and group, without supplementary groups.
    Become { id: u32 },
    /// The runner is root, but another user could not reach the engine's files. The engine stays root without any
    /// capability, and Landlock must be there.
    Powerless,
}

/// Per process, except `processes`, which the kernel counts per user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    pub cpu_seconds: u64,
    pub file_bytes: u64,
    pub open_files: u64,
    pub processes: u64,
}

/// One line of the status file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Everything is in place; the next thing is the engine.
    Locked {
        layers: Layers,
        /// What this process has used so far, at most.
        memory_bytes: u64,
    },
    /// The engine must not start, or could not be started.
    Refused(String),
    /// The lockdown went well and the program could not be executed.
    NotExecuted(String),
}

/// Which layers hold the engine. seccomp, limits and `no_new_privs` are not listed: without them nothing runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// The version of Landlock that the kernel and the runner both know; 0 when there is none.
    pub landlock: u32,
    pub identity: Identity,
}
