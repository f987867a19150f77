//! Report readers. The first byte chooses the engine, the rest is its report; the engine's recorded source lies on the disk, with
//! its made-up secrets in it.

use crate::root;
use dunlin_core::finding::Rule;
use dunlin_engines::{EngineManifest, ReadContext, Report, ReportError, catalog, read_report};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

struct Source {
    root: PathBuf,
    files: HashSet<String>,
    /// Of the engines that look for them.
    secrets: Vec<String>,
}

static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| catalog().iter().map(lay_out).collect());

/// In recorded sources `%%` breaks made-up secrets, so that no scanner takes them for a leak.
fn lay_out(engine: &EngineManifest) -> Source {
    let user = fs::metadata("/proc/self").map_or(0, |about| std::os::unix::fs::MetadataExt::uid(&about));
    let root = std::env::temp_dir().join(format!("dunlin-fuzz-{user}")).join(&engine.name);
    let mut source = Source { root, files: HashSet::new(), secrets: Vec::new() };
    copy(&mut source, &recorded(engine).join("source"), "");
    if !engine.finds_secrets() {
        source.secrets.clear();
    }
    source
}

fn recorded(engine: &EngineManifest) -> PathBuf {
    root().join("engines").join(&engine.name).join("reports")
}

fn copy(source: &mut Source, from: &Path, below: &str) {
    for entry in fs::read_dir(from).expect("recorded sources") {
        let entry = entry.expect("recorded sources");
        let name = entry.file_name().into_string().expect("a name in utf-8");
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            copy(source, &entry.path(), &path);
            continue;
        }
        let text = fs::read_to_string(entry.path()).expect("recorded sources");
        let broken = text.split(|c: char| c.is_whitespace() || "\"'".contains(c)).filter(|word| word.contains("%%"));
        source.secrets.extend(broken.map(|word| word.replace("%%", "")).filter(|word| word.len() >= 16));
        let to = source.root.join(&path);
        fs::create_dir_all(to.parent().expect("a folder")).expect("scratch space");
        // Whole or not at all: other processes may be reading.
        let new = to.with_file_name(format!(".{}.{}", path.replace('/', "-"), std::process::id()));
        fs::write(&new, text.replace("%%", "")).expect("scratch space");
        fs::rename(new, to).expect("scratch space");
        source.files.insert(path);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (number, engine) in catalog().iter().enumerate() {
        let files = fs::read_dir(recorded(engine)).expect("recorded reports");
        let mut files: Vec<_> =
            files.map(|entry| entry.expect("recorded reports").path()).filter(|p| p.is_file()).collect();
        files.sort();
        for file in files {
            let text = fs::read_to_string(file).expect("recorded reports");
            let place = SOURCES[number].root.to_str().expect("a path in utf-8");
            let report = text.replace("{ROOT}", place).replace("%%", "");
            all.push([&[number as u8], report.as_bytes()].concat());
        }
        // What is in no recorded one: bases, artifacts, nested references, arguments.
        if number == 0 {
            all.push([&[0], FULL.as_bytes()].concat());
        }
    }
    all
}

const FULL: &str = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x","rules":[{"id":"A"}]},"extensions":[{"name":"e",
"rules":[{"id":"E/1","defaultConfiguration":{"level":"error"},"relationships":[{"target":{"id":"CWE-79"}}],"properties":
{"tags":["external/cwe/cwe-089"],"precision":"high","security-severity":"9.1"}}]}]},"originalUriBaseIds":{"R":{"uri":
"file:///x/"},"S":{"uri":"src/","uriBaseId":"R"},"S2":{"uri":"a/","uriBaseId":"S2"}},"artifacts":[{"location":{"uri":
"app.js","uriBaseId":"S"}},{"location":{"index":0}}],"invocations":[{"executionSuccessful":true,
"toolExecutionNotifications":[{"level":"error","message":{"text":"cannot read {0}","arguments":["x"]},"locations":
[{"physicalLocation":{"artifactLocation":{"uri":"a%20b.js"}}}]}]}],"results":[{"rule":{"index":0,"toolComponent":
{"index":0}},"message":{"id":"m","arguments":["a","b"]},"locations":[{"logicalLocations":[]},{"physicalLocation":
{"artifactLocation":{"index":0},"region":{"startLine":1,"startColumn":2,"endLine":3,"endColumn":4}}}],"suppressions":
[{"kind":"inSource","status":"rejected"}],"properties":{"x/severity":"low","confidence":"low"}},{"ruleId":"A/b",
"ruleIndex":0,"kind":"pass"},{"ruleId":"A","message":{"markdown":"{0}{0}","arguments":["{0}"]},"level":"note"}]}]}"#;

