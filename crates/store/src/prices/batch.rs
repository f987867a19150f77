//! The life of a batch, but for its rows.

use super::{count_revision, faults_json, locked, read_batch, to_json};
use crate::{
    Store, StoreError,
    param::{Param, param},
    values::{self, signed, signed32, text},
};
use dunlin_contracts::{
    prices::{CANNOT_REPLACE, PriceBatchAsked, PriceBatchMessage},
    steps::StepError,
};
use dunlin_core::{
    BatchId, TenantId,
    prices::{BatchKind, BatchState, Faults, Layout, Range},
};
use futures::TryFutureExt;
use time::OffsetDateTime;
use tokio_postgres::Transaction;
use uuid::Uuid;

/// How a batch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRow {
    /// What its rows carry.
    pub number: i32,
    pub kind: BatchKind,
    pub state: BatchState,
    /// Of a published batch; 0 until then.
    pub rows: u64,
    /// Of a batch that has ended.
    pub bad_rows: u64,
    pub replaces: Option<Uuid>,
    /// Of one that failed: the name of an error and its cause, or a sentence about what it replaces.
    pub error: Option<String>,
}

impl BatchRow {
    /// Why it failed.
    pub fn failure(&self) -> Option<StepError> {
        let text = self.error.as_deref().filter(|_| self.state == BatchState::Failed)?;
        let (name, cause) = text.split_once(": ").unwrap_or((text, ""));
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'));
        let (name, cause) = if is_name { (name, cause) } else { (CANNOT_REPLACE, text) };
        Some(StepError { name: name.to_owned(), cause: cause.to_owned() })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inspected {
    /// Its ranges can be loaded.
    Ready,
    /// It has ended as the same as this one.
    Duplicate(BatchId),
    /// It had ended before; or it has failed now, as a correction that would leave published what it replaces.
    Ended(BatchState),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// Queries do not answer from it any more; also when it was withdrawn before.
    Withdrawn,
    /// The tenant has no such batch.
    NotThere,
    NotPublished(BatchState),
    /// Ports and regions: prices refer to them.
    NotPossible,
}

/// `$1` is the tenant, `$2` the kind, `$3` the digest, `$4` the batch.
const LOCK_CONTENT: &str =
    "select pg_advisory_xact_lock(hashtextextended('content/' || $1 || '/' || $2 || '/' || $3, 0))";
/// As the index `price_batches_by_content` has it: values of ports and regions that are published may have been changed since, so the
/// same file again is another batch.
const SAME_CONTENT: &str = "select id, state, replaces from price_batches
    where tenant = $1 and kind = $2 and sha256 = $3 and id <> $4
        and (state = 'loading' or (state = 'published' and kind = 'prices'))";

/// A live batch with the content of another.
struct SameContent {
    id: Uuid,
    state: BatchState,
    replaces: Option<Uuid>,
}

impl SameContent {
    /// A correction of prices that ended as a duplicate would leave published what it replaces. Answers what to do instead.
    async fn leaves(
        &self,
        tx: &Transaction<'_>,
        batch: &PriceBatchMessage,
        replaced: Option<Uuid>,
    ) -> Result<Option<String>, StoreError> {
        let Some(replaced) = replaced.filter(|replaced| batch.kind == BatchKind::Prices && *replaced != self.id) else {
            return Ok(None);
        };
        if self.state == BatchState::Loading && self.replaces == Some(replaced) {
            return Ok(None);
        }
        let (tenant, kind) = (batch.tenant.as_str(), batch.kind.as_str());
        let published = tx
            .query_typed_opt(
                "select from price_batches where tenant = $1 and id = $2 and kind = $3 and state = 'published'",
                &[param(&tenant), param(&replaced), param(&kind)],
            )
            .await?;
        let Self { id, .. } = self;
        Ok(published.map(|_| match self.state {
            BatchState::Published => format!("its content is published as batch {id}; withdraw {replaced}"),
            _ => format!("its content is loading as batch {id}; when that is published, withdraw {replaced}"),
        }))
    }
}

impl Store {
    /// Makes the batch known, with what the sender said about it. What is known of it already stays.
    pub async fn register_batch(
        &mut self,
        batch: &PriceBatchMessage,
        asked: Option<&PriceBatchAsked>,
    ) -> Result<BatchRow, StoreError> {
        let tx = self.client.transaction().await?;
        let ((), row) = futures::try_join!(ensure_batch(&tx, batch, asked), read_batch(&tx, batch, ""))?;
        tx.commit().await?;
        Ok(row)
    }

    /// Notes what the file is and where its ranges lie, and makes room for the rows of several; or ends the batch as a
    /// duplicate.
    pub async fn inspected(
        &mut self,
        batch: &PriceBatchMessage,
        sha256: &str,
        layout: &Layout,
        ranges: &[Range],
    ) -> Result<Inspected, StoreError> {
        let tx = self.client.transaction().await?;
        let (tenant, id, kind) = (batch.tenant.as_str(), batch.batch_id.as_uuid(), batch.kind.as_str());
        let content: [Param<'_>; 4] = [param(&tenant), param(&kind), param(&sha256), param(&id)];
        // One after the other in the server, on their way together. Two batches of the same content at once: one of them is first.
        let (row, _, same) = futures::try_join!(
            locked(&tx, batch),
            tx.execute_typed(LOCK_CONTENT, &content[..3]).err_into(),
            tx.query_typed_opt(SAME_CONTENT, &content).err_into(),
        )?;
        if row.state.is_end() {
            return ended_as(&tx, id, row.state).await;
        }
        if let Some(same) = same {
            let same = SameContent { id: same.get(0), state: values::batch_state(same.get(1))?, replaces: same.get(2) };
            if let Some(why) = same.leaves(&tx, batch, row.replaces).await? {
                end(&tx, batch, BatchState::Failed, Some(&why), &Faults::default()).await?;
                tx.commit().await?;
                return Ok(Inspected::Ended(BatchState::Failed));
            }
            let same = same.id;
            tx.execute_typed(
                "update price_batches set state = 'duplicate', same_as = $2, sha256 = $3, ended_at = now() where id = $1",
                &[param(&id), param(&same), param(&sha256)],
            )
            .await?;
            tx.commit().await?;
            return Ok(Inspected::Duplicate(BatchId::from_uuid(same)));
        }
        futures::try_join!(note_content(&tx, id, sha256, layout), insert_ranges(&tx, tenant, id, ranges))?;
        // The only range makes it itself, when its rows come.
        if batch.kind == BatchKind::Prices && ranges.len() > 1 {
            tx.execute_typed("select price_table_make($1)", &[param(&row.number)]).await?;
        }
        tx.commit().await?;
        Ok(Inspected::Ready)
    }

    /// Notes what is wrong with the file as a whole: it has no ranges, and [`Store::prepare_publication`] answers with these faults.
    pub async fn file_is_bad(&mut self, batch: &PriceBatchMessage, faults: &Faults) -> Result<BatchState, StoreError> {
        let tx = self.client.transaction().await?;
        let row = locked(&tx, batch).await?;
        if !row.state.is_end() {
            let id = batch.batch_id.as_uuid();
            tx.execute_typed(
                "update price_batches set faults = $2 where id = $1",
                &[param(&id), param(&faults_json(faults)?)],
            )
            .await?;
        }
        tx.commit().await?;
        Ok(row.state)
    }

    /// Ends a batch whose execution failed, also one that was never registered. A batch that has ended stays as it is.
    /// Its rows are removed, or later by [`Store::sweep`] when they are still being written.
    pub async fn fail_batch(&mut self, batch: &PriceBatchMessage, error: &StepError) -> Result<BatchRow, StoreError> {
        let tx = self.client.transaction().await?;
        ensure_batch(&tx, batch, None).await?;
        let row = locked(&tx, batch).await?;
        if !row.state.is_end() {
            let error =
                if error.cause.is_empty() { error.name.clone() } else { format!("{}: {}", error.name, error.cause) };
            end(&tx, batch, BatchState::Failed, Some(&error), &Faults::default()).await?;
        }
        let row = read_batch(&tx, batch, "").await?;
        tx.commit().await?;
        self.clear_rows(&row).await?;
        Ok(row)
    }

    /// Takes a published batch of prices back, in one short transaction.
    pub async fn withdraw_batch(
        &mut self,
        tenant: &TenantId,
        batch: BatchId,
        who: &str,
        at: OffsetDateTime,
    ) -> Result<Withdrawal, StoreError> {
        let tx = self.client.transaction().await?;
        let (tenant, id) = (tenant.as_str(), batch.as_uuid());
        let row = tx
            .query_typed_opt(
                "select kind, state from price_batches where tenant = $1 and id = $2 for no key update",
                &[param(&tenant), param(&id)],
            )
            .await?;
        let Some(row) = row else { return Ok(Withdrawal::NotThere) };
        let (kind, state) = (values::batch_kind(row.get(0))?, values::batch_state(row.get(1))?);
        if kind != BatchKind::Prices {
            return Ok(Withdrawal::NotPossible);
        }
        match state {
            BatchState::Withdrawn => return Ok(Withdrawal::Withdrawn),
            BatchState::Published => {}
            other => return Ok(Withdrawal::NotPublished(other)),
        }
        tx.execute_typed(
            "update price_batches set state = 'withdrawn', withdrawn_at = $3, withdrawn_by = $4 where tenant = $1 and id = $2",
            &[param(&tenant), param(&id), param(&at), param(&text(who))],
        )
        .await?;
        count_revision(&tx, tenant).await?;
        tx.commit().await?;
        Ok(Withdrawal::Withdrawn)
    }
}

/// Ends a batch that is locked and has not ended, without its rows.
pub(super) async fn end(
    tx: &Transaction<'_>,
    batch: &PriceBatchMessage,
    state: BatchState,
    error: Option<&str>,
    faults: &Faults,
) -> Result<(), StoreError> {
    tx.execute_typed(
        "update price_batches set state = $2, error = $3, faults = coalesce($4, faults), bad_rows = $5, ended_at = now()
         where id = $1 and state = 'loading'",
        &[
            param(&batch.batch_id.as_uuid()),
            param(&state.as_str()),
            param(&error.map(text)),
            param(&faults_json(faults)?),
            param(&signed(faults.rows)),
        ],
    )
    .await?;
    Ok(())
}

async fn ended_as(tx: &Transaction<'_>, id: Uuid, state: BatchState) -> Result<Inspected, StoreError> {
    let same: Option<Uuid> =
        tx.query_typed_one("select same_as from price_batches where id = $1", &[param(&id)]).await?.get(0);
    Ok(same.map_or(Inspected::Ended(state), |same| Inspected::Duplicate(BatchId::from_uuid(same))))
}

async fn ensure_batch(
    tx: &Transaction<'_>,
    batch: &PriceBatchMessage,
    asked: Option<&PriceBatchAsked>,
) -> Result<(), StoreError> {
    futures::try_join!(ensure_tenant(tx, batch.tenant.as_str()), ensure_row(tx, batch, asked))?;
    Ok(())
}

async fn ensure_tenant(tx: &Transaction<'_>, tenant: &str) -> Result<(), StoreError> {
    tx.execute_typed("insert into tenants (tenant) values ($1) on conflict do nothing", &[param(&tenant)]).await?;
    Ok(())
}

async fn ensure_row(
    tx: &Transaction<'_>,
    batch: &PriceBatchMessage,
    asked: Option<&PriceBatchAsked>,
) -> Result<(), StoreError> {
    let request = asked.map(|asked| &asked.request);
    tx.execute_typed(
        "insert into price_batches (id, tenant, kind, state, name, sent_by, key, etag, bytes, replaces, trace_id, received_at)
         values ($1, $2, $3, 'loading', $4, $5, $6, $7, $8, $9, $10, $11) on conflict (id) do nothing",
        &[
            param(&batch.batch_id.as_uuid()),
            param(&batch.tenant.as_str()),
            param(&batch.kind.as_str()),
            param(&request.and_then(|request| request.name.as_deref()).map(text)),
            param(&asked.map(|asked| text(&asked.requested_by))),
            param(&text(&batch.key)),
            param(&text(&batch.etag)),
            param(&signed(batch.bytes)),
            param(&request.and_then(|request| request.replaces)),
            param(&batch.trace_id),
            param(&batch.received_at),
        ],
    )
    .await?;
    Ok(())
}

async fn note_content(tx: &Transaction<'_>, id: Uuid, sha256: &str, layout: &Layout) -> Result<(), StoreError> {
    tx.execute_typed(
        "update price_batches set sha256 = $2, layout = $3 where id = $1",
        &[param(&id), param(&sha256), param(&to_json(layout)?)],
    )
    .await?;
    Ok(())
}

/// A second inspection finds the same ranges: it is the same object.
async fn insert_ranges(tx: &Transaction<'_>, tenant: &str, id: Uuid, ranges: &[Range]) -> Result<(), StoreError> {
    let numbers: Vec<i32> = ranges.iter().map(|r| signed32(r.range)).collect();
    let offsets: Vec<i64> = ranges.iter().map(|r| signed(r.offset)).collect();
    let lengths: Vec<i64> = ranges.iter().map(|r| signed(r.length)).collect();
    let lines: Vec<i64> = ranges.iter().map(|r| signed(r.first_line)).collect();
    let headers: Vec<bool> = ranges.iter().map(|r| r.has_header).collect();
    tx.execute_typed(
        "insert into price_batch_ranges (tenant, batch, range, byte_offset, bytes, first_line, has_header)
         select $1, $2, r.* from unnest($3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[]) r
         on conflict do nothing",
        &[
            param(&tenant),
            param(&id),
            param(&numbers),
            param(&offsets),
            param(&lengths),
            param(&lines),
            param(&headers),
        ],
    )
    .await?;
    Ok(())
}
