//! Every engine's reader against its recorded reports, `engines/<name>/reports/`: a normal one of real weaknesses, an empty one,
//! a hostile one, and the normal one cut anywhere. In recorded files `{ROOT}` stands for the source directory, and `%%` breaks
//! made-up secrets so that no scanner takes them for a leak.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use dunlin_engines::{EngineManifest, ReadContext, Report, ReportError, catalog, read_report};
use serde_json::json;
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

struct Recorded {
    engine: &'static EngineManifest,
    folder: PathBuf,
    root: tempfile::TempDir,
    files: Vec<String>,
    secrets: Vec<String>,
}

impl Recorded {
    fn of(engine: &'static EngineManifest) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engines").join(&engine.name).join("reports");
        let mut recorded =
            Self { engine, folder, root: tempfile::tempdir().unwrap(), files: Vec::new(), secrets: Vec::new() };
        recorded.lay_out(&recorded.folder.join("source"), "");
        assert!(!recorded.files.is_empty(), "{}: reports/source is empty", engine.name);
        recorded
    }

    fn lay_out(&mut self, from: &Path, path: &str) {
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            if entry.file_type().unwrap().is_dir() {
                self.lay_out(&entry.path(), &path);
                continue;
            }
            let text = fs::read_to_string(entry.path()).unwrap();
            let broken = text.split(|c: char| c.is_whitespace() || c == '"').filter(|word| word.contains("%%"));
            self.secrets.extend(broken.map(|word| word.replace("%%", "")).filter(|word| word.len() >= 16));
            let to = self.root.path().join(&path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, text.replace("%%", "")).unwrap();
            self.files.push(path);
        }
    }

    fn text(&self, name: &str) -> String {
        let mut found = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let file = found.find(|path| path.is_file() && path.file_stem().is_some_and(|stem| stem == name));
        let file = file.unwrap_or_else(|| panic!("{} has no recorded report {name:?}", self.engine.name));
        fs::read_to_string(file).unwrap().replace("{ROOT}", self.root.path().to_str().unwrap()).replace("%%", "")
    }

    fn read(&self, report: &str) -> Result<Report, ReportError> {
        let selected = |path: &str| self.files.iter().any(|file| file == path);
        read_report(self.engine, report.as_bytes(), &ReadContext { root: self.root.path(), selected: &selected })
    }

    fn expect(&self, name: &str) -> Report {
        self.read(&self.text(name)).unwrap_or_else(|error| panic!("{}, {name}: {error}", self.engine.name))
    }

    fn snapshot(&self, name: &str, report: &Report) {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(self.folder.join("expected"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_json_snapshot!(name, as_json(report)));
    }

    fn assert_sound(&self, name: &str, report: &Report) {
        let engine = &self.engine.name;
        let rules: HashSet<_> = report.rules.iter().map(|rule| rule.id.as_str()).collect();
        let fingerprints: HashSet<_> = report.findings.iter().map(|finding| &finding.fingerprint).collect();
        assert_eq!(fingerprints.len(), report.findings.len(), "{engine}, {name}: fingerprints are not unique");
        assert!(report.rules.iter().all(|rule| rule.id.starts_with(&format!("{engine}/")) && rule.id.len() < 200));
        for finding in &report.findings {
            assert!(rules.contains(finding.rule.as_str()), "{engine}, {name}: no rule {}", finding.rule);
            let path = &finding.location.path;
            assert!(path == "." || self.files.contains(path), "{engine}, {name}: {path} was not given to the engine");
            assert!(finding.message.chars().count() <= 2_000 && !finding.message.contains('\u{1b}'));
            assert!(finding.snippet.as_ref().is_none_or(|snippet| snippet.chars().count() <= 400));
            assert!(finding.location.start_line != Some(0) && finding.location.end_line >= finding.location.start_line);
        }
        let text = as_json(report).to_string();
        assert!(!text.contains(self.root.path().to_str().unwrap()), "{engine}, {name}: a path of this machine");
        for secret in
            self.secrets.iter().map(String::as_str).chain(["QYLPMN5HFQR2ZT7B", "opensesame1", "correct horse"])
        {
            assert!(!text.contains(secret), "{engine}, {name}: a secret is in the findings");
        }
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    json!({
        "rules": report.rules,
        "findings": report.findings,
        "partial": report.partial,
        "outside": report.outside,
        "suppressed": report.suppressed,
    })
}

#[test]
fn normal_reports_give_their_findings() {
    for recorded in catalog().iter().map(Recorded::of) {
        let report = recorded.expect("normal");
        assert!(!report.findings.is_empty(), "{}: the normal report has findings", recorded.engine.name);
        assert_eq!(report.outside, 0, "{}", recorded.engine.name);
        recorded.assert_sound("normal", &report);
        recorded.snapshot("normal", &report);
        assert_eq!(report, recorded.expect("normal"), "{}: not the same twice", recorded.engine.name);
    }
}

#[test]
fn empty_reports_are_assessed_and_clean() {
    for recorded in catalog().iter().map(Recorded::of) {
        assert_eq!(recorded.expect("empty"), Report::default(), "{}", recorded.engine.name);
    }
}

#[test]
fn hostile_reports_do_no_harm() {
    for recorded in catalog().iter().map(Recorded::of) {
        let report = recorded.expect("hostile");
        assert!(report.partial.is_some(), "{}: dropped results make a report partial", recorded.engine.name);
        assert!(report.outside >= 3, "{}: {} outside", recorded.engine.name, report.outside);
        recorded.assert_sound("hostile", &report);
        recorded.snapshot("hostile", &report);
    }
}

#[test]
fn a_report_cut_anywhere_is_an_error_and_never_clean() {
    for recorded in catalog().iter().map(Recorded::of) {
        for name in ["normal", "empty"] {
            let whole = recorded.text(name);
            let whole = whole.trim_end();
            for step in 0..50 {
                let mut at = whole.len() * step / 50;
                while !whole.is_char_boundary(at) {
                    at -= 1;
                }
                let read = recorded.read(&whole[..at]);
                assert!(read.is_err(), "{}, {name} cut at {at}: {read:?}", recorded.engine.name);
            }
            assert!(recorded.read(&whole[..whole.len() - 1]).is_err());
        }
    }
}

#[test]
fn a_report_over_the_limit_is_refused() {
    let engine = catalog().iter().find(|engine| engine.name == "ruff").unwrap();
    let mut small = engine.clone();
    small.report.max_bytes = 100;
    let context = ReadContext { root: Path::new("/nowhere"), selected: &|_| true };
    let endless = std::io::repeat(b' ');
    assert!(matches!(read_report(&small, endless, &context), Err(ReportError::TooLong { limit: 100 })));
}

#[test]
fn the_log_of_an_engine_can_make_a_report_partial() {
    let zizmor = catalog().iter().find(|engine| engine.name == "zizmor").unwrap();
    let mut report = Report::default();
    report.heed_log(zizmor, " INFO audit: completed ./.github/workflows/ci.yml\n");
    assert_eq!(report, Report::default());
    report.heed_log(zizmor, "\u{1b}[33m WARN\u{1b}[0m collect: failed to parse input: no node content\n");
    assert_eq!(
        report.partial.as_deref(),
        Some("the engine reports: WARN collect: failed to parse input: no node content")
    );
}
