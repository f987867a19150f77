//! Reports out: whatever a repository and an engine put into a finding, each format stays what it is, and says the same.

use dunlin_contracts::api::FindingView;
use dunlin_core::finding::{Confidence, Rule, Severity};
use dunlin_reports::{ReportFormat, ReportHead};
use serde_json::{Value, json};
use uuid::Uuid;

pub fn seeds() -> Vec<Vec<u8>> {
    [
        "src/a.py\u{1}a message\nof two lines\u{1}code()\u{1}ruff/S1\u{1}A rule\u{1}https://example.com/a\u{1}github.com/acme/shop\u{1}main\u{1}words",
        "=1+1\u{1}@SUM(A1)\u{1}<script>alert(1)</script>\u{1}x/]]>\u{1}\"';--\u{1}javascript:alert(1)\u{1}a/b\u{1}\u{202e}\u{1}&lt;",
        "a b:c%20.py\u{1}\u{1}\u{1}e/\u{1}\u{1}\u{1}\u{1}\u{1}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// Fields are between bytes of value 1.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let fields: Vec<&str> = text.split('\u{1}').collect();
    let field = |n: usize| fields.get(n).copied().unwrap_or_default();
    let path = if field(0).is_empty() { "." } else { field(0) };
    let texts = [path, field(1), field(2), field(3), field(4), field(5), field(6), field(7), field(8)];
    for format in ReportFormat::ALL {
        let written = write(format, &texts);
        match format.as_str() {
            "sarif" => sarif(&written, &texts),
            "json" => json(&written, &texts),
            "csv" => csv(&written, &texts),
            // Markup: no text of ours opens or closes anything.
            other => {
                // An address with such a sign in it is no link, and what is no link has no tags.
                let texts = texts.map(|text| if text.starts_with("http") { "https://example.com/" } else { text });
                let written = write(format, &texts);
                let calm = texts.map(|text| text.replace(['<', '>', '&', '"', '\''], "x"));
                let quiet = write(format, &calm.each_ref().map(String::as_str));
                for sign in ['<', '>'] {
                    let count = |report: &str| report.matches(sign).count();
                    assert_eq!(count(&written), count(&quiet), "{other}: a text became markup: {texts:?}");
                }
            }
        }
    }
}

fn json(written: &str, [path, message, ..]: &[&str; 9]) {
    let report: Value = serde_json::from_str(written).expect("json");
    assert_eq!((report["count"].as_u64(), report["findings"][1]["path"].as_str()), (Some(2), Some(*path)));
    assert_eq!(report["findings"][0]["message"].as_str(), Some(*message));
}

fn sarif(written: &str, [path, message, _, id, _, help, ..]: &[&str; 9]) {
    let log: Value = serde_json::from_str(written).expect("json");
    let run = &log["runs"][0];
    assert_eq!(run["results"].as_array().map(Vec::len), Some(2));
    let result = &run["results"][0];
    assert_eq!(result["message"]["text"].as_str(), Some(*message));
    let rule = &run["tool"]["driver"]["rules"][0];
    assert_eq!((rule["id"].as_str(), result["ruleIndex"].as_u64()), (Some(*id), Some(0)));
    assert!(rule["helpUri"].as_str().is_none_or(|uri| uri == *help && uri.starts_with("http")), "{}", rule["helpUri"]);
    // RFC 3986: nothing but these characters, and the path again behind its percent signs.
    let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().expect("a uri");
    assert!(uri.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@%".contains(&byte)), "{uri}");
    let mut decoded = Vec::new();
    let mut rest = uri.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [a, b, after @ ..]) => {
                let digits = [*a, *b];
                let digits = std::str::from_utf8(&digits).expect("two digits");
                decoded.push(u8::from_str_radix(digits, 16).expect("two digits"));
                rest = after;
            }
            _ => decoded.push(*first),
        }
    }
    assert_eq!(String::from_utf8(decoded).as_deref(), Ok(*path));
}

fn csv(written: &str, [path, message, ..]: &[&str; 9]) {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(written.as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(|record| record.expect("a record")).collect();
    assert_eq!(records.len(), 3, "a text became a line");
    for cell in records.iter().flatten() {
        let first = cell.trim_start_matches([' ', '\u{a0}', '\u{feff}']).chars().next();
        assert!(first.is_none_or(|c| !"=+-@\t\r\n".contains(c)), "a spreadsheet runs {cell:?}");
    }
    let cell = |n: usize| records[1][n].strip_prefix('\'').unwrap_or(&records[1][n]).to_owned();
    let text = |text: &str| text.strip_prefix('\'').unwrap_or(text).to_owned();
    assert_eq!((cell(5), cell(9)), (text(path), text(message)));
}

fn write(format: ReportFormat, texts: &[&str; 9]) -> String {
    let [path, message, snippet, id, name, help, repository, track, words] = *texts;
    let head = json!({
        "scan_id": "018f0000-0000-7000-8000-000000000001",
        "repository": repository,
        "repository_url": help,
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "track": track,
        "state": "partial",
        "started_at": "2026-01-02T03:04:05Z",
        "version": "0.1.0",
        "engines": [
            {"engine": "ruff", "version": words, "outcome": "partly_assessed", "files": 2, "note": words},
            {"engine": "trivy", "version": "1", "outcome": "assessed", "files": 0},
        ],
        "warnings": [words],
    });
    let head: ReportHead = serde_json::from_value(head).expect("the head of a report");
    let rule = Rule {
        id: id.to_owned(),
        engine: "ruff".to_owned(),
        name: name.to_owned(),
        description: Some(words.to_owned()),
        help_url: Some(help.to_owned()),
        cwe: vec![79],
        severity: Severity::High,
        confidence: Confidence::Low,
    };
    let finding = |number: u32| FindingView {
        id: Uuid::from_u128(u128::from(number)),
        rule: id.to_owned(),
        rule_name: name.to_owned(),
        engine: "ruff".to_owned(),
        severity: Severity::High,
        confidence: Confidence::Low,
        path: path.to_owned(),
        start_line: Some(number),
        start_column: Some(1),
        end_line: Some(number),
        message: message.to_owned(),
        snippet: Some(snippet.to_owned()),
        help_url: Some(help.to_owned()),
        cwe: vec![79],
        fingerprint: format!("{number:064x}"),
        state: "open".to_owned(),
        new: true,
    };
    let mut out = Vec::new();
    let mut writer = format.writer(&mut out, &head).expect("memory can be written");
    writer.rule(&rule).expect("one rule");
    for number in [1, 2] {
        writer.finding(&finding(number)).expect("a finding of that rule");
    }
    writer.finish().expect("memory can be written");
    drop(writer);
    String::from_utf8(out).expect("every format is utf-8")
}
