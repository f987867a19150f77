//! One range of a file, in one transaction: its rows and the mark that they are there.

use super::{LONG, faults_json, from_json, places, read_batch};
use crate::{
    Store, StoreError,
    param::param,
    prices::{PortRow, RegionRow},
    values::{self, signed, signed32, unsigned},
};
use bytes::Bytes;
use dunlin_contracts::prices::PriceBatchMessage;
use dunlin_core::{
    TenantId,
    prices::{BatchKind, BatchState, Faults, Layout, Range},
};
use futures::{SinkExt, TryFutureExt, TryStreamExt};
use std::pin::{Pin, pin};
use time::Date;
use tokio_postgres::{CopyInSink, Row, Transaction};

/// A range, and what a loader must know of its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeRow {
    /// The batch's number, which its rows carry.
    pub number: i32,
    pub kind: BatchKind,
    pub state: BatchState,
    pub layout: Layout,
    pub range: Range,
    pub loaded: bool,
    /// Good ones, once it is loaded.
    pub rows: u64,
    pub bad_rows: u64,
}

/// [`Store::load_range`] has nothing to do twice.
pub enum LoadStart<'a> {
    Ready(RangeLoad<'a>),
    /// Somebody was faster.
    Loaded {
        rows: u64,
        bad_rows: u64,
    },
    /// The batch has an end: its rows are not wanted any more.
    Ended(BatchState),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    Loaded,
    /// The batch ended meanwhile: nothing of the range was kept.
    Ended(BatchState),
}

/// A range on its way into the database. Dropped without [`RangeLoad::finish`], none of it arrives.
pub struct RangeLoad<'a> {
    // Before the transaction: fields are dropped in this order, and a COPY ends before its transaction does.
    sink: Option<Pin<Box<CopyInSink<Bytes>>>>,
    tx: Transaction<'a>,
    batch: &'a PriceBatchMessage,
    number: i32,
    range: i32,
    /// The batch has no other range.
    only: bool,
    /// Rows of places that were written.
    places: u64,
}

impl Store {
    /// None when the batch has no such range.
    pub async fn range(&self, batch: &PriceBatchMessage, range: u32) -> Result<Option<RangeRow>, StoreError> {
        let row = self
            .client
            .query_typed_opt(
                "select b.number, b.state, b.layout, r.byte_offset, r.bytes, r.first_line, r.has_header, r.loaded, r.rows, r.bad_rows
                 from price_batches b join price_batch_ranges r on r.tenant = b.tenant and r.batch = b.id
                 where b.tenant = $1 and b.id = $2 and b.kind = $3 and r.range = $4",
                &[
                    param(&batch.tenant.as_str()),
                    param(&batch.batch_id.as_uuid()),
                    param(&batch.kind.as_str()),
                    param(&signed32(range)),
                ],
            )
            .await?;
        row.map(|row| range_row(&row, batch.kind, range)).transpose()
    }

    /// Gives `each` the code and the id of every port of the tenant, in no order.
    pub async fn ports_of(&self, tenant: &TenantId, mut each: impl FnMut(&str, i32)) -> Result<(), StoreError> {
        let sql = "select code, id from ports where tenant = $1";
        let rows = self.client.query_typed_raw(sql, [param(&tenant.as_str())]).await?;
        let mut rows = pin!(rows);
        while let Some(row) = rows.try_next().await? {
            each(row.get(0), row.get(1));
        }
        Ok(())
    }

    /// Begins to load a range. Waits while somebody else loads the same one, but not for long: then it is worth another try.
    pub async fn load_range<'a>(
        &'a mut self,
        batch: &'a PriceBatchMessage,
        range: &RangeRow,
    ) -> Result<LoadStart<'a>, StoreError> {
        let tx = self.client.transaction().await?;
        let number = range.number;
        let range = signed32(range.range.range);
        let ((), row, now) = futures::try_join!(
            tx.batch_execute(LONG).err_into(),
            locked_range(&tx, batch, range),
            read_batch(&tx, batch, ""),
        )?;
        let row = row.ok_or(StoreError::NoBatch(batch.batch_id))?;
        if now.number != number {
            return Err(StoreError::NoBatch(batch.batch_id));
        }
        if row.get(0) {
            return Ok(LoadStart::Loaded { rows: unsigned(row.get(1)), bad_rows: unsigned(row.get(2)) });
        }
        if now.state.is_end() {
            return Ok(LoadStart::Ended(now.state));
        }
        Ok(LoadStart::Ready(RangeLoad { sink: None, tx, batch, number, range, only: row.get(3), places: 0 }))
    }
}

