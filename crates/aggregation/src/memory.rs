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
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io::{self, BufRead, BufReader, Read},
    iter, mem,
    num::NonZero,
    sync::atomic::{self, AtomicUsize},
    thread,
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

/// Below so many bytes of results, threads would take longer to start than to read.
const FOR_ONE_THREAD: usize = 256 << 10;

/// [`read`] for every job that has a result, on as many threads as there are processors; in the order of `jobs`.
pub fn read_all<'a>(
    jobs: &[PlannedJob],
    result: impl Fn(&PlannedJob) -> Option<&'a [u8]> + Sync,
) -> Vec<Option<Result<JobFindings, String>>> {
    let one = |job: &PlannedJob| result(job).map(|bytes| read(bytes, job));
    let bytes: usize = jobs.iter().filter_map(|job| result(job).map(<[u8]>::len)).sum();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len());
    if threads < 2 || bytes < FOR_ONE_THREAD {
        return jobs.iter().map(one).collect();
    }
    // Whoever is free takes the next: results differ in size.
    let next = AtomicUsize::new(0);
    let work = || {
        let taken = iter::from_fn(|| {
            let number = next.fetch_add(1, atomic::Ordering::Relaxed);
            jobs.get(number).map(|job| (number, one(job)))
        });
        taken.collect::<Vec<_>>()
    };
    let mut all: Vec<_> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, read)| read).collect()
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
        let order = Order::of(&all, &rules);
        let mut rows: Vec<_> = order
            .numbered(repository, &all)
            .into_iter()
            .filter_map(|(number, id, occurrence)| {
                let (finding, at) = (&all[number], order.places[number]);
                let key = (Reverse(finding.severity), at.path, at.line.unwrap_or(0), at.column, at.rule?, id);
                Some((key, number, occurrence))
            })
            .collect();
        rows.sort_unstable();

        let mut all: Vec<Option<Finding>> = all.into_iter().map(Some).collect();
        let (mut findings, mut keys) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        let mut used = BTreeSet::new();
        for ((.., rule, id), number, occurrence) in rows {
            let Some((mut finding, rule)) = all[number].take().zip(order.rules.get(rule as usize)) else { continue };
            used.insert(rule.id.as_str());
            keys.push(Keys { content_key: mem::take(&mut finding.content_key), occurrence });
            findings.push(view(id, finding, rule));
        }
        let used: BTreeSet<String> = used.into_iter().map(str::to_owned).collect();
        Self { rules: rules.into_values().filter(|rule| used.contains(&rule.id)).collect(), findings, keys }
    }

    /// Keeps what `before` does not have, and answers how many of `before` are gone. Findings are the same as the store
    /// says it: by fingerprint, or by their code where one candidate on either side is left. `seers` are the engines that saw
    /// everything, now: only their findings are looked for in renamed files, and only theirs are gone.
    pub fn keep_new(&mut self, before: &Self, seers: &[String], unread: &[String]) -> u64 {
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
        let looked = |finding: &FindingView| seer(finding) && !unread.contains(&finding.path);
        let fixed = before.findings.iter().filter(|f| looked(f) && gone.contains(&FindingId::from_uuid(f.id))).count();

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

/// Where a finding stands, in numbers that sort as its texts do: many findings have few paths, and sorting compares often.
#[derive(Clone, Copy)]
struct Place {
    path: u32,
    line: Option<u32>,
    column: Option<u32>,
    /// None where the rule is not known.
    rule: Option<u32>,
}

struct Order<'a> {
    places: Vec<Place>,
    /// By their numbers.
    rules: Vec<&'a Rule>,
}

impl<'a> Order<'a> {
    fn of(findings: &[Finding], rules: &'a BTreeMap<String, Rule>) -> Self {
        let paths: HashSet<&str> = findings.iter().map(|finding| finding.location.path.as_str()).collect();
        let mut paths: Vec<&str> = paths.into_iter().collect();
        paths.sort_unstable();
        let paths = numbers(&paths);
        let names: Vec<&str> = rules.keys().map(String::as_str).collect();
        let names = numbers(&names);
        let places = findings.iter().map(|finding| Place {
            path: paths.get(finding.location.path.as_str()).copied().unwrap_or(u32::MAX),
            line: finding.location.start_line,
            column: finding.location.start_column,
            rule: names.get(finding.rule.as_str()).copied(),
        });
        Self { places: places.collect(), rules: rules.values().collect() }
    }

    /// Every finding's number among `findings`, its id, and how often its fingerprint was there before.
    fn numbered(&self, repository: RepositoryId, findings: &[Finding]) -> Vec<(usize, FindingId, u32)> {
        let mut order: Vec<usize> = (0..findings.len()).collect();
        // Of what has the same place, the first job's comes first.
        order.sort_unstable_by_key(|number| {
            let place = self.places[*number];
            (place.path, place.line, place.column, *number)
        });
        let mut seen: HashMap<&str, u32> = HashMap::with_capacity(findings.len());
        let numbered = order.into_iter().map(|number| {
            let finding = &findings[number];
            let occurrence = seen.entry(&finding.fingerprint).or_default();
            *occurrence += 1;
            (number, FindingId::derived(repository, &finding.fingerprint, *occurrence), *occurrence)
        });
        numbered.collect()
    }
}

fn numbers<'a>(sorted: &[&'a str]) -> HashMap<&'a str, u32> {
    sorted.iter().copied().zip(0..).collect()
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
