//! Stable error names. A state machine matches errors by `errorType`, so that name is a contract and not a type path.

use lambda_runtime::Diagnostic;
use std::error::Error;

/// An error with a stable name like `Planner.SnapshotUnreadable`; the names are listed in [`dunlin_contracts::errors`].
pub trait Named: Error {
    fn name(&self) -> &'static str;
}

/// What Lambda reports for `error`: its name, and its message with every cause below it.
pub fn diagnostic(error: &dyn Named) -> Diagnostic {
    let message = message(error);
    tracing::error!(error.name = error.name(), error.message = %message, "the function failed");
    Diagnostic { error_type: error.name().to_owned(), error_message: message }
}

/// The error's message with every cause below it.
pub fn message<E: Error + ?Sized>(error: &E) -> String {
    let mut message = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        below = cause.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the snapshot")]
    struct Outer(#[source] std::num::ParseIntError);
    impl Named for Outer {
        fn name(&self) -> &'static str {
            "Planner.SnapshotUnreadable"
        }
    }

    #[test]
    fn the_name_is_stable_and_the_causes_are_told_once() {
        let d = diagnostic(&Outer("x".parse::<u8>().unwrap_err()));
        assert_eq!(d.error_type, "Planner.SnapshotUnreadable");
        assert_eq!(d.error_message, "cannot read the snapshot: invalid digit found in string");
    }
}
