//! Why a scan failed, in one sentence for the people who asked for it.

use dunlin_contracts::{errors, steps::StepError};

const MAX_CHARS: usize = 500;

/// Functions of ours explain themselves; the machinery around them needs words.
pub fn of_step(error: &StepError) -> String {
    let cause = one_line(&error.cause);
    let ours = errors::ALL.contains(&error.name.as_str());
    match (error.name.as_str(), cause.is_empty()) {
        (_, false) if ours => cause,
        ("States.Timeout" | "Sandbox.Timedout", _) => "a step took longer than it may".to_owned(),
        ("Runtime.OutOfMemory", _) => "a step ran out of memory".to_owned(),
        (name, true) => format!("a step failed: {name}"),
        (name, false) => one_line(&format!("a step failed: {name}: {cause}")),
    }
}

/// `what`: a scan, or a batch.
pub fn of_execution(what: &str, status: &str, error: Option<&str>, cause: Option<&str>) -> String {
    match status {
        "TIMED_OUT" => format!("the {what} took longer than it may"),
        "ABORTED" => format!("the {what} was stopped"),
        // Law 1: it has ended, so it has an end; and without a result that is no success.
        "SUCCEEDED" => format!("the {what} ended without a result"),
        _ => match (error, cause) {
            (None, None) => format!("the {what} failed"),
            (error, cause) => of_step(&StepError {
                name: error.unwrap_or("unknown error").to_owned(),
                cause: cause.unwrap_or_default().to_owned(),
            }),
        },
    }
}

/// A cause may be a page with a stack trace.
fn one_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, cause: &str) -> String {
        of_step(&StepError { name: name.to_owned(), cause: cause.to_owned() })
    }

    #[test]
    fn our_own_functions_speak_for_themselves() {
        assert_eq!(step("Source.RefNotFound", "there is no branch \"x\"\nat line 3"), "there is no branch \"x\"");
        assert_eq!(step("Source.RefNotFound", " "), "a step failed: Source.RefNotFound");
    }

    #[test]
    fn the_machinery_gets_words() {
        assert_eq!(step("States.Timeout", ""), "a step took longer than it may");
        assert_eq!(step("Lambda.Unknown", "the process exited"), "a step failed: Lambda.Unknown: the process exited");
        assert!(step("States.Runtime", &"x".repeat(5000)).chars().count() <= MAX_CHARS);
    }

    #[test]
    fn an_execution_that_left_no_result_did_not_succeed() {
        assert_eq!(of_execution("scan", "SUCCEEDED", None, None), "the scan ended without a result");
        assert_eq!(of_execution("scan", "FAILED", None, None), "the scan failed");
        assert_eq!(
            of_execution("scan", "FAILED", Some("Planner.NothingToScan"), Some("nothing to scan: empty")),
            "nothing to scan: empty"
        );
    }
}
