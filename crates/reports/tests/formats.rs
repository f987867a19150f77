//! The formats, from the same findings: valid, complete, and harmless whatever the repository put into them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use dunlin_contracts::api::FindingView;
use dunlin_core::finding::{Confidence, Rule, Severity};
use dunlin_reports::{ReportEngine, ReportError, ReportFormat, ReportHead};
use serde_json::{Value, json};
use uuid::Uuid;

#[path = "formats/convert.rs"]
mod convert;
#[path = "formats/html.rs"]
mod html;
#[path = "formats/junit.rs"]
mod junit;

fn head(state: &str) -> ReportHead {
    let engine = |name: &str, outcome: &str, note: Option<&str>| ReportEngine {
        engine: name.into(),
        version: "1.2.3".into(),
        outcome: outcome.into(),
        files: 7,
        duration_ms: Some(1_250),
        note: note.map(str::to_owned),
    };
    let mut engines = vec![engine("ruff", "assessed", None), engine("ruff", "assessed", None)];
    if state == "partial" {
        engines.push(engine("eslint", "timed_out", Some("stopped after 300 seconds")));
    }
    ReportHead {
        scan_id: "018f0000-0000-7000-8000-000000000001".into(),
        repository: "github.com/acme/shop".into(),
        repository_url: Some("https://github.com/acme/shop".into()),
        revision: "0123456789abcdef0123456789abcdef01234567".into(),
        track: "main".into(),
        state: state.into(),
        started_at: time::OffsetDateTime::UNIX_EPOCH,
        duration_ms: Some(13_400),
        version: "0.1.0".into(),
        engines,
        warnings: vec![".dunlin.toml: line 3, column 1: unknown key".into()],
    }
}

fn rule(id: &str) -> Rule {
    Rule {
        id: id.into(),
        engine: "ruff".into(),
        name: "Possible \"shell\" injection".into(),
        description: Some("words".into()),
        help_url: Some("https://example.org/rule".into()),
        cwe: vec![78],
        severity: Severity::High,
        confidence: Confidence::Medium,
    }
}

fn finding(n: u32) -> FindingView {
    FindingView {
        id: Uuid::from_u128(u128::from(n)),
        rule: "ruff/S602".into(),
        rule_name: "Possible \"shell\" injection".into(),
        engine: "ruff".into(),
        severity: Severity::ALL[n as usize % 5],
        confidence: Confidence::High,
        path: format!("src/b c:{n}.py"),
        start_line: (!n.is_multiple_of(3)).then_some(n),
        start_column: (!n.is_multiple_of(3)).then_some(1),
        end_line: (!n.is_multiple_of(3)).then_some(n + 1),
        message: "line one\nline \"two\", with a comma".into(),
        snippet: Some("a\nb\nc".into()),
        help_url: None,
        cwe: vec![78, 88],
        fingerprint: format!("{n:064x}"),
        state: ["open", "false_positive", "reopened"][n as usize % 3].into(),
        new: n.is_multiple_of(2),
    }
}

