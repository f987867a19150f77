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
mod same_user;
mod support;

/// The runner as a process: all tests start this one again, in a process of its own and with [`support::MANIFEST`] set; there it
/// becomes the runner and never comes back. Started as a test it starts itself, and sees that a runner answers.
#[test]
fn runner_process() {
    if let Some(manifest) = std::env::var_os(support::MANIFEST) {
        support::become_runner(&manifest);
    }
    let job = support::Job::python("sarif(0)\n");
    let without_a_job = job.command().env_remove("DUNLIN_TICKET_URL").spawn().unwrap();
    let ended = support::end(without_a_job);
    assert_eq!(ended.code, Some(64));
    assert!(ended.log.contains("DUNLIN_TICKET_URL"), "{}", ended.log);
}
