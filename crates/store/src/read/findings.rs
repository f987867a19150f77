use super::{PageRequest, cursor::Cursor};
use crate::{
    Store, StoreError,
    values::{self, rank, unsigned32},
};
use dunlin_contracts::api::{FindingView, Page};
use dunlin_core::{ScanId, TenantId, finding::Severity};
use tokio_postgres::{Row, types::ToSql};

/// Columns of a [`FindingView`], from `scan_findings sf`, `findings f` and `rules r`; the last two carry the order.
pub(super) const FINDING_COLUMNS: &str = "sf.finding_id, sf.rule_id, r.name as rule_name, sf.engine, sf.severity, sf.confidence, \
     sf.path, sf.start_line, sf.start_column, sf.end_line, sf.message, sf.snippet, r.help_url, r.cwe, sf.fingerprint, f.state, \
     sf.is_new, left(sf.path, 400) as path_key, coalesce(sf.start_line, 0) as line_key";

pub(super) const FINDING_TABLES: &str = "scan_findings sf \
     join findings f on f.tenant = sf.tenant and f.id = sf.finding_id \
     join rules r on r.tenant = sf.tenant and r.id = sf.rule_id";

/// All that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindingFilter {
    pub min_severity: Option<Severity>,
    /// One of these; empty means any.
    pub severities: Vec<Severity>,
    pub engine: Option<String>,
    /// `open`, `fixed`, `reopened`, `false_positive`, `accepted` or `duplicate`, as it is now.
    pub state: Option<String>,
    pub rule: Option<String>,
    pub path_prefix: Option<String>,
    /// Seen for the first time by this scan, or not.
    pub new: Option<bool>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FindingSort {
    /// Worst first, then by path and line.
    #[default]
    Severity,
    Path,
}

/// Values of a query, and the places they go to.
#[derive(Default)]
struct Query {
    conditions: String,
    params: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Query {
    /// `?` stands for the value.
    fn and(&mut self, condition: &str, value: impl ToSql + Sync + Send + 'static) {
        let place = self.add(value);
        self.conditions.push_str(" and ");
        self.conditions.push_str(&condition.replace('?', &place));
    }
    fn add(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.params.push(Box::new(value));
        format!("${}", self.params.len())
    }
}

impl Store {
    /// Findings of one scan; none when the tenant has no such scan.
    pub async fn scan_findings(
        &self,
        tenant: &TenantId,
        scan: ScanId,
        filter: &FindingFilter,
        sort: FindingSort,
        page: &PageRequest,
    ) -> Result<Option<Page<FindingView>>, StoreError> {
        let known = self
            .client
            .query_opt("select from scans where tenant = $1 and id = $2", &[&tenant.as_str(), &scan.as_uuid()])
            .await?;
        if known.is_none() {
            return Ok(None);
        }
        let mut query = Query::default();
        query.and("sf.tenant = ?", tenant.as_str().to_owned());
        query.and("sf.scan_id = ?", scan.as_uuid());
        filter.narrow(&mut query);
        let order = after(&mut query, sort, page)?;
        let limit = query.add(page.rows());
        let sql = format!(
            "select {FINDING_COLUMNS} from {FINDING_TABLES} where true{} order by {order} limit {limit}",
            query.conditions
        );
        let params: Vec<&(dyn ToSql + Sync)> = query.params.iter().map(|p| &**p as &(dyn ToSql + Sync)).collect();
        let items = self
            .client
            .query(&sql, &params)
            .await?
            .iter()
            .map(|row| Ok((finding_view(row)?, place(row, sort))))
            .collect::<Result<_, StoreError>>()?;
        Ok(Some(page.page(items)))
    }
}

impl FindingFilter {
    fn narrow(&self, query: &mut Query) {
        if let Some(min) = self.min_severity {
            query.and("sf.severity >= ?", rank(min));
        }
        if !self.severities.is_empty() {
            let ranks: Vec<i16> = self.severities.iter().map(|s| rank(*s)).collect();
            query.and("sf.severity = any(?)", ranks);
        }
        let text = |value: &String| values::text(value).into_owned();
        if let Some(engine) = &self.engine {
            query.and("sf.engine = ?", text(engine));
        }
        if let Some(state) = &self.state {
            query.and("f.state = ?", text(state));
        }
        if let Some(rule) = &self.rule {
            query.and("sf.rule_id = ?", text(rule));
        }
        if let Some(prefix) = &self.path_prefix {
            query.and("starts_with(sf.path, ?)", text(prefix));
        }
        if let Some(new) = self.new {
            query.and("sf.is_new = ?", new);
        }
    }
}

/// Adds the condition that begins after the cursor, and answers the order.
fn after(query: &mut Query, sort: FindingSort, page: &PageRequest) -> Result<&'static str, StoreError> {
    let cursor = page.cursor.as_deref().map(Cursor::decode).transpose()?;
    match (sort, cursor) {
        (FindingSort::Severity, None) => {}
        (FindingSort::Severity, Some(Cursor::Severity { s, p, l, id })) => {
            let (s, p, l, id) = (query.add(s), query.add(p), query.add(l), query.add(id));
            query.conditions.push_str(&format!(
                " and sf.severity <= {s} and (sf.severity < {s} \
                   or (left(sf.path, 400), coalesce(sf.start_line, 0), sf.finding_id) > ({p}, {l}, {id}))"
            ));
        }
        (FindingSort::Path, None) => {}
        (FindingSort::Path, Some(Cursor::Path { p, l, id })) => {
            let (p, l, id) = (query.add(p), query.add(l), query.add(id));
            query.conditions.push_str(&format!(
                " and (left(sf.path, 400), coalesce(sf.start_line, 0), sf.finding_id) > ({p}, {l}, {id})"
            ));
        }
        // A cursor of another list, or of the other order.
        _ => return Err(StoreError::BadCursor),
    }
    Ok(match sort {
        FindingSort::Severity => SEVERITY_ORDER,
        FindingSort::Path => "left(sf.path, 400), coalesce(sf.start_line, 0), sf.finding_id",
    })
}

pub(super) const SEVERITY_ORDER: &str =
    "sf.severity desc, left(sf.path, 400), coalesce(sf.start_line, 0), sf.finding_id";

fn place(row: &Row, sort: FindingSort) -> Cursor {
    let (p, l, id) = (row.get("path_key"), row.get("line_key"), row.get("finding_id"));
    match sort {
        FindingSort::Severity => Cursor::Severity { s: row.get("severity"), p, l, id },
        FindingSort::Path => Cursor::Path { p, l, id },
    }
}

pub(super) fn finding_view(row: &Row) -> Result<FindingView, StoreError> {
    let line = |name: &str| row.get::<_, Option<i32>>(name).map(unsigned32);
    let cwe: Vec<i32> = row.get("cwe");
    Ok(FindingView {
        id: row.get("finding_id"),
        rule: row.get("rule_id"),
        rule_name: row.get("rule_name"),
        engine: row.get("engine"),
        severity: values::severity(row.get("severity"))?,
        confidence: values::confidence(row.get("confidence"))?,
        path: row.get("path"),
        start_line: line("start_line"),
        start_column: line("start_column"),
        end_line: line("end_line"),
        message: row.get("message"),
        snippet: row.get("snippet"),
        help_url: row.get("help_url"),
        cwe: cwe.into_iter().map(unsigned32).collect(),
        fingerprint: row.get("fingerprint"),
        state: row.get("state"),
        new: row.get("is_new"),
    })
}
