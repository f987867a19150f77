//! Rows of reports, read inside the transaction that writes them.

use super::findings::{FINDING_COLUMNS, FINDING_TABLES, SEVERITY_ORDER, finding_view};
use crate::{
    StoreError,
    values::{self, unsigned32},
};
use dunlin_contracts::api::FindingView;
use dunlin_core::{ScanId, TenantId, finding::Rule};
use futures::{Stream, StreamExt};
use tokio_postgres::{Transaction, types::ToSql};

pub(crate) async fn rules(tx: &Transaction<'_>, tenant: &TenantId, scan: ScanId) -> Result<Vec<Rule>, StoreError> {
    let rows = tx
        .query(
            "select id, engine, name, description, help_url, cwe, severity, confidence from rules
             where tenant = $1 and id in (select rule_id from scan_findings where tenant = $1 and scan_id = $2)
             order by id collate \"C\"",
            &[&tenant.as_str(), &scan.as_uuid()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let cwe: Vec<i32> = row.get("cwe");
            Ok(Rule {
                id: row.get("id"),
                engine: row.get("engine"),
                name: row.get("name"),
                description: row.get("description"),
                help_url: row.get("help_url"),
                cwe: cwe.into_iter().map(unsigned32).collect(),
                severity: values::severity(row.get("severity"))?,
                confidence: values::confidence(row.get("confidence"))?,
            })
        })
        .collect()
}

pub(crate) async fn findings(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    scan: ScanId,
) -> Result<impl Stream<Item = Result<FindingView, StoreError>> + Send + use<>, StoreError> {
    let sql = format!(
        "select {FINDING_COLUMNS} from {FINDING_TABLES} where sf.tenant = $1 and sf.scan_id = $2 order by {SEVERITY_ORDER}"
    );
    let (tenant, scan) = (tenant.as_str(), scan.as_uuid());
    let params: [&(dyn ToSql + Sync); 2] = [&tenant, &scan];
    let rows = tx.query_raw(&sql, params).await?;
    Ok(rows.map(|row| finding_view(&row?)))
}
