//! The end of a batch: everything was read, and now it is published or rejected as a whole.

use super::{BatchRow, LONG, batch::end, count_revision, faults_of, lead, locked, places, read_batch};
use crate::{
    Store, StoreError,
    param::{Param, param},
    values::{signed, unsigned, unsigned32},
};
use dunlin_contracts::prices::PriceBatchMessage;
use dunlin_core::prices::{BadRow, BatchKind, BatchState, FIRST_BAD_ROWS, Faults, Reason};
use futures::{Stream, StreamExt, TryFutureExt, TryStreamExt};
use std::pin::pin;
use time::Date;
use tokio_postgres::{Row, Transaction, error::SqlState};
use uuid::Uuid;

/// What can be done with a batch that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepared {
    AlreadyEnded(BatchRow),
    /// These ranges are not loaded; none at all when it was never inspected.
    Incomplete(Vec<u32>),
    /// Everything that is wrong with it. When it was found in the batch as a whole, [`Store::whole_batch_faults`] names every row.
    Faulty(Faults),
    Clean,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// Now, or by an earlier call.
    Done(BatchRow),
    /// It had another end.
    Ended(BatchRow),
    /// It cannot be, and has failed: what it replaces is not there to be replaced.
    Failed(BatchRow, String),
    /// Something is wrong with it, perhaps since a moment ago: prepare again.
    NotClean,
}

/// Faults that only the whole batch shows, row by row.
pub struct WholeBatchFaults<'a> {
    tx: Transaction<'a>,
    number: i32,
    kind: BatchKind,
    tenant: &'a str,
}

/// Rows that stand earlier in the batch too.
const LATER: &str = "select line, orig, dest, day, price from (
         select *, row_number() over (partition by orig, dest, day, price order by line) as n from {table}
     ) numbered where n > 1";

