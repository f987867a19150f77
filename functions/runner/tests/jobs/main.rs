//! The runner as a process, with engines that do all that an engine must not do.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests end by panicking, and what they print is read when they do"
)]

mod engines;
mod flow;
mod hostile;
mod lambda;
mod support;

#[test]
#[ignore = "not a test: the runner as a process, started by the tests"]
fn runner_process() {
    support::runner_process();
}
