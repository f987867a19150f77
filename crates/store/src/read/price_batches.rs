use super::{
    PageRequest,
    cursor::{Cursor, from_micros, micros},
};
use crate::{
    Store, StoreError,
    values::{batch_kind, batch_state, unsigned},
};
use dunlin_contracts::{
    api::Page,
    prices::{Day, PriceBatchView},
};
use dunlin_core::{
    BatchId, TenantId,
    prices::{BatchKind, BatchState, Faults},
};
use time::Date;
use tokio_postgres::{Row, types::ToSql};

/// A batch and how far its ranges are. `{faults}` is what of its faults is wanted.
const SELECT: &str = "select b.id, b.kind, b.state, b.name, b.sent_by, b.key, b.bytes, b.sha256, b.received_at, b.ended_at,
            b.withdrawn_at, b.withdrawn_by, b.rows, b.first_day, b.last_day, b.bad_rows, b.replaces, b.replaced_by, b.same_as,
            b.error, r.ranges, r.ranges_read, r.rows_read, r.bad_rows_read, {faults} as faults
     from price_batches b cross join lateral (
         select count(*) as ranges, count(*) filter (where loaded) as ranges_read,
                coalesce(sum(rows + bad_rows), 0)::bigint as rows_read, coalesce(sum(bad_rows), 0)::bigint as bad_rows_read
         from price_batch_ranges where tenant = b.tenant and batch = b.id
     ) r
     where b.tenant = $1";

/// All that is set must hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PriceBatchFilter {
    pub kind: Option<BatchKind>,
    pub state: Option<BatchState>,
}

impl Store {
    /// Batches, newest first, without their bad rows.
    pub async fn price_batches(
        &self,
        tenant: &TenantId,
        filter: &PriceBatchFilter,
        page: &PageRequest,
    ) -> Result<Page<PriceBatchView>, StoreError> {
        let (tenant, rows) = (tenant.as_str(), page.rows());
        let (kind, state) = (filter.kind.map(BatchKind::as_str), filter.state.map(BatchState::as_str));
        let mut sql = SELECT.replace("{faults}", "b.faults || '{\"first\": []}'");
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&tenant];
        for (column, value) in [("kind", &kind), ("state", &state)] {
            if let Some(value) = value {
                params.push(value);
                sql.push_str(&format!(" and b.{column} = ${}", params.len()));
            }
        }
        let after = match page.cursor.as_deref().map(Cursor::decode).transpose()? {
            None => None,
            Some(Cursor::PriceBatches { at, id }) => Some((from_micros(at)?, id)),
            Some(_) => return Err(StoreError::BadCursor),
        };
        if let Some((at, id)) = &after {
            params.extend([at as &(dyn ToSql + Sync), id]);
            sql.push_str(&format!(" and (b.received_at, b.id) < (${}, ${})", params.len() - 1, params.len()));
        }
        params.push(&rows);
        sql.push_str(&format!(" order by b.received_at desc, b.id desc limit ${}", params.len()));
        let items = self
            .client
            .query(&sql, &params)
            .await?
            .iter()
            .map(|row| {
                let batch = view(row)?;
                let cursor = Cursor::PriceBatches { at: micros(batch.received_at), id: batch.id };
                Ok((batch, cursor))
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(page.page(items))
    }

    /// One batch, with the first of its bad rows. `report_url` is for the caller to fill in.
    pub async fn price_batch(&self, tenant: &TenantId, batch: BatchId) -> Result<Option<PriceBatchView>, StoreError> {
        let sql = format!("{} and b.id = $2", SELECT.replace("{faults}", "b.faults"));
        let key: [&(dyn ToSql + Sync); 2] = [&tenant.as_str(), &batch.as_uuid()];
        let Some(row) = self.client.query_opt(&sql, &key).await? else { return Ok(None) };
        let mut view = view(&row)?;
        if view.status.is_end() {
            return Ok(Some(view));
        }
        // What was found so far is with the ranges that were read.
        let mut faults = faults(&row)?;
        let rows = self
            .client
            .query(
                "select faults from price_batch_ranges where tenant = $1 and batch = $2 and faults is not null order by range",
                &key,
            )
            .await?;
        for row in &rows {
            faults.merge(&self::faults(row)?);
        }
        view.set_faults(faults);
        Ok(Some(view))
    }
}

fn faults(row: &Row) -> Result<Faults, StoreError> {
    let value: Option<serde_json::Value> = row.get("faults");
    value.map_or_else(
        || Ok(Faults::default()),
        |value| {
            serde_json::from_value(value).map_err(|e| StoreError::Unreadable { column: "faults", value: e.to_string() })
        },
    )
}

fn view(row: &Row) -> Result<PriceBatchView, StoreError> {
    let count = |name: &str| unsigned(row.get(name));
    let few = |name: &str| u32::try_from(row.get::<_, i64>(name)).unwrap_or(u32::MAX);
    let status = batch_state(row.get("state"))?;
    let faults = faults(row)?;
    let mut view = PriceBatchView {
        id: row.get("id"),
        kind: batch_kind(row.get("kind"))?,
        status,
        name: row.get("name"),
        sent_by: row.get("sent_by"),
        key: row.get("key"),
        bytes: row.get::<_, Option<i64>>("bytes").map(unsigned),
        sha256: row.get("sha256"),
        received_at: row.get("received_at"),
        ended_at: row.get("ended_at"),
        withdrawn_at: row.get("withdrawn_at"),
        withdrawn_by: row.get("withdrawn_by"),
        rows_read: count("rows_read"),
        ranges: few("ranges"),
        ranges_read: few("ranges_read"),
        rows: row.get::<_, Option<i64>>("rows").map(unsigned),
        first_day: row.get::<_, Option<Date>>("first_day").map(Day),
        last_day: row.get::<_, Option<Date>>("last_day").map(Day),
        bad_rows: 0,
        reasons: Default::default(),
        first_bad_rows: Vec::new(),
        report_url: None,
        replaces: row.get("replaces"),
        replaced_by: row.get("replaced_by"),
        same_as: row.get("same_as"),
        error: row.get("error"),
    };
    view.set_faults(faults);
    view.bad_rows = count(if status.is_end() { "bad_rows" } else { "bad_rows_read" });
    Ok(view)
}