pub fn run(input: &[u8]) {
    let Some((first, report)) = input.split_first() else { return };
    let number = usize::from(*first) % catalog().len();
    let (engine, source) = (&catalog()[number], &SOURCES[number]);
    let read = || {
        let selected = |path: &str| source.files.contains(path);
        read_report(engine, report, &ReadContext { root: &source.root, selected: &selected })
    };
    match read() {
        Ok(found) => {
            sound(engine, source, &found);
            assert_eq!(Some(found), read().ok(), "not the same twice");
        }
        Err(error) => explained(&error, report),
    }
}

/// What is wrong, and where.
fn explained(error: &ReportError, report: &[u8]) {
    let mut words = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        words = format!("{words}: {cause}");
    }
    assert!(words.len() < 2_000, "an error of {} bytes", words.len());
    if let ReportError::Malformed { source, .. } = error {
        let lines = report.iter().filter(|byte| **byte == b'\n').count() + 1;
        assert!((1..=lines).contains(&source.line()), "line {} of {lines}: {words}", source.line());
        assert!(words.contains("line ") && words.contains("column "), "{words}");
    }
    assert!(!matches!(error, ReportError::Io(_)), "memory cannot fail to be read: {words}");
}

fn sound(engine: &EngineManifest, source: &Source, report: &Report) {
    let rules: HashSet<&str> = report.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(rules.len(), report.rules.len(), "a rule is there twice");
    assert!(report.rules.is_sorted_by(|a, b| a.id < b.id));
    report.rules.iter().for_each(|rule| sound_rule(engine, rule));
    let fingerprints: HashSet<&str> = report.findings.iter().map(|finding| finding.fingerprint.as_str()).collect();
    assert_eq!(fingerprints.len(), report.findings.len(), "fingerprints are not unique");
    for finding in &report.findings {
        assert!(rules.contains(finding.rule.as_str()), "no rule {:?}", finding.rule);
        let place = &finding.location;
        assert!(
            place.path == "." || source.files.contains(&place.path),
            "{:?} was not given to the engine",
            place.path
        );
        assert!(place.start_line != Some(0) && place.start_column != Some(0));
        assert!(place.end_line >= place.start_line && place.start_line.is_some() == place.end_line.is_some());
        assert!(place.start_line.is_none_or(|line| i32::try_from(line).is_ok()));
        for key in [&finding.fingerprint, &finding.content_key] {
            assert!(key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        plain("message", &finding.message, 2_000);
        assert!(!finding.message.is_empty());
        if let Some(snippet) = &finding.snippet {
            plain("snippet", snippet, 400);
            for secret in &source.secrets {
                // It comes from the source, so the engine's columns decide what is hidden, and they may be anything.
                assert!(!snippet.contains(&secret[secret.len() - 10..]), "the end of a secret is in {snippet:?}");
            }
        }
    }
    if let Some(partial) = &report.partial {
        plain("partial", partial, 2_000);
    }
    let all = report.findings.iter().map(|finding| &finding.message).chain(report.rules.iter().map(|rule| &rule.name));
    for text in all.chain(&report.partial) {
        for secret in &source.secrets {
            assert!(!text.contains(secret.as_str()), "a secret is in {text:?}");
        }
    }
}

fn sound_rule(engine: &EngineManifest, rule: &Rule) {
    assert!(rule.id.starts_with(&format!("{}/", engine.name)) && rule.engine == engine.name);
    assert!(rule.id.len() > engine.name.len() + 1 && rule.id.len() <= 1_000, "{:?}", rule.id);
    assert!(!rule.id.contains(char::is_whitespace));
    plain("rule id", &rule.id, 200);
    plain("rule name", &rule.name, 160);
    assert!(!rule.name.trim().is_empty() && !rule.name.contains('\n'));
    plain("description", rule.description.as_deref().unwrap_or("x"), 2_000);
    plain("help", rule.help_url.as_deref().unwrap_or("x"), 500);
    assert!(rule.help_url.as_ref().is_none_or(|url| url.starts_with("http")));
    assert!(rule.cwe.len() <= 20);
}

/// Bounded, and nothing in it that a database or a terminal would not take.
fn plain(what: &str, text: &str, most: usize) {
    assert!(text.chars().count() <= most, "{what} of {} characters", text.chars().count());
    let odd = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert!(odd.is_none(), "{odd:?} in {what}: {text:?}");
}

pub fn log_seeds() -> Vec<Vec<u8>> {
    let complaints = catalog().iter().flat_map(|engine| &engine.report.log_complaints);
    let one = |line: &String| {
        format!("12:00 \u{1b}[33mWRN\u{1b}[0m {line} /x/a.py: permission denied\nnext line\n").into_bytes()
    };
    complaints.map(one).chain([b"".to_vec()]).collect()
}

pub fn run_log(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for engine in catalog() {
        let mut report = Report { partial: Some("before".to_owned()), ..Report::default() };
        report.heed_log(engine, &text);
        let partial = report.partial.expect("it was partial before");
        assert!(partial.starts_with("before"));
        plain("partial", &partial, 2_000);
    }
}
