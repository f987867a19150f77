//! Ports and regions: checked in sets, against what is known and against each other, then written over what is known.

use crate::{
    StoreError,
    param::{Param, param},
    values::{self, signed32, text},
};
use dunlin_core::prices::{BadRow, BatchKind, Faults, Reason};
use futures::{Stream, StreamExt, TryStreamExt};
use std::{borrow::Cow, pin::pin};
use tokio_postgres::Transaction;

/// One row of a file of ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRow {
    pub line: u32,
    pub code: String,
    pub name: String,
    /// A region's slug.
    pub region: String,
}

/// One row of a file of regions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionRow {
    pub line: u32,
    pub slug: String,
    pub name: String,
    /// The slug of the region around it; none for a root.
    pub parent: Option<String>,
}

pub(super) async fn insert_ports(tx: &Transaction<'_>, batch: i32, rows: &[PortRow]) -> Result<u64, StoreError> {
    let lines: Vec<i32> = rows.iter().map(|row| signed32(row.line)).collect();
    let codes: Vec<Cow<'_, str>> = rows.iter().map(|row| text(&row.code)).collect();
    let names: Vec<Cow<'_, str>> = rows.iter().map(|row| text(&row.name)).collect();
    let regions: Vec<Cow<'_, str>> = rows.iter().map(|row| text(&row.region)).collect();
    Ok(tx
        .execute_typed(
            "insert into port_rows (batch, line, code, name, region)
             select $1, r.* from unnest($2::int[], $3::text[], $4::text[], $5::text[]) r",
            &[param(&batch), param(&lines), param(&codes), param(&names), param(&regions)],
        )
        .await?)
}

pub(super) async fn insert_regions(tx: &Transaction<'_>, batch: i32, rows: &[RegionRow]) -> Result<u64, StoreError> {
    let lines: Vec<i32> = rows.iter().map(|row| signed32(row.line)).collect();
    let slugs: Vec<Cow<'_, str>> = rows.iter().map(|row| text(&row.slug)).collect();
    let names: Vec<Cow<'_, str>> = rows.iter().map(|row| text(&row.name)).collect();
    let parents: Vec<Option<Cow<'_, str>>> = rows.iter().map(|row| row.parent.as_deref().map(text)).collect();
    Ok(tx
        .execute_typed(
            "insert into region_rows (batch, line, slug, name, parent)
             select $1, r.* from unnest($2::int[], $3::text[], $4::text[], $5::text[]) r",
            &[param(&batch), param(&lines), param(&slugs), param(&names), param(&parents)],
        )
        .await?)
}

/// Places of a tenant change one batch at a time: what was checked must still hold when it is written.
pub(super) async fn lock(tx: &Transaction<'_>, tenant: &str) -> Result<(), StoreError> {
    tx.execute_typed("select pg_advisory_xact_lock(hashtextextended('places/' || $1, 0))", &[param(&tenant)]).await?;
    Ok(())
}

/// What only the whole batch can tell. `$1` is its number, `$2` the tenant; answers line, column, value, reason; a row that stands
/// earlier is asked nothing else.
fn check_sql(kind: BatchKind) -> &'static str {
    match kind {
        BatchKind::Prices => "",
        BatchKind::Ports => {
            "with mine as (select *, row_number() over (partition by code order by line) as n from port_rows where batch = $1)
             select line, 'code', code, 'duplicate' from mine where n > 1
             union all
             select line, 'region', region, 'unknown_region' from mine
             where n = 1 and not exists (select from regions r where r.tenant = $2 and r.slug = mine.region)"
        }
        BatchKind::Regions => {
            "with mine as (select *, row_number() over (partition by slug order by line) as n from region_rows where batch = $1)
             select line, 'slug', slug, 'duplicate' from mine where n > 1
             union all
             select line, 'parent', parent, 'unknown_region' from mine
             where n = 1 and parent is not null and not exists (select from regions r where r.tenant = $2 and r.slug = mine.parent)
               and not exists (select from region_rows r where r.batch = $1 and r.slug = mine.parent)
             union all
             select line, 'parent', parent, 'region_cycle' from mine
             where n = 1 and slug in (select slug from pg_temp.on_cycle)"
        }
    }
}

