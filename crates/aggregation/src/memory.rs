//! The findings of one scan in memory.

use crate::check;
use dunlin_contracts::{
    api::FindingView,
    plan::{Plan, PlannedJob},
    steps::Summary,
};
use dunlin_core::{
    FindingId, RepositoryId,
    finding::{Finding, Rule},
    job::{JobOutcome, JobResult},
    manifest::{ResultLine, ResultManifest},
    matching::{Known, Seen, match_findings},
};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io::{self, BufRead, BufReader, Read},
};

/// 8 MiB; our own results are written with less.
const WINDOW_LOG: u32 = 23;

/// A result, whole.
#[derive(Debug)]
pub struct JobFindings {
    pub manifest: ResultManifest,
    pub rules: Vec<Rule>,
    pub findings: Vec<Finding>,
}

/// Reads a result file (zstd); the error says what is wrong with it.
pub fn read(compressed: impl Read, job: &PlannedJob) -> Result<JobFindings, String> {
    let damaged = |error: io::Error| format!("it cannot be decompressed: {error}");
    let mut decoder = zstd::Decoder::new(compressed).map_err(damaged)?;
    decoder.window_log_max(WINDOW_LOG).map_err(damaged)?;
    let mut lines = Lines { reader: BufReader::with_capacity(64 << 10, decoder), line: Vec::new() };

    let manifest = match lines.next()? {
        Some(ResultLine::Manifest(manifest)) => manifest,
        _ => return Err("it does not begin with its manifest".to_owned()),
    };
    check::manifest(&manifest, job)?;
    let (mut rules, mut findings, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    while let Some(line) = lines.next()? {
        match line {
            ResultLine::Rule(rule) if findings.is_empty() => {
                check::rule(&rule, job)?;
                names.insert(rule.id.clone());
                rules.push(rule);
            }
            ResultLine::Finding(finding) => {
                check::finding(&finding, &names)?;
                findings.push(finding);
            }
            _ => return Err("its lines are out of order".to_owned()),
        }
        if rules.len() > check::MAX_RULES || findings.len() as u64 > check::MAX_FINDINGS {
            return Err("it has too many rules or findings".to_owned());
        }
    }
    check::count(findings.len() as u64, &manifest)?;
    Ok(JobFindings { manifest, rules, findings })
}

struct Lines<R> {
    reader: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<ResultLine>, String> {
        self.line.clear();
        let limit = check::MAX_LINE as u64 + 1;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.line);
        match read {
            Err(error) => return Err(format!("it cannot be decompressed: {error}")),
            Ok(0) => return Ok(None),
            Ok(_) if self.line.last() != Some(&b'\n') => {
                return Err("a line is cut off or too long".to_owned());
            }
            Ok(_) => {}
        }
        // What is wrong with the line is not told: it would quote the scanned code.
        serde_json::from_slice(&self.line).map(Some).map_err(|_| "a line is not readable".to_owned())
    }
}

/// What a scan found, in the order of its reports.
#[derive(Debug, Default)]
pub struct Findings {
    /// Ordered by id. Of a rule that two shards name, the first one's.
    pub rules: Vec<Rule>,
    /// Worst first, then by path and line.
    pub findings: Vec<FindingView>,
    /// Beside each of them.
    keys: Vec<Keys>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Keys {
    content_key: String,
    /// The same code twice in one file has one fingerprint: the lines tell them apart.
    occurrence: u32,
}

impl Findings {
    /// `results` in the order of the plan's jobs.
    pub fn collect(repository: RepositoryId, results: Vec<JobFindings>) -> Self {
        let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
        let mut all: Vec<Finding> = Vec::new();
        for result in results {
            for rule in result.rules {
                rules.entry(rule.id.clone()).or_insert(rule);
            }
            all.extend(result.findings);
        }
        // Stable: of what has the same place, the first job's comes first.
        all.sort_by(|a, b| place(a).cmp(&place(b)));
        let mut seen: HashMap<String, u32> = HashMap::new();
        let mut rows: Vec<(FindingView, Keys)> = all
            .into_iter()
            .filter_map(|finding| {
                let occurrence = seen.entry(finding.fingerprint.clone()).or_default();
                *occurrence += 1;
                let rule = rules.get(&finding.rule)?;
                let id = FindingId::derived(repository, &finding.fingerprint, *occurrence);
                let keys = Keys { content_key: finding.content_key.clone(), occurrence: *occurrence };
                Some((view(id, finding, rule), keys))
            })
            .collect();
        rows.sort_by(|(a, _), (b, _)| in_reports(a, b));
        let used: BTreeSet<String> = rows.iter().map(|(finding, _)| finding.rule.clone()).collect();
        let (findings, keys) = rows.into_iter().unzip();
        Self { rules: rules.into_values().filter(|rule| used.contains(&rule.id)).collect(), findings, keys }
    }

