use crate::{
    Error, check,
    faults::FaultFile,
    file::{Chunks, Pieces, blocking, not_had},
};
use bytes::Bytes;
use dunlin_cloud::ObjectStore;
use dunlin_contracts::prices::{LoaderOutput, PriceBatchMessage};
use dunlin_core::prices::{BatchKind, Format};
use dunlin_prices::{
    COPY_HEADER, COPY_TRAILER, Output, ParquetReader, PlaceOutput, PlaceReader, PortTable, PriceReader,
};
use dunlin_store::{DatabaseConfig, Finished, LoadStart, PortRow, RangeLoad, RangeRow, RegionRow, Store};
use std::sync::Arc;

/// Takes one range in: good rows into the batch's own table, bad ones into a list. Both count only together, in one transaction.
pub async fn load(
    objects: &Arc<dyn ObjectStore>,
    database: &DatabaseConfig,
    batch: &PriceBatchMessage,
    range: u32,
) -> Result<LoaderOutput, Error> {
    check(batch)?;
    let mut store = Store::connect(database).await?;
    let loaded = load_with(objects, &mut store, batch, range).await;
    store.close().await;
    loaded
}

pub(crate) async fn load_with(
    objects: &Arc<dyn ObjectStore>,
    store: &mut Store,
    batch: &PriceBatchMessage,
    range: u32,
) -> Result<LoaderOutput, Error> {
    let mut ports = PortTable::new();
    // Both on their way at once: one round trip.
    let row = if batch.kind == BatchKind::Prices {
        let insert = |code: &str, id: i32| ports.insert(code, id);
        let (row, ()) = futures::try_join!(store.range(batch, range), store.ports_of(&batch.tenant, insert))?;
        row
    } else {
        store.range(batch, range).await?
    };
    let row = row.ok_or_else(|| Error::BadInput(format!("batch {} has no range {range}", batch.batch_id)))?;
    if row.loaded {
        return Ok(done_before(range, row.rows, row.bad_rows));
    }
    let load = match store.load_range(batch, &row).await? {
        LoadStart::Ready(load) => load,
        LoadStart::Loaded { rows, bad_rows } => return Ok(done_before(range, rows, bad_rows)),
        LoadStart::Ended(state) => {
            tracing::info!(batch.state = state.as_str(), "batch has ended, its rows are not wanted any more");
            return Ok(LoaderOutput { range, rows: 0, bad_rows: 0 });
        }
    };
    match row.kind {
        BatchKind::Prices => load_prices(objects, load, batch, &row, ports).await,
        BatchKind::Ports | BatchKind::Regions => load_places(objects, load, batch, &row).await,
    }
}

fn done_before(range: u32, rows: u64, bad_rows: u64) -> LoaderOutput {
    tracing::info!(range, rows, "range was loaded before");
    LoaderOutput { range, rows, bad_rows }
}

/// Rows on their way out: what a reader has made of some bytes goes to the database and to the list.
struct Way<'a> {
    load: RangeLoad<'a>,
    faults: FaultFile,
    begun: bool,
}

impl Way<'_> {
    async fn send(&mut self, out: &mut Output) -> Result<(), Error> {
        if !self.begun {
            self.begun = true;
            self.load.send(Bytes::from_static(COPY_HEADER)).await?;
        }
        if !out.copy.is_empty() {
            let capacity = out.copy.capacity();
            let rows = std::mem::replace(&mut out.copy, Vec::with_capacity(capacity));
            self.load.send(rows.into()).await?;
        }
        self.faults.add(&out.bad)?;
        out.drain();
        Ok(())
    }
}

