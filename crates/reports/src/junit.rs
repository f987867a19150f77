//! JUnit XML, as Jenkins and GitLab read it: a test suite for each engine, a failed test case for each finding. An engine that did
//! not finish is an error, one that found nothing a passed test, and what people have settled is skipped.
//!
//! A suite's counts come before its cases and findings come in any order, so cases wait in a file of their engine: memory
//! grows with the number of engines only.

use crate::{
    ReportEngine, ReportError, ReportHead, ReportWriter,
    words::{self, Escaped},
};
use dunlin_contracts::api::FindingView;
use dunlin_core::finding::Rule;
use std::{
    collections::BTreeMap,
    io::{self, Seek, SeekFrom, Write},
};
use tempfile::SpooledTempFile;

/// Cases of one engine that are kept in memory.
const IN_MEMORY: usize = 256 * 1024;
/// Suite of what belongs to no engine.
const SCAN: &str = "dunlin";

pub struct JunitReport<W> {
    out: W,
    head: ReportHead,
    suites: BTreeMap<String, Suite>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
}

struct Suite {
    counts: Counts,
    cases: SpooledTempFile,
}

impl Suite {
    fn new() -> Self {
        Self { counts: Counts::default(), cases: SpooledTempFile::new(IN_MEMORY) }
    }
}

impl<W: Write> JunitReport<W> {
    pub fn begin(out: W, head: &ReportHead) -> Result<Self, ReportError> {
        let suites = head.engines.iter().map(|engine| (engine.engine.clone(), Suite::new())).collect();
        Ok(Self { out, head: head.clone(), suites })
    }

    /// Says of every engine that did not finish what became of it, and of every other that has no case yet that it was there.
    fn conclude(&mut self) -> io::Result<()> {
        for engine in self.head.engines.iter().filter(|engine| !engine.is_complete()) {
            if let Some(suite) = self.suites.get_mut(&engine.engine) {
                unfinished(suite, engine)?;
            }
        }
        for (name, suite) in &mut self.suites {
            if suite.counts.tests == 0 {
                quiet(suite, name, files(&self.head, name))?;
            }
        }
        self.scan_itself()
    }

    /// What no engine's suite says: a scan that is incomplete though its engines are not, one without engines, warnings.
    fn scan_itself(&mut self) -> io::Result<()> {
        let unexplained = self.head.state != "complete" && self.head.engines.iter().all(ReportEngine::is_complete);
        if !unexplained && !self.suites.is_empty() && self.head.warnings.is_empty() {
            return Ok(());
        }
        let nothing_ran = self.head.engines.is_empty();
        let suite = self.suites.entry(SCAN.to_owned()).or_insert_with(Suite::new);
        suite.counts.tests += 1;
        let out = &mut suite.cases;
        write!(out, "<testcase name=\"the scan is complete\" classname=\"{SCAN}\">")?;
        if unexplained {
            suite.counts.errors += 1;
            let state = Escaped(&self.head.state);
            write!(out, "<error type=\"{state}\" message=\"the scan is {state}\"/>")?;
        } else if nothing_ran {
            suite.counts.skipped += 1;
            write!(out, "<skipped message=\"no engine had a file to read\"/>")?;
        }
        if !self.head.warnings.is_empty() {
            write!(out, "<system-err>")?;
            for warning in &self.head.warnings {
                writeln!(out, "warning: {}", Escaped(warning))?;
            }
            write!(out, "</system-err>")?;
        }
        writeln!(out, "</testcase>")
    }

