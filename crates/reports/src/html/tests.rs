use super::*;
use dunlin_core::finding::Confidence;

fn head() -> ReportHead {
    ReportHead {
        scan_id: "1".into(),
        repository: "shop".into(),
        repository_url: None,
        revision: String::new(),
        track: "main".into(),
        state: "complete".into(),
        started_at: time::OffsetDateTime::UNIX_EPOCH,
        duration_ms: None,
        version: "0.1.0".into(),
        engines: vec![],
        warnings: vec![],
    }
}

fn finding(severity: Severity, path: &str) -> FindingView {
    FindingView {
        id: uuid::Uuid::nil(),
        rule: "x/1".into(),
        rule_name: "one".into(),
        engine: "x".into(),
        severity,
        confidence: Confidence::Low,
        path: path.into(),
        start_line: None,
        start_column: None,
        end_line: None,
        message: "words".into(),
        snippet: None,
        help_url: None,
        cwe: vec![],
        fingerprint: "f".into(),
        state: "open".into(),
        new: false,
    }
}

#[test]
fn only_the_worst_are_kept_and_every_one_is_counted() {
    let mut out = Vec::new();
    let mut writer = HtmlReport::begin(&mut out, &head()).unwrap().showing(3);
    for n in 0..1_200 {
        let severity = if n % 400 == 7 { Severity::High } else { Severity::Low };
        writer.finding(&finding(severity, &format!("file-{n}"))).unwrap();
        assert!(writer.gathered.shown.len() <= 3);
    }
    writer.finish().unwrap();
    let page = String::from_utf8(out).unwrap();
    assert_eq!(page.matches("<li class=\"f\"").count(), 3);
    for shown in [
        "file-7<",
        "file-407<",
        "file-807<",
        "The 3 worst are shown.",
        "1,197 more",
        "1,200 findings",
        "<b>1,197</b> low",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
}

#[test]
fn equal_findings_stay_apart() {
    let mut out = Vec::new();
    let mut writer = HtmlReport::begin(&mut out, &head()).unwrap();
    for _ in 0..3 {
        writer.finding(&finding(Severity::Low, "same")).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(String::from_utf8(out).unwrap().matches("<li class=\"f\"").count(), 3);
}
