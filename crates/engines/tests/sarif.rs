//! What SARIF allows and engines do, one at a time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use dunlin_core::finding::{Confidence, Finding, Severity};
use dunlin_engines::{EngineManifest, ReadContext, Report, ReportError, find, read_report};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// Trivy has no severities of its own in its manifest, so the report decides.
fn engine() -> &'static EngineManifest {
    find("trivy").unwrap()
}

fn read_in(root: &Path, log: &Value) -> Result<Report, ReportError> {
    let selected = |path: &str| path.starts_with("src/");
    read_report(engine(), log.to_string().as_bytes(), &ReadContext { root, selected: &selected })
}

fn read(log: &Value) -> Result<Report, ReportError> {
    read_in(Path::new("/repository"), log)
}

fn run(rules: &Value, results: &Value) -> Value {
    json!({"tool": {"driver": {"name": "x", "rules": rules}}, "results": results})
}

fn log(runs: &[Value]) -> Value {
    json!({"version": "2.1.0", "runs": runs})
}

fn result(rule: &str) -> Value {
    json!({"ruleId": rule, "message": {"text": "words"}, "locations": [place("src/a.tf")]})
}

fn place(uri: &str) -> Value {
    json!({"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}})
}

fn only(results: &Value, rules: &Value) -> Finding {
    let mut report = read(&log(&[run(rules, results)])).unwrap();
    assert_eq!((report.findings.len(), report.partial), (1, None));
    report.findings.remove(0)
}

#[test]
fn several_runs_are_one_report() {
    let report = read(&log(&[
        run(&json!([{"id": "A", "name": "first"}]), &json!([result("A")])),
        run(&json!([{"id": "B", "name": "second"}]), &json!([result("B"), result("A")])),
    ]))
    .unwrap();
    assert_eq!(report.findings.len(), 3);
    assert_eq!(report.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["first", "second"]);
}

#[test]
fn equal_results_all_count_and_have_fingerprints_of_their_own() {
    let report = read(&log(&[run(&json!([]), &json!([result("A"), result("A"), result("A")]))])).unwrap();
    let keys: std::collections::HashSet<_> = report.findings.iter().map(|finding| &finding.fingerprint).collect();
    assert_eq!((report.findings.len(), keys.len()), (3, 3));
}

#[test]
fn a_rule_is_found_by_id_by_index_and_by_reference() {
    let rules = json!([{"id": "zero"}, {"id": "one"}]);
    let with = |extra: Value| {
        let mut result = result("x");
        let object = result.as_object_mut().unwrap();
        object.remove("ruleId");
        object.extend(extra.as_object().unwrap().clone());
        only(&json!([result]), &rules).rule
    };
    assert_eq!(with(json!({"ruleId": "one"})), "trivy/one");
    assert_eq!(with(json!({"ruleIndex": 1})), "trivy/one");
    assert_eq!(with(json!({"rule": {"index": 1}})), "trivy/one");
    assert_eq!(with(json!({"rule": {"id": "one"}})), "trivy/one");
    assert_eq!(with(json!({"ruleId": "one/part", "ruleIndex": 1})), "trivy/one");
    assert_eq!(with(json!({"ruleId": "other", "ruleIndex": 1})), "trivy/other");
    assert_eq!(with(json!({"ruleId": "other", "ruleIndex": -1})), "trivy/other");
    assert_eq!(with(json!({"ruleIndex": 7})), "trivy/unnamed");
}

#[test]
fn the_most_exact_severity_wins() {
    let severity = |rule: Value, more: Value| {
        let mut result = result("A");
        result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut rule = rule;
        rule["id"] = json!("A");
        only(&json!([result]), &json!([rule])).severity
    };
    let scored = json!({"properties": {"security-severity": "9.1"}, "defaultConfiguration": {"level": "note"}});
    assert_eq!(severity(scored.clone(), json!({"level": "warning"})), Severity::Critical);
    assert_eq!(severity(scored, json!({"properties": {"x/severity": "Low"}})), Severity::Low);
    let level = json!({"defaultConfiguration": {"level": "error"}});
    assert_eq!(severity(level.clone(), json!({})), Severity::High);
    assert_eq!(severity(level, json!({"level": "note"})), Severity::Low);
    assert_eq!(severity(json!({}), json!({})), Severity::Medium);
}

#[test]
fn weaknesses_and_confidence_come_from_where_engines_put_them() {
    let rules = json!([{
        "id": "A",
        "properties": {"tags": ["external/cwe/cwe-079"], "precision": "very-high"},
        "relationships": [{"target": {"id": "CWE-80"}}],
    }]);
    let report = read(&log(&[run(&rules, &json!([result("A")]))])).unwrap();
    assert_eq!((report.rules[0].cwe.as_slice(), report.rules[0].confidence), ([79, 80].as_slice(), Confidence::High));
}

#[test]
fn a_base_may_be_relative_to_another_base() {
    let mut run = run(
        &json!([]),
        &json!([{
            "ruleId": "A",
            "message": {"text": "words"},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": "b%20c.tf", "uriBaseId": "SOURCES"}}}],
        }]),
    );
    run["originalUriBaseIds"] =
        json!({"ROOT": {"uri": "file:///repository/"}, "SOURCES": {"uri": "src/", "uriBaseId": "ROOT"}});
    let report = read(&log(&[run])).unwrap();
    assert_eq!(report.findings[0].location.path, "src/b c.tf");
}

#[test]
fn bases_that_go_in_circles_end() {
    let mut run = run(
        &json!([]),
        &json!([{
            "ruleId": "A",
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": "a.tf", "uriBaseId": "A"}}}],
        }]),
    );
    run["originalUriBaseIds"] = json!({"A": {"uri": "x/", "uriBaseId": "B"}, "B": {"uri": "y/", "uriBaseId": "A"}});
    assert_eq!(read(&log(&[run])).unwrap().outside, 1);
}

#[test]
fn a_location_may_point_into_the_list_of_artifacts() {
    let mut run = run(
        &json!([]),
        &json!([{
            "ruleId": "A",
            "locations": [{"physicalLocation": {"artifactLocation": {"index": 1}}}],
        }]),
    );
    run["artifacts"] = json!([{"location": {"uri": "src/a.tf"}}, {"location": {"uri": "src/b.tf"}}]);
    assert_eq!(read(&log(&[run])).unwrap().findings[0].location.path, "src/b.tf");
}

#[test]
fn suppressed_results_are_counted_and_are_no_findings() {
    let mut suppressed = result("A");
    suppressed["suppressions"] = json!([{"kind": "inSource"}]);
    let mut rejected = result("A");
    rejected["suppressions"] = json!([{"kind": "external", "status": "rejected"}]);
    let mut passed = result("A");
    passed["kind"] = json!("pass");
    let report = read(&log(&[run(&json!([]), &json!([suppressed, rejected, passed]))])).unwrap();
    assert_eq!((report.findings.len(), report.suppressed), (1, 1));
}

#[test]
fn an_engine_that_failed_is_never_clean() {
    let mut failed = run(&json!([]), &json!([]));
    failed["invocations"] = json!([{"executionSuccessful": false}]);
    assert!(matches!(read(&log(std::slice::from_ref(&failed))), Err(ReportError::EngineFailed { .. })));

    failed["results"] = json!([result("A")]);
    assert_eq!(
        read(&log(std::slice::from_ref(&failed))).unwrap().partial.as_deref(),
        Some("the engine reports: execution was not successful")
    );

    failed["results"] = json!([]);
    failed["invocations"][0]["toolExecutionNotifications"] =
        json!([{"level": "error", "message": {"text": "cannot parse"}, "locations": [place("src/a.tf")]}]);
    assert_eq!(read(&log(&[failed])).unwrap().partial.as_deref(), Some("the engine reports: a.tf: cannot parse"));
}

#[test]
fn what_is_no_whole_report_is_an_error() {
    for text in [
        "",
        "   \n",
        "null",
        "[]",
        "{}",
        "not json",
        "{\"version\":\"2.1.0\"}",
        "{\"version\":\"2.1.0\",\"runs\":[]}",
        "{\"version\":\"2.1.0\",\"runs\":[{\"tool\":{\"driver\":{}}}]}",
        "{\"version\":\"2.1.0\",\"runs\":[{\"tool\":{\"driver\":{}},\"results\":null}]}",
        "{\"version\":\"2.1.0\",\"runs\":[{\"results\":[]}]}",
        "{\"version\":\"1.0.0\",\"runs\":[{\"tool\":{\"driver\":{}},\"results\":[]}]}",
        "{\"version\":\"2.1.0\",\"runs\":[{\"tool\":{\"driver\":{}},\"results\":[]}]}trailing",
    ] {
        let read = read_report(engine(), text.as_bytes(), &ReadContext { root: Path::new("/"), selected: &|_| true });
        assert!(read.is_err(), "{text:?} gave {read:?}");
    }
    let with_mark = format!("\u{feff}{}", log(&[run(&json!([]), &json!([]))]));
    let context = ReadContext { root: Path::new("/"), selected: &|_| true };
    assert_eq!(read_report(engine(), with_mark.as_bytes(), &context).unwrap(), Report::default());
}

#[test]
fn moved_lines_and_other_words_keep_the_fingerprint() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("src")).unwrap();
    let read = |code: &str, line: u32, words: &str| {
        fs::write(root.path().join("src/a.tf"), code).unwrap();
        let mut result = result("A");
        result["message"]["text"] = json!(words);
        result["locations"][0]["physicalLocation"]["region"]["startLine"] = json!(line);
        read_in(root.path(), &log(&[run(&json!([]), &json!([result]))])).unwrap().findings.remove(0)
    };
    let before = read("acl = \"public-read\"\n", 1, "public");
    let after = read("# a comment\n\n    acl =  \"public-read\"\r\n", 3, "the bucket is public");
    assert_eq!(before.fingerprint, after.fingerprint);
    assert_ne!(before.fingerprint, read("acl = \"private\"\n", 1, "public").fingerprint);
}

#[test]
fn a_link_in_the_source_is_never_followed() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("src")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("src/a.tf")).unwrap();
    let report = read_in(root.path(), &log(&[run(&json!([]), &json!([result("A")]))])).unwrap();
    assert_eq!(report.findings[0].snippet, None);
}
