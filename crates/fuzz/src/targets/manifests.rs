//! What one function stores and another reads: manifests, lines of results, the list of files.

use dunlin_core::{
    finding::{Confidence, Finding, Location, Rule, Severity},
    manifest::{ResultLine, SnapshotFile, SnapshotManifest},
};
use dunlin_snapshot::{read_files_list, write_files_list};

const SNAPSHOT: &str = r#"{"version":1,"revision":"0123456789abcdef0123456789abcdef01234567","committed_at":"2026-01-02T03:04:05Z",
"archive_sha256":"00","archive_bytes":10,"files":2,"bytes":20,"skipped":[{"path":"a","reason":"symlink"}],"skipped_total":1}"#;
const RESULT: &str = r#"{"manifest":{"version":1,"result_key":"RESULT_KEY","engine":"ruff","engine_version":"1","outcome":
"partly_assessed","note":"words","files":1,"findings":1,"exit_code":-1,"duration_ms":1,"peak_memory_bytes":1,
"report_sha256":"00","report_bytes":1,"finished_at":"2026-01-02T03:04:05.678+02:00"}}"#;

pub fn seeds() -> Vec<Vec<u8>> {
    let rule = Rule {
        id: "ruff/S1".into(),
        engine: "ruff".into(),
        name: "a rule".into(),
        description: None,
        help_url: Some("https://example.com".into()),
        cwe: vec![79],
        severity: Severity::High,
        confidence: Confidence::Low,
    };
    let finding = Finding {
        rule: rule.id.clone(),
        severity: Severity::Info,
        confidence: Confidence::High,
        location: Location { path: "a.py".into(), start_line: Some(1), start_column: None, end_line: Some(2) },
        message: "words".into(),
        snippet: Some("code".into()),
        fingerprint: "ab".repeat(32),
        content_key: "cd".repeat(32),
    };
    let key = dunlin_core::ResultKey::of_parts([b"fuzz".as_slice()]).to_string();
    let lines = [ResultLine::Rule(rule), ResultLine::Finding(finding)];
    let lines = lines.iter().map(|line| serde_json::to_string(line).expect("a line"));
    let lines = lines.chain([RESULT.replace("RESULT_KEY", &key)]).map(|line| format!("r{line}").into_bytes());
    lines.chain([format!("s{SNAPSHOT}").into_bytes()]).collect()
}

/// The first byte says which of the two it is. What is read is written and read again.
pub fn run(input: &[u8]) {
    match input.split_first() {
        Some((b's', json)) => {
            let Ok(manifest) = serde_json::from_slice::<SnapshotManifest>(json) else { return };
            let again = serde_json::to_vec(&manifest).expect("what was read can be written");
            assert_eq!(serde_json::from_slice::<SnapshotManifest>(&again).expect("and read"), manifest);
        }
        Some((_, json)) => {
            let Ok(line) = serde_json::from_slice::<ResultLine>(json) else { return };
            let again = serde_json::to_vec(&line).expect("what was read can be written");
            assert!(!again.contains(&b'\n'), "a line of several lines");
            assert_eq!(serde_json::from_slice::<ResultLine>(&again).expect("and read"), line);
        }
        None => {}
    }
}

const MAX_FILES: u64 = 50;

pub fn list_seeds() -> Vec<Vec<u8>> {
    let file = |path: &str| SnapshotFile {
        path: path.into(),
        size: 1,
        sha256: "ab".repeat(32),
        language: Some("Python".into()),
    };
    let files = [file("a.py"), file("b\nc"), file("ü")];
    let lines: Vec<String> = files.iter().map(|file| serde_json::to_string(file).expect("a file")).collect();
    vec![b"".to_vec(), (lines.join("\n") + "\n").into_bytes(), (lines[0].clone() + "\n").into_bytes()]
}

/// The input is the list before compression: behind a wrong checksum nothing is looked at.
pub fn run_list(input: &[u8]) {
    let compressed = zstd::encode_all(input, 1).expect("memory can be compressed");
    let lines = read_files_list(compressed.as_slice(), MAX_FILES).expect("the beginning of a frame");
    let read: Result<Vec<SnapshotFile>, _> = lines.collect();
    match read {
        Ok(files) => {
            assert!(files.len() as u64 <= MAX_FILES);
            assert!(files.is_sorted_by(|a, b| a.path < b.path), "out of order, or twice");
            let again = write_files_list(&files).expect("what was read can be written");
            let again: Result<Vec<_>, _> = read_files_list(again.as_slice(), MAX_FILES).expect("a frame").collect();
            assert_eq!(again.expect("and read"), files);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // As it is, it is a frame that somebody made.
    if let Ok(lines) = read_files_list(input, MAX_FILES) {
        assert!(lines.take_while(Result::is_ok).count() as u64 <= MAX_FILES);
    }
}
