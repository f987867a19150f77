//! From an engine's report to findings. A report that cannot be read is an error and never zero findings.

mod bounds;
mod json;
mod place;
mod sarif;
mod shellcheck;
mod source;
mod words;

use crate::{EngineManifest, ReportFormat};
use dunlin_core::{
    finding::{Confidence, Finding, Location, Rule, Severity},
    fingerprint::Fingerprints,
};
use json::{Guarded, Stopped};
use place::Places;
use source::{Marked, Sources};
use std::{
    collections::{BTreeMap, HashMap},
    io::{self, BufReader, Read},
    path::Path,
    rc::Rc,
};

/// Goes up with every change that makes another finding out of the same report.
pub const READER_VERSION: u32 = 3;

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("report is longer than {limit} bytes")]
    TooLong { limit: u64 },
    #[error("report has a string of more than {limit} bytes")]
    LongString { limit: usize },
    #[error("report is empty")]
    Empty,
    #[error("report is {encoding} and not utf-8")]
    Encoding { encoding: &'static str },
    #[error("report cannot be read")]
    Io(#[source] std::io::Error),
    #[error("report is not {format}")]
    Malformed {
        format: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("report is not complete: {missing}")]
    Incomplete { missing: &'static str },
    #[error("engine says that it failed: {words}")]
    EngineFailed { words: String },
}

/// The files a report is about.
pub struct ReadContext<'a> {
    /// The source directory as the engine saw it: absolute.
    pub root: &'a Path,
    /// Whether the engine was given the file of this relative path.
    pub selected: &'a dyn Fn(&str) -> bool,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Only those that `findings` use, ordered by id.
    pub rules: Vec<Rule>,
    /// Ordered by place.
    pub findings: Vec<Finding>,
    /// Why the engine did not assess all that it was given; `None` when it did, as far as it says.
    pub partial: Option<String>,
    /// Results that are no findings because they are outside of the selected files; `partial` says so too.
    pub outside: u64,
    /// Results that the code itself suppresses (a comment in the source, in the engine's own syntax).
    pub suppressed: u64,
}

impl Report {
    /// Some engines say only on standard error that they skipped a file. `log` is that, or the end of it: what the manifest
    /// knows as a complaint makes the report partial.
    pub fn heed_log(&mut self, manifest: &EngineManifest, log: &str) {
        let signs = &manifest.report.log_complaints;
        let told = log.lines().filter(|line| signs.iter().any(|sign| line.contains(sign.as_str())));
        let mut told: Vec<String> = told.map(words::plain_log_line).collect();
        told.dedup();
        if let Some(reason) = partial(0, 0, &mut Vec::new(), &told, told.len() as u64) {
            self.partial = Some(match self.partial.take() {
                Some(before) => format!("{before}; {reason}"),
                None => reason,
            });
        }
    }
}

/// What a reader of one format makes of a report, before places and words are brought into shape.
#[derive(Debug, Default)]
pub(crate) struct RawReport {
    pub results: Vec<RawResult>,
    pub rules: HashMap<String, RawRule>,
    pub suppressed: u64,
    /// Files the engine says that it could not assess, or what it complained about: the first ones of `complaints`.
    pub complained: Vec<String>,
    pub complaints: u64,
    /// Results that are too many to be kept.
    pub beyond: u64,
}

impl RawReport {
    fn complain(&mut self, words: String) {
        self.complained.push(words);
        self.complaints += 1;
    }
}

#[derive(Debug, Default, Clone)]
pub(crate) struct RawRule {
    pub name: Option<String>,
    pub description: Option<String>,
    pub help_url: Option<String>,
    pub cwe: Vec<u32>,
    pub severity: Option<Severity>,
    /// `severity` is more than one of SARIF's three levels.
    pub scored: bool,
    pub confidence: Option<Confidence>,
}

#[derive(Debug)]
pub(crate) struct RawResult {
    /// The engine's own id of the rule.
    pub rule: String,
    pub severity: Option<Severity>,
    pub confidence: Option<Confidence>,
    pub message: String,
    pub place: RawPlace,
}

#[derive(Debug, Default)]
pub(crate) struct RawPlace {
    /// `None`: the result is about the repository as a whole.
    pub uri: Option<Rc<str>>,
    /// What a relative `uri` is relative to, when the report says so.
    pub base: Option<Rc<str>>,
    /// Whether `uri` is percent-encoded, as SARIF wants it.
    pub encoded: bool,
    pub start_line: Option<i64>,
    pub start_column: Option<i64>,
    pub end_line: Option<i64>,
    pub end_column: Option<i64>,
}

/// Reads a whole report, as a stream: memory is bounded by what is kept of it. Places are normalised to paths from the root,
/// results outside of the selected files are dropped and counted, secrets are masked. No two results become one: the number
/// of findings is the engine's own, unless it is more than anybody reads; then `partial` says so.
pub fn read_report(
    manifest: &EngineManifest,
    report: impl Read,
    context: &ReadContext<'_>,
) -> Result<Report, ReportError> {
    let mut report = Guarded::new(report, manifest.report.max_bytes, bounds::STRING_BYTES);
    let mut start = Vec::new();
    (&mut report).take(4).read_to_end(&mut start).map_err(stopped)?;
    if let Some(encoding) = other_encoding(&start) {
        return Err(ReportError::Encoding { encoding });
    }
    let start = match start.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => {
            report.was_mark(rest);
            rest
        }
        None => &start,
    };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(256 << 10, start.chain(&mut report)));
    let (format, read) = match manifest.report.format {
        ReportFormat::Sarif => ("sarif", sarif::read(&mut json, manifest)),
        ReportFormat::ShellcheckJson1 => ("shellcheck's json1", shellcheck::read(&mut json, manifest)),
    };
    let read = read.and_then(|raw| json.end().map(|()| raw));
    drop(json);
    match read {
        Ok(raw) => Ok(settle(manifest, raw?, context)),
        Err(error) if error.is_io() => Err(stopped(error.into())),
        Err(_) if report.is_blank() => Err(ReportError::Empty),
        Err(source) => Err(ReportError::Malformed { format, source }),
    }
}

