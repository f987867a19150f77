//! A scan in which an engine did not assess everything is clean in no format, whatever number of findings it has.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use dunlin_core::job::JobOutcome;
use dunlin_reports::{ReportFormat, ReportHead};
use serde_json::{Value, json};

fn report(format: ReportFormat, outcome: JobOutcome) -> Value {
    let note = (outcome != JobOutcome::Assessed).then_some("the engine opened none of the 2 files it was given");
    let head: ReportHead = serde_json::from_value(json!({
        "scan_id": "018f0000-0000-7000-8000-000000000001",
        "repository": "github.com/acme/shop",
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "track": "main",
        "state": if outcome == JobOutcome::Assessed { "complete" } else { "partial" },
        "started_at": "2026-01-02T03:04:05Z",
        "version": "0.1.0",
        "engines": [
            {"engine": "trivy", "version": "1", "outcome": "assessed", "files": 1},
            {"engine": "ruff", "version": "1", "outcome": outcome.as_str(), "files": 2, "note": note},
        ],
    }))
    .unwrap();
    let mut out = Vec::new();
    let mut writer = format.writer(&mut out, &head).unwrap();
    writer.finish().unwrap();
    drop(writer);
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn no_findings_of_an_engine_that_did_not_assess_its_files_are_not_clean() {
    use JobOutcome::{Failed, NotRun, OutOfMemory, PartlyAssessed, TimedOut};
    for outcome in [PartlyAssessed, Failed, TimedOut, OutOfMemory, NotRun] {
        let sarif = report(ReportFormat::Sarif, outcome);
        let invocation = &sarif["runs"][0]["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], json!(false), "{outcome:?}");
        let told = invocation["toolExecutionNotifications"].as_array().unwrap();
        assert_eq!(told.len(), 1, "{outcome:?}");
        assert_eq!((&told[0]["level"], &told[0]["descriptor"]["id"]), (&json!("error"), &json!(outcome.as_str())));
        assert_eq!(told[0]["properties"], json!({"engine": "ruff", "files": 2}));
        assert!(told[0]["message"]["text"].as_str().unwrap().ends_with("opened none of the 2 files it was given"));
        let own = report(ReportFormat::Json, outcome);
        assert_eq!((&own["scan"]["state"], &own["count"]), (&json!("partial"), &json!(0)));
        assert_eq!(own["scan"]["engines"][1]["outcome"], outcome.as_str());
    }
    let sarif = report(ReportFormat::Sarif, JobOutcome::Assessed);
    assert_eq!(sarif["runs"][0]["invocations"][0]["executionSuccessful"], json!(true));
}
