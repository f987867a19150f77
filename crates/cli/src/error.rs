//! What can go wrong between here and the server.

use crate::text;
use dunlin_contracts::problem::Problem;
use reqwest::StatusCode;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{host} cannot be reached")]
    Unreachable {
        host: String,
        #[source]
        source: reqwest::Error,
    },
    /// The server's own words.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    #[error("{host} gave an answer that this version does not know: status {status}{excerpt}")]
    Unknown { host: String, status: StatusCode, excerpt: String },
    #[error("{host} gave an answer of status {status} that cannot be read")]
    Unreadable {
        host: String,
        status: StatusCode,
        #[source]
        source: serde_json::Error,
    },
    #[error("you are not signed in; run `dunlin login --endpoint URL`")]
    SignedOut,
    #[error("your session has ended; run `dunlin login`")]
    SessionEnded,
    #[error("the server refuses your session; run `dunlin login`")]
    Refused,
    #[error(transparent)]
    Auth(#[from] crate::cognito::AuthError),
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
}

impl ClientError {
    /// Errors of reqwest print the address, and a presigned address is as good as a password.
    pub fn unreachable(url: &url::Url, source: reqwest::Error) -> Self {
        Self::Unreachable { host: host(url), source: source.without_url() }
    }

    pub fn unknown(url: &url::Url, status: StatusCode, body: &str) -> Self {
        let excerpt = text::excerpt(body, 200);
        let excerpt = if excerpt.is_empty() { String::new() } else { format!(", {excerpt}") };
        Self::Unknown { host: host(url), status, excerpt }
    }

    /// Trying again may help.
    pub fn is_transient(&self) -> bool {
        let transient = |status: u16| status >= 500 || status == 429 || status == 408;
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem(problem) => transient(problem.status),
            Self::Unknown { status, .. } => transient(status.as_u16()),
            Self::Auth(error) => error.is_transient(),
            _ => false,
        }
    }

    /// Lines below the message: the fields that are wrong, and what to quote when asking for help.
    pub fn details(&self) -> Vec<String> {
        let Self::Problem(problem) = self else { return Vec::new() };
        let mut lines: Vec<String> = problem
            .errors
            .iter()
            .map(|e| format!("{}: {}", e.field, e.message))
            // With one field wrong, the detail says it already.
            .filter(|line| *line != problem.detail)
            .collect();
        lines.extend(problem.trace_id.iter().map(|id| format!("trace id {id}")));
        lines
    }
}

/// Host and port, which say enough about where something went wrong.
pub fn host(url: &url::Url) -> String {
    let host = url.host_str().unwrap_or("the server");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
