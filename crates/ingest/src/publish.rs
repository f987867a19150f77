use crate::{Error, check, faults::CONTENT_TYPE};
use dunlin_cloud::ObjectStore;
use dunlin_contracts::{
    prices::{PriceBatchMessage, PublisherOutput},
    steps::StepError,
};
use dunlin_core::{
    keys,
    prices::{BadRow, Faults, Reason},
};
use dunlin_prices::report::{self, ReportLines};
use dunlin_store::{BatchRow, DatabaseConfig, PreparedBatch as Prepared, Published, Store};
use futures::{Stream, StreamExt, TryStreamExt};
use std::{
    fs::File,
    io::{BufWriter, Write},
    pin::{Pin, pin},
    sync::Arc,
};
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt;

/// Of a list of bad rows, what is read at once.
const CHUNK: usize = 64 * 1024;

/// Between finding a batch clean and publishing it, another batch of places may take something away: then it is looked at again.
const LOOKS: u32 = 5;

/// Reasons that only the batch as a whole shows. All others are in the lists of the ranges, or in the file as a whole.
const OF_THE_WHOLE: [Reason; 3] = [Reason::Duplicate, Reason::UnknownRegion, Reason::RegionCycle];

/// Publishes the batch in one transaction, or rejects it with a report of every bad row.
pub async fn finish(
    objects: &Arc<dyn ObjectStore>,
    database: &DatabaseConfig,
    batch: &PriceBatchMessage,
) -> Result<PublisherOutput, Error> {
    check(batch)?;
    let mut store = Store::connect(database).await?;
    let finished = finish_with(&**objects, &mut store, batch).await;
    store.close().await;
    finished
}

/// Ends a batch that something failed for good with. Rows that were loaded are removed.
pub async fn fail(
    database: &DatabaseConfig,
    batch: &PriceBatchMessage,
    error: &StepError,
) -> Result<PublisherOutput, Error> {
    check(batch)?;
    let mut store = Store::connect(database).await?;
    let failed = store.fail_batch(batch, error).await;
    if failed.is_ok() {
        sweep(&mut store).await;
    }
    store.close().await;
    let row = failed?;
    tracing::info!(batch.state = row.state.as_str(), error.name = error.name, "batch has ended");
    Ok(output(&row))
}

/// Removes what batches have left that nobody reads any more. Whoever comes next does what cannot be done now.
pub(crate) async fn sweep(store: &mut Store) {
    if let Err(error) = store.sweep().await {
        tracing::warn!(error.message = %error, "rows of ended batches could not be removed");
    }
}

fn output(row: &BatchRow) -> PublisherOutput {
    PublisherOutput { state: row.state, rows: row.rows, bad_rows: row.bad_rows, error: row.failure() }
}

pub(crate) async fn finish_with(
    objects: &dyn ObjectStore,
    store: &mut Store,
    batch: &PriceBatchMessage,
) -> Result<PublisherOutput, Error> {
    let finished = publish_or_reject(objects, store, batch).await?;
    sweep(store).await;
    Ok(finished)
}

async fn publish_or_reject(
    objects: &dyn ObjectStore,
    store: &mut Store,
    batch: &PriceBatchMessage,
) -> Result<PublisherOutput, Error> {
    for _ in 0..LOOKS {
        match store.prepare_publication(batch).await? {
            Prepared::AlreadyEnded(row) => {
                tracing::info!(batch.state = row.state.as_str(), "batch had ended before");
                return Ok(output(&row));
            }
            Prepared::Incomplete(missing) => {
                let first: Vec<u32> = missing.iter().copied().take(10).collect();
                return Err(Error::Incomplete(format!("{} are missing, the first of them {first:?}", missing.len())));
            }
            Prepared::Faulty(faults) => {
                write_report(objects, store, batch, &faults).await?;
                let row = store.reject(batch, &faults).await?;
                tracing::info!(batch.state = row.state.as_str(), rows.bad = row.bad_rows, "batch has ended");
                return Ok(output(&row));
            }
            Prepared::Clean => match store.publish(batch).await? {
                Published::Done(row) | Published::Ended(row) => {
                    tracing::info!(batch.state = row.state.as_str(), rows = row.rows, "batch has ended");
                    return Ok(output(&row));
                }
                Published::Failed(row, why) => {
                    tracing::info!(batch.state = row.state.as_str(), error.message = why, "batch has ended");
                    return Ok(output(&row));
                }
                Published::NotClean => {}
            },
        }
    }
    Err(Error::Incomplete("places change faster than the batch can be checked".to_owned()))
}

