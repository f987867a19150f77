//! ShellCheck's `json1`: one object with a list of comments.

use super::{RawPlace, RawReport, RawResult, RawRule, ReportError, words};
use serde::Deserialize;

#[derive(Deserialize)]
struct Log {
    comments: Vec<Comment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Comment {
    file: String,
    line: i64,
    end_line: Option<i64>,
    column: Option<i64>,
    end_column: Option<i64>,
    level: String,
    code: u32,
    message: String,
}

pub(super) fn read(bytes: &[u8]) -> Result<RawReport, ReportError> {
    let log: Log = serde_json::from_slice(bytes)
        .map_err(|source| ReportError::Malformed { format: "shellcheck's json1", source })?;
    let mut report = RawReport::default();
    for comment in log.comments {
        let rule = format!("SC{}", comment.code);
        report.rules.entry(rule.clone()).or_insert_with(|| RawRule {
            help_url: Some(format!("https://www.shellcheck.net/wiki/{rule}")),
            ..RawRule::default()
        });
        report.results.push(RawResult {
            severity: words::severity_word(&comment.level),
            confidence: None,
            message: comment.message,
            place: RawPlace {
                uri: Some(comment.file),
                start_line: Some(comment.line),
                start_column: comment.column,
                end_line: comment.end_line,
                end_column: comment.end_column,
                ..RawPlace::default()
            },
            rule,
        });
    }
    Ok(report)
}
