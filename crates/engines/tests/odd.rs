//! Reports as no engine should write them, read by the readers as they are: encodings, escapes, places that are none.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use dunlin_engines::{EngineManifest, ReadContext, Report, ReportError, catalog, find, read_report};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn read_bytes(engine: &EngineManifest, report: &[u8]) -> Result<Report, ReportError> {
    let files = ["src/a.tf", "src/a b.tf", "src/ü.tf", "100%.tf", "%41.tf", "src/..a.tf"];
    let selected = |path: &str| files.contains(&path);
    read_report(engine, report, &ReadContext { root: Path::new("/repository"), selected: &selected })
}

/// What people read when it cannot be used.
fn refusal(engine: &EngineManifest, report: &[u8]) -> String {
    let error = read_bytes(engine, report).unwrap_err();
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

fn log(results: &Value) -> Value {
    json!({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": results}]})
}

fn at(artifact: &Value, region: &Value) -> Value {
    json!({"ruleId": "A", "message": {"text": "words"}, "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}]})
}

fn read(log: &Value) -> Report {
    read_bytes(find("trivy").unwrap(), log.to_string().as_bytes()).unwrap()
}

fn paths(log: &Value) -> Vec<String> {
    read(log).findings.into_iter().map(|finding| finding.location.path).collect()
}

fn valid(engine: &EngineManifest) -> String {
    match engine.name.as_str() {
        "shellcheck" => r#"{"comments": [], "é": "ü"}"#.to_owned(),
        _ => r#"{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "é"}}, "results": []}]}"#.to_owned(),
    }
}

#[test]
fn other_encodings_are_named() {
    for engine in catalog() {
        let text = valid(engine);
        assert_eq!(read_bytes(engine, text.as_bytes()).unwrap(), Report::default(), "{}", engine.name);
        assert_eq!(read_bytes(engine, format!("\u{feff}{text}").as_bytes()).unwrap(), Report::default(), "a mark");
        let units = |mark: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("{mark}{text}").encode_utf16().flat_map(bytes).collect()
        };
        for mark in ["", "\u{feff}"] {
            for utf_16 in [units(mark, u16::to_le_bytes), units(mark, u16::to_be_bytes)] {
                assert_eq!(refusal(engine, &utf_16), "report is utf-16 and not utf-8", "{}", engine.name);
            }
            let utf_32: Vec<u8> = format!("{mark}{text}").chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
            assert_eq!(refusal(engine, &utf_32), "report is utf-32 and not utf-8", "{}", engine.name);
        }
    }
}

#[test]
fn latin_1_is_refused_where_it_matters() {
    let trivy = find("trivy").unwrap();
    let of = |message: &[u8], unknown: &[u8]| {
        let parts: [&[u8]; 5] = [
            b"{\"version\":\"2.1.0\",\"runs\":[{\"tool\":{},\"results\":[\n{\"message\":{\"text\":\"",
            message,
            b"\"},\"unknown\":\"",
            unknown,
            b"\"}]}]}",
        ];
        parts.concat()
    };
    let told = refusal(trivy, &of(b"caf\xe9", b""));
    assert!(told.starts_with("report is not sarif: invalid unicode code point at line 2 column "), "{told}");
    // Nobody reads this field.
    assert_eq!(read_bytes(trivy, &of(b"", b"caf\xe9")).unwrap().findings.len(), 1);
}

#[test]
fn what_is_not_there_is_said() {
    for engine in catalog() {
        for empty in [&b""[..], b" \n\t\r\n ", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"] {
            assert_eq!(refusal(engine, empty), "report is empty", "{}: {empty:?}", engine.name);
        }
        let text = valid(engine);
        let cut = refusal(engine, &text.as_bytes()[..text.len() - 2]);
        assert!(cut.contains("EOF while parsing") && cut.contains("line 1 column "), "{cut}");
    }
}

#[test]
fn what_is_wrong_with_a_report_quotes_nothing_of_it() {
    let secret = ["ghp", "_", &"a1B2c3D4e5".repeat(4)[..36]].concat();
    for engine in catalog() {
        for broken in [
            json!(secret),
            json!([secret]),
            json!({"version": "2.1.0", "runs": secret}),
            json!({"version": [secret], "runs": []}),
            log(&json!([secret])),
            log(&json!([{"message": secret}])),
            log(&json!([{"ruleId": {"x": secret}}])),
            log(&json!([{"locations": {"x": secret}}])),
            json!({"comments": [secret]}),
            json!({"comments": secret}),
            json!({"comments": [{"file": 1, "message": secret}]}),
        ] {
            if read_bytes(engine, broken.to_string().as_bytes()).is_err() {
                let told = refusal(engine, broken.to_string().as_bytes());
                assert!(!told.contains(&secret), "{}: {told}", engine.name);
            }
        }
    }
    let told = refusal(find("trivy").unwrap(), log(&json!([{"message": secret}])).to_string().as_bytes());
    assert!(told.starts_with("report is not sarif: this is not an object at line 1 column "), "{told}");
}

#[test]
fn every_escape_leads_to_its_file_or_nowhere() {
    let found = |uri: &str| paths(&log(&json!([at(&json!({"uri": uri}), &json!({}))]))).pop();
    for (uri, path) in [
        ("src/a%20b.tf", "src/a b.tf"),
        ("src/a b.tf", "src/a b.tf"),
        ("src/%C3%BC.tf", "src/ü.tf"),
        ("src/%c3%bc.tf", "src/ü.tf"),
        ("src/ü.tf", "src/ü.tf"),
        ("100%25.tf", "100%.tf"),
        ("100%.tf", "100%.tf"),
        ("%41.tf", "%41.tf"),
        ("%2541.tf", "%41.tf"),
        ("src/..a.tf", "src/..a.tf"),
        ("file:///repository/src/a%20b.tf", "src/a b.tf"),
        ("file:/repository/src/a.tf", "src/a.tf"),
        ("file://host/repository/src/a.tf", "src/a.tf"),
        ("./src/./a.tf", "src/a.tf"),
        ("src//a.tf", "src/a.tf"),
        ("src/b/../a.tf", "src/a.tf"),
    ] {
        assert_eq!(found(uri).as_deref(), Some(path), "{uri}");
    }
    for uri in [
        "",
        "..",
        "../src/a.tf",
        "src/../../src/a.tf",
        "..%2fsrc%2fa.tf",
        "%2e%2e/src/a.tf",
        "/src/a.tf",
        "file:///src/a.tf",
        "file://",
        "file:///repository/../repository2/src/a.tf",
        "src/a.tf%00",
        "src/a.tf\0",
        "http://x/src/a.tf",
        "src\\a.tf",
        "C:\\src\\a.tf",
        "src/%e9.tf",
        "src/a.tf/",
        "src",
        "src/a.tf#L1",
        "src/A.tf",
    ] {
        if uri == "src/a.tf/" {
            assert_eq!(found(uri).as_deref(), Some("src/a.tf"));
            continue;
        }
        let report = read(&log(&json!([at(&json!({"uri": uri}), &json!({}))])));
        assert_eq!((report.findings.len(), report.outside), (0, 1), "{uri:?}");
        assert_eq!(report.partial.as_deref(), Some("1 results were outside of the files given"), "{uri:?}");
    }
}

#[test]
fn a_base_is_what_the_report_says_it_is() {
    let found = |bases: Value, base: &str| {
        let mut log = log(&json!([at(&json!({"uri": "a.tf", "uriBaseId": base}), &json!({}))]));
        log["runs"][0]["originalUriBaseIds"] = bases;
        paths(&log).pop()
    };
    let src = Some("src/a.tf".to_owned());
    assert_eq!(found(json!({"S": {"uri": "src/"}}), "S"), src);
    assert_eq!(found(json!({"S": {"uri": "src"}}), "S"), src);
    assert_eq!(found(json!({"S": {"uri": "file:///repository/src/"}}), "S"), src);
    assert_eq!(found(json!({"S": {"uri": "file:///repository/x%2F..%2Fsrc/"}}), "S"), src);
    for (bases, base) in [
        (json!({"S": {"uri": "file:///etc/"}}), "S"),
        (json!({"S": {"uri": "../"}}), "S"),
        (json!({"S": {"uri": "file:///elsewhere/src/"}}), "S"),
        (json!({"S": {}}), "S"),
        (json!({"S": null}), "S"),
        (json!({}), "S"),
        (json!(null), "%SRCROOT%"),
    ] {
        assert_eq!(found(bases.clone(), base), None, "{bases}");
    }
}

#[test]
fn a_result_without_a_place_is_about_the_repository() {
    let report = read(&log(&json!([
        {"ruleId": "A"},
        {"ruleId": "A", "locations": null},
        {"ruleId": "A", "locations": []},
        {"ruleId": "A", "locations": [{}]},
        {"ruleId": "A", "locations": [{"logicalLocations": [{"name": "f"}]}]},
        {"ruleId": "A", "locations": [{"physicalLocation": null}]},
        {"ruleId": "A", "locations": [{"physicalLocation": {"region": {"startLine": 3}}}]},
        {"ruleId": "A", "locations": [{"physicalLocation": {"artifactLocation": {}}}]},
        {"ruleId": "A", "locations": [{"physicalLocation": {"artifactLocation": {"index": -1}}}]},
        {"ruleId": "A", "locations": [{"physicalLocation": {"artifactLocation": {"index": 9}}}]},
    ])));
    assert_eq!((report.findings.len(), report.partial), (10, None));
    assert!(report.findings.iter().all(|finding| finding.location.path == "." && finding.message == "no message"));
    let keys: std::collections::HashSet<_> = report.findings.iter().map(|finding| &finding.fingerprint).collect();
    assert_eq!(keys.len(), 10);
    // The first one that is a place counts.
    let second =
        json!([{"ruleId": "A", "locations": [{}, {"physicalLocation": {"artifactLocation": {"uri": "src/a.tf"}}}]}]);
    assert_eq!(paths(&log(&second)), ["src/a.tf"]);
}

#[test]
fn lines_that_are_none_are_left_out_and_the_finding_stays() {
    let lines = |region: &Value| {
        let mut report = read(&log(&json!([at(&json!({"uri": "src/a.tf"}), region)])));
        assert_eq!((report.findings.len(), &report.partial), (1, &None), "{region}");
        let place = report.findings.remove(0).location;
        (place.start_line, place.start_column, place.end_line)
    };
    for none in [
        json!(-1),
        json!(0),
        json!(1.5),
        json!("7"),
        json!(null),
        json!([1]),
        json!({"x": 1}),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(2_147_483_648_u32),
    ] {
        assert_eq!(lines(&json!({"startLine": none, "startColumn": 2, "endLine": 3})), (None, None, None), "{none}");
        assert_eq!(
            lines(&json!({"startLine": 2, "startColumn": none, "endLine": none})),
            (Some(2), None, Some(2)),
            "{none}"
        );
    }
    assert_eq!(lines(&json!(null)), (None, None, None));
    assert_eq!(lines(&json!({"startLine": 7, "endLine": 3})), (Some(7), None, Some(7)));
    assert_eq!(
        lines(&json!({"startLine": i32::MAX, "endLine": i32::MAX})),
        (Some(2_147_483_647), None, Some(2_147_483_647))
    );
}

/// Findings of `engine` in one file that is written for it.
fn in_file(engine: &str, code: &[u8], results: &Value) -> Report {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), code).unwrap();
    let context = ReadContext { root: root.path(), selected: &|path| path == "a" };
    read_report(find(engine).unwrap(), log(results).to_string().as_bytes(), &context).unwrap()
}

#[test]
fn secrets_are_in_no_text_however_they_are_written() {
    let key = ["AKIA", "Z7QK2M5XW4RT6PNB"].concat();
    let spaced: String = key.chars().flat_map(|c| [c, '\u{0}']).collect();
    let utf_16: Vec<u8> = format!("key = {key}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let result = json!([{"ruleId": "A", "message": {"text": format!("found {key}, {spaced}, 密码{key}"), "markdown": key}, "locations":
        [{"physicalLocation": {"artifactLocation": {"uri": "a"}, "region": {"startLine": 1}}}]}]);
    for engine in ["gitleaks", "trivy", "ruff"] {
        for code in [utf_16.as_slice(), format!("密码{key}").as_bytes(), format!("x\0{spaced}").as_bytes()] {
            let report = in_file(engine, code, &result);
            let text = serde_json::to_string(&report.findings).unwrap();
            assert!(text.contains("found"), "{text}");
            assert!(!text.contains(&key[8..]), "{engine}: {text}");
        }
    }
    // The engine marks a part of a password that nobody would know by its looks.
    let password = "correct-horse-battery/staple";
    for (start, end) in [(1, 3), (4, 9), (12, 13), (20, 90)] {
        let region = json!({"startLine": 1, "startColumn": start, "endLine": 1, "endColumn": end});
        let report = in_file("gitleaks", password.as_bytes(), &json!([at(&json!({"uri": "a"}), &region)]));
        let text = serde_json::to_string(&report.findings).unwrap();
        assert!(!text.contains("horse") && !text.contains("staple"), "{start} to {end}: {text}");
    }
}

