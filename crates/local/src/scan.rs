//! One scan, from the files of a folder to its findings.

use crate::{
    base::{Base, Git},
    cache::{Bounds, Cache, History, Kept, Stats, read_new},
    error::Error,
    jobs::{self, Event, Todo},
    machine::Room,
    plan::{self, Names},
    scratch::{self, Scratch},
    tree::{Left, Tree},
    view,
    worker::{Answer, Order},
};
use dunlin_aggregation::{
    JobEnding, Loaded,
    memory::{self, Findings, JobFindings},
    outcome, verdict,
};
use dunlin_contracts::{
    api::ScanView,
    errors::runner as names,
    plan::{Plan, PlannedJob},
    steps::{JobEnd, JobFailure, StepError},
};
use dunlin_core::{RepositoryId, ResultKey, ScanId, TenantId, job::JobResult, owner_config::OwnerConfig};
use dunlin_engines::EngineManifest;
use dunlin_execution::supervise;
use dunlin_reports::ReportHead;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    time::SystemTime,
};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// How often a folder that is edited meanwhile is looked at again.
const LOOKS: u32 = 3;

type Unusable = Box<dyn Fn(&EngineManifest) -> Option<String>>;

pub struct Request {
    /// The folder, without symbolic links.
    pub root: PathBuf,
    /// Relative to it.
    pub paths: Vec<PathBuf>,
    /// What the repository is called, and its line of history.
    pub name: String,
    pub track: Option<String>,
    /// Only these engines.
    pub engines: Option<Vec<String>>,
    /// The engine `x` is installed in `<engines_dir>/x`.
    pub engines_dir: PathBuf,
    /// Why an engine cannot be used, in a sentence; nothing when it can.
    pub unusable: Unusable,
    /// Nothing is kept without it.
    pub cache: Option<Cache>,
    /// Only what is new since this commit.
    pub since: Option<String>,
    pub git: Git,
}

/// A scan at its end.
pub struct Scanned {
    pub view: ScanView,
    pub left: Left,
    pub findings: Findings,
    pub head: ReportHead,
}

/// Who is told.
pub trait Watcher {
    /// Something has begun or ended.
    fn changed(&mut self, scan: &ScanView);
    /// Time has passed: durations of what runs have grown.
    fn tick(&mut self, scan: &ScanView);
}

/// Scans. When it is told to stop, it ends early with [`Error::Stopped`]: without a result, a process and a copy left.
pub async fn scan(request: &Request, watcher: &mut impl Watcher, stop: &CancellationToken) -> Result<Scanned, Error> {
    let ended = work(request, watcher, stop).await;
    // Whatever else went wrong on the way, or was still done: nobody waits for it.
    if stop.is_cancelled() { Err(Error::Stopped) } else { ended }
}

async fn work(request: &Request, watcher: &mut impl Watcher, stop: &CancellationToken) -> Result<Scanned, Error> {
    let begun = OffsetDateTime::now_utc();
    let tenant: TenantId = "local".parse().map_err(|_| Error::Stopped)?;
    let repository = RepositoryId::derived(&tenant, &request.name);
    let names = Names { scan: ScanId::new(begun), tenant, repository };
    check_engines(request.engines.as_deref())?;
    scratch::clear_abandoned();

    let mut notes = Vec::new();
    let mut known = Known::new(request);
    let history_file = request.cache.as_ref().map(|cache| cache.history_of(&request.root));
    let mut history = history_file.as_deref().map(History::load).unwrap_or_default();
    let mut looks = 0;
    let (mut parts, scratch) = loop {
        let parts = Parts::look(request, &names, &mut notes, stop)?;
        let mut missing = known.find(&parts, &mut notes)?;
        let engines: HashMap<u32, &str> = parts.jobs().map(|(number, job)| (number, job.engine.as_str())).collect();
        missing.retain(|number| engines.get(number).is_some_and(|engine| unusable(request, engine).is_none()));
        if missing.is_empty() {
            break (parts, None);
        }
        looks += 1;
        match Scratch::make(request, &parts, &missing, stop)? {
            Ok(scratch) => break (parts, Some(scratch)),
            Err(path) if looks >= LOOKS => return Err(Error::Restless { path }),
            Err(_) => notes.clear(),
        }
    };
    parts.note_known(&known);

    let mut view = view::begin(&request.name, request.track.as_deref(), &names, &parts, begun);
    watcher.changed(&view);
    let mut endings = jobs::Endings::new();
    if let Some(scratch) = &scratch {
        let before = supervise::adopt_orphans().map_err(Error::Scratch)?;
        // Whatever happens from here on: no process stays.
        let _guard = NothingSurvives(before);
        let room = Room::of_this_machine();
        let todos = todos(request, &parts, &history, scratch);
        let numbers: BTreeMap<u32, Vec<u32>> = parts.shared_numbers();
        let mut progress = view::Running::new(&mut view, &numbers, watcher);
        let stopped;
        let told = std::pin::pin!(stop.cancelled());
        (endings, stopped) = jobs::run(todos, room, &scratch.folder, told, |event| match event {
            Event::Started(job) => progress.started(job),
            Event::Ended(job, attempts, answer) => progress.ended(job, attempts, answer),
            Event::Tick => progress.tick(),
        })
        .await;
        known.take_in(request, &parts, scratch, &endings, &mut history, &mut notes);
        if let (Some(cache), Some(file)) = (&request.cache, &history_file) {
            note_failure(cache.write(file, &history.encode()), "how long engines took", &mut notes);
            note_failure(cache.results().prune(Bounds::default(), SystemTime::now()), "old results", &mut notes);
        }
        if stopped {
            return Err(Error::Stopped);
        }
    }
    Ok(conclude(request, &parts, &known, &endings, view, notes))
}

