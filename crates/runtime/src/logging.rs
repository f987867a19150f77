//! Logs are JSON lines on standard output: a message for people, dotted fields with units, never a body or a secret.

use tracing::Span;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Call once, first thing in `main`. `LOG_LEVEL` takes tracing's filter syntax; the default is `info`.
pub fn init(service: &'static str) {
    let filter = EnvFilter::try_from_env("LOG_LEVEL").unwrap_or_else(|_| {
        EnvFilter::new("info,aws_config=warn,aws_smithy_runtime=warn,hyper=warn,lambda_runtime=warn")
    });
    let json = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false).with_target(false);
    let installed = tracing_subscriber::registry().with(filter).with(json).try_init();
    if installed.is_ok() {
        tracing::debug!(service, "logging is set up");
    }
}

/// The span of one piece of work. Everything logged inside carries the service and the trace.
pub fn work_span(service: &'static str, trace_id: &str, scan_id: &str) -> Span {
    tracing::info_span!("work", service, trace.id = trace_id, scan.id = scan_id)
}

/// The same for work on a batch of prices.
pub fn batch_span(service: &'static str, trace_id: &str, batch_id: &str) -> Span {
    tracing::info_span!("work", service, trace.id = trace_id, batch.id = batch_id)
}

/// 32 hexadecimal digits: the trace id of a `traceparent` (W3C Trace Context), else of an `X-Amzn-Trace-Id`, else a new one.
pub fn trace_id(traceparent: Option<&str>, amzn: Option<&str>) -> String {
    traceparent
        .and_then(from_traceparent)
        .or_else(|| amzn.and_then(from_amzn))
        .unwrap_or_else(|| uuid::Uuid::now_v7().simple().to_string())
}

fn is_trace_id(text: &str) -> bool {
    text.len() == 32
        && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        && text.bytes().any(|b| b != b'0')
}

fn from_traceparent(header: &str) -> Option<String> {
    let mut parts = header.trim().split('-');
    let (_version, id) = (parts.next()?, parts.next()?);
    is_trace_id(id).then(|| id.to_owned())
}

/// `Root=1-67891233-abcdef012345678912345678;...`
fn from_amzn(header: &str) -> Option<String> {
    let root = header.split(';').find_map(|part| part.trim().strip_prefix("Root=1-"))?;
    let id = root.replace('-', "");
    is_trace_id(&id).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_trace_goes_on() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id(Some(parent), None), "4bf92f3577b34da6a3ce929d0e0e4736");
        let amzn = "Root=1-67891233-abcdef012345678912345678;Sampled=1";
        assert_eq!(trace_id(None, Some(amzn)), "67891233abcdef012345678912345678");
        assert_eq!(trace_id(Some("rubbish"), Some(amzn)), "67891233abcdef012345678912345678");
    }

    #[test]
    fn without_a_usable_trace_a_new_one_begins() {
        for bad in ["", "00-short-x-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-<script>-1-1"] {
            let id = trace_id(Some(bad), Some(bad));
            assert!(is_trace_id(&id), "{bad:?} gave {id:?}");
        }
    }
}
