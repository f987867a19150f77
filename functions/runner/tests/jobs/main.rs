//! The runner as a process, with engines that do all that an engine must not do.

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