/// The same answer as the API's.
fn check_engines(asked: Option<&[String]>) -> Result<(), Error> {
    for engine in asked.unwrap_or_default() {
        if dunlin_engines::find(engine).is_none() {
            let known = dunlin_engines::catalog().iter().map(|engine| engine.name.clone()).collect();
            return Err(Error::UnknownEngine { given: engine.chars().take(60).collect(), known });
        }
    }
    Ok(())
}

fn note_failure<T>(outcome: std::io::Result<T>, what: &str, notes: &mut Vec<String>) {
    if let Err(error) = outcome {
        notes.push(format!("the cache of {what} cannot be written: {error}"));
    }
}

/// The folder now and, when asked for, before; with a plan for each.
pub struct Parts {
    pub tree: Tree,
    pub plan: Plan,
    pub base: Option<(Base, Plan)>,
}

/// Numbers of the jobs of the plan before begin here, above every number of the plan now.
pub const BASE_JOBS: u32 = 1000;

impl Parts {
    fn look(
        request: &Request,
        names: &Names,
        notes: &mut Vec<String>,
        stop: &CancellationToken,
    ) -> Result<Self, Error> {
        let stats_file = request.cache.as_ref().map(|cache| cache.stats_of(&request.root));
        let mut stats = stats_file.as_deref().map(Stats::load).unwrap_or_default();
        let before = stats.count();
        let (tree, read) = Tree::look(&request.root, &request.paths, &mut stats, stop)?;
        if let (Some(cache), Some(file)) = (&request.cache, &stats_file)
            && (read > 0 || before != stats.count())
        {
            note_failure(cache.write(file, &stats.encode()), "files", notes);
        }
        let mut warnings = dunlin_planning::left_out(&tree.listed.skipped, tree.listed.skipped_total);
        let owner = match tree.owner_config(&request.root)? {
            Some(text) => dunlin_planning::owner(&text, dunlin_engines::catalog(), &mut warnings),
            None => OwnerConfig::default(),
        };
        let asked = request.engines.as_deref();
        let plan = plan::make(names, &tree.listed, asked, &owner, warnings)?;
        if plan.jobs.is_empty() {
            return Err(Error::NothingToScan { files: tree.listed.files.len() });
        }
        let base = match &request.since {
            Some(reference) => Some(look_back(request, reference, names, &owner, notes, stop)?),
            None => None,
        };
        Ok(Self { tree, plan, base })
    }

    /// Every job, those of the plan before with high numbers.
    pub fn jobs(&self) -> impl Iterator<Item = (u32, &PlannedJob)> {
        let before = self.base.iter().flat_map(|(_, plan)| &plan.jobs);
        self.plan.jobs.iter().map(|job| (job.job, job)).chain(before.map(|job| (BASE_JOBS + job.job, job)))
    }

    fn note_known(&mut self, known: &Known) {
        let plans = std::iter::once(&mut self.plan).chain(self.base.iter_mut().map(|(_, plan)| plan));
        for job in plans.flat_map(|plan| &mut plan.jobs) {
            job.cached = known.results.contains_key(&job.result_key);
        }
    }