impl Store {
    /// Finds out whether the batch can be published, and makes the index of its rows. Changes no state.
    pub async fn prepare_publication(&mut self, batch: &PriceBatchMessage) -> Result<Prepared, StoreError> {
        let tx = self.client.transaction().await?;
        let (_, (), row, read) = futures::try_join!(
            tx.batch_execute(LONG).err_into(),
            lead(&tx),
            read_batch(&tx, batch, ""),
            Read::of(&tx, batch),
        )?;
        if row.state.is_end() {
            return Ok(Prepared::AlreadyEnded(row));
        }
        if !read.missing.is_empty() || (!read.inspected && read.faults.is_empty()) {
            return Ok(Prepared::Incomplete(read.missing));
        }
        let mut faults = read.faults;
        if read.rows == 0 && faults.is_empty() {
            faults.add(&BadRow::new(1, None, "", Reason::Empty), false);
        }
        match row.kind {
            BatchKind::Prices if read.rows == 0 => {}
            BatchKind::Prices => {
                let indexed = tx.execute_typed("select price_table_index($1)", &[param(&row.number)]).await;
                match indexed {
                    Ok(_) => tx.commit().await?,
                    Err(error) if is_repeated(&error, row.number) => {
                        tx.rollback().await?;
                        faults.merge(&self.repeated(row.number).await?);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            BatchKind::Ports | BatchKind::Regions => {
                faults.merge(&places::faults(&tx, row.kind, batch.tenant.as_str(), row.number).await?);
            }
        }
        Ok(if faults.is_empty() { Prepared::Clean } else { Prepared::Faulty(faults) })
    }

    /// Publishes a batch that [`Store::prepare_publication`] found clean: from one moment on all its rows are seen, and none of
    /// those that it replaces.
    pub async fn publish(&mut self, batch: &PriceBatchMessage) -> Result<Published, StoreError> {
        let attached = match self.attach(batch).await? {
            Attached::Ended(row) => return Ok(ended(row)),
            Attached::Yes => true,
            Attached::No => false,
        };
        let tx = self.client.transaction().await?;
        let (row, totals) = futures::try_join!(locked(&tx, batch), Totals::of(&tx, batch))?;
        if row.state.is_end() {
            return Ok(ended(row));
        }
        let Some(totals) = totals else { return Ok(Published::NotClean) };
        let tenant = batch.tenant.as_str();
        if row.kind != BatchKind::Prices {
            places::lock(&tx, tenant).await?;
            if !places::faults(&tx, row.kind, tenant, row.number).await?.is_empty() {
                return Ok(Published::NotClean);
            }
        }
        if let Some(replaced) = row.replaces
            && let Some(why) = replace(&tx, batch, replaced).await?
        {
            end(&tx, batch, BatchState::Failed, Some(&why), &Faults::default()).await?;
            let row = read_batch(&tx, batch, "").await?;
            tx.commit().await?;
            self.clear_rows(&row).await?;
            return Ok(Published::Failed(row, why));
        }
        if !attached {
            // What it replaces was published since.
            return Ok(Published::NotClean);
        }
        if row.kind != BatchKind::Prices {
            places::write(&tx, row.kind, tenant, row.number).await?;
        }
        let ((), (), row) = futures::try_join!(
            end_as_published(&tx, batch, &totals),
            count_revision(&tx, tenant),
            read_batch(&tx, batch, ""),
        )?;
        tx.commit().await?;
        Ok(Published::Done(row))
    }

    /// Ends the batch as rejected and removes its rows. A batch that has ended stays as it is.
    pub async fn reject(&mut self, batch: &PriceBatchMessage, faults: &Faults) -> Result<BatchRow, StoreError> {
        let tx = self.client.transaction().await?;
        let row = locked(&tx, batch).await?;
        if !row.state.is_end() {
            end(&tx, batch, BatchState::Rejected, None, faults).await?;
        }
        let row = read_batch(&tx, batch, "").await?;
        tx.commit().await?;
        self.clear_rows(&row).await?;
        Ok(row)
    }

    /// Of a batch that has not ended: opens the way to every row that [`Store::prepare_publication`] found fault with.
    pub async fn whole_batch_faults<'a>(
        &'a mut self,
        batch: &'a PriceBatchMessage,
    ) -> Result<WholeBatchFaults<'a>, StoreError> {
        let tx = self.client.transaction().await?;
        tx.batch_execute(LONG).await?;
        let row = read_batch(&tx, batch, "").await?;
        Ok(WholeBatchFaults { tx, number: row.number, kind: row.kind, tenant: batch.tenant.as_str() })
    }

    /// Makes the batch's table a partition, in a transaction of its own: nobody reads it yet, because the batch is not published.
    /// The server tells others of a new partition a moment after its transaction is seen as committed: with both in one, a reader
    /// could find the batch published and its rows missing.
    async fn attach(&mut self, batch: &PriceBatchMessage) -> Result<Attached, StoreError> {
        let tx = self.client.transaction().await?;
        let ((), row, totals) =
            futures::try_join!(lead(&tx), read_batch(&tx, batch, "for share"), Totals::of(&tx, batch))?;
        if row.state.is_end() {
            return Ok(Attached::Ended(row));
        }
        if let Some(replaced) = row.replaces
            && not_replaceable(&tx, batch, replaced, "").await?.is_some()
        {
            return Ok(Attached::No);
        }
        if row.kind == BatchKind::Prices && totals.is_some() {
            tx.execute_typed("select price_table_attach($1)", &[param(&row.number)]).await?;
            tx.commit().await?;
        }
        Ok(Attached::Yes)
    }

    /// How many rows are there twice, and the first of them.
    async fn repeated(&mut self, number: i32) -> Result<Faults, StoreError> {
        let tx = self.client.transaction().await?;
        tx.batch_execute(LONG).await?;
        let later = LATER.replace("{table}", &format!("price_rows_{number}"));
        let count: i64 = tx.query_typed_one(&format!("select count(*) from ({later}) later"), &[]).await?.get(0);
        let mut faults = Faults { rows: unsigned(count), ..Faults::default() };
        faults.reasons.insert(Reason::Duplicate, unsigned(count));
        let mut rows = pin!(repeated_rows(&tx, number, Some(FIRST_BAD_ROWS)).await?);
        while let Some(row) = rows.try_next().await? {
            faults.first.push(row);
        }
        Ok(faults)
    }
}

impl WholeBatchFaults<'_> {
    /// Ordered by line. Rows arrive as they are read.
    pub async fn rows(&self) -> Result<impl Stream<Item = Result<BadRow, StoreError>> + Send + use<>, StoreError> {
        Ok(match self.kind {
            BatchKind::Prices => repeated_rows(&self.tx, self.number, None).await?.left_stream(),
            kind => places::bad_rows(&self.tx, kind, self.tenant, self.number).await?.right_stream(),
        })
    }
}

/// What the table of a batch has become.
enum Attached {
    /// A partition, where there is anything to attach.
    Yes,
    /// Nothing: the batch replaces what cannot be replaced, and a partition goes only in a moment in which nobody reads.
    No,
    Ended(BatchRow),
}

fn ended(row: BatchRow) -> Published {
    if row.state == BatchState::Published { Published::Done(row) } else { Published::Ended(row) }
}

/// What the ranges of a batch have brought.
#[derive(Default)]
struct Read {
    inspected: bool,
    missing: Vec<u32>,
    rows: u64,
    faults: Faults,
}

