//! Batches of prices, ports and regions: all of one goes in, or nothing. A batch has one row that says how it stands; whoever changes
//! that locks the row first, so a call may come twice, and from two executions at once. Readers look at states only.

mod batch;
mod load;
mod places;
mod publish;
mod rates;
mod sweep;

pub use batch::{BatchRow, Inspected, Withdrawal};
pub use load::{Finished, LoadStart, RangeLoad, RangeRow};
pub use places::{PortRow, RegionRow};
pub use publish::{Prepared, Published, WholeBatchFaults};
pub use rates::{RatesAnswer, UnknownPlace};
pub use sweep::Swept;

use crate::{
    StoreError,
    param::{Param, param},
    values,
};
use dunlin_contracts::prices::PriceBatchMessage;
use dunlin_core::prices::{BatchKind, BatchState, Faults};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio_postgres::{Row, Transaction};

/// For statements that read or sort all of a batch, and for transactions that wait while somebody reads a file: as long as whoever
/// asked for them is there. Who has gone without a word is noticed by the server, which asks every connection that is silent.
const LONG: &str =
    "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0; set local jit = off";

/// For a transaction that another one of the same call follows: what that one commits is on the disk only with what this one did. A
/// server that fails between them has lost this one, and the call fails too and is tried again.
const LEADS: &str = "set local synchronous_commit = off";

/// Statement about the batch of a message: `$1` is its tenant, `$2` its id, `$3` its kind.
const OF_MESSAGE: &str = "tenant = $1 and id = $2 and kind = $3";

async fn lead(tx: &Transaction<'_>) -> Result<(), StoreError> {
    Ok(tx.batch_execute(LEADS).await?)
}

/// The batch of a message, with the lock in which its state may be changed. Referring to it is possible meanwhile.
async fn locked(tx: &Transaction<'_>, batch: &PriceBatchMessage) -> Result<BatchRow, StoreError> {
    read_batch(tx, batch, "for no key update").await
}

async fn read_batch(tx: &Transaction<'_>, batch: &PriceBatchMessage, lock: &str) -> Result<BatchRow, StoreError> {
    let sql = format!(
        "select number, kind, state, rows, bad_rows, replaces, error from price_batches where {OF_MESSAGE} {lock}"
    );
    let (tenant, id, kind) = (batch.tenant.as_str(), batch.batch_id.as_uuid(), batch.kind.as_str());
    let key: [Param<'_>; 3] = [param(&tenant), param(&id), param(&kind)];
    let row = tx.query_typed_opt(&sql, &key).await?.ok_or(StoreError::NoBatch(batch.batch_id))?;
    batch_row(&row)
}

fn batch_row(row: &Row) -> Result<BatchRow, StoreError> {
    let kind: BatchKind = values::batch_kind(row.get("kind"))?;
    let state: BatchState = values::batch_state(row.get("state"))?;
    Ok(BatchRow {
        number: row.get("number"),
        kind,
        state,
        rows: row.get::<_, Option<i64>>("rows").map_or(0, values::unsigned),
        bad_rows: values::unsigned(row.get("bad_rows")),
        replaces: row.get("replaces"),
        error: row.get("error"),
    })
}

/// Whatever changes an answer about rates counts it here, last of all: others of the tenant wait until this transaction ends.
async fn count_revision(tx: &Transaction<'_>, tenant: &str) -> Result<(), StoreError> {
    tx.execute_typed(
        "insert into price_revisions as r (tenant, revision) values ($1, 1)
         on conflict (tenant) do update set revision = r.revision + 1",
        &[param(&tenant)],
    )
    .await?;
    Ok(())
}

fn to_json<T: Serialize>(value: &T) -> Result<Value, StoreError> {
    serde_json::to_value(value).map_err(|e| StoreError::Invalid(e.to_string()))
}

fn from_json<T: DeserializeOwned>(column: &'static str, value: Value) -> Result<T, StoreError> {
    serde_json::from_value(value).map_err(|e| StoreError::Unreadable { column, value: e.to_string() })
}

/// Postgres has no character 0 in text, and none in JSON.
fn faults_json(faults: &Faults) -> Result<Option<Value>, StoreError> {
    if faults.is_empty() {
        return Ok(None);
    }
    let mut faults = faults.clone();
    for row in &mut faults.first {
        row.value = values::text(&row.value).into_owned();
        row.column = row.column.as_deref().map(|name| values::text(name).into_owned());
    }
    to_json(&faults).map(Some)
}

fn faults_of(value: Option<Value>) -> Result<Faults, StoreError> {
    value.map_or_else(|| Ok(Faults::default()), |value| from_json("faults", value))
}