    fn write_suite(&mut self, position: usize, name: &str, mut suite: Suite) -> io::Result<()> {
        let Counts { tests, failures, errors, skipped } = suite.counts;
        write!(
            self.out,
            "<testsuite name=\"{}\" id=\"{position}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" timestamp=\"{}\"",
            Escaped(name),
            timestamp(self.head.started_at),
        )?;
        let runs: Vec<_> = self.head.engines.iter().filter(|engine| engine.engine == name).collect();
        let durations: Vec<u64> = runs.iter().filter_map(|engine| engine.duration_ms).collect();
        if !durations.is_empty() {
            write!(self.out, " time=\"{}\"", seconds(durations.iter().sum()))?;
        }
        self.out.write_all(b">\n<properties>\n")?;
        let mut property =
            |name: &str, value: &str| writeln!(self.out, "<property name=\"{name}\" value=\"{}\"/>", Attribute(value));
        if let Some(engine) = runs.first() {
            property("engine.version", &engine.version)?;
            property("engine.files", &files(&self.head, name).to_string())?;
        }
        property("scan.id", &self.head.scan_id)?;
        property("scan.state", &self.head.state)?;
        property("scan.repository", &self.head.repository)?;
        property("scan.revision", &self.head.revision)?;
        property("scan.track", &self.head.track)?;
        property("dunlin.version", &self.head.version)?;
        self.out.write_all(b"</properties>\n")?;
        suite.cases.seek(SeekFrom::Start(0))?;
        io::copy(&mut suite.cases, &mut self.out)?;
        self.out.write_all(b"</testsuite>\n")
    }
}

impl<W: Write> ReportWriter for JunitReport<W> {
    fn rule(&mut self, _rule: &Rule) -> Result<(), ReportError> {
        Ok(())
    }

    fn finding(&mut self, finding: &FindingView) -> Result<(), ReportError> {
        let suite = self.suites.entry(finding.engine.clone()).or_insert_with(Suite::new);
        suite.counts.tests += 1;
        if words::is_settled(&finding.state) {
            suite.counts.skipped += 1;
        } else {
            suite.counts.failures += 1;
        }
        Ok(case(&mut suite.cases, finding)?)
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        self.conclude()?;
        let suites = std::mem::take(&mut self.suites);
        let sum = |of: fn(&Counts) -> u64| suites.values().map(|suite| of(&suite.counts)).sum::<u64>();
        write!(
            self.out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\"",
            Attribute(&format!("dunlin {}", self.head.repository)),
            sum(|counts| counts.tests),
            sum(|counts| counts.failures),
            sum(|counts| counts.errors),
        )?;
        if let Some(took) = self.head.duration_ms {
            write!(self.out, " time=\"{}\"", seconds(took))?;
        }
        self.out.write_all(b">\n")?;
        for (position, (name, suite)) in suites.into_iter().enumerate() {
            self.write_suite(position, &name, suite)?;
        }
        self.out.write_all(b"</testsuites>\n")?;
        Ok(self.out.flush()?)
    }
}

/// The name holds neither line nor message, so a server that follows tests over builds knows the finding again when those change.
fn case(out: &mut impl Write, finding: &FindingView) -> io::Result<()> {
    let short = finding.fingerprint.get(..12).unwrap_or(&finding.fingerprint);
    let name = format!("{}: {} ({short})", finding.rule, words::line(&finding.rule_name, 200));
    let path = Attribute(&finding.path);
    write!(out, "<testcase name=\"{}\" classname=\"{path}\" file=\"{path}\"", Attribute(&name))?;
    if let Some(start) = finding.start_line {
        write!(out, " line=\"{start}\"")?;
    }
    out.write_all(b">\n")?;
    let severity = finding.severity.as_str();
    let message = words::line(&finding.message, 500);
    if words::is_settled(&finding.state) {
        let state = finding.state.replace('_', " ");
        write!(out, "<skipped type=\"{severity}\" message=\"{state}: {}\">", Attribute(&message))?;
        details(out, finding)?;
        out.write_all(b"</skipped>\n")?;
    } else {
        write!(out, "<failure type=\"{severity}\" message=\"{}\">", Attribute(&message))?;
        details(out, finding)?;
        out.write_all(b"</failure>\n")?;
    }
    out.write_all(b"</testcase>\n")
}