#[test]
fn one_long_line_with_many_findings_takes_no_time() {
    // A bundle: 8 MB in one line. Each finding would go through all of it.
    let line = "function f(a,b){return eval(a+b)};".repeat(240_000);
    let results: Vec<Value> = (0..2_000)
        .map(|n| {
            at(
                &json!({"uri": "a"}),
                &json!({"startLine": 1, "startColumn": n * 4000 + 1, "endLine": 1, "endColumn": n * 4000 + 9}),
            )
        })
        .collect();
    for engine in ["eslint", "gitleaks"] {
        let begin = std::time::Instant::now();
        let report = in_file(engine, line.as_bytes(), &json!(results));
        assert_eq!(report.findings.len(), 2_000);
        let keys: std::collections::HashSet<_> = report.findings.iter().map(|finding| &finding.fingerprint).collect();
        assert_eq!(keys.len(), 2_000);
        assert!(report.findings.iter().all(|finding| finding.snippet.is_some()));
        assert!(begin.elapsed().as_secs() < 60, "{engine}: {:?}", begin.elapsed());
    }
}

#[test]
fn many_secrets_in_one_file_take_no_time() {
    let code: String = (0..10_000).map(|n| format!("k{n}=hunter{n}\n")).collect();
    let place = |n: u32, end: u32| {
        at(&json!({"uri": "a"}), &json!({"startLine": n + 1, "startColumn": 3, "endLine": end, "endColumn": 9}))
    };
    for results in
        [(0..10_000).map(|n| place(n, n + 1)).collect::<Vec<_>>(), (0..10_000).map(|n| place(n % 50, 10_000)).collect()]
    {
        let begin = std::time::Instant::now();
        let report = in_file("gitleaks", code.as_bytes(), &json!(results));
        assert_eq!(report.findings.len(), 10_000);
        assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
    }
}
