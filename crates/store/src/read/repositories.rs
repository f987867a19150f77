use super::{
    PageRequest,
    cursor::Cursor,
    scans::{SCAN_COLUMNS, scan_view},
};
use crate::{Store, StoreError, values};
use dunlin_contracts::api::{Page, RepositoryView};
use dunlin_core::{RepositoryId, TenantId};
use tokio_postgres::{Row, types::ToSql};

/// The latest scan is the one whose branch was looked up last, whenever it arrived; one without a result (failed, cancelled) counts only while
/// there is none with a result. Open findings are those of the same track: the others have their own.
fn sql(condition: &str) -> String {
    format!(
        "select r.id as found_id, r.name as found_name, r.first_scanned_at, latest.*,
                case when latest.track is null then 0 else (
                    select count(*) from findings f
                    where f.tenant = r.tenant and f.repository_id = r.id and f.track = latest.track
                      and f.state in ('open', 'reopened')
                ) end as open_findings
         from repositories r0
         join repositories r on r.tenant = r0.tenant and r.id = r0.id
         left join lateral (
             select {SCAN_COLUMNS} from scans s
             where s.tenant = r.tenant and s.repository_id = r.id and s.state in ('complete', 'partial', 'failed', 'cancelled')
             order by s.state in ('complete', 'partial') desc, s.resolved_at desc nulls last, s.accepted_at desc, s.id desc
             limit 1
         ) latest on true
         where r0.tenant = $1 and {condition}"
    )
}

impl Store {
    /// Repositories by name.
    pub async fn list_repositories(
        &self,
        tenant: &TenantId,
        page: &PageRequest,
    ) -> Result<Page<RepositoryView>, StoreError> {
        let after = match page.cursor.as_deref().map(Cursor::decode).transpose()? {
            None => String::new(),
            Some(Cursor::Repositories { name }) => name,
            Some(_) => return Err(StoreError::BadCursor),
        };
        let (tenant, rows) = (tenant.as_str(), page.rows());
        let params: [&(dyn ToSql + Sync); 3] = [&tenant, &after, &rows];
        let sql = format!("{} order by r0.name collate \"C\" limit $3", sql("r0.name collate \"C\" > $2"));
        let items = self
            .client
            .query(&sql, &params)
            .await?
            .iter()
            .map(|row| {
                let view = repository_view(row)?;
                let cursor = Cursor::Repositories { name: view.name.clone() };
                Ok((view, cursor))
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(page.page(items))
    }

    pub async fn repository(&self, tenant: &TenantId, id: RepositoryId) -> Result<Option<RepositoryView>, StoreError> {
        let params: [&(dyn ToSql + Sync); 2] = [&tenant.as_str(), &id.as_uuid()];
        let row = self.client.query_opt(&sql("r0.id = $2"), &params).await?;
        row.as_ref().map(repository_view).transpose()
    }
}

fn repository_view(row: &Row) -> Result<RepositoryView, StoreError> {
    let latest: Option<uuid::Uuid> = row.get("id");
    Ok(RepositoryView {
        id: row.get("found_id"),
        name: row.get("found_name"),
        first_scanned_at: row.get("first_scanned_at"),
        latest: latest.map(|_| scan_view(row)).transpose()?,
        open_findings: values::unsigned(row.get("open_findings")),
    })
}
