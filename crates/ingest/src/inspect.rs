use crate::{
    Error, check,
    file::{Chunks, Pieces, blocking, not_had},
    load::load_with,
    publish::{finish_with, sweep},
};
use dunlin_cloud::ObjectStore;
use dunlin_contracts::prices::{InspectorOutput, PriceBatchAsked, PriceBatchMessage, PublisherOutput, RangeItem};
use dunlin_core::{
    job::Compute,
    keys,
    prices::{BatchState, Compression, Format, Layout, Range},
};
use dunlin_prices::{Inspection, Inspector, inspect_parquet};
use dunlin_store::{BatchRow, DatabaseConfig, Inspected, Store};
use std::sync::Arc;

/// The largest file, in bytes. The API refuses larger ones; this is for those that come by themselves.
const MAX_BYTES: u64 = 50 << 30;

/// A smaller file is read in the time in which another connection would be made.
const SOON_READ: u64 = 8 << 20;

/// How large a file may be for what.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One that is compressed as a whole is one range, however large it is: with more bytes it is one for Batch.
    pub lambda_bytes: u64,
    /// One of text that has no more bytes goes the whole way at once. Never one of more than 8 MiB.
    pub at_once_bytes: u64,
}

/// Reads the file once, from its beginning to its end, and says what is to be loaded. A small batch is loaded and published, or rejected,
/// here and now.
pub async fn inspect(
    objects: &Arc<dyn ObjectStore>,
    database: &DatabaseConfig,
    batch: &PriceBatchMessage,
    limits: Limits,
) -> Result<InspectorOutput, Error> {
    check(batch)?;
    if batch.bytes > SOON_READ {
        return inspect_large(objects, database, batch, limits).await;
    }
    // Each waits for somebody else.
    let (asked, seen, store) =
        futures::join!(read_request(&**objects, batch), look(objects, batch), Store::connect(database));
    let mut store = store?;
    let inspected = async {
        let known = store.register_batch(batch, asked?.as_ref()).await?;
        match ended_before(&known) {
            Some(ended) => {
                // Perhaps by an earlier call, which then came no further.
                sweep(&mut store).await;
                Ok(ended)
            }
            None => go_on(objects, &mut store, batch, &seen?, limits).await,
        }
    }
    .await;
    store.close().await;
    inspected
}

/// A function more is a connection more and a cold start more, which is most of what a small batch costs. Each step is what the other
/// functions do, and finds what was done before: when this is cut off, it begins again or they go on.
async fn go_on(
    objects: &Arc<dyn ObjectStore>,
    store: &mut Store,
    batch: &PriceBatchMessage,
    inspection: &Inspection,
    limits: Limits,
) -> Result<InspectorOutput, Error> {
    let noted = note(store, batch, inspection, limits).await?;
    if noted.ended || batch.bytes > limits.at_once_bytes || !is_short(inspection) {
        return Ok(noted);
    }
    load_with(objects, store, batch, 0).await?;
    let PublisherOutput { state, rows, bad_rows, error } = finish_with(&**objects, store, batch).await?;
    Ok(InspectorOutput { ended: true, state, rows, bad_rows, error, ranges: Vec::new() })
}

/// As many rows as it has bytes for, and no more.
fn is_short(inspection: &Inspection) -> bool {
    let is_text = |layout: &Layout| layout.compression == Compression::None && layout.format != Format::Parquet;
    inspection.ranges.len() == 1 && inspection.layout.as_ref().is_ok_and(is_text)
}

/// No connection waits while the file is read.
async fn inspect_large(
    objects: &Arc<dyn ObjectStore>,
    database: &DatabaseConfig,
    batch: &PriceBatchMessage,
    limits: Limits,
) -> Result<InspectorOutput, Error> {
    let asked = read_request(&**objects, batch).await?;
    // The row is there before the file is read: people see the batch, and a failure from here on has a place.
    let mut store = Store::connect(database).await?;
    let known = store.register_batch(batch, asked.as_ref()).await;
    store.close().await;
    if let Some(ended) = ended_before(&known?) {
        return Ok(ended);
    }
    if batch.bytes > MAX_BYTES {
        return Err(Error::FileUnusable(format!("it has {} bytes, and may have {MAX_BYTES}", batch.bytes)));
    }
    let inspection = look(objects, batch).await?;
    let mut store = Store::connect(database).await?;
    let inspected = note(&mut store, batch, &inspection, limits).await;
    store.close().await;
    inspected
}

fn ended_before(known: &BatchRow) -> Option<InspectorOutput> {
    known.state.is_end().then(|| {
        tracing::info!(batch.state = known.state.as_str(), "batch had ended before");
        ended(known)
    })
}

fn ended(row: &BatchRow) -> InspectorOutput {
    InspectorOutput {
        ended: true,
        state: row.state,
        rows: row.rows,
        bad_rows: row.bad_rows,
        error: row.failure(),
        ranges: Vec::new(),
    }
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
    limits: Limits,
) -> Result<InspectorOutput, Error> {
    let layout = match &inspection.layout {
        Ok(layout) => layout,
        Err(faults) => {
            let state = store.file_is_bad(batch, faults).await?;
            tracing::info!(faults = faults.reasons.len(), "the file as a whole is bad");
            return Ok(InspectorOutput {
                ended: state.is_end(),
                state,
                rows: 0,
                bad_rows: 0,
                error: None,
                ranges: Vec::new(),
            });
        }
    };
    let ranges = &inspection.ranges;
    match store.inspected(batch, &inspection.sha256, layout, ranges).await? {
        Inspected::Ready => {
            tracing::info!(format = ?layout.format, compression = ?layout.compression, ranges = ranges.len(), bytes = batch.bytes, "file is inspected");
            let is_packed = layout.compression != Compression::None;
            let compute = |range: &Range| match is_packed && range.length > limits.lambda_bytes {
                true => Compute::Batch,
                false => Compute::Lambda,
            };
            let ranges = ranges.iter().map(|range| RangeItem { range: range.range, compute: compute(range) }).collect();
            Ok(InspectorOutput { ended: false, state: BatchState::Loading, rows: 0, bad_rows: 0, error: None, ranges })
        }
        Inspected::Duplicate(first) => {
            tracing::info!(same_as = %first, "the same content was sent before");
            Ok(ended(&store.register_batch(batch, None).await?))
        }
        Inspected::Ended(_) => Ok(ended(&store.register_batch(batch, None).await?)),
    }
}
