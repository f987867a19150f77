//! The runner as a process, with engines that do all that an engine must not do.

mod flow;
mod hostile;
mod support;

#[test]
#[ignore = "not a test: the runner as a process, started by the tests"]
fn runner_process() {
    support::runner_process();
}
