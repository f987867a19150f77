//! What `make bench` measures about prices, one command at a time; each prints a line of JSON.
//!
//! ```text
//! prices migrate                                  the schema, in an empty database
//! prices generate <rows> <seed> <ports> <file>    CSV with prices between the ports of a file, no row twice
//! prices load <file> <connections>                a file to rows that readers see, by the steps that the functions take
//! prices rates <questions> <seed> <ports>         questions about rates, as `GET /v1/rates` asks them
//! ```
//!
//! `DATABASE_HOST`, `DATABASE_PORT`, `DATABASE_NAME`, `DATABASE_USER` and `PGPASSWORD` say where. `load` takes regions and ports from
//! `regions.csv` and `ports.csv` beside the file. `AT_ONCE_KIB` says how large a small batch is, as for the inspector.

#![expect(clippy::print_stdout, reason = "a program for the bench")]
#![expect(clippy::unwrap_used, reason = "the bucket in a folder is that of the tests")]

#[path = "../tests/support/files.rs"]
mod files;

use anyhow::{Context, Result, bail, ensure};
use dunlin_cloud::ObjectStore;
use dunlin_contracts::{VERSION, prices::PriceBatchMessage};
use dunlin_core::{
    BatchId, TenantId,
    prices::{BatchKind, BatchState},
};
use dunlin_ingest::Limits;
use dunlin_store::{DatabaseConfig, Password, RatesAnswer, Secret, Store};
use files::FileObjects;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use std::{
    env, fs,
    io::{BufWriter, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use time::{Date, OffsetDateTime, macros::date};

const TENANT: &str = "bench";
/// The function's default.
const AT_ONCE_KIB: u64 = 1024;
const FIRST_DAY: Date = date!(2025 - 01 - 01);
const DAYS: u64 = 365;
/// How many different prices there are, in hundredths.
const PRICES: u64 = 900_000;

/// Numbers that look random and are the same every time (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn of<'a>(&mut self, all: &'a [String]) -> &'a str {
        let at = usize::try_from(self.below(all.len() as u64)).unwrap_or_default();
        all.get(at).map(String::as_str).unwrap_or_default()
    }
}

/// A column of a small CSV file without quotes.
fn column(file: &Path, name: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut lines = text.lines();
    let at = lines.next().and_then(|header| header.split(',').position(|column| column == name));
    let at = at.with_context(|| format!("{} has no {name}", file.display()))?;
    Ok(lines.filter_map(|line| line.split(',').nth(at)).map(str::to_owned).collect())
}

fn generate(rows: u64, seed: u64, ports: &Path, file: &Path) -> Result<()> {
    let (codes, mut chance) = (column(ports, "code")?, Chance(seed));
    let mut out = BufWriter::new(fs::File::create(file)?);
    let days: Vec<String> =
        (0..i64::try_from(DAYS)?).map(|n| (FIRST_DAY + time::Duration::days(n)).to_string()).collect();
    out.write_all(b"orig_code,dest_code,day,price\r\n")?;
    // Rows with the same price have different days, so that no two rows are equal.
    let turns = rows.div_ceil(PRICES);
    ensure!(turns <= DAYS, "more rows than there are prices and days");
    for n in 0..rows {
        let (origin, destination) = (chance.of(&codes), chance.of(&codes));
        let day = usize::try_from(chance.below(DAYS / turns) * turns + n / PRICES)?;
        let price = 50_000 + n * 7919 % PRICES;
        let day = days.get(day).context("no such day")?;
        write!(out, "{origin},{destination},{day},{}.{:02}\r\n", price / 100, price % 100)?;
    }
    Ok(out.flush()?)
}

struct Bench {
    objects: Arc<dyn ObjectStore>,
    folder: TempDir,
    database: DatabaseConfig,
}

impl Bench {
    fn new(database: DatabaseConfig) -> Result<Self> {
        let folder = TempDir::new()?;
        let objects = Arc::new(FileObjects { folder: folder.path().to_owned(), stalls_after: None });
        Ok(Self { objects, folder, database })
    }

    /// The file stays where it is.
    async fn put(&self, kind: BatchKind, file: &Path) -> Result<PriceBatchMessage> {
        let tenant: TenantId = TENANT.parse()?;
        let name = file.file_name().and_then(|name| name.to_str()).context("no name")?;
        let key = format!("price-batches/{tenant}/{kind}/{name}");
        symlink(fs::canonicalize(file)?, self.folder.path().join(key.replace('/', "|")))?;
        let info = self.objects.head(&key).await?.context("not there")?;
        let received_at = OffsetDateTime::now_utc();
        let batch_id = BatchId::new(received_at);
        let trace_id = batch_id.trace_id();
        Ok(PriceBatchMessage {
            version: VERSION,
            batch_id,
            tenant,
            kind,
            key,
            etag: info.etag,
            bytes: info.bytes,
            received_at,
            trace_id,
        })
    }

