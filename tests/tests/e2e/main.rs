//! End to end: the real functions, state machine, queues and Terraform on the local cloud, with the emulator's IAM enforcement
//! on, a real Postgres and real engines. The tests share one stack and run one after another (`--test-threads=1`).

mod access;
mod command_line;
mod containers;
mod counts;
mod endings;
mod failures;
mod git;
mod hostile;
mod hostile_requests;
mod invoke;
mod jobs;
mod local;
mod prices;
mod queues;
mod results;

use uuid::Uuid;

/// Source code that no scan has seen before: a stored result would hide what a test is about.
fn unseen() -> String {
    format!("# {}\n", Uuid::now_v7())
}

/// Python that ruff complains about: one result for each call.
fn weak_python(calls: usize) -> String {
    format!("{}import subprocess\n{}", unseen(), "subprocess.call('ls', shell=True)\n".repeat(calls))
}