/// Everything that is wrong with a batch of places as a whole, ordered by line.
pub(super) async fn bad_rows(
    tx: &Transaction<'_>,
    kind: BatchKind,
    tenant: &str,
    batch: i32,
) -> Result<impl Stream<Item = Result<BadRow, StoreError>> + Send + use<>, StoreError> {
    if kind == BatchKind::Regions {
        find_cycles(tx, tenant, batch).await?;
    }
    let sql = format!("select * from ({}) bad (line, column_name, value, reason) order by 1, 2", check_sql(kind));
    let params: [Param<'_>; 2] = [param(&batch), param(&tenant)];
    let rows = tx.query_typed_raw(&sql, params).await?;
    Ok(rows.map(|row| {
        let row = row?;
        let reason = match row.get(3) {
            "duplicate" => Reason::Duplicate,
            "unknown_region" => Reason::UnknownRegion,
            _ => Reason::RegionCycle,
        };
        Ok(BadRow::new(u64::from(values::unsigned32(row.get(0))), row.get(1), row.get(2), reason))
    }))
}

/// The same, in numbers.
pub(super) async fn faults(
    tx: &Transaction<'_>,
    kind: BatchKind,
    tenant: &str,
    batch: i32,
) -> Result<Faults, StoreError> {
    let mut rows = pin!(bad_rows(tx, kind, tenant, batch).await?);
    let (mut faults, mut last) = (Faults::default(), None);
    while let Some(row) = rows.try_next().await? {
        faults.add(&row, last != Some(row.line));
        last = Some(row.line);
    }
    Ok(faults)
}

/// Fills `pg_temp.on_cycle` with the regions of the batch that would be their own ancestors. Each step doubles how far up every
/// region looks: after as many steps as it takes to look past all of them, whoever still sees somebody sees a cycle, and everybody
/// on one is seen.
async fn find_cycles(tx: &Transaction<'_>, tenant: &str, batch: i32) -> Result<(), StoreError> {
    tx.batch_execute(
        "drop table if exists pg_temp.above, pg_temp.on_cycle;
         create temporary table above (slug text primary key, up text) on commit drop;
         create temporary table on_cycle (slug text primary key) on commit drop;",
    )
    .await?;
    let regions = tx
        .execute_typed(
            "insert into above
             select slug, parent from (
                 select distinct on (slug) slug, parent from region_rows where batch = $1 order by slug, line
             ) mine
             union all
             select slug, parent from regions r
             where tenant = $2 and not exists (select from region_rows m where m.batch = $1 and m.slug = r.slug)",
            &[param(&batch), param(&tenant)],
        )
        .await?;
    tx.batch_execute("analyze above").await?;
    let mut reach: u64 = 1;
    loop {
        // A root is above nobody any more, and a parent that does not exist leads nowhere.
        let left = tx
            .execute_typed(
                "update above a set up = (select b.up from above b where b.slug = a.up) where a.up is not null",
                &[],
            )
            .await?;
        if left == 0 {
            return Ok(());
        }
        reach = reach.saturating_mul(2);
        if reach > regions {
            break;
        }
    }
    tx.execute_typed("insert into on_cycle select distinct up from above where up is not null", &[]).await?;
    Ok(())
}

/// Writes the batch over what is known, and forgets its rows. Answers how many rows it had.
pub(super) async fn write(tx: &Transaction<'_>, kind: BatchKind, tenant: &str, batch: i32) -> Result<u64, StoreError> {
    // A conflict would use up an id for every port that is known already: 32 bits of them last longer this way.
    let (insert, update) = match kind {
        BatchKind::Prices => return Ok(0),
        BatchKind::Ports => (
            "insert into ports (tenant, code, name, region)
             select $1, code, name, region from port_rows m
             where batch = $2 and not exists (select from ports p where p.tenant = $1 and p.code = m.code) order by line",
            "update ports p set name = m.name, region = m.region from port_rows m
             where p.tenant = $1 and m.batch = $2 and p.code = m.code and (p.name, p.region) is distinct from (m.name, m.region)",
        ),
        BatchKind::Regions => (
            "insert into regions (tenant, slug, name, parent)
             select $1, slug, name, parent from region_rows m
             where batch = $2 and not exists (select from regions r where r.tenant = $1 and r.slug = m.slug)",
            "update regions r set name = m.name, parent = m.parent from region_rows m
             where r.tenant = $1 and m.batch = $2 and r.slug = m.slug and (r.name, r.parent) is distinct from (m.name, m.parent)",
        ),
    };
    for statement in [insert, update] {
        tx.execute_typed(statement, &[param(&tenant), param(&batch)]).await?;
    }
    forget(tx, batch).await
}

/// Removes the rows of a batch of places; none are there when it is one of prices.
pub(super) async fn forget(tx: &Transaction<'_>, batch: i32) -> Result<u64, StoreError> {
    let mut gone = 0;
    for table in ["port_rows", "region_rows"] {
        gone += tx.execute_typed(&format!("delete from {table} where batch = $1"), &[param(&batch)]).await?;
    }
    Ok(gone)
}