/// By the mark at its beginning, or by the zeros that JSON in such an encoding has.
fn other_encoding(start: &[u8]) -> Option<&'static str> {
    match start {
        [0, 0, 0xfe, 0xff] | [0xff, 0xfe, 0, 0] | [0, 0, 0, _] | [_, 0, 0, 0] => Some("utf-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, ..] | [_, 0, ..] => Some("utf-16"),
        _ => None,
    }
}

fn stopped(error: io::Error) -> ReportError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Stopped::TooLong(limit)) => ReportError::TooLong { limit: *limit },
        Some(Stopped::LongString(limit)) => ReportError::LongString { limit: *limit },
        None => ReportError::Io(error),
    }
}

/// A result with its place in the repository.
struct Placed {
    result: RawResult,
    path: String,
    start: Option<u32>,
    end: Option<u32>,
    column: Option<u32>,
}

fn settle(manifest: &EngineManifest, raw: RawReport, context: &ReadContext<'_>) -> Report {
    let (mut outside, mut beyond) = (0, raw.beyond);
    let mut placed = Vec::with_capacity(raw.results.len());
    let mut places = Places::new(context);
    for result in raw.results {
        match places.path(&result.place) {
            Some(path) => placed.push(at(result, path)),
            None => outside += 1,
        }
    }
    placed.sort_by(|a, b| {
        let key = |p: &Placed| (p.start, p.column, p.end);
        (a.path.as_str(), key(a), &a.result.rule, &a.result.message).cmp(&(
            b.path.as_str(),
            key(b),
            &b.result.rule,
            &b.result.message,
        ))
    });

    let mut report = Report { outside, suppressed: raw.suppressed, ..Report::default() };
    let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
    let mut fingerprints = Fingerprints::default();
    let mut sources = Sources::new(context.root);
    let mut unassessed: Vec<String> = Vec::new();
    for group in placed.chunk_by_mut(|a, b| a.path == b.path) {
        let marks: Vec<Marked> =
            if manifest.finds_secrets() { group.iter().filter_map(marked).collect() } else { vec![] };
        for item in group {
            // Two ids of the engine may be one for us, when they differ in white space or far behind.
            let id = words::rule_id(manifest, &item.result.rule);
            if rules.len() >= bounds::RULES && !rules.contains_key(&id) {
                beyond += 1;
                continue;
            }
            let rule = rules.entry(id).or_insert_with(|| {
                words::rule(manifest, &item.result.rule, raw.rules.get(&item.result.rule), &item.result)
            });
            if manifest.report.unassessed_rules.contains(&item.result.rule) {
                unassessed.push(item.path.clone());
            }
            let secret = manifest.report.secret_rules.contains(&item.result.rule);
            let source = sources.file(&item.path, &marks);
            let code = source.code(item.start, item.end);
            let keys = fingerprints.keys(&rule.id, &item.path, &code);
            report.findings.push(Finding {
                rule: rule.id.clone(),
                severity: words::severity(manifest, &item.result).unwrap_or(rule.severity),
                confidence: item.result.confidence.unwrap_or(rule.confidence),
                location: Location {
                    path: item.path.clone(),
                    start_line: item.start,
                    start_column: item.column,
                    end_line: item.end,
                },
                message: words::message(&std::mem::take(&mut item.result.message), source.secrets()),
                snippet: source.snippet(item.start, item.end, item.column, secret),
                fingerprint: keys.fingerprint,
                content_key: keys.content_key,
            });
        }
    }
    report.rules = rules.into_values().collect();
    report.partial = partial(outside, beyond, &mut unassessed, &raw.complained, raw.complaints);
    report
}

