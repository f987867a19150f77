//! One repository, scanned again and again.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "helpers of tests; each file uses a part of them"
)]

use dunlin_contracts::{
    plan::{Plan, PlannedJob},
    steps::{ScanMessage, SnapshotRef, Summary},
};
use dunlin_core::{
    finding::Finding,
    job::{Compute, JobOutcome},
    scan::ScanState,
    selection::Shard,
};
use dunlin_store::{Aggregation, Commit, JobResult, Prepared, Store};
use dunlin_testkit::{TestDatabase, fixtures};

#[derive(Clone)]
struct Job {
    engine: String,
    shard: Shard,
    advisory: bool,
    outcome: JobOutcome,
    findings: Vec<Finding>,
}

/// What the jobs of one scan bring.
#[derive(Clone)]
pub struct Run {
    jobs: Vec<Job>,
    nothing_to_read: Vec<String>,
    unread: Vec<String>,
}

impl Run {
    pub fn of(engine: &str) -> Self {
        let (engine, outcome) = (engine.to_owned(), JobOutcome::Assessed);
        let jobs = vec![Job { engine, shard: Shard::WHOLE, advisory: false, outcome, findings: Vec::new() }];
        Self { jobs, nothing_to_read: Vec::new(), unread: Vec::new() }
    }
    /// An engine that may run and selects no file.
    pub fn nothing_to_read_for(mut self, engine: &str) -> Self {
        self.nothing_to_read.push(engine.to_owned());
        self
    }
    /// A file that is there and was left out of the snapshot.
    pub fn unread(mut self, path: &str) -> Self {
        self.unread.push(path.to_owned());
        self
    }
    pub fn found(mut self, findings: impl Into<Vec<Finding>>) -> Self {
        self.last().findings = findings.into();
        self
    }
    pub fn outcome(mut self, outcome: JobOutcome) -> Self {
        self.last().outcome = outcome;
        self
    }
    pub fn advisory(mut self) -> Self {
        self.last().advisory = true;
        self
    }
    pub fn shard(mut self, shard: Shard) -> Self {
        self.last().shard = shard;
        self
    }
    pub fn and(mut self, mut other: Self) -> Self {
        self.jobs.append(&mut other.jobs);
        self.nothing_to_read.append(&mut other.nothing_to_read);
        self
    }
    fn last(&mut self) -> &mut Job {
        self.jobs.last_mut().unwrap()
    }
}

pub type Input = (ScanMessage, SnapshotRef, Plan, Vec<JobResult>);

pub async fn load(store: &mut Store, run: &Run) {
    let mut loader = store.load().await.unwrap();
    for (n, job) in run.jobs.iter().enumerate() {
        let mut rules: Vec<_> = job.findings.iter().map(|f| f.rule.clone()).collect();
        rules.sort();
        rules.dedup();
        for rule in rules {
            let name = rule.split_once('/').unwrap().1.to_owned();
            loader.add_rules(n as u32, &[fixtures::rule(&job.engine, &name)]).await.unwrap();
        }
        let mut sink = loader.findings(n as u32, &job.engine).await.unwrap();
        for finding in &job.findings {
            sink.push(finding).await.unwrap();
        }
        assert_eq!(sink.finish().await.unwrap(), job.findings.len() as u64);
    }
}

pub struct World {
    pub db: TestDatabase,
    last: Option<ScanMessage>,
}

impl World {
    pub async fn new() -> Self {
        Self { db: TestDatabase::new().await, last: None }
    }

    pub fn input(&self, minute: i64, run: &Run) -> Input {
        let scan = fixtures::scan("acme", minute);
        let snapshot = fixtures::snapshot(&scan, minute);
        let mut plan = fixtures::plan(&scan, &snapshot, &[]);
        plan.nothing_to_read.clone_from(&run.nothing_to_read);
        plan.unread.clone_from(&run.unread);
        let mut results = Vec::new();
        for (n, job) in run.jobs.iter().enumerate() {
            let planned = fixtures::job(&scan, n as u32, &job.engine, job.shard);
            plan.jobs.push(PlannedJob { advisory: job.advisory, ..planned });
            results.push(JobResult {
                job: n as u32,
                outcome: job.outcome,
                compute: Compute::Lambda,
                attempts: 1,
                findings: job.outcome.has_findings().then_some(job.findings.len() as u64),
                duration_ms: Some(1500),
                peak_memory_bytes: Some(50_000_000),
                error: None,
            });
        }
        (scan, snapshot, plan, results)
    }

    /// Scans the commit of that minute; complete when every job assessed its files.
    pub async fn scan(&mut self, minute: i64, run: Run) -> Summary {
        let input = self.input(minute, &run);
        let mut store = self.db.store().await;
        store.register_scan(&input.0, false).await.unwrap();
        load(&mut store, &run).await;
        let complete = run.jobs.iter().all(|job| job.outcome == JobOutcome::Assessed);
        let state = if complete { ScanState::Complete } else { ScanState::Partial };
        let aggregation = Aggregation { scan: &input.0, snapshot: &input.1, plan: &input.2, jobs: &input.3 };
        let Prepared::Ready(aggregated) = store.aggregate(aggregation).await.unwrap() else {
            panic!("had ended before")
        };
        let summary = aggregated.summary().clone();
        assert_eq!(aggregated.commit(state, None).await.unwrap(), Commit::Done);
        self.last = Some(input.0);
        summary
    }

    async fn strings(&self, sql: &str) -> Vec<String> {
        self.db.client().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    fn last_id(&self) -> String {
        self.last.as_ref().unwrap().scan_id.to_string()
    }

    /// Findings of the last scan: place, state, and whether they are new.
    pub async fn states(&self) -> Vec<String> {
        self.strings(&format!(
            "select sf.path || ':' || sf.start_line || ' ' || f.state || case when sf.is_new then ' new' else '' end
             from scan_findings sf join findings f on f.id = sf.finding_id where sf.scan_id = '{}' order by 1",
            self.last_id()
        ))
        .await
    }

    /// Ids of the last scan's findings, by place.
    pub async fn ids(&self) -> Vec<String> {
        self.strings(&format!(
            "select finding_id::text from scan_findings where scan_id = '{}' order by path, start_line",
            self.last_id()
        ))
        .await
    }

    pub async fn all_states(&self) -> Vec<String> {
        self.strings("select state from findings order by 1").await
    }

    pub async fn events(&self) -> Vec<String> {
        self.strings("select kind || ' ' || count(*) from finding_events group by kind order by 1").await
    }

    pub async fn state_of(&self, path: &str) -> String {
        let sql = format!(
            "select distinct f.state from findings f join scan_findings sf on sf.finding_id = f.id where sf.path = '{path}'"
        );
        self.strings(&sql).await.remove(0)
    }

    pub async fn decided(&self) -> bool {
        self.strings(&format!("select decided::text from scans where id = '{}'", self.last_id())).await == ["true"]
    }

    pub async fn decide(&self, path: &str, state: &str, until: &str) {
        let sql = format!(
            "update findings set state = '{state}', accepted_until = {until}, decided_by = 'person', decided_at = now()
             where id in (select finding_id from scan_findings where path = '{path}')"
        );
        assert_eq!(self.db.client().await.execute(&sql, &[]).await.unwrap(), 1);
    }

    pub async fn deciders(&self) -> Vec<String> {
        self.strings(
            "select distinct sf.path || ' ' || f.decided_by from findings f join scan_findings sf on sf.finding_id = f.id order by 1",
        )
        .await
    }
}
