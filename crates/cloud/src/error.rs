use std::fmt;

/// What to do about a failed call: the only thing a caller may decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Throttled, timed out, 5xx, no connection: the same call may succeed later.
    Unavailable,
    /// The role lacks a permission.
    Denied,
    NotFound,
    /// There is an object, and it is not the one that was asked for.
    Changed,
    /// Anything else: the same call will fail again.
    Rejected,
}

/// A call to AWS that failed, after the client's own retries.
#[derive(Debug, thiserror::Error)]
#[error("{call} failed: {what}")]
pub struct CloudError {
    /// `s3:PutObject`.
    pub call: &'static str,
    pub kind: Kind,
    what: String,
}

impl CloudError {
    pub fn new(call: &'static str, kind: Kind, what: impl fmt::Display) -> Self {
        Self { call, kind, what: what.to_string() }
    }
    pub fn is_retryable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// Sorts an error of an AWS client by what the service answered.
    pub(crate) fn from_sdk<E, R>(call: &'static str, error: aws_sdk_s3::error::SdkError<E, R>) -> Self
    where
        E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: fmt::Debug + Send + Sync + 'static + HasStatus,
    {
        use aws_sdk_s3::error::SdkError;
        let (kind, what) = match &error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or("unknown");
                let status = service.raw().http_status();
                let kind = match (status, code) {
                    (404, _) | (_, "ResourceNotFoundException" | "NoSuchKey" | "NotFound") => Kind::NotFound,
                    (401 | 403, _) | (_, "AccessDenied" | "AccessDeniedException") => Kind::Denied,
                    // A slow upload is told with 400, two conditional writes at once with 409 (Amazon S3 API reference,
                    // "Error responses"): both succeed another time.
                    // What takes long to put together may fail behind a 200 (CompleteMultipartUpload).
                    (408 | 429 | 500..=599, _)
                    | (_, "RequestTimeout" | "ConditionalRequestConflict" | "InternalError" | "ServiceUnavailable") => {
                        Kind::Unavailable
                    }
                    (412, _) | (_, "PreconditionFailed") => Kind::Changed,
                    (_, code) if code.contains("Throttl") || code.contains("TooManyRequests") || code == "SlowDown" => {
                        Kind::Unavailable
                    }
                    _ => Kind::Rejected,
                };
                (kind, format!("{status} {code}: {}", service.err().message().unwrap_or("no message")))
            }
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
                (Kind::Unavailable, chain(&error))
            }
            _ => (Kind::Rejected, chain(&error)),
        };
        Self { call, kind, what }
    }
}

/// The HTTP status of a raw response.
pub(crate) trait HasStatus {
    fn http_status(&self) -> u16;
}

impl HasStatus for aws_sdk_s3::config::http::HttpResponse {
    fn http_status(&self) -> u16 {
        self.status().as_u16()
    }
}

/// An error and everything below it, since the clients' own text is only "dispatch failure".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        below = cause.source();
    }
    text
}
