//! One HTML page for people: complete without a script, a network or another file.
//!
//! The page begins with counts and is grouped, so nothing can be written before the last finding is known. Memory stays bounded all the
//! same: every finding is counted, and the [`SHOWN`] worst are kept and shown. The page says so when there are more.

mod finding;
mod page;

use crate::{ReportEngine, ReportError, ReportHead, ReportWriter, words};
use dunlin_contracts::api::FindingView;
use dunlin_core::finding::{Rule, Severity};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Write,
};

/// Nobody reads more, and browsers become slow.
const SHOWN: usize = 10_000;
/// Rules whose description is kept, and rows of the table of rules.
const RULES: usize = 2_000;

pub struct HtmlReport<W> {
    out: W,
    gathered: Gathered,
    limit: usize,
}

/// Everything the page is made of.
struct Gathered {
    head: ReportHead,
    shown: BTreeSet<Entry>,
    total: u64,
    new: u64,
    /// Those that no person has decided about; the others are in `settled`.
    by_severity: BTreeMap<Severity, u64>,
    settled: u64,
    by_engine: HashMap<String, u64>,
    by_rule: HashMap<String, Seen>,
    rules: HashMap<String, Rule>,
}

/// What findings say of their rule.
struct Seen {
    count: u64,
    severity: Severity,
    name: String,
    help_url: Option<String>,
    cwe: Vec<u32>,
}

impl<W: Write> HtmlReport<W> {
    pub fn begin(out: W, head: &ReportHead) -> Result<Self, ReportError> {
        let gathered = Gathered {
            head: head.clone(),
            shown: BTreeSet::new(),
            total: 0,
            new: 0,
            by_severity: BTreeMap::new(),
            settled: 0,
            by_engine: HashMap::new(),
            by_rule: HashMap::new(),
            rules: HashMap::new(),
        };
        Ok(Self { out, gathered, limit: SHOWN })
    }

    #[cfg(test)]
    fn showing(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

impl<W: Write> ReportWriter for HtmlReport<W> {
    fn rule(&mut self, rule: &Rule) -> Result<(), ReportError> {
        let rules = &mut self.gathered.rules;
        if rules.len() < RULES {
            rules.insert(rule.id.clone(), rule.clone());
        }
        Ok(())
    }

    fn finding(&mut self, finding: &FindingView) -> Result<(), ReportError> {
        self.gathered.count(finding);
        let shown = &mut self.gathered.shown;
        shown.insert(Entry { number: self.gathered.total, finding: finding.clone() });
        if shown.len() > self.limit {
            shown.pop_last();
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        page::write(&mut self.out, &self.gathered)?;
        Ok(self.out.flush()?)
    }
}

impl Gathered {
    fn count(&mut self, finding: &FindingView) {
        self.total += 1;
        self.new += u64::from(finding.new);
        if words::is_settled(&finding.state) {
            self.settled += 1;
        } else {
            *self.by_severity.entry(finding.severity).or_default() += 1;
        }
        *self.by_engine.entry(finding.engine.clone()).or_default() += 1;
        let seen = self.by_rule.entry(finding.rule.clone()).or_insert_with(|| Seen {
            count: 0,
            severity: finding.severity,
            name: finding.rule_name.clone(),
            help_url: finding.help_url.clone(),
            cwe: finding.cwe.clone(),
        });
        seen.count += 1;
        seen.severity = seen.severity.max(finding.severity);
    }

    /// Findings that still ask for somebody.
    fn open(&self) -> u64 {
        self.total - self.settled
    }

    fn is_complete(&self) -> bool {
        self.head.state == "complete" && self.head.engines.iter().all(ReportEngine::is_complete)
    }

    /// Rows of the table of engines: the parts of one engine in one, in the order of the names.
    fn engines(&self) -> Vec<EngineRow<'_>> {
        let mut rows: BTreeMap<&str, EngineRow<'_>> = BTreeMap::new();
        for engine in &self.head.engines {
            let row = rows.entry(&engine.engine).or_insert_with(|| EngineRow {
                name: &engine.engine,
                version: &engine.version,
                parts: 0,
                files: 0,
                findings: self.by_engine.get(&engine.engine).copied().unwrap_or_default(),
                duration_ms: None,
                unfinished: Vec::new(),
            });
            row.parts += 1;
            row.files += engine.files;
            if let Some(took) = engine.duration_ms {
                *row.duration_ms.get_or_insert(0) += took;
            }
            if !engine.is_complete() {
                row.unfinished.push(engine);
            }
        }
        rows.into_values().collect()
    }
}

struct EngineRow<'a> {
    name: &'a str,
    version: &'a str,
    /// Jobs that the files were cut into.
    parts: usize,
    files: u64,
    findings: u64,
    duration_ms: Option<u64>,
    unfinished: Vec<&'a ReportEngine>,
}

/// A finding in the order of the page: worst first, then by file and place.
struct Entry {
    finding: FindingView,
    /// Keeps equal findings apart, in the order in which they came.
    number: u64,
}

impl Entry {
    fn key(&self) -> impl Ord + '_ {
        let f = &self.finding;
        (Reverse(f.severity), &f.path, f.start_line, f.start_column, &f.rule, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests;