/// Every bad row by line: those of the ranges, and between them those that only the whole batch shows.
async fn write_report(
    objects: &dyn ObjectStore,
    store: &mut Store,
    batch: &PriceBatchMessage,
    faults: &Faults,
) -> Result<(), Error> {
    let file = NamedTempFile::new().map_err(Error::Scratch)?;
    let mut out = BufWriter::new(file.reopen().map_err(Error::Scratch)?);
    out.write_all(report::header()).map_err(Error::Scratch)?;
    let mut lists = Vec::new();
    while let Some(range) = store.range(batch, u32::try_from(lists.len()).unwrap_or(u32::MAX)).await? {
        lists.push(range.bad_rows > 0);
    }
    if lists.is_empty() {
        // The file as a whole is bad: what is wrong with its header is all there is.
        faults.first.iter().try_for_each(|row| write_row(&mut out, row))?;
    } else if faults.reasons.keys().any(|reason| OF_THE_WHOLE.contains(reason)) {
        let whole = store.whole_batch_faults(batch).await?;
        let rows = whole.rows().await?;
        merge(objects, batch, &lists, rows.map_err(Error::from), &mut out).await?;
    } else {
        merge(objects, batch, &lists, futures::stream::empty(), &mut out).await?;
    }
    out.flush().map_err(Error::Scratch)?;
    let key = keys::price_batch_report(&batch.tenant, batch.batch_id);
    objects.put_file(&key, file.path(), CONTENT_TYPE).await?;
    Ok(())
}

fn write_row(out: &mut BufWriter<File>, row: &BadRow) -> Result<(), Error> {
    let mut text = Vec::new();
    report::append(&mut text, row);
    out.write_all(&text).map_err(Error::Scratch)
}

async fn merge(
    objects: &dyn ObjectStore,
    batch: &PriceBatchMessage,
    lists: &[bool],
    whole: impl Stream<Item = Result<BadRow, Error>>,
    out: &mut BufWriter<File>,
) -> Result<(), Error> {
    let mut whole = pin!(whole.peekable());
    for (range, _) in lists.iter().enumerate().filter(|(_, has_bad_rows)| **has_bad_rows) {
        let key = keys::price_batch_faults(&batch.tenant, batch.batch_id, u32::try_from(range).unwrap_or(u32::MAX));
        let (_, mut reader) =
            objects.get_stream(&key).await?.ok_or_else(|| Error::Incomplete(format!("{key} is not there")))?;
        let mut lines = ReportLines::new();
        let mut chunk = Vec::with_capacity(CHUNK);
        while (&mut reader).take(CHUNK as u64).read_buf(&mut chunk).await.map_err(Error::StorageStream)? > 0 {
            lines.push(&chunk);
            chunk.clear();
            while let Some((line, text)) = lines.next_line() {
                write_before(&mut whole, line, out).await?;
                out.write_all(text).map_err(Error::Scratch)?;
            }
        }
    }
    write_before(&mut whole, u64::MAX, out).await
}

/// Writes what stands before `line`.
async fn write_before<S: Stream<Item = Result<BadRow, Error>>>(
    whole: &mut Pin<&mut futures::stream::Peekable<S>>,
    line: u64,
    out: &mut BufWriter<File>,
) -> Result<(), Error> {
    loop {
        match whole.as_mut().peek().await {
            Some(Ok(row)) if row.line >= line => return Ok(()),
            None => return Ok(()),
            Some(_) => {}
        }
        if let Some(row) = whole.as_mut().next().await {
            write_row(out, &row?)?;
        }
    }
}