/// What a person reads on the page of the test.
fn details(out: &mut impl Write, finding: &FindingView) -> io::Result<()> {
    write!(out, "{}", Escaped(&finding.path))?;
    for number in [finding.start_line, finding.start_column].into_iter().map_while(|number| number) {
        write!(out, ":{number}")?;
    }
    writeln!(out, "\n{}\n", Escaped(finding.message.trim_end()))?;
    if let Some(snippet) = &finding.snippet {
        let first = finding.start_line.map(words::snippet_start);
        for (line, text) in snippet.split('\n').enumerate() {
            let number = first.map(|first| u64::from(first) + line as u64);
            let number = number.map(|number| number.to_string()).unwrap_or_default();
            writeln!(out, "{number:>6} | {}", Escaped(text))?;
        }
        writeln!(out)?;
    }
    let (severity, confidence) = (finding.severity.as_str(), finding.confidence.as_str());
    writeln!(out, "severity: {severity}, confidence: {confidence}")?;
    writeln!(out, "state: {}{}", Escaped(&finding.state), if finding.new { ", new" } else { "" })?;
    for number in &finding.cwe {
        writeln!(out, "weakness: CWE-{number}")?;
    }
    if let Some(url) = finding.help_url.as_deref().and_then(words::web_address) {
        writeln!(out, "help: {}", Escaped(url))?;
    }
    writeln!(out, "fingerprint: {}", Escaped(&finding.fingerprint))
}

fn unfinished(suite: &mut Suite, engine: &ReportEngine) -> io::Result<()> {
    suite.counts.tests += 1;
    suite.counts.errors += 1;
    let outcome = words::outcome(&engine.outcome);
    let why = engine.note.as_deref().map(|note| format!(": {}", words::line(note, 500))).unwrap_or_default();
    let name = Escaped(&engine.engine);
    write!(suite.cases, "<testcase name=\"{name} assesses every file\" classname=\"{name}\">")?;
    let kind = if engine.outcome.is_empty() { "unknown" } else { &engine.outcome };
    write!(suite.cases, "<error type=\"{}\" message=\"", Escaped(kind))?;
    write!(suite.cases, "{}\">", Attribute(&format!("{} {outcome}{why}", engine.engine)))?;
    writeln!(suite.cases, "{}", Escaped(engine.note.as_deref().unwrap_or("no reason is known")))?;
    writeln!(suite.cases, "it had {} to assess</error></testcase>", words::count(engine.files, "file"))
}

/// An engine that finished and found nothing. One that read nothing has not found the code clean.
fn quiet(suite: &mut Suite, name: &str, files: u64) -> io::Result<()> {
    suite.counts.tests += 1;
    let name = Escaped(name);
    write!(suite.cases, "<testcase name=\"{name} finds nothing\" classname=\"{name}\">")?;
    if files == 0 {
        suite.counts.skipped += 1;
        write!(suite.cases, "<skipped message=\"{name} had no file to read\"/>")?;
    } else {
        write!(suite.cases, "<system-out>{} assessed</system-out>", words::count(files, "file"))?;
    }
    writeln!(suite.cases, "</testcase>")
}

fn files(head: &ReportHead, name: &str) -> u64 {
    head.engines.iter().filter(|engine| engine.engine == name).map(|engine| engine.files).sum()
}

/// As Surefire's schema has it: seconds, with a point.
fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// ISO 8601 without an offset, which is UTC.
fn timestamp(at: time::OffsetDateTime) -> String {
    words::moment(at).trim_end_matches(" UTC").replace(' ', "T")
}

/// A parser makes spaces of the line breaks and tabs in an attribute, so they are written as references.
struct Attribute<'a>(&'a str);

impl std::fmt::Display for Attribute<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, line) in self.0.split('\n').enumerate() {
            if position > 0 {
                f.write_str("&#10;")?;
            }
            for (position, part) in line.split('\t').enumerate() {
                if position > 0 {
                    f.write_str("&#9;")?;
                }
                write!(f, "{}", Escaped(part))?;
            }
        }
        Ok(())
    }
}