    /// Jobs of one result key run once. The first number of each -> all of them.
    fn shared_numbers(&self) -> BTreeMap<u32, Vec<u32>> {
        let mut by_key: HashMap<&ResultKey, u32> = HashMap::new();
        let mut all: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (number, job) in self.jobs() {
            all.entry(*by_key.entry(&job.result_key).or_insert(number)).or_default().push(number);
        }
        all
    }
}

/// The plan for the commit before, with the wishes that the owner has now: what they leave out now is not new.
fn look_back(
    request: &Request,
    reference: &str,
    names: &Names,
    owner: &OwnerConfig,
    notes: &mut Vec<String>,
    stop: &CancellationToken,
) -> Result<(Base, Plan), Error> {
    // Beside the digests of the folder's files, under a name that no folder has.
    let file = request.cache.as_ref().map(|cache| cache.stats_of(&request.root.join(".git/objects/of a commit")));
    let mut stats = file.as_deref().map(Stats::load).unwrap_or_default();
    let (base, read) = Base::look(&request.root, request.git, reference, &mut stats, stop)?;
    if let (Some(cache), Some(file)) = (&request.cache, &file)
        && read > 0
    {
        note_failure(cache.write(file, &stats.encode()), "objects", notes);
    }
    let plan = plan::make(names, &base.listed, request.engines.as_deref(), owner, Vec::new())?;
    Ok((base, plan))
}

/// Results by key: from the cache, then from this scan's jobs.
struct Known {
    results: HashMap<ResultKey, Vec<u8>>,
    cache: Option<crate::cache::Results>,
}

impl Known {
    fn new(request: &Request) -> Self {
        Self { results: HashMap::new(), cache: request.cache.as_ref().map(Cache::results) }
    }

    /// Looks every job's result up; answers the numbers of the jobs without one, each key once.
    fn find(&mut self, parts: &Parts, notes: &mut Vec<String>) -> Result<Vec<u32>, Error> {
        let (mut missing, mut asked) = (Vec::new(), HashSet::new());
        for (number, job) in parts.jobs() {
            if self.results.contains_key(&job.result_key) || !asked.insert(&job.result_key) {
                continue;
            }
            match self.cache.as_ref().map(|cache| cache.get(&job.result_key)) {
                Some(Ok(Kept::Result(bytes))) => {
                    self.results.insert(job.result_key.clone(), bytes);
                }
                Some(Ok(Kept::Damaged)) => {
                    notes.push(format!("the stored result of {} was damaged; it is computed again", job.engine));
                    missing.push(number);
                }
                Some(Err(error)) => {
                    notes.push(format!("the stored result of {} cannot be read: {error}", job.engine));
                    missing.push(number);
                }
                Some(Ok(Kept::Nothing)) | None => missing.push(number),
            }
        }
        Ok(missing)
    }

    /// Takes in what jobs have left, and keeps it for later scans.
    fn take_in(
        &mut self,
        request: &Request,
        parts: &Parts,
        scratch: &Scratch,
        endings: &jobs::Endings,
        history: &mut History,
        notes: &mut Vec<String>,
    ) {
        for (number, job) in parts.jobs() {
            let Some((Answer::Done, _)) = endings.get(&number) else { continue };
            let (result, report) = scratch.files_of(number);
            let bytes = match read_new(&result) {
                Ok(bytes) => bytes,
                Err(error) => {
                    notes.push(format!("the result of {} cannot be read: {error}", job.engine));
                    continue;
                }
            };
            if let Ok(found) = memory::read(bytes.as_slice(), job) {
                history.note(&found.manifest, job.bytes);
                if let Some(cache) = &self.cache
                    && request.cache.is_some()
                {
                    note_failure(cache.put(&job.result_key, &bytes, &report), "results", notes);
                }
            }
            self.results.insert(job.result_key.clone(), bytes);
        }
    }
}

/// Kills everything that is left when it goes away, and was not there before.
struct NothingSurvives(supervise::Before);

impl Drop for NothingSurvives {
    fn drop(&mut self) {
        supervise::kill_descendants(&self.0);
    }
}

fn unusable(request: &Request, engine: &str) -> Option<String> {
    dunlin_engines::find(engine).and_then(|engine| (request.unusable)(engine))
}

