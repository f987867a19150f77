use crate::{
    Error, check,
    file::{Chunks, Pieces, blocking, not_had},
};
use dunlin_cloud::ObjectStore;
use dunlin_contracts::prices::{InspectorOutput, PriceBatchAsked, PriceBatchMessage, RangeItem};
use dunlin_core::{
    job::Compute,
    keys,
    prices::{BatchState, Compression, Range},
};
use dunlin_prices::{Inspection, Inspector, inspect_parquet};
use dunlin_store::{BatchRow, DatabaseConfig, Inspected, Store};
use std::sync::Arc;

/// The largest file, in bytes. The API refuses larger ones; this is for those that come by themselves.
const MAX_BYTES: u64 = 50 << 30;

/// A smaller file is read in the time in which another connection would be made.
const SOON_READ: u64 = 8 << 20;

/// Reads the file once, from its beginning to its end. A file that is compressed as a whole is one range, however large it is: with
/// more than `lambda_bytes` it is one for Batch.
pub async fn inspect(
    objects: &Arc<dyn ObjectStore>,
    database: &DatabaseConfig,
    batch: &PriceBatchMessage,
    lambda_bytes: u64,
) -> Result<InspectorOutput, Error> {
    check(batch)?;
    let asked = read_request(&**objects, batch).await?;
    // The row is there before the file is read: people see the batch, and a failure from here on has a place.
    let mut store = Store::connect(database).await?;
    let known = store.register_batch(batch, asked.as_ref()).await;
    let mut connection = Some(store);
    if batch.bytes > SOON_READ
        && let Some(store) = connection.take()
    {
        store.close().await;
    }
    let inspected = match known {
        Ok(known) => go_on(objects, database, batch, lambda_bytes, &known, &mut connection).await,
        Err(error) => Err(error.into()),
    };
    if let Some(store) = connection {
        store.close().await;
    }
    inspected
}

async fn go_on(
    objects: &Arc<dyn ObjectStore>,
    database: &DatabaseConfig,
    batch: &PriceBatchMessage,
    lambda_bytes: u64,
    known: &BatchRow,
    connection: &mut Option<Store>,
) -> Result<InspectorOutput, Error> {
    if known.state.is_end() {
        tracing::info!(batch.state = known.state.as_str(), "batch had ended before");
        return Ok(ended(known.state));
    }
    if batch.bytes > MAX_BYTES {
        return Err(Error::FileUnusable(format!("it has {} bytes, and may have {MAX_BYTES}", batch.bytes)));
    }

    let inspection = look(objects, batch).await?;
    let store = match connection.take() {
        Some(store) => store,
        None => Store::connect(database).await?,
    };
    note(connection.insert(store), batch, &inspection, lambda_bytes).await
}

fn ended(state: BatchState) -> InspectorOutput {
    InspectorOutput { ended: true, state, ranges: Vec::new() }
}

/// What the sender said. A file that was put into S3 by itself has nothing to say; an upload without its request is nobody's.
async fn read_request(objects: &dyn ObjectStore, batch: &PriceBatchMessage) -> Result<Option<PriceBatchAsked>, Error> {
    if batch.key != keys::price_batch_upload(&batch.tenant, batch.kind, batch.batch_id) {
        return Ok(None);
    }
    let key = keys::price_batch_request(&batch.tenant, batch.batch_id);
    let body = objects.get(&key).await?.ok_or_else(|| Error::BadInput(format!("there is no {key}")))?;
    let asked: PriceBatchAsked =
        serde_json::from_slice(&body).map_err(|e| Error::BadInput(format!("{key} is not readable: {e}")))?;
    if (asked.batch_id, &asked.tenant, asked.request.kind) != (batch.batch_id, &batch.tenant, batch.kind) {
        return Err(Error::BadInput(format!("{key} is about another batch")));
    }
    Ok(Some(asked))
}

async fn look(objects: &Arc<dyn ObjectStore>, batch: &PriceBatchMessage) -> Result<Inspection, Error> {
    let mut inspector = Inspector::new(batch.kind, batch.bytes);
    let mut chunks = Chunks::new(&**objects, batch, 0, batch.bytes);
    while let Some(chunk) = chunks.next().await? {
        inspector.push(chunk);
    }
    let inspection = inspector.finish();
    if !inspection.needs_footer() {
        return Ok(inspection);
    }
    // What is in a Parquet file stands at its end.
    let (pieces, kind) = (Pieces::of(objects, batch), batch.kind);
    let (layout, ranges) = blocking(move || inspect_parquet(kind, &pieces)).await?.map_err(not_had)?;
    Ok(Inspection { sha256: inspection.sha256, layout, ranges })
}

async fn note(
    store: &mut Store,
    batch: &PriceBatchMessage,
    inspection: &Inspection,
    lambda_bytes: u64,
) -> Result<InspectorOutput, Error> {
    let layout = match &inspection.layout {
        Ok(layout) => layout,
        Err(faults) => {
            let state = store.file_is_bad(batch, faults).await?;
            tracing::info!(faults = faults.reasons.len(), "the file as a whole is bad");
            return Ok(InspectorOutput { ended: state.is_end(), state, ranges: Vec::new() });
        }
    };
    let ranges = &inspection.ranges;
    match store.inspected(batch, &inspection.sha256, layout, ranges).await? {
        Inspected::Ready => {
            tracing::info!(format = ?layout.format, compression = ?layout.compression, ranges = ranges.len(), bytes = batch.bytes, "file is inspected");
            let is_packed = layout.compression != Compression::None;
            let compute = |range: &Range| match is_packed && range.length > lambda_bytes {
                true => Compute::Batch,
                false => Compute::Lambda,
            };
            let ranges = ranges.iter().map(|range| RangeItem { range: range.range, compute: compute(range) }).collect();
            Ok(InspectorOutput { ended: false, state: BatchState::Loading, ranges })
        }
        Inspected::Duplicate(first) => {
            tracing::info!(same_as = %first, "the same content was sent before");
            Ok(ended(BatchState::Duplicate))
        }
        Inspected::Ended(state) => Ok(ended(state)),
    }
}