fn at(result: RawResult, path: String) -> Placed {
    // A database's integer; no file has more lines.
    let count =
        |n: Option<i64>| n.filter(|n| (1..=i64::from(i32::MAX)).contains(n)).and_then(|n| u32::try_from(n).ok());
    let start = count(result.place.start_line);
    let end = start.map(|start| count(result.place.end_line).filter(|end| *end >= start).unwrap_or(start));
    let column = start.and(count(result.place.start_column));
    Placed { path, start, end, column, result }
}

/// The part of the source that is a secret, for engines that find secrets.
fn marked(item: &Placed) -> Option<Marked> {
    let (start, end) = (item.start?, item.end?);
    let end_column = item.result.place.end_column.and_then(|n| u32::try_from(n).ok());
    Some(Marked { start, end, start_column: item.column.unwrap_or(1), end_column })
}

fn partial(
    outside: u64,
    beyond: u64,
    unassessed: &mut Vec<String>,
    complained: &[String],
    complaints: u64,
) -> Option<String> {
    let mut reasons = Vec::new();
    unassessed.sort();
    unassessed.dedup();
    if let Some(first) = unassessed.first() {
        let more = unassessed.len() - 1;
        let others = if more > 0 { format!(" and {more} more") } else { String::new() };
        reasons.push(format!("could not parse {}{others}", words::cut(first, 200)));
    }
    if let Some(first) = complained.first() {
        let more = complaints - 1;
        let others = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        let first = dunlin_core::mask::mask(&words::plain_log_line(first));
        reasons.push(format!("the engine reports: {}{others}", words::cut(&first, 400)));
    }
    if beyond > 0 {
        reasons.push(format!("{beyond} results were more than are kept of one report"));
    }
    if outside > 0 {
        reasons.push(format!("{outside} results were outside of the files given"));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}