    /// Keeps what `before` does not have, and answers how many of `before` are gone. Findings are the same as the store
    /// says it: by fingerprint, or by their code where one candidate on either side is left. `seers` are the engines that saw
    /// everything, now: only their findings are looked for in renamed files, and only theirs are gone.
    pub fn keep_new(&mut self, before: &Self, seers: &[String]) -> u64 {
        let seer = |finding: &FindingView| seers.contains(&finding.engine);
        let with_number = |finding: &FindingView, keys: &Keys| format!("{} {}", finding.fingerprint, keys.occurrence);
        // A content key that nobody else has takes no part in the second step.
        let content = |finding: &FindingView, keys: &Keys, side: &str| {
            if seer(finding) { keys.content_key.clone() } else { format!("{side} {}", finding.id) }
        };
        let known: Vec<Known> = before
            .rows()
            .map(|(finding, keys)| Known {
                id: FindingId::from_uuid(finding.id),
                fingerprint: with_number(finding, keys),
                content_key: content(finding, keys, "before"),
                path: finding.path.clone(),
            })
            .collect();
        let seen: Vec<Seen> = self
            .rows()
            .map(|(finding, keys)| Seen {
                fingerprint: with_number(finding, keys),
                content_key: content(finding, keys, "now"),
                path: finding.path.clone(),
            })
            .collect();
        let matching = match_findings(&known, &seen);
        let gone: HashSet<FindingId> = matching.gone.into_iter().collect();
        let fixed = before.findings.iter().filter(|f| seer(f) && gone.contains(&FindingId::from_uuid(f.id))).count();

        let mut is_new = matching.matched.iter().map(Option::is_none);
        self.keys.retain(|_| is_new.next().unwrap_or(true));
        let mut is_new = matching.matched.iter().map(Option::is_none);
        self.findings.retain(|_| is_new.next().unwrap_or(true));
        self.findings.iter_mut().for_each(|finding| finding.new = true);
        let used: BTreeSet<&str> = self.findings.iter().map(|finding| finding.rule.as_str()).collect();
        self.rules.retain(|rule| used.contains(rule.id.as_str()));
        fixed as u64
    }

    fn rows(&self) -> impl Iterator<Item = (&FindingView, &Keys)> {
        self.findings.iter().zip(&self.keys)
    }

    /// `fixed` is 0 where nothing is known of before.
    pub fn summary(&self, plan: &Plan, jobs: &[JobResult], fixed: u64) -> Summary {
        let (mut by_severity, mut enforced_by_severity) = (BTreeMap::new(), BTreeMap::new());
        let advisory: HashSet<&str> =
            plan.jobs.iter().filter(|job| job.advisory).map(|job| job.engine.as_str()).collect();
        for finding in &self.findings {
            *by_severity.entry(finding.severity).or_default() += 1;
            if !advisory.contains(finding.engine.as_str()) {
                *enforced_by_severity.entry(finding.severity).or_default() += 1;
            }
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Summary {
            findings: self.findings.len() as u64,
            by_severity,
            enforced_by_severity,
            new: self.findings.iter().filter(|finding| finding.new).count() as u64,
            fixed,
            jobs: count(plan.jobs.len()),
            jobs_cached: count(plan.jobs.iter().filter(|job| job.cached).count()),
            jobs_incomplete: count(jobs.iter().filter(|job| job.outcome != JobOutcome::Assessed).count()),
        }
    }
}

fn place(finding: &Finding) -> (&str, Option<u32>, Option<u32>) {
    (&finding.location.path, finding.location.start_line, finding.location.start_column)
}

/// The order of the store's reports. Where it has none, by column, rule and id.
fn in_reports(a: &FindingView, b: &FindingView) -> Ordering {
    let line = |finding: &FindingView| finding.start_line.unwrap_or(0);
    b.severity
        .cmp(&a.severity)
        .then_with(|| a.path.cmp(&b.path))
        .then_with(|| line(a).cmp(&line(b)))
        .then_with(|| (a.start_column, &a.rule, a.id).cmp(&(b.start_column, &b.rule, b.id)))
}

fn view(id: FindingId, finding: Finding, rule: &Rule) -> FindingView {
    FindingView {
        id: id.as_uuid(),
        rule: finding.rule,
        rule_name: rule.name.clone(),
        engine: rule.engine.clone(),
        severity: finding.severity,
        confidence: finding.confidence,
        path: finding.location.path,
        start_line: finding.location.start_line,
        start_column: finding.location.start_column,
        end_line: finding.location.end_line,
        message: finding.message,
        snippet: finding.snippet,
        help_url: rule.help_url.clone(),
        cwe: rule.cwe.clone(),
        fingerprint: finding.fingerprint,
        state: "open".to_owned(),
        new: false,
    }
}

#[cfg(test)]
mod tests;
