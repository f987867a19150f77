//! The life of a scan. Law: it ends exactly once, so every statement that ends one asks that it has not ended.

use crate::{
    Store, StoreError,
    values::{self, signed, signed32, text},
};
use dunlin_contracts::{
    plan::Plan,
    steps::{RecorderOutput, ScanMessage, SnapshotRef},
};
use dunlin_core::{ScanId, TenantId, job::JobState, scan::ScanState};
use tokio_postgres::Transaction;

/// How a scan stands after a call that may have ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    pub state: ScanState,
    /// It was this call that ended the scan: count it once.
    pub ended_now: bool,
}

impl From<Ending> for RecorderOutput {
    fn from(ending: Ending) -> Self {
        Self { state: ending.state, ended: ending.state.is_end() }
    }
}

impl Store {
    /// Makes the rows of a scan that begins. `cancelled`: somebody asked for that before the execution had started.
    pub async fn register_scan(&mut self, scan: &ScanMessage, cancelled: bool) -> Result<Ending, StoreError> {
        let tx = self.client.transaction().await?;
        ensure_scan(&tx, scan).await?;
        let mut ended_now = false;
        if cancelled {
            ended_now = end_scan(&tx, &scan.tenant, scan.scan_id, ScanState::Cancelled, None).await?;
        } else {
            tx.execute(
                "update scans set state = 'running', started_at = now()
                 where tenant = $1 and id = $2 and state = 'accepted'",
                &[&scan.tenant.as_str(), &scan.scan_id.as_uuid()],
            )
            .await?;
        }
        let state = standing(&tx, &scan.tenant, scan.scan_id).await?.state;
        tx.commit().await?;
        Ok(Ending { state, ended_now })
    }

    /// Makes the rows of the jobs. Jobs with a stored result have ended before they began.
    pub async fn record_plan(
        &mut self,
        scan: &ScanMessage,
        snapshot: &SnapshotRef,
        plan: &Plan,
    ) -> Result<RecorderOutput, StoreError> {
        if plan.scan_id != scan.scan_id || plan.tenant != scan.tenant {
            return Err(StoreError::Invalid(format!("the plan is of scan {}, not of {}", plan.scan_id, scan.scan_id)));
        }
        let tx = self.client.transaction().await?;
        ensure_scan(&tx, scan).await?;
        let now = locked_standing(&tx, &scan.tenant, scan.scan_id).await?;
        if now.ended {
            return Ok(now);
        }
        describe_scan(&tx, scan, snapshot, plan).await?;
        insert_jobs(&tx, plan).await?;
        let standing = standing(&tx, &scan.tenant, scan.scan_id).await?;
        tx.commit().await?;
        Ok(standing)
    }

    /// Ends a scan whose execution failed, was stopped or left no result, also one that was never registered. A scan that has
    /// ended stays as it is.
    pub async fn end_scan(
        &mut self,
        scan: &ScanMessage,
        state: ScanState,
        reason: Option<&str>,
    ) -> Result<Ending, StoreError> {
        let tx = self.client.transaction().await?;
        ensure_scan(&tx, scan).await?;
        let ended_now = end_scan(&tx, &scan.tenant, scan.scan_id, state, reason).await?;
        let state = standing(&tx, &scan.tenant, scan.scan_id).await?.state;
        tx.commit().await?;
        Ok(Ending { state, ended_now })
    }

    /// The same for an event that no longer carries what was asked for: none when there is no such scan.
    pub async fn end_known_scan(
        &mut self,
        tenant: &TenantId,
        scan: ScanId,
        state: ScanState,
        reason: Option<&str>,
    ) -> Result<Option<Ending>, StoreError> {
        let tx = self.client.transaction().await?;
        let ended_now = end_scan(&tx, tenant, scan, state, reason).await?;
        let row = tx
            .query_opt("select state from scans where tenant = $1 and id = $2", &[&tenant.as_str(), &scan.as_uuid()])
            .await?;
        let state = row.map(|row| values::scan_state(row.get(0))).transpose()?;
        tx.commit().await?;
        Ok(state.map(|state| Ending { state, ended_now }))
    }

    /// Whose scan it is, for events that carry nothing but its id.
    pub async fn tenant_of_scan(&self, scan: ScanId) -> Result<Option<TenantId>, StoreError> {
        let row = self.client.query_opt("select tenant from scans where id = $1", &[&scan.as_uuid()]).await?;
        row.map(|row| {
            let tenant: &str = row.get(0);
            tenant.parse().map_err(|_| StoreError::Unreadable { column: "tenant", value: tenant.to_owned() })
        })
        .transpose()
    }
}