fn write(format: ReportFormat, state: &str, findings: &[FindingView]) -> String {
    let mut out = Vec::new();
    let mut writer = format.writer(&mut out, &head(state)).unwrap();
    for id in ["ruff/S602", "ruff/S105"] {
        writer.rule(&rule(id)).unwrap();
    }
    for finding in findings {
        writer.finding(finding).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    String::from_utf8(out).unwrap()
}

fn findings(count: u32) -> Vec<FindingView> {
    (1..=count).map(finding).collect()
}

fn schema() -> jsonschema::Validator {
    // One pattern of this release of the schema is no regular expression: a bracket too many.
    let text = include_str!("schema/sarif-2.1.0-rtm.5.json").replace("-[a-zA-Z]{2}]?$", "-[a-zA-Z]{2}?$");
    let schema: Value = serde_json::from_str(&text).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn assert_valid_sarif(text: &str) -> Value {
    let log: Value = serde_json::from_str(text).unwrap();
    let errors: Vec<_> = schema().iter_errors(&log).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    log
}

#[test]
fn sarif_follows_the_schema_with_and_without_findings() {
    for state in ["complete", "partial"] {
        for count in [0, 1, 20] {
            let log = assert_valid_sarif(&write(ReportFormat::Sarif, state, &findings(count)));
            assert_eq!(log["runs"][0]["results"].as_array().unwrap().len(), count as usize);
        }
    }
}

#[test]
fn the_schema_test_can_fail() {
    let validator = schema();
    let mut log: Value = serde_json::from_str(&write(ReportFormat::Sarif, "complete", &findings(1))).unwrap();
    assert!(validator.is_valid(&log));
    log["runs"][0]["results"][0]["level"] = json!("high");
    assert!(!validator.is_valid(&log));
}

#[test]
fn an_incomplete_scan_is_not_successful_and_names_the_engine() {
    let run = |state| assert_valid_sarif(&write(ReportFormat::Sarif, state, &[]))["runs"][0].clone();
    assert_eq!(run("complete")["invocations"][0]["executionSuccessful"], json!(true));
    let partial = run("partial");
    assert_eq!(partial["invocations"][0]["executionSuccessful"], json!(false));
    let words = &partial["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"];
    assert_eq!(words, "eslint timed out: stopped after 300 seconds");
}

#[test]
fn sarif_results_point_at_their_rule_and_place() {
    let log = assert_valid_sarif(&write(ReportFormat::Sarif, "complete", &findings(4)));
    let run = &log["runs"][0];
    for result in run["results"].as_array().unwrap() {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
    }
    insta::assert_json_snapshot!(run["results"][0]);
    insta::assert_json_snapshot!(run["tool"]);
}

#[test]
fn a_finding_of_an_unknown_rule_is_refused() {
    let mut out = Vec::new();
    let mut writer = ReportFormat::Sarif.writer(&mut out, &head("complete")).unwrap();
    assert!(matches!(writer.finding(&finding(1)), Err(ReportError::UnknownRule(rule)) if rule == "ruff/S602"));
}

#[test]
fn json_gives_back_what_went_in() {
    let given = findings(5);
    let report: Value = serde_json::from_str(&write(ReportFormat::Json, "partial", &given)).unwrap();
    assert_eq!(report["version"], 1);
    assert_eq!(report["count"], 5);
    assert_eq!(report["scan"]["state"], "partial");
    assert_eq!(report["rules"].as_array().unwrap().len(), 2);
    let back: Vec<FindingView> = serde_json::from_value(report["findings"].clone()).unwrap();
    assert_eq!(back, given);
    let empty: Value = serde_json::from_str(&write(ReportFormat::Json, "complete", &[])).unwrap();
    assert_eq!((&empty["findings"], &empty["count"]), (&json!([]), &json!(0)));
}

#[test]
fn csv_survives_quotes_commas_and_line_breaks() {
    let text = write(ReportFormat::Csv, "complete", &findings(3));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let records: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(records.len(), 3);
    assert_eq!(&records[0][column("message")], "line one\nline \"two\", with a comma");
    assert_eq!(&records[0][column("cwe")], "CWE-78 CWE-88");
    assert_eq!(&records[2][column("start_line")], "");
    assert!(text.lines().next().is_some_and(|line| line.starts_with("severity,")) && text.contains("\r\n"));
}

#[test]
fn csv_never_holds_a_formula() {
    let mut evil = finding(1);
    for start in ["=", "+", "-", "@", "\t=", "\r=", " =", "＝"] {
        evil.path = format!("{start}cmd|'/c calc'!A1");
        evil.message = format!("{start}HYPERLINK(\"http://x\")");
        let text = write(ReportFormat::Csv, "complete", std::slice::from_ref(&evil));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert!(record[5].starts_with('\'') && record[9].starts_with('\''), "{start:?}: {record:?}");
    }
}

#[test]
fn writers_hold_no_findings_back() {
    struct Counter(std::rc::Rc<std::cell::Cell<u64>>);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.set(self.0.get() + bytes.len() as u64);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for format in ReportFormat::STORED {
        let written = std::rc::Rc::new(std::cell::Cell::new(0));
        let mut writer = format.writer(Counter(written.clone()), &head("complete")).unwrap();
        writer.rule(&rule("ruff/S602")).unwrap();
        let mut largest_gap = 0;
        for n in 1..2_000 {
            let before = written.get();
            writer.finding(&finding(n)).unwrap();
            largest_gap = largest_gap.max(written.get() - before);
        }
        let before_end = written.get();
        writer.finish().unwrap();
        assert!(written.get() - before_end < 64 * 1024, "{format:?} wrote most of it at the end");
        assert!(largest_gap < 64 * 1024, "{format:?}");
    }
}
