//! Rows of reports, read inside the transaction that writes them.

use super::findings::SEVERITY_ORDER;
use crate::{
    StoreError,
    values::{self, unsigned32},
};
use dunlin_contracts::api::FindingView;
use dunlin_core::{ScanId, TenantId, finding::Rule};
use futures::{Stream, StreamExt};
use std::collections::HashMap;
use tokio_postgres::{Row, Transaction, types::ToSql};

pub(crate) async fn rules(tx: &Transaction<'_>, tenant: &TenantId, scan: ScanId) -> Result<Vec<Rule>, StoreError> {
    let rows = tx
        .query(
            // Apart, because a server without statistics of rows that were written a moment ago reads them all for each rule.
            "with named as materialized (select distinct rule_id from scan_findings where tenant = $1 and scan_id = $2)
             select id, engine, name, description, help_url, cwe, severity, confidence
             from named join rules on tenant = $1 and id = rule_id
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

/// Worst first, then by path and line. `rules` are what [`rules`] has answered, and are looked up here: each has thousands of findings, and a server that has no
/// statistics yet of rows that were written a moment ago may read those once for each rule to join them.
pub(crate) async fn findings(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    scan: ScanId,
    rules: &[Rule],
) -> Result<impl Stream<Item = Result<FindingView, StoreError>> + Send + use<>, StoreError> {
    let rules: HashMap<String, Rule> = rules.iter().map(|rule| (rule.id.clone(), rule.clone())).collect();
    let sql = format!(
        "select sf.finding_id, sf.rule_id, sf.engine, sf.severity, sf.confidence, sf.path, sf.start_line, sf.start_column,
                sf.end_line, sf.message, sf.snippet, sf.fingerprint, f.state, sf.is_new
         from scan_findings sf join findings f on f.tenant = sf.tenant and f.id = sf.finding_id
         where sf.tenant = $1 and sf.scan_id = $2 order by {SEVERITY_ORDER}"
    );
    let (tenant, scan) = (tenant.as_str(), scan.as_uuid());
    let params: [&(dyn ToSql + Sync); 2] = [&tenant, &scan];
    let rows = tx.query_raw(&sql, params).await?;
    Ok(rows.map(move |row| view(&row?, &rules)))
}

/// Columns by position: by name, each would be searched for in each of 200,000 rows.
fn view(row: &Row, rules: &HashMap<String, Rule>) -> Result<FindingView, StoreError> {
    let line = |column: usize| row.get::<_, Option<i32>>(column).map(unsigned32);
    let id: &str = row.get(1);
    let rule = rules.get(id).ok_or_else(|| StoreError::Unreadable { column: "rule_id", value: id.to_owned() })?;
    Ok(FindingView {
        id: row.get(0),
        rule: rule.id.clone(),
        rule_name: rule.name.clone(),
        engine: row.get(2),
        severity: values::severity(row.get(3))?,
        confidence: values::confidence(row.get(4))?,
        path: row.get(5),
        start_line: line(6),
        start_column: line(7),
        end_line: line(8),
        message: row.get(9),
        snippet: row.get(10),
        help_url: rule.help_url.clone(),
        cwe: rule.cwe.clone(),
        fingerprint: row.get(11),
        state: row.get(12),
        new: row.get(13),
    })
}
