//! What ended batches leave behind goes here, beside readers and never in front of them.

use super::BatchRow;
use crate::{Store, StoreError, param::param};
use dunlin_core::prices::{BatchKind, BatchState};
use std::time::Duration;
use tokio_postgres::{Row, error::SqlState};

/// Whoever holds this lock sweeps; the number only has to differ from other advisory locks of the database.
const SWEEP_LOCK: i64 = 0x6475_6e6c_696e_0002;

/// A table that is in use is left for later.
const PATIENCE: &str = "set lock_timeout = '2s'";

/// Tables of batches that are not to be read any more: number, whether it is a partition, whether its detachment has begun, whether
/// this role owns `prices`.
const TABLES: &str = "select b.number, i.inhrelid is not null, coalesce(i.inhdetachpending, false),
         (select pg_has_role(relowner, 'usage') from pg_class where oid = 'prices'::regclass)
     from (
         select oid, case when relname ~ '^price_rows_[0-9]+$' then substr(relname, 12)::int end as number
         from pg_class
         where relkind = 'r' and relnamespace = (select relnamespace from pg_class where oid = 'prices'::regclass)
     ) c
     join price_batches b on b.number = c.number
     left join pg_inherits i on i.inhrelid = c.oid and i.inhparent = 'prices'::regclass
     where b.state not in ('loading', 'published')
     order by 3 desc, 1";

/// What one call did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Tables of ended batches that are gone.
    pub dropped: u32,
    /// Those that are still there because they were in use: for the next call.
    pub left: u32,
}

impl Store {
    /// Drops the tables of batches that are not to be read any more. The owner of `prices` detaches them without waiting for readers or
    /// making them wait; the application's role does it in a moment in which nobody reads. Two at once are safe: the second does nothing.
    pub async fn sweep(&mut self) -> Result<Swept, StoreError> {
        let Some(tables) = self.find_tables().await? else { return Ok(Swept::default()) };
        let swept = self.sweep_alone(&tables).await;
        self.client.execute_typed("select pg_advisory_unlock($1)", &[param(&SWEEP_LOCK)]).await?;
        swept
    }

    /// None when somebody else sweeps.
    async fn find_tables(&self) -> Result<Option<Vec<Row>>, StoreError> {
        let lock = [param(&SWEEP_LOCK)];
        let (mine, tables) = futures::try_join!(
            self.client.query_typed_one("select pg_try_advisory_lock($1)", &lock),
            self.client.query_typed(TABLES, &[]),
        )?;
        Ok(mine.get::<_, bool>(0).then_some(tables))
    }

    /// [`sweep`](Self::sweep), for a connection that may otherwise wait for long: no statement takes more than `patience`.
    pub async fn sweep_within(&mut self, patience: Duration) -> Result<Swept, StoreError> {
        self.client.batch_execute(&format!("set statement_timeout = {}", patience.as_millis())).await?;
        let swept = self.sweep().await;
        self.client.batch_execute("reset statement_timeout").await?;
        swept
    }

    async fn sweep_alone(&mut self, tables: &[Row]) -> Result<Swept, StoreError> {
        self.forget_places().await?;
        let mut swept = Swept::default();
        for row in tables {
            let (number, attached, pending, owner): (i32, bool, bool, bool) =
                (row.get(0), row.get(1), row.get(2), row.get(3));
            let apart = !attached || self.detach(number, owner, pending).await?;
            if apart && self.drop_table(number).await? {
                swept.dropped += 1;
            } else {
                swept.left += 1;
            }
        }
        Ok(swept)
    }

    /// Answers whether the table is no partition any more.
    async fn detach(&mut self, number: i32, owner: bool, pending: bool) -> Result<bool, StoreError> {
        if !owner {
            let row = self.client.query_typed_one("select price_table_detach($1)", &[param(&number)]).await;
            return unless_in_use(row.map(|row| row.get(0)));
        }
        // One that was interrupted after its first half is finished; as long as there is one, no other can begin.
        let how = if pending { "finalize" } else { "concurrently" };
        let statement = format!("alter table prices detach partition price_rows_{number} {how}");
        unless_in_use(self.client.batch_execute(&statement).await.map(|()| true))
    }

    async fn drop_table(&mut self, number: i32) -> Result<bool, StoreError> {
        self.client.batch_execute(PATIENCE).await?;
        let dropped = self.client.execute_typed("select price_table_drop($1)", &[param(&number)]).await;
        self.client.batch_execute("reset lock_timeout").await?;
        unless_in_use(dropped.map(|_| true))
    }

    /// After a batch has ended without being published: nobody reads its rows, and a loader that is still at work is not waited for.
    pub(super) async fn clear_rows(&mut self, row: &BatchRow) -> Result<(), StoreError> {
        if !matches!(row.state, BatchState::Rejected | BatchState::Failed) {
            return Ok(());
        }
        if row.kind != BatchKind::Prices {
            return self.forget_places().await;
        }
        // Attached by a publication that did not come to its end: then it takes a sweep.
        let apart: bool = self
            .client
            .query_typed_one(
                "select not exists (select from pg_inherits where inhrelid = to_regclass('price_rows_' || $1::int))",
                &[param(&row.number)],
            )
            .await?
            .get(0);
        if apart {
            self.drop_table(row.number).await?;
        }
        Ok(())
    }

    async fn forget_places(&self) -> Result<(), StoreError> {
        let ended = "using price_batches b where b.number = r.batch and b.state <> 'loading'";
        let sql = format!("delete from port_rows r {ended}; delete from region_rows r {ended}");
        Ok(self.client.batch_execute(&sql).await?)
    }
}

/// A lock that could not be had, or another detachment that is not finished yet.
fn unless_in_use(result: Result<bool, tokio_postgres::Error>) -> Result<bool, StoreError> {
    let busy = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
    ];
    match result {
        Err(error) if error.code().is_some_and(|code| busy.contains(code)) => Ok(false),
        other => Ok(other?),
    }
}
