//! Metrics leave as log lines in CloudWatch's embedded metric format: no call, no client, nothing to wait for.

use serde_json::{Map, Value, json};
use std::io::Write;
use time::OffsetDateTime;

pub const NAMESPACE: &str = "Dunlin";

#[derive(Debug, Clone, Copy)]
pub enum Unit {
    Count,
    Milliseconds,
    Bytes,
}

impl Unit {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
            Self::Bytes => "Bytes",
        }
    }
}

/// Emits one metric. Dimensions are closed sets (outcome, engine, compute): each combination is billed as a metric.
pub fn emit(name: &str, unit: Unit, value: f64, dimensions: &[(&str, &str)]) {
    let line = document(name, unit, value, dimensions, OffsetDateTime::now_utc());
    let mut out = std::io::stdout().lock();
    // A metric that cannot be written is not worth failing the work for.
    let _ = writeln!(out, "{line}");
}

/// The document, as in "Specification: Embedded metric format" of the CloudWatch user guide.
fn document(name: &str, unit: Unit, value: f64, dimensions: &[(&str, &str)], now: OffsetDateTime) -> Value {
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    let mut document = Map::new();
    document.insert(
        "_aws".into(),
        json!({
            "Timestamp": i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [names],
                "Metrics": [{ "Name": name, "Unit": unit.as_str() }],
            }],
        }),
    );
    document.insert(name.to_owned(), json!(value));
    for (name, value) in dimensions {
        document.insert((*name).to_owned(), json!(value));
    }
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_a_valid_embedded_metric() {
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let d = document("JobDuration", Unit::Milliseconds, 12.5, &[("engine", "ruff"), ("compute", "lambda")], now);
        assert_eq!(d["_aws"]["Timestamp"], 1_700_000_000_000_i64);
        let directive = &d["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Dunlin");
        // Every dimension and metric that is named must be a member of the document itself.
        for name in directive["Dimensions"][0].as_array().unwrap() {
            assert!(d[name.as_str().unwrap()].is_string());
        }
        assert_eq!(d[directive["Metrics"][0]["Name"].as_str().unwrap()], 12.5);
    }
}