/// Tenant, repository and scan, each where it is missing.
pub(crate) async fn ensure_scan(tx: &Transaction<'_>, scan: &ScanMessage) -> Result<(), StoreError> {
    let (tenant, id, repository) = (scan.tenant.as_str(), scan.scan_id.as_uuid(), scan.repository_id.as_uuid());
    let known = tx.query_opt("select tenant from scans where id = $1", &[&id]).await?;
    if let Some(row) = known {
        return own(row.get(0), scan);
    }
    tx.execute("insert into tenants (tenant) values ($1) on conflict do nothing", &[&tenant]).await?;
    tx.execute(
        "insert into repositories as r (tenant, id, name, first_scanned_at) values ($1, $2, $3, $4)
         on conflict (tenant, id) do update set first_scanned_at = excluded.first_scanned_at
         where r.first_scanned_at > excluded.first_scanned_at",
        &[&tenant, &repository, &text(&scan.repository), &scan.accepted_at],
    )
    .await?;
    let request = serde_json::to_value(&scan.request).map_err(|e| StoreError::Invalid(e.to_string()))?;
    tx.execute(
        "insert into scans (id, tenant, repository_id, state, request, requested_by, trace_id, accepted_at)
         values ($1, $2, $3, 'accepted', $4, $5, $6, $7) on conflict (id) do nothing",
        &[&id, &tenant, &repository, &request, &text(&scan.requested_by), &text(&scan.trace_id), &scan.accepted_at],
    )
    .await?;
    let row = tx.query_one("select tenant from scans where id = $1", &[&id]).await?;
    own(row.get(0), scan)
}

fn own(tenant: &str, scan: &ScanMessage) -> Result<(), StoreError> {
    if tenant == scan.tenant.as_str() { Ok(()) } else { Err(StoreError::NotOwned(scan.scan_id)) }
}

/// What is known of a scan once it has a snapshot and a plan.
pub(crate) async fn describe_scan(
    tx: &Transaction<'_>,
    scan: &ScanMessage,
    snapshot: &SnapshotRef,
    plan: &Plan,
) -> Result<(), StoreError> {
    let warnings: Vec<_> = plan.warnings.iter().map(|w| text(w)).collect();
    let nothing_to_read: Vec<_> = plan.nothing_to_read.iter().map(|engine| text(engine)).collect();
    tx.execute(
        "update scans set state = 'running', started_at = coalesce(started_at, now()),
             track = $3, revision = $4, committed_at = $5, warnings = $6, fail_on = $7,
             nothing_to_read = $8, resolved_at = $9
         where tenant = $1 and id = $2 and state in ('accepted', 'running')",
        &[
            &scan.tenant.as_str(),
            &scan.scan_id.as_uuid(),
            &text(&snapshot.track),
            &text(&snapshot.revision),
            &snapshot.committed_at,
            &warnings,
            &plan.fail_on.map(values::rank),
            &nothing_to_read,
            &snapshot.resolved_at,
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn insert_jobs(tx: &Transaction<'_>, plan: &Plan) -> Result<(), StoreError> {
    let insert = tx
        .prepare(
            "insert into jobs (tenant, scan_id, job, engine, engine_version, advisory, cached, state, compute, files,
                               shard_index, shard_count, ended_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, case when $7 then now() end)
             on conflict (scan_id, job) do nothing",
        )
        .await?;
    for job in &plan.jobs {
        let state = if job.cached { JobState::Ended } else { JobState::Queued };
        tx.execute(
            &insert,
            &[
                &plan.tenant.as_str(),
                &plan.scan_id.as_uuid(),
                &signed32(job.job),
                &text(&job.engine),
                &text(&job.engine_version),
                &job.advisory,
                &job.cached,
                &state.as_str(),
                &job.compute.as_str(),
                &signed(job.files),
                &signed32(job.selection.shard.index),
                &signed32(job.selection.shard.count),
            ],
        )
        .await?;
    }
    Ok(())
}

/// Ends the scan if nobody has. Jobs that were still waiting or running get no turn any more, and what others brought is not
/// looked at: no job of an ended scan is without an outcome.
async fn end_scan(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    scan: ScanId,
    state: ScanState,
    reason: Option<&str>,
) -> Result<bool, StoreError> {
    if !state.is_end() {
        return Err(StoreError::Invalid(format!("{} is not an end", state.as_str())));
    }
    let ended = tx
        .execute(
            "update scans set state = $3, reason = $4, ended_at = now()
             where tenant = $1 and id = $2 and state in ('accepted', 'running')",
            &[&tenant.as_str(), &scan.as_uuid(), &state.as_str(), &reason.map(text)],
        )
        .await?;
    if ended == 0 {
        return Ok(false);
    }
    tx.execute(
        "update jobs set state = 'ended', outcome = 'not_run', ended_at = coalesce(ended_at, now())
         where tenant = $1 and scan_id = $2 and outcome is null",
        &[&tenant.as_str(), &scan.as_uuid()],
    )
    .await?;
    Ok(true)
}

async fn standing(tx: &Transaction<'_>, tenant: &TenantId, scan: ScanId) -> Result<RecorderOutput, StoreError> {
    let row = tx
        .query_one("select state from scans where tenant = $1 and id = $2", &[&tenant.as_str(), &scan.as_uuid()])
        .await?;
    output(row.get(0))
}

/// The same, and nobody ends the scan until this transaction is over.
async fn locked_standing(tx: &Transaction<'_>, tenant: &TenantId, scan: ScanId) -> Result<RecorderOutput, StoreError> {
    let row = tx
        .query_one(
            "select state from scans where tenant = $1 and id = $2 for update",
            &[&tenant.as_str(), &scan.as_uuid()],
        )
        .await?;
    output(row.get(0))
}

fn output(state: &str) -> Result<RecorderOutput, StoreError> {
    let state = values::scan_state(state)?;
    Ok(RecorderOutput { state, ended: state.is_end() })
}