async fn locked_range(tx: &Transaction<'_>, batch: &PriceBatchMessage, range: i32) -> Result<Option<Row>, StoreError> {
    let row = tx
        .query_typed_opt(
            "select loaded, rows, bad_rows, range = 0 and not exists (
                 select from price_batch_ranges other where other.batch = r.batch and other.range > 0
             ) from price_batch_ranges r where tenant = $1 and batch = $2 and range = $3 for no key update",
            &[param(&batch.tenant.as_str()), param(&batch.batch_id.as_uuid()), param(&range)],
        )
        .await?;
    Ok(row)
}

fn range_row(row: &Row, kind: BatchKind, range: u32) -> Result<RangeRow, StoreError> {
    let layout: Option<serde_json::Value> = row.get("layout");
    let layout = layout.ok_or_else(|| StoreError::Unreadable { column: "layout", value: String::new() })?;
    Ok(RangeRow {
        number: row.get("number"),
        kind,
        state: values::batch_state(row.get("state"))?,
        layout: from_json("layout", layout)?,
        range: Range {
            range,
            offset: unsigned(row.get("byte_offset")),
            length: unsigned(row.get("bytes")),
            first_line: unsigned(row.get("first_line")),
            has_header: row.get("has_header"),
        },
        loaded: row.get("loaded"),
        rows: unsigned(row.get("rows")),
        bad_rows: unsigned(row.get("bad_rows")),
    })
}

impl RangeLoad<'_> {
    /// The next bytes of a COPY BINARY of `(batch, orig, dest, day, price, line)`: header, rows and trailer, cut anywhere. Waits until
    /// the connection has taken what came before, so that a few of these are in memory and never more.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if self.sink.is_none() {
            self.sink = Some(self.open().await?);
        }
        if let Some(sink) = &mut self.sink {
            sink.send(bytes).await?;
        }
        Ok(())
    }

    async fn open(&self) -> Result<Pin<Box<CopyInSink<Bytes>>>, StoreError> {
        let number = self.number;
        let options = if self.only { "format binary, freeze" } else { "format binary" };
        let sql = format!("copy price_rows_{number} (batch, orig, dest, day, price, line) from stdin with ({options})");
        let (_, copy) = futures::try_join!(self.empty(), self.tx.prepare(&sql).err_into())?;
        Ok(Box::pin(self.tx.copy_in(&copy).await?))
    }

    async fn empty(&self) -> Result<(), StoreError> {
        if self.only {
            self.tx.execute_typed("select price_table_empty($1)", &[param(&self.number)]).await?;
        }
        Ok(())
    }

    /// Some rows of a batch of ports, in one round trip.
    pub async fn ports(&mut self, rows: &[PortRow]) -> Result<(), StoreError> {
        self.places += places::insert_ports(&self.tx, self.number, rows).await?;
        Ok(())
    }

    /// Some rows of a batch of regions, in one round trip.
    pub async fn regions(&mut self, rows: &[RegionRow]) -> Result<(), StoreError> {
        self.places += places::insert_regions(&self.tx, self.number, rows).await?;
        Ok(())
    }

    /// Keeps the range: `rows` good rows, what was wrong with the others, and the first and last day of the good ones.
    pub async fn finish(self, rows: u64, faults: &Faults, days: Option<(Date, Date)>) -> Result<Finished, StoreError> {
        let Self { sink, tx, batch, range, places, .. } = self;
        let arrived = match sink {
            Some(mut sink) => sink.as_mut().finish().await?,
            None => places,
        };
        if arrived != rows {
            return Err(StoreError::Invalid(format!("{arrived} rows of range {range} arrived, not {rows}")));
        }
        // Whoever ends the batch waits for this, or is waited for.
        let (now, ()) = futures::try_join!(
            read_batch(&tx, batch, "for share"),
            mark_loaded(&tx, batch, range, (rows, faults), days)
        )?;
        if now.state.is_end() {
            tx.rollback().await?;
            return Ok(Finished::Ended(now.state));
        }
        tx.commit().await?;
        Ok(Finished::Loaded)
    }
}

async fn mark_loaded(
    tx: &Transaction<'_>,
    batch: &PriceBatchMessage,
    range: i32,
    (rows, faults): (u64, &Faults),
    days: Option<(Date, Date)>,
) -> Result<(), StoreError> {
    let (first, last) = days.unzip();
    tx.execute_typed(
        "update price_batch_ranges
         set loaded = true, rows = $4, bad_rows = $5, faults = $6, first_day = $7, last_day = $8
         where tenant = $1 and batch = $2 and range = $3",
        &[
            param(&batch.tenant.as_str()),
            param(&batch.batch_id.as_uuid()),
            param(&range),
            param(&signed(rows)),
            param(&signed(faults.rows)),
            param(&faults_json(faults)?),
            param(&first),
            param(&last),
        ],
    )
    .await?;
    Ok(())
}
