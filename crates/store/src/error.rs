use std::error::Error;
use tokio_postgres::error::SqlState;

pub type Cause = Box<dyn Error + Send + Sync>;

/// What went wrong between a function and the database. What is worth another try says [`StoreError::is_retryable`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Asleep, failing over, full, or the connection was lost: the same call may succeed later.
    #[error("the database is not available: {what}")]
    Unavailable {
        what: String,
        #[source]
        source: Option<Cause>,
    },
    /// A statement took longer than it may. It may be quicker another time, and whoever tries for an hour tries in vain.
    #[error("the database took too long: {what}")]
    TimedOut { what: String },
    /// The password or token could not be had.
    #[error("there is no password for the database")]
    Password(#[source] Cause),
    /// Wrong user, wrong password, not allowed.
    #[error("the database refused the connection")]
    Refused(#[source] Cause),
    /// A certificate that is signed by none of the authorities of Amazon RDS, or a server without TLS where it must be.
    #[error("the connection to the database is not trusted")]
    NotTrusted(#[source] Cause),
    /// A statement failed. It will fail again.
    #[error("the database failed: {what}")]
    Database {
        what: String,
        #[source]
        source: Option<Cause>,
    },
    #[error("migrations cannot be applied")]
    Migration(#[source] refinery::Error),
    /// A value that no version of this crate writes.
    #[error("column {column} holds {value:?}, which is not known")]
    Unreadable { column: &'static str, value: String },
    #[error("the cursor is not valid")]
    BadCursor,
    /// The scan belongs to another tenant, or its id was used before for something else.
    #[error("scan {0} is not this tenant's")]
    NotOwned(dunlin_core::ScanId),
    /// The batch was never registered, belongs to another tenant, or is of another kind.
    #[error("batch {0} is not known")]
    NoBatch(dunlin_core::BatchId),
    #[error("{0}")]
    Invalid(String),
}

impl StoreError {
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::TimedOut { .. } => true,
            // The credentials service may answer next time; a wrong password is sorted as Refused.
            Self::Password(_) => true,
            Self::Migration(e) => source_of::<tokio_postgres::Error>(e).is_some_and(is_transient),
            _ => false,
        }
    }
}

fn source_of<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(e) = next {
        if let Some(found) = e.downcast_ref() {
            return Some(found);
        }
        next = e.source();
    }
    None
}

/// True when the same statement may go well later (PostgreSQL, appendix A, "PostgreSQL Error Codes").
pub(crate) fn is_transient(error: &tokio_postgres::Error) -> bool {
    if error.is_closed() {
        return true;
    }
    match error.code() {
        // No code: the connection itself failed. Everything the driver got wrong by itself is no i/o error.
        None => source_of::<std::io::Error>(error).is_some(),
        Some(code) => {
            [
                SqlState::CANNOT_CONNECT_NOW,
                SqlState::ADMIN_SHUTDOWN,
                SqlState::CRASH_SHUTDOWN,
                SqlState::LOCK_NOT_AVAILABLE,
                SqlState::QUERY_CANCELED,
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::READ_ONLY_SQL_TRANSACTION,
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                // Of statements that went together, one before this failed: the next try says why.
                SqlState::IN_FAILED_SQL_TRANSACTION,
            ]
            .contains(code)
                || ["08", "53"].iter().any(|class| code.code().starts_with(class))
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        // The driver's own text is "db error". The server's detail is left out: it quotes rows.
        let what = match error.as_db_error() {
            Some(db) => format!("{} ({})", db.message(), db.code().code()),
            None => error.to_string(),
        };
        if error.code() == Some(&SqlState::QUERY_CANCELED) {
            return Self::TimedOut { what };
        }
        // A db error has told all it knows; other causes (an i/o error) are kept.
        let transient = is_transient(&error);
        let source = if error.as_db_error().is_some() { None } else { error.into_source() };
        if transient { Self::Unavailable { what, source } } else { Self::Database { what, source } }
    }
}