impl Read {
    async fn of(tx: &Transaction<'_>, batch: &PriceBatchMessage) -> Result<Self, StoreError> {
        let (tenant, id) = (batch.tenant.as_str(), batch.batch_id.as_uuid());
        let key: [Param<'_>; 2] = [param(&tenant), param(&id)];
        let (whole, rows) = futures::try_join!(
            tx.query_typed_one("select layout is not null, faults from price_batches where tenant = $1 and id = $2", &key),
            tx.query_typed_raw(
                "select range, loaded, rows, faults from price_batch_ranges where tenant = $1 and batch = $2 order by range",
                key.clone()
            ),
        )?;
        let mut read = Self { inspected: whole.get(0), faults: faults_of(whole.get(1))?, ..Self::default() };
        let mut rows = pin!(rows);
        while let Some(row) = rows.try_next().await? {
            if !row.get::<_, bool>(1) {
                read.missing.push(unsigned32(row.get(0)));
            }
            read.rows += unsigned(row.get(2));
            if let Some(faults) = row.get(3) {
                read.faults.merge(&faults_of(Some(faults))?);
            }
        }
        Ok(read)
    }
}

/// Of a batch that is loaded and without any fault.
struct Totals {
    rows: u64,
    first: Option<Date>,
    last: Option<Date>,
}

impl Totals {
    async fn of(tx: &Transaction<'_>, batch: &PriceBatchMessage) -> Result<Option<Self>, StoreError> {
        let row = tx
            .query_typed_one(
                "select b.faults is null and coalesce(bool_and(r.loaded and r.faults is null), false),
                        coalesce(sum(r.rows), 0)::bigint, min(r.first_day), max(r.last_day)
                 from price_batches b left join price_batch_ranges r on r.tenant = b.tenant and r.batch = b.id
                 where b.tenant = $1 and b.id = $2 group by b.id",
                &[param(&batch.tenant.as_str()), param(&batch.batch_id.as_uuid())],
            )
            .await?;
        let (clean, rows): (bool, i64) = (row.get(0), row.get(1));
        Ok((clean && rows > 0).then(|| Self { rows: unsigned(rows), first: row.get(2), last: row.get(3) }))
    }
}

async fn end_as_published(tx: &Transaction<'_>, batch: &PriceBatchMessage, totals: &Totals) -> Result<(), StoreError> {
    tx.execute_typed(
        "update price_batches set state = 'published', rows = $2, first_day = $3, last_day = $4, ended_at = now()
         where id = $1",
        &[param(&batch.batch_id.as_uuid()), param(&signed(totals.rows)), param(&totals.first), param(&totals.last)],
    )
    .await?;
    Ok(())
}

/// Ends the batch that is corrected. Answers why that cannot be.
async fn replace(
    tx: &Transaction<'_>,
    batch: &PriceBatchMessage,
    replaced: Uuid,
) -> Result<Option<String>, StoreError> {
    let why = not_replaceable(tx, batch, replaced, "for no key update").await?;
    if why.is_some() {
        return Ok(why);
    }
    tx.execute_typed(
        "update price_batches set state = 'replaced', replaced_by = $3 where tenant = $1 and id = $2",
        &[param(&batch.tenant.as_str()), param(&replaced), param(&batch.batch_id.as_uuid())],
    )
    .await?;
    Ok(None)
}

/// Why the batch cannot take the place of that one. Read with this lock.
async fn not_replaceable(
    tx: &Transaction<'_>,
    batch: &PriceBatchMessage,
    replaced: Uuid,
    lock: &str,
) -> Result<Option<String>, StoreError> {
    let (tenant, kind) = (batch.tenant.as_str(), batch.kind.as_str());
    let sql = format!("select state from price_batches where tenant = $1 and id = $2 and kind = $3 {lock}");
    let row = tx.query_typed_opt(&sql, &[param(&tenant), param(&replaced), param(&kind)]).await?;
    let Some(row) = row else { return Ok(Some(format!("batch {replaced}, which it replaces, is no batch of {kind}"))) };
    let state: &str = row.get(0);
    let published = state == BatchState::Published.as_str();
    Ok((!published).then(|| format!("batch {replaced}, which it replaces, is {state} and not published")))
}

/// The index of the batch's rows cannot be made because of two of them.
fn is_repeated(error: &tokio_postgres::Error, number: i32) -> bool {
    error.as_db_error().is_some_and(|db| {
        *db.code() == SqlState::UNIQUE_VIOLATION && db.constraint() == Some(&format!("price_rows_{number}_key"))
    })
}

async fn repeated_rows(
    tx: &Transaction<'_>,
    number: i32,
    limit: Option<usize>,
) -> Result<impl Stream<Item = Result<BadRow, StoreError>> + Send + use<>, StoreError> {
    let later = LATER.replace("{table}", &format!("price_rows_{number}"));
    let limit = limit.map(|rows| format!(" limit {rows}")).unwrap_or_default();
    let sql = format!(
        "select l.line, o.code, d.code, l.day, l.price
         from (select * from ({later}) later order by line{limit}) l
         join ports o on o.id = l.orig join ports d on d.id = l.dest order by l.line"
    );
    let params: [Param<'_>; 0] = [];
    let rows = tx.query_typed_raw(&sql, params).await?;
    Ok(rows.map(|row| Ok(repeated_row(&row?))))
}

fn repeated_row(row: &Row) -> BadRow {
    let (orig, dest, day, price): (&str, &str, Date, i64) = (row.get(1), row.get(2), row.get(3), row.get(4));
    let value = format!("{orig},{dest},{day},{}.{:02}", price / 100, price % 100);
    BadRow::new(u64::from(unsigned32(row.get(0))), None, &value, Reason::Duplicate)
}
