use super::{
    PageRequest,
    cursor::{Cursor, from_micros, micros},
};
use crate::{
    Store, StoreError,
    aggregate::summary_of,
    values::{severity, unsigned, unsigned32},
};
use dunlin_contracts::api::{JobView, Page, ScanView};
use dunlin_core::{RepositoryId, ScanId, TenantId, scan::ScanState};
use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};

/// Columns of a [`ScanView`], from `scans s` and `repositories r`.
pub(super) const SCAN_COLUMNS: &str = "s.id, s.repository_id, r.name as repository, s.state, s.reason, s.track, s.revision, \
     s.requested_by, s.accepted_at, s.started_at, s.ended_at, s.summary, s.fail_on, s.warnings, s.trace_id";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanFilter {
    pub state: Option<ScanState>,
    pub repository: Option<RepositoryId>,
}

impl Store {
    /// Scans, newest first, without their jobs.
    pub async fn list_scans(
        &self,
        tenant: &TenantId,
        filter: &ScanFilter,
        page: &PageRequest,
    ) -> Result<Page<ScanView>, StoreError> {
        let tenant = tenant.as_str();
        let state = filter.state.map(ScanState::as_str);
        let repository = filter.repository.map(|id| id.as_uuid());
        let rows = page.rows();
        let mut sql = format!(
            "select {SCAN_COLUMNS} from scans s join repositories r on r.tenant = s.tenant and r.id = s.repository_id \
             where s.tenant = $1"
        );
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&tenant];
        if let Some(state) = &state {
            params.push(state);
            sql.push_str(&format!(" and s.state = ${}", params.len()));
        }
        if let Some(repository) = &repository {
            params.push(repository);
            sql.push_str(&format!(" and s.repository_id = ${}", params.len()));
        }
        let after = match page.cursor.as_deref().map(Cursor::decode).transpose()? {
            None => None,
            Some(Cursor::Scans { at, id }) => Some((from_micros(at)?, id)),
            Some(_) => return Err(StoreError::BadCursor),
        };
        if let Some((at, id)) = &after {
            params.extend([at as &(dyn ToSql + Sync), id]);
            sql.push_str(&format!(" and (s.accepted_at, s.id) < (${}, ${})", params.len() - 1, params.len()));
        }
        params.push(&rows);
        sql.push_str(&format!(" order by s.accepted_at desc, s.id desc limit ${}", params.len()));
        let items = self
            .client
            .query(&sql, &params)
            .await?
            .iter()
            .map(|row| {
                let scan = scan_view(row)?;
                let cursor = Cursor::Scans { at: micros(scan.accepted_at), id: scan.id };
                Ok((scan, cursor))
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(page.page(items))
    }

    /// One scan with its jobs.
    pub async fn scan(&self, tenant: &TenantId, scan: ScanId) -> Result<Option<ScanView>, StoreError> {
        let sql = format!(
            "select {SCAN_COLUMNS} from scans s join repositories r on r.tenant = s.tenant and r.id = s.repository_id \
             where s.tenant = $1 and s.id = $2"
        );
        let key: [&(dyn ToSql + Sync); 2] = [&tenant.as_str(), &scan.as_uuid()];
        let Some(row) = self.client.query_opt(&sql, &key).await? else { return Ok(None) };
        let mut view = scan_view(&row)?;
        let jobs = self
            .client
            .query(
                "select job, engine, engine_version, advisory, state, outcome, cached, compute, attempt, files, findings, duration_ms,
                        peak_memory_bytes, error, shard_index, shard_count
                 from jobs where tenant = $1 and scan_id = $2 order by job",
                &key,
            )
            .await?;
        view.jobs = jobs.iter().map(job_view).collect();
        Ok(Some(view))
    }
}

pub(super) fn scan_view(row: &Row) -> Result<ScanView, StoreError> {
    Ok(ScanView {
        id: row.get("id"),
        repository_id: row.get("repository_id"),
        repository: row.get("repository"),
        status: row.get("state"),
        reason: row.get("reason"),
        track: row.get("track"),
        revision: row.get("revision"),
        requested_by: row.get("requested_by"),
        accepted_at: row.get::<_, OffsetDateTime>("accepted_at"),
        started_at: row.get("started_at"),
        ended_at: row.get("ended_at"),
        summary: summary_of(row.get("summary"))?,
        fail_on: row.get::<_, Option<i16>>("fail_on").map(severity).transpose()?,
        warnings: row.get("warnings"),
        jobs: Vec::new(),
        trace_id: row.get("trace_id"),
    })
}

fn job_view(row: &Row) -> JobView {
    let count = |name: &str| row.get::<_, Option<i64>>(name).map(unsigned);
    JobView {
        job: unsigned32(row.get("job")),
        engine: row.get("engine"),
        engine_version: row.get("engine_version"),
        state: row.get("state"),
        outcome: row.get("outcome"),
        advisory: row.get("advisory"),
        cached: row.get("cached"),
        compute: row.get("compute"),
        attempt: unsigned32(row.get("attempt")),
        files: unsigned(row.get("files")),
        findings: count("findings"),
        duration_ms: count("duration_ms"),
        peak_memory_bytes: count("peak_memory_bytes"),
        error: row.get("error"),
        shard_index: unsigned32(row.get("shard_index")),
        shard_count: unsigned32(row.get("shard_count")),
    }
}