    /// Seconds to inspect, to load, to publish; and rows.
    async fn run(&self, batch: &PriceBatchMessage, connections: usize) -> Result<([f64; 3], u64)> {
        let begun = Instant::now();
        let at_once_kib = env::var("AT_ONCE_KIB").map_or(Ok(AT_ONCE_KIB), |kib| kib.parse())?;
        let limits = Limits { lambda_bytes: u64::MAX, at_once_bytes: at_once_kib << 10 };
        let inspected = dunlin_ingest::inspect(&self.objects, &self.database, batch, limits).await?;
        let inspecting = begun.elapsed();
        if inspected.ended {
            // Places of an earlier call: the same content is the same batch.
            let is_there = inspected.state == BatchState::Duplicate && batch.kind != BatchKind::Prices;
            ensure!(inspected.state == BatchState::Published || is_there, "{inspected:?}");
            return Ok(([inspecting.as_secs_f64(), 0.0, 0.0], inspected.rows));
        }
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

async fn load(database: DatabaseConfig, file: &Path, connections: usize) -> Result<()> {
    let bench = Bench::new(database)?;
    let folder = file.parent().context("no folder")?;
    for (kind, name) in [(BatchKind::Regions, "regions.csv"), (BatchKind::Ports, "ports.csv")] {
        let batch = bench.put(kind, &folder.join(name)).await?;
        bench.run(&batch, 1).await?;
    }
    let begun = Instant::now();
    let batch = bench.put(BatchKind::Prices, file).await?;
    let ([inspect, load, publish], rows) = bench.run(&batch, connections).await?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({"rows": rows, "seconds": seconds, "inspect": inspect, "load": load, "publish": publish, "peak_kib": peak_kib()?})
    );
    Ok(())
}

/// The most memory that this process ever had.
fn peak_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Thirty days between two ports, a port and a region, two regions, in turns. Seconds of each.
async fn rates(database: &DatabaseConfig, questions: u64, seed: u64, ports: &Path) -> Result<()> {
    let (codes, mut regions, mut chance) = (column(ports, "code")?, column(ports, "region")?, Chance(seed));
    regions.dedup();
    let mut store = Store::connect(database).await?;
    let tenant: TenantId = TENANT.parse()?;
    let mut kinds = [("port to port", Vec::new()), ("port to region", Vec::new()), ("region to region", Vec::new())];
    let mut answered = 0;
    for _ in 0..questions {
        for (kind, seconds) in &mut kinds {
            let origin = if *kind == "region to region" { chance.of(&regions) } else { chance.of(&codes) };
            let destination = if *kind == "port to port" { chance.of(&codes) } else { chance.of(&regions) };
            let from = FIRST_DAY + time::Duration::days(i64::try_from(chance.below(DAYS - 30))?);
            let begun = Instant::now();
            let answer = store.rates(&tenant, origin, destination, from, from + time::Duration::days(29)).await?;
            seconds.push(begun.elapsed().as_secs_f64());
            let RatesAnswer::Rates { rates, .. } = answer else { bail!("{origin} or {destination} is not there") };
            answered += rates.rates.iter().filter(|rate| rate.average_price.is_some()).count();
        }
    }
    store.close().await;
    let kinds: serde_json::Map<_, _> =
        kinds.into_iter().map(|(kind, seconds)| (kind.to_owned(), json!(seconds))).collect();
    println!("{}", json!({"seconds": kinds, "days_with_an_average": answered}));
    Ok(())
}

fn database() -> Result<DatabaseConfig> {
    let var = |name: &str| env::var(name).with_context(|| format!("{name} is not set"));
    Ok(DatabaseConfig {
        password: Password::Static(Secret::new(var("PGPASSWORD")?)),
        ..DatabaseConfig::new(
            var("DATABASE_HOST")?,
            var("DATABASE_PORT")?.parse()?,
            var("DATABASE_NAME")?,
            var("DATABASE_USER")?,
        )
    })
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["migrate"] => {
            let mut store = Store::connect(&database()?).await?;
            let version = store.migrate().await?.version;
            store.close().await;
            println!("{}", json!({"version": version}));
            Ok(())
        }
        ["generate", rows, seed, ports, file] => {
            generate(rows.parse()?, seed.parse()?, &PathBuf::from(ports), &PathBuf::from(file))
        }
        ["load", file, connections] => load(database()?, &PathBuf::from(file), connections.parse()?).await,
        ["rates", questions, seed, ports] => {
            rates(&database()?, questions.parse()?, seed.parse()?, &PathBuf::from(ports)).await
        }
        _ => bail!(
            "usage: prices migrate | generate <rows> <seed> <ports> <file> | load <file> <connections> | rates <questions> <seed> <ports>"
        ),
    }
}
