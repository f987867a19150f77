//! `cargo run --release -p dunlin-ingest --example load -- <file> <connections>`: a file of prices from a local disk to rows that
//! readers see, by the steps that the functions take, and how long each took. `DATABASE_HOST`, `DATABASE_PORT`, `DATABASE_NAME`,
//! `DATABASE_USER` and `PGPASSWORD` say where; regions and ports come from files beside it. Prints one line of JSON for `make bench`.

#![expect(clippy::print_stdout, reason = "a program for the bench")]

use anyhow::{Context, Result, bail, ensure};
use dunlin_cloud::{ObjectStore, memory::MemoryObjects};
use dunlin_contracts::{VERSION, prices::PriceBatchMessage};
use dunlin_core::{
    BatchId, TenantId,
    prices::{BatchKind, BatchState},
};
use dunlin_store::{DatabaseConfig, Password, Secret};
use futures::{StreamExt, TryStreamExt};
use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use time::OffsetDateTime;

struct Bench {
    objects: Arc<dyn ObjectStore>,
    database: DatabaseConfig,
}

impl Bench {
    /// The time that counts begins before the file is read.
    async fn put(&self, kind: BatchKind, file: &Path) -> Result<PriceBatchMessage> {
        let tenant: TenantId = "bench".parse()?;
        let body = fs::read(file).with_context(|| file.display().to_string())?;
        let key = format!("price-batches/{tenant}/{kind}/{}", file.display());
        let bytes = body.len() as u64;
        self.objects.put(&key, body.into(), "text/csv").await?;
        let etag = self.objects.head(&key).await?.context("not there")?.etag;
        let received_at = OffsetDateTime::now_utc();
        let batch_id = BatchId::new(received_at);
        let trace_id = batch_id.as_uuid().simple().to_string();
        Ok(PriceBatchMessage { version: VERSION, batch_id, tenant, kind, key, etag, bytes, received_at, trace_id })
    }

    /// Seconds to inspect, to load, to publish; and rows.
    async fn run(&self, batch: &PriceBatchMessage, connections: usize) -> Result<([f64; 3], u64)> {
        let begun = Instant::now();
        let inspected = dunlin_ingest::inspect(&self.objects, &self.database, batch, u64::MAX).await?;
        // Of an earlier call: the same content is the same batch.
        if inspected.state == BatchState::Duplicate && batch.kind != BatchKind::Prices {
            return Ok(([0.0; 3], 0));
        }
        ensure!(!inspected.ended, "{inspected:?}");
        let inspecting = begun.elapsed();
        let loads = inspected.ranges.iter().map(|item| {
            let (objects, database, batch) = (self.objects.clone(), self.database.clone(), batch.clone());
            let range = item.range;
            tokio::spawn(async move { dunlin_ingest::load(&objects, &database, &batch, range).await })
        });
        futures::stream::iter(loads)
            .buffer_unordered(connections)
            .map(|joined| Ok::<_, anyhow::Error>(joined??))
            .try_collect::<Vec<_>>()
            .await?;
        let loading = begun.elapsed();
        let published = dunlin_ingest::finish(&self.objects, &self.database, batch).await?;
        ensure!(published.state.as_str() == "published", "{published:?}");
        let all = begun.elapsed();
        let seconds = [inspecting, loading - inspecting, all - loading].map(|time: Duration| time.as_secs_f64());
        Ok((seconds, published.rows))
    }
}

fn var(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, connections] = arguments.as_slice() else { bail!("usage: load <file> <connections>") };
    let (file, connections) = (PathBuf::from(file), connections.parse()?);
    let database = DatabaseConfig {
        password: Password::Static(Secret::new(var("PGPASSWORD")?)),
        statement_timeout: Duration::from_secs(3600),
        ..DatabaseConfig::new(
            var("DATABASE_HOST")?,
            var("DATABASE_PORT")?.parse()?,
            var("DATABASE_NAME")?,
            var("DATABASE_USER")?,
        )
    };
    let bench = Bench { objects: Arc::new(MemoryObjects::default()), database };
    let folder = file.parent().context("no folder")?;
    for (kind, name) in [(BatchKind::Regions, "regions.csv"), (BatchKind::Ports, "ports.csv")] {
        let batch = bench.put(kind, &folder.join(name)).await?;
        bench.run(&batch, 1).await?;
    }
    let begun = Instant::now();
    let batch = bench.put(BatchKind::Prices, &file).await?;
    let ([inspect, load, publish], rows) = bench.run(&batch, connections).await?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{{\"rows\":{rows},\"seconds\":{seconds:.4},\"inspect\":{inspect:.4},\"load\":{load:.4},\"publish\":{publish:.4}}}"
    );
    Ok(())
}
