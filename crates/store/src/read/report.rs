//! Rows of reports, read inside the transaction that writes them.

use super::findings::SEVERITY_ORDER;
use crate::{
    StoreError,
    param::param,
    values::{self, unsigned32},
};
use dunlin_contracts::api::FindingView;
use dunlin_core::{ScanId, TenantId, finding::Rule};
use futures::{Stream, StreamExt};
use std::collections::HashMap;
use tokio_postgres::{Row, Transaction};

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

/// There is an index in the order of a report. A server that knows nothing yet of these rows would rather sort all of them, on its disk,
/// before it sends the first. It holds until the transaction ends: all that is left then are rows found by their keys.
const BY_INDEX: &str = "set local enable_sort = off";

fn findings_sql() -> String {
    format!(
        "select sf.finding_id, sf.rule_id, sf.engine, sf.severity, sf.confidence, sf.path, sf.start_line, sf.start_column,
                sf.end_line, sf.message, sf.snippet, sf.fingerprint, f.state, sf.is_new
         from scan_findings sf join findings f on f.tenant = sf.tenant and f.id = sf.finding_id
         where sf.tenant = $1 and sf.scan_id = $2 order by {SEVERITY_ORDER}"
    )
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
    tx.batch_execute(BY_INDEX).await?;
    let (tenant, scan) = (tenant.as_str(), scan.as_uuid());
    let rows = tx.query_typed_raw(&findings_sql(), [param(&tenant), param(&scan)]).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_testkit::TestDatabase;

    #[tokio::test]
    async fn rows_of_a_report_come_in_the_order_of_an_index_and_are_never_sorted() {
        let db = TestDatabase::new().await;
        let mut client = db.client().await;
        let scan = uuid::Uuid::now_v7();
        // Keys are not asked for what they refer to.
        client
            .batch_execute(&format!(
                "set session_replication_role = replica;
                 insert into findings (id, tenant, repository_id, track, rule_id, engine, fingerprint, occurrence, content_key, state,
                                       present, first_seen_scan, last_seen_scan, first_seen_at, last_seen_at)
                 select md5(n::text)::uuid, 'acme', '{scan}', 'main', 'r', 'e', n, 1, n, 'open', true, '{scan}', '{scan}', now(), now()
                 from generate_series(1, 5000) n;
                 insert into scan_findings (tenant, scan_id, finding_id, job, rule_id, engine, severity, confidence, path, message,
                                            fingerprint, is_new)
                 select tenant, '{scan}', id, 0, 'r', 'e', 2, 'low', fingerprint || '.py', repeat('m', 100), fingerprint, true
                 from findings",
            ))
            .await
            .unwrap();
        let tx = client.transaction().await.unwrap();
        let plan = async || -> Vec<String> {
            let sql = format!("explain {}", findings_sql());
            let rows = tx.query_typed(&sql, &[param(&"acme"), param(&scan)]).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        };
        assert!(plan().await.iter().any(|line| line.contains("Sort Key")), "the premise");
        tx.batch_execute(BY_INDEX).await.unwrap();
        let lines = plan().await;
        assert!(lines.iter().any(|line| line.contains("scan_findings_by_severity")), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("Sort Key")), "{lines:#?}");
    }
}
