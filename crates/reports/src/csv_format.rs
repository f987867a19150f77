//! CSV (RFC 4180) for spreadsheets: one line a finding.

use crate::{ReportError, ReportWriter};
use dunlin_contracts::api::FindingView;
use dunlin_core::finding::Rule;
use std::{borrow::Cow, io::Write};

const COLUMNS: [&str; 16] = [
    "severity",
    "confidence",
    "engine",
    "rule",
    "rule_name",
    "path",
    "start_line",
    "start_column",
    "end_line",
    "message",
    "state",
    "new",
    "cwe",
    "help_url",
    "fingerprint",
    "id",
];

pub struct CsvReport<W: Write> {
    out: csv::Writer<W>,
}

impl<W: Write> CsvReport<W> {
    pub fn begin(out: W) -> Result<Self, ReportError> {
        let mut out = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        out.write_record(COLUMNS)?;
        Ok(Self { out })
    }
}

impl<W: Write> ReportWriter for CsvReport<W> {
    fn rule(&mut self, _rule: &Rule) -> Result<(), ReportError> {
        Ok(())
    }

    fn finding(&mut self, finding: &FindingView) -> Result<(), ReportError> {
        let number = |n: Option<u32>| n.map(|n| n.to_string()).unwrap_or_default();
        let cwe: Vec<String> = finding.cwe.iter().map(|n| format!("CWE-{n}")).collect();
        let fields: [Cow<'_, str>; 16] = [
            finding.severity.as_str().into(),
            finding.confidence.as_str().into(),
            safe(&finding.engine),
            safe(&finding.rule),
            safe(&finding.rule_name),
            safe(&finding.path),
            number(finding.start_line).into(),
            number(finding.start_column).into(),
            number(finding.end_line).into(),
            safe(&finding.message),
            safe(&finding.state),
            if finding.new { "true".into() } else { "false".into() },
            cwe.join(" ").into(),
            safe(finding.help_url.as_deref().unwrap_or_default()),
            safe(&finding.fingerprint),
            finding.id.to_string().into(),
        ];
        Ok(self.out.write_record(fields.iter().map(|field| field.as_bytes()))?)
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        Ok(self.out.flush()?)
    }
}

/// A spreadsheet runs a cell that begins like a formula, and file names come from the scanned repository: an apostrophe makes
/// it text (OWASP, "CSV Injection").
fn safe(field: &str) -> Cow<'_, str> {
    let first = field.trim_start_matches([' ', '\u{a0}', '\u{feff}']).chars().next();
    match first {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') => {
            Cow::Owned(format!("'{field}"))
        }
        _ => Cow::Borrowed(field),
    }
}
