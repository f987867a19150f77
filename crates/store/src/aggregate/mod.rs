//! What a scan saw becomes what is known. Results are streamed into temporary tables of this connection first
//! ([`Loader`]); then one transaction, in statements over sets, matches them with the findings of the same repository and
//! track ([`Store::aggregate`]), lets the caller write reports from its rows, and ends the scan ([`Aggregated::commit`]).

mod load;
mod matching;

pub use load::{FindingSink, Loader};

use crate::{
    Store, StoreError,
    read::report,
    scans,
    values::{self, signed, signed32, text},
};
use dunlin_contracts::{
    api::FindingView,
    plan::Plan,
    steps::{ScanMessage, SnapshotRef, Summary},
};
use dunlin_core::{
    finding::Rule,
    job::{JobOutcome, JobResult},
    scan::ScanState,
};
use futures::Stream;
use std::collections::BTreeMap;
use tokio_postgres::Transaction;

/// Everything about a scan but its findings.
#[derive(Debug, Clone, Copy)]
pub struct Aggregation<'a> {
    pub scan: &'a ScanMessage,
    pub snapshot: &'a SnapshotRef,
    pub plan: &'a Plan,
    /// One for each job of the plan.
    pub jobs: &'a [JobResult],
}

/// [`Store::aggregate`] either has work in hand, or finds that the scan has its end already.
pub enum Prepared<'a> {
    Ready(Aggregated<'a>),
    /// [`Store::ended`] has the rest.
    Ended(ScanState),
}

/// A scan that has ended; its rows can still be read, to write its reports again.
pub struct Ended<'a> {
    tx: Transaction<'a>,
    scan: &'a ScanMessage,
    pub state: ScanState,
    pub summary: Option<Summary>,
}

/// Matched and written, but not committed: nobody else sees it yet.
pub struct Aggregated<'a> {
    tx: Transaction<'a>,
    input: Aggregation<'a>,
    decided: bool,
    summary: Summary,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    Done,
    /// The scan was ended by somebody else meanwhile (a cancellation): nothing of this was kept.
    EndedAs(ScanState),
}

impl Store {
    /// Matches what the [`Loader`] has taken in. Waits while another scan of the same repository and track is aggregated.
    pub async fn aggregate<'a>(&'a mut self, input: Aggregation<'a>) -> Result<Prepared<'a>, StoreError> {
        let scan = input.scan;
        publish_rules(self, scan).await?;
        let tx = self.client.transaction().await?;
        matching::lock_track(&tx, &input).await?;
        let row = tx
            .query_one(
                "select state from scans where tenant = $1 and id = $2",
                &[&scan.tenant.as_str(), &scan.scan_id.as_uuid()],
            )
            .await?;
        let state = values::scan_state(row.get(0))?;
        if state.is_end() {
            return Ok(Prepared::Ended(state));
        }
        let matched = matching::apply(&tx, &input).await?;
        let summary = summarise(&tx, &input, matched.fixed).await?;
        Ok(Prepared::Ready(Aggregated { tx, input, decided: matched.decides, summary }))
    }

    /// The scan as it ended; none while it has not, or when it is not known.
    pub async fn ended<'a>(&'a mut self, scan: &'a ScanMessage) -> Result<Option<Ended<'a>>, StoreError> {
        let tx = self.client.transaction().await?;
        let row = tx
            .query_opt(
                "select state, summary from scans where tenant = $1 and id = $2",
                &[&scan.tenant.as_str(), &scan.scan_id.as_uuid()],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let state = values::scan_state(row.get(0))?;
        if !state.is_end() {
            return Ok(None);
        }
        Ok(Some(Ended { tx, scan, state, summary: summary_of(row.get(1))? }))
    }
}

pub(crate) fn summary_of(value: Option<serde_json::Value>) -> Result<Option<Summary>, StoreError> {
    value
        .map(|v| {
            serde_json::from_value(v).map_err(|e| StoreError::Unreadable { column: "summary", value: e.to_string() })
        })
        .transpose()
}

impl Ended<'_> {
    pub async fn rules(&self) -> Result<Vec<Rule>, StoreError> {
        report::rules(&self.tx, &self.scan.tenant, self.scan.scan_id).await
    }
    /// With the answer of [`Self::rules`].
    pub async fn findings(
        &self,
        rules: &[Rule],
    ) -> Result<impl Stream<Item = Result<FindingView, StoreError>> + Send, StoreError> {
        report::findings(&self.tx, &self.scan.tenant, self.scan.scan_id, rules).await
    }
}