fn todos(request: &Request, parts: &Parts, history: &History, scratch: &Scratch) -> Vec<Todo> {
    let mut todos = Vec::new();
    for (number, job) in parts.jobs().filter(|(number, _)| scratch.missing.contains(number)) {
        let Some(engine) = plan::engine(job) else { continue };
        let (result, report) = scratch.files_of(number);
        todos.push(Todo {
            order: Order {
                job: number,
                engine: job.engine.clone(),
                selection: job.selection.clone(),
                files: job.files,
                result_key: job.result_key.clone(),
                timeout_seconds: job.timeout_seconds,
                memory_bytes: 0,
                engines_dir: request.engines_dir.clone(),
                source: if number >= BASE_JOBS { scratch.source_before.clone() } else { scratch.source.clone() },
                scratch_dir: scratch.jobs.clone(),
                source_dir: scratch.copies.clone(),
                result,
                report,
            },
            size: job.size,
            estimate: history.estimate(engine, job.bytes),
            known_peak: history.peak(&job.engine),
            attempts: 0,
        });
    }
    todos
}

/// How the jobs of a plan ended, with their findings.
fn endings_of(
    request: &Request,
    plan: &Plan,
    offset: u32,
    shared: &HashMap<&ResultKey, u32>,
    known: &Known,
    endings: &jobs::Endings,
) -> (Vec<JobEnding>, Vec<JobFindings>) {
    let (mut ended, mut results) = (Vec::new(), Vec::new());
    let read = memory::read_all(&plan.jobs, |job| known.results.get(&job.result_key).map(Vec::as_slice));
    for (job, read) in plan.jobs.iter().zip(read) {
        let number = shared.get(&job.result_key).copied().unwrap_or(offset + job.job);
        let answer = endings.get(&number);
        let attempts = answer.map_or(0, |(_, attempts)| *attempts);
        let loaded = match read {
            None => Loaded::Missing,
            Some(Err(why)) => Loaded::Unreadable(why),
            Some(Ok(found)) => {
                let manifest = found.manifest.clone();
                results.push(found);
                Loaded::Result(manifest)
            }
        };
        let failure: Option<&JobFailure> = match answer {
            Some((Answer::Failed(failure), _)) => Some(failure),
            _ => None,
        };
        let error = match failure {
            Some(failure) => Some(failure.error.clone()),
            None if matches!(loaded, Loaded::Missing) => {
                unusable(request, &job.engine).map(|cause| StepError { name: names::ENGINE_MISSING.to_owned(), cause })
            }
            None => None,
        };
        let end = JobEnd { job: job.job, ok: error.is_none(), compute: job.compute, attempts, error };
        let was_tried = answer.is_some() || end.error.is_some() || !matches!(loaded, Loaded::Missing);
        ended.push(outcome::of_job(job, loaded, was_tried.then_some(&end), failure));
    }
    (ended, results)
}

fn conclude(
    request: &Request,
    parts: &Parts,
    known: &Known,
    endings: &jobs::Endings,
    mut view: ScanView,
    notes: Vec<String>,
) -> Scanned {
    let shared: HashMap<&ResultKey, u32> = parts.jobs().fold(HashMap::new(), |mut all, (number, job)| {
        all.entry(&job.result_key).or_insert(number);
        all
    });
    let plan = &parts.plan;
    let (ended, results) = endings_of(request, plan, 0, &shared, known, endings);
    let jobs: Vec<JobResult> = ended.iter().map(|ending| ending.result.clone()).collect();
    let mut findings = Findings::collect(plan.repository_id, results);
    let mut warnings = plan.warnings.clone();
    warnings.extend(notes);
    let mut fixed = 0;
    if let (Some((_, before)), Some(reference)) = (&parts.base, &request.since) {
        let (ended_before, results) = endings_of(request, before, BASE_JOBS, &shared, known, endings);
        for (job, ending) in before.jobs.iter().zip(&ended_before).filter(|(_, e)| !e.result.outcome.has_findings()) {
            let why = ending.words.as_deref().unwrap_or("no result");
            warnings
                .push(format!("{} did not finish on {reference} ({why}): all that it finds counts as new", job.engine));
        }
        let earlier = Findings::collect(plan.repository_id, results);
        fixed = findings.keep_new(&earlier, &plan.engines_that_saw_everything(&jobs), &plan.unread);
    }
    let verdict = verdict::of_scan(plan, &ended);
    let summary = findings.summary(plan, &jobs, fixed);
    view::end(&mut view, plan, &jobs, verdict, summary, warnings);
    let head = view::report_head(&view, plan, &jobs);
    Scanned { view, left: parts.tree.left, findings, head }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_both_plans_stay_apart() {
        assert!(BASE_JOBS as usize > dunlin_contracts::plan::MAX_JOBS);
    }
}
