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
///
/// `page` selects the repositories: first, so that nothing else is asked about the others.
fn sql(page: &str) -> String {
    let latest = |states: &str, rank: u32| {
        format!(
            "(select {SCAN_COLUMNS}, {rank} as rank from scans s
              where s.tenant = r.tenant and s.repository_id = r.id and s.state in ({states})
              order by s.resolved_at desc nulls last, s.accepted_at desc, s.id desc limit 1)"
        )
    };
    format!(
        "select r.id as found_id, r.name as found_name, r.first_scanned_at, latest.*,
                case when latest.track is null then 0 else (
                    select count(*) from findings f
                    where f.tenant = r.tenant and f.repository_id = r.id and f.track = latest.track
                      and f.state in ('open', 'reopened')
                ) end as open_findings
         from (select * from repositories where tenant = $1 and {page}) r
         left join lateral (
             {} union all {} order by rank limit 1
         ) latest on true
         order by r.name collate \"C\"",
        latest("'complete', 'partial'", 0),
        latest("'failed', 'cancelled'", 1),
    )
}

/// After the name `$2`, `$3` of them.
const PAGE: &str = "name collate \"C\" > $2 order by name collate \"C\" limit $3";

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
        let items = self
            .client
            .query(&sql(PAGE), &params)
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
        let row = self.client.query_opt(&sql("id = $2"), &params).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_testkit::TestDatabase;

    /// 300 repositories with 20 scans each: enough that the server prefers an index where there is one to use.
    #[tokio::test]
    async fn a_page_of_repositories_reads_indexes_only_as_far_as_it_needs() {
        let db = TestDatabase::new().await;
        let client = db.client().await;
        client
            .batch_execute(
                "insert into tenants (tenant) values ('acme');
                 insert into repositories (tenant, id, name, first_scanned_at)
                     select 'acme', md5(n::text)::uuid, 'git.example/' || n, now() from generate_series(1, 300) n;
                 insert into scans (id, tenant, repository_id, state, request, requested_by, trace_id, track, revision,
                                    committed_at, resolved_at, accepted_at, ended_at)
                     select md5(n || '-' || m)::uuid, 'acme', md5(n::text)::uuid,
                            (array['complete', 'partial', 'failed', 'cancelled'])[1 + m % 4], '{}', 'x', 'x', 'main', 'x',
                            now(), now() - m * interval '1 hour', now(), now()
                     from generate_series(1, 300) n, generate_series(1, 20) m;
                 analyze;",
            )
            .await
            .unwrap();
        let (tenant, after, rows) = ("acme", "", 51_i64);
        for (page, params) in [
            (PAGE, [&tenant as &(dyn ToSql + Sync), &after, &rows].as_slice()),
            ("id = $2", [&tenant as &(dyn ToSql + Sync), &uuid::Uuid::nil()].as_slice()),
        ] {
            let lines = client.query(&format!("explain {}", sql(page)), params).await.unwrap();
            let plan: Vec<String> = lines.iter().map(|row| row.get(0)).collect();
            let plan = plan.join("\n");
            assert!(plan.contains("scans_latest_with_result"), "{plan}");
            assert!(plan.contains("scans_latest_without_result"), "{plan}");
            assert!(!plan.contains("Seq Scan on scans"), "{plan}");
            if page == PAGE {
                assert!(plan.contains("repositories_by_name"), "{plan}");
            }
            // What is ordered is the two candidates of a repository, and a page that is in order already: never its scans.
            assert!(!plan.contains("Sort Key: s."), "{plan}");
        }
    }
}