impl Aggregated<'_> {
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The rules that this scan's findings name, ordered by id.
    pub async fn rules(&self) -> Result<Vec<Rule>, StoreError> {
        report::rules(&self.tx, &self.input.scan.tenant, self.input.scan.scan_id).await
    }

    /// This scan's findings, worst first, then by path and line, with the answer of [`Self::rules`]. Rows arrive as they are read.
    pub async fn findings(
        &self,
        rules: &[Rule],
    ) -> Result<impl Stream<Item = Result<FindingView, StoreError>> + Send, StoreError> {
        report::findings(&self.tx, &self.input.scan.tenant, self.input.scan.scan_id, rules).await
    }

    /// Ends the scan with everything that was found, or keeps nothing when somebody else has ended it meanwhile.
    pub async fn commit(self, state: ScanState, reason: Option<&str>) -> Result<Commit, StoreError> {
        let Self { tx, input, decided, summary } = self;
        let scan = input.scan;
        let (tenant, id) = (scan.tenant.as_str(), scan.scan_id.as_uuid());
        scans::describe_scan(&tx, scan, input.snapshot, input.plan).await?;
        let value = serde_json::to_value(&summary).map_err(|e| StoreError::Invalid(e.to_string()))?;
        let ended = tx
            .execute(
                "update scans set state = $3, reason = $4, summary = $5, decided = $6, ended_at = now()
                 where tenant = $1 and id = $2 and state in ('accepted', 'running')",
                &[&tenant, &id, &state.as_str(), &reason.map(text), &value, &decided],
            )
            .await?;
        if ended == 0 {
            let end = tx.query_one("select state from scans where tenant = $1 and id = $2", &[&tenant, &id]).await?;
            let end = values::scan_state(end.get(0))?;
            tx.rollback().await?;
            return Ok(Commit::EndedAs(end));
        }
        scans::insert_jobs(&tx, input.plan).await?;
        let update = tx
            .prepare(
                "update jobs set state = 'ended', outcome = $4, compute = $5, attempt = greatest(attempt, $6), findings = $7,
                     duration_ms = $8, peak_memory_bytes = $9, error = $10, ended_at = coalesce(ended_at, now())
                 where tenant = $1 and scan_id = $2 and job = $3",
            )
            .await?;
        for job in input.jobs {
            tx.execute(
                &update,
                &[
                    &tenant,
                    &id,
                    &signed32(job.job),
                    &job.outcome.as_str(),
                    &job.compute.as_str(),
                    &signed32(job.attempts),
                    &job.findings.map(signed),
                    &job.duration_ms.map(signed),
                    &job.peak_memory_bytes.map(signed),
                    &job.error.as_deref().map(text),
                ],
            )
            .await?;
        }
        tx.commit().await?;
        Ok(Commit::Done)
    }
}

/// Rules are of the tenant and not of the scan. They (and the scan's own row, should it be missing) are written ahead, in a
/// transaction of their own, so that scans of different repositories do not wait for each other's aggregation.
async fn publish_rules(store: &mut Store, scan: &ScanMessage) -> Result<(), StoreError> {
    let tenant = scan.tenant.as_str();
    let tx = store.client.transaction().await?;
    scans::ensure_scan(&tx, scan).await?;
    tx.execute("select pg_advisory_xact_lock(hashtextextended('rules/' || $1, 0))", &[&tenant]).await?;
    // A rule that two shards name is taken once.
    tx.execute(
        "insert into rules as r (tenant, id, engine, name, description, help_url, cwe, severity, confidence)
         select distinct on (id) $1, id, engine, name, description, help_url, cwe, severity, confidence
         from incoming_rules order by id, job
         on conflict (tenant, id) do update set
             engine = excluded.engine, name = excluded.name, description = excluded.description, help_url = excluded.help_url,
             cwe = excluded.cwe, severity = excluded.severity, confidence = excluded.confidence
         where (r.engine, r.name, r.description, r.help_url, r.cwe, r.severity, r.confidence) is distinct from
             (excluded.engine, excluded.name, excluded.description, excluded.help_url, excluded.cwe, excluded.severity,
              excluded.confidence)",
        &[&tenant],
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

async fn summarise(tx: &Transaction<'_>, input: &Aggregation<'_>, fixed: u64) -> Result<Summary, StoreError> {
    let advisory: Vec<i32> = input.plan.jobs.iter().filter(|job| job.advisory).map(|job| signed32(job.job)).collect();
    let rows = tx
        .query(
            "select severity, count(*), count(*) filter (where is_new), count(*) filter (where job <> all ($3))
             from scan_findings where tenant = $1 and scan_id = $2 group by severity",
            &[&input.scan.tenant.as_str(), &input.scan.scan_id.as_uuid(), &advisory],
        )
        .await?;
    let (mut by_severity, mut enforced_by_severity, mut findings, mut new) = (BTreeMap::new(), BTreeMap::new(), 0, 0);
    for row in rows {
        let (severity, count) = (values::severity(row.get(0))?, values::unsigned(row.get(1)));
        by_severity.insert(severity, count);
        let enforced = values::unsigned(row.get(3));
        if enforced > 0 {
            enforced_by_severity.insert(severity, enforced);
        }
        findings += count;
        new += values::unsigned(row.get(2));
    }
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Summary {
        findings,
        by_severity,
        enforced_by_severity,
        new,
        fixed,
        jobs: count(input.plan.jobs.len()),
        jobs_cached: count(input.plan.jobs.iter().filter(|job| job.cached).count()),
        jobs_incomplete: count(input.jobs.iter().filter(|job| job.outcome != JobOutcome::Assessed).count()),
    })
}