async fn load_prices(
    objects: &Arc<dyn ObjectStore>,
    load: RangeLoad<'_>,
    batch: &PriceBatchMessage,
    row: &RangeRow,
    ports: PortTable,
) -> Result<LoaderOutput, Error> {
    let mut way = Way { load, faults: FaultFile::default(), begun: false };
    let mut out = Output::new();
    if row.layout.format == Format::Parquet {
        let (ports, number) = (Arc::new(ports), row.number);
        let mut reader = open_parquet(objects, batch, row).await?;
        loop {
            let ports = ports.clone();
            let more;
            (reader, out, more) = blocking(move || {
                let more = reader.prices(number, &ports, &mut out);
                (reader, out, more)
            })
            .await?;
            way.send(&mut out).await?;
            if !more.map_err(not_had)? {
                break;
            }
        }
    } else {
        let mut reader = PriceReader::new(&row.layout, &row.range, row.number, &ports);
        let mut chunks = Chunks::new(&**objects, batch, row.range.offset, row.range.length);
        while let Some(mut chunk) = chunks.next().await? {
            while !chunk.is_empty() {
                let taken = reader.feed(chunk, &mut out);
                chunk = chunk.get(taken..).unwrap_or_default();
                if out.is_full() || taken == 0 {
                    way.send(&mut out).await?;
                }
            }
        }
        reader.finish(&mut out);
    }
    way.send(&mut out).await?;
    way.load.send(Bytes::from_static(COPY_TRAILER)).await?;
    let Way { load, faults, .. } = way;
    // Before the range counts as loaded: whoever publishes or rejects finds the list there.
    faults.store(&**objects, batch, row.range.range).await?;
    let finished = load.finish(out.rows, &out.faults, out.days()).await?;
    Ok(told(finished, row.range.range, out.rows, out.faults.rows))
}

/// Parquet is read piece by piece, on a thread that may wait for each.
async fn open_parquet(
    objects: &Arc<dyn ObjectStore>,
    batch: &PriceBatchMessage,
    row: &RangeRow,
) -> Result<ParquetReader<Pieces>, Error> {
    let (pieces, kind, range) = (Pieces::of(objects, batch), row.kind, row.range);
    blocking(move || ParquetReader::open(kind, pieces, &range)).await?.map_err(not_had)
}

async fn load_places(
    objects: &Arc<dyn ObjectStore>,
    mut load: RangeLoad<'_>,
    batch: &PriceBatchMessage,
    row: &RangeRow,
) -> Result<LoaderOutput, Error> {
    let mut list = FaultFile::default();
    let mut out = PlaceOutput::new();
    if row.layout.format == Format::Parquet {
        let mut reader = open_parquet(objects, batch, row).await?;
        loop {
            let more;
            (reader, out, more) = blocking(move || {
                let more = reader.places(&mut out);
                (reader, out, more)
            })
            .await?;
            keep(&mut load, &mut list, &mut out).await?;
            if !more.map_err(not_had)? {
                break;
            }
        }
    } else {
        let mut reader = PlaceReader::new(row.kind, &row.layout, &row.range);
        let mut chunks = Chunks::new(&**objects, batch, row.range.offset, row.range.length);
        while let Some(mut chunk) = chunks.next().await? {
            while !chunk.is_empty() {
                let taken = reader.feed(chunk, &mut out);
                chunk = chunk.get(taken..).unwrap_or_default();
                keep(&mut load, &mut list, &mut out).await?;
            }
        }
        reader.finish(&mut out);
        keep(&mut load, &mut list, &mut out).await?;
    }
    list.store(&**objects, batch, row.range.range).await?;
    let finished = load.finish(out.rows, &out.faults, None).await?;
    Ok(told(finished, row.range.range, out.rows, out.faults.rows))
}

async fn keep(load: &mut RangeLoad<'_>, list: &mut FaultFile, out: &mut PlaceOutput) -> Result<(), Error> {
    list.add(&out.bad)?;
    let line = |line: u64| u32::try_from(line).unwrap_or(u32::MAX);
    let ports: Vec<PortRow> = std::mem::take(&mut out.ports)
        .into_iter()
        .map(|row| PortRow { line: line(row.line), code: row.code, name: row.name, region: row.region })
        .collect();
    let regions: Vec<RegionRow> = std::mem::take(&mut out.regions)
        .into_iter()
        .map(|row| RegionRow { line: line(row.line), slug: row.slug, name: row.name, parent: row.parent })
        .collect();
    if !ports.is_empty() {
        load.ports(&ports).await?;
    }
    if !regions.is_empty() {
        load.regions(&regions).await?;
    }
    out.drain();
    Ok(())
}

fn told(finished: Finished, range: u32, rows: u64, bad_rows: u64) -> LoaderOutput {
    match finished {
        Finished::Loaded => {
            tracing::info!(range, rows, rows.bad = bad_rows, "range is loaded");
            LoaderOutput { range, rows, bad_rows }
        }
        Finished::Ended(state) => {
            tracing::info!(range, batch.state = state.as_str(), "batch ended meanwhile, nothing of the range was kept");
            LoaderOutput { range, rows: 0, bad_rows: 0 }
        }
    }
}
