//! One file per resource.

pub mod credentials;
pub mod prices;
pub mod scans;
pub mod uploads;
pub mod webhook;

use dunlin_cloud::CloudError;
use dunlin_contracts::problem::Problem;

/// Largest body that is read. Uploads do not pass here.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// What a caller may know about a failed call: whether to try again.
pub fn failed(error: &CloudError) -> Problem {
    tracing::error!(error.call = error.call, error.message = %error, "a call to aws failed");
    if error.is_retryable() {
        Problem::unavailable("a service that is needed does not answer; try again")
    } else {
        Problem::internal()
    }
}

/// [`failed`], for a request that can be sent again without becoming a second one.
fn not_accepted(error: &CloudError) -> Problem {
    let mut problem = failed(error);
    if error.is_retryable() {
        problem.detail.push_str(" with the same Idempotency-Key");
    }
    problem
}
