//! A tenant with places, and files of prices for it.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "helpers of tests; each file uses a part of them"
)]

use bytes::{BufMut, Bytes, BytesMut};
use dunlin_contracts::{
    VERSION,
    prices::{PriceBatchAsked, PriceBatchMessage, PriceBatchRequest},
    steps::StepError,
};
use dunlin_core::{
    BatchId, TenantId,
    prices::{BatchKind, BatchState, Compression, Faults, Format, Layout, Range},
};
use dunlin_store::{
    BatchRow, Finished, Inspected, LoadStart, PreparedBatch, Published, RangeLoad, RatesAnswer, Store, UnknownPlace,
};
use dunlin_testkit::{TestDatabase, fixtures};
use std::collections::HashMap;
use time::{Date, Duration};
use tokio_postgres::Client;
use uuid::Uuid;

/// Origin, destination, day, price in hundredths.
pub type Row<'a> = (&'a str, &'a str, &'a str, i64);

pub const DAY: &str = "2026-03-01";

pub struct Kit {
    pub db: TestDatabase,
    pub tenant: TenantId,
}

impl Kit {
    /// Tenant `acme` with `world` around `europe` (around `north` and `south`) and `asia`, and a tenant that it must not see.
    pub async fn new() -> Self {
        let kit = Self { db: TestDatabase::new().await, tenant: fixtures::tenant("acme") };
        kit.sql(
            "insert into tenants (tenant) values ('acme'), ('umbrella');
             insert into regions (tenant, slug, name, parent) values
                 ('acme', 'world', 'World', null), ('acme', 'europe', 'Europe', 'world'), ('acme', 'north', 'North', 'europe'),
                 ('acme', 'south', 'South', 'europe'), ('acme', 'asia', 'Asia', 'world'), ('acme', 'empty', 'Empty', 'asia'),
                 ('umbrella', 'secret', 'Secret', null);
             insert into ports (tenant, code, name, region) values
                 ('acme', 'NORTH', 'A port', 'north'), ('acme', 'NOOSL', 'Oslo', 'north'), ('acme', 'ITGOA', 'Genoa', 'south'),
                 ('acme', 'CNSHA', 'Shanghai', 'asia'), ('acme', 'SGSIN', 'Singapore', 'asia'),
                 ('umbrella', 'NOOSL', 'Oslo', 'secret'), ('umbrella', 'XXXXX', 'Hidden', 'secret');",
        )
        .await;
        kit
    }

    pub async fn sql(&self, statements: &str) {
        self.db.client().await.batch_execute(statements).await.unwrap();
    }

    pub async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, query: &str) -> T {
        self.db.client().await.query_one(query, &[]).await.unwrap().get(0)
    }

    /// The `n`th file; the same number is the same file.
    pub fn batch(&self, kind: BatchKind, n: i64) -> PriceBatchMessage {
        batch_of(&self.tenant, kind, n)
    }

    pub fn prices(&self, n: i64) -> PriceBatchMessage {
        self.batch(BatchKind::Prices, n)
    }

    /// Registered and inspected, with this many ranges.
    pub async fn ready(&self, store: &mut Store, batch: &PriceBatchMessage, ranges: u32) {
        store.register_batch(batch, None).await.unwrap();
        let inspected = store.inspected(batch, &sha(batch), &layout(), &ranges_of(ranges)).await.unwrap();
        assert_eq!(inspected, Inspected::Ready);
    }

    /// Published with these rows, as one range.
    pub async fn publish(&self, batch: &PriceBatchMessage, rows: &[Row<'_>]) -> BatchRow {
        let mut store = self.db.store().await;
        self.ready(&mut store, batch, 1).await;
        self.load(&mut store, batch, 0, rows).await;
        finish(&mut store, batch).await
    }

    /// The same, in the place of another.
    pub async fn correct(&self, batch: &PriceBatchMessage, replaces: BatchId, rows: &[Row<'_>]) -> Published {
        let mut store = self.db.store().await;
        store.register_batch(batch, Some(&asked(batch, Some(replaces.as_uuid())))).await.unwrap();
        self.ready(&mut store, batch, 1).await;
        self.load(&mut store, batch, 0, rows).await;
        assert_eq!(store.prepare_publication(batch).await.unwrap(), PreparedBatch::Clean);
        store.publish(batch).await.unwrap()
    }

    pub async fn load(&self, store: &mut Store, batch: &PriceBatchMessage, range: u32, rows: &[Row<'_>]) {
        let ports = self.ports(store).await;
        let row = store.range(batch, range).await.unwrap().unwrap();
        let mut load = begin(store.load_range(batch, &row).await.unwrap());
        let first = i32::try_from(row.range.first_line).unwrap();
        load.send(copy(row.number, first, rows, &ports)).await.unwrap();
        assert_eq!(load.finish(rows.len() as u64, &Faults::default(), days(rows)).await.unwrap(), Finished::Loaded);
    }

    pub async fn ports(&self, store: &Store) -> HashMap<String, i32> {
        let mut ports = HashMap::new();
        store.ports_of(&self.tenant, |code, id| _ = ports.insert(code.to_owned(), id)).await.unwrap();
        ports
    }

    /// Averages from day to day, `-` for none.
    pub async fn rates(&self, origin: &str, destination: &str, from: &str, to: &str) -> String {
        let mut store = self.db.store().await;
        match store.rates(&self.tenant, origin, destination, day(from), day(to)).await.unwrap() {
            RatesAnswer::UnknownPlace(UnknownPlace::Origin) => "no origin".to_owned(),
            RatesAnswer::UnknownPlace(UnknownPlace::Destination) => "no destination".to_owned(),
            RatesAnswer::Rates { rates, .. } => {
                let days: Vec<_> = rates.rates.iter().map(|rate| rate.average_price).collect();
                days.iter().map(|r| r.map_or("-".into(), |r| r.to_string())).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// Of [`DAY`], from Oslo to Shanghai.
    pub async fn rate(&self) -> String {
        self.rates("NOOSL", "CNSHA", DAY, DAY).await
    }

    pub async fn state(&self, batch: &PriceBatchMessage) -> BatchState {
        let text: String = self.one(&format!("select state from price_batches where id = '{}'", batch.batch_id)).await;
        text.parse().unwrap()
    }

    /// Tables of batches, attached or not.
    pub async fn tables(&self) -> i64 {
        self.one("select count(*) from pg_class where relkind = 'r' and relname like 'price\\_rows\\_%'").await
    }

    pub async fn partitions(&self) -> i64 {
        self.one("select count(*) from pg_inherits where inhparent = 'prices'::regclass").await
    }
}

pub fn batch_of(tenant: &TenantId, kind: BatchKind, n: i64) -> PriceBatchMessage {
    let key = format!("price-batches/{tenant}/{kind}/{n}.csv");
    PriceBatchMessage {
        version: VERSION,
        batch_id: BatchId::derived(tenant, &key, "e", None),
        tenant: tenant.clone(),
        kind,
        key,
        etag: "e".to_owned(),
        bytes: 1000,
        received_at: fixtures::EPOCH + Duration::minutes(n),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
    }
}

pub fn asked(batch: &PriceBatchMessage, replaces: Option<Uuid>) -> PriceBatchAsked {
    let request = PriceBatchRequest { kind: batch.kind, bytes: batch.bytes, name: Some("March".to_owned()), replaces };
    PriceBatchAsked {
        version: VERSION,
        batch_id: batch.batch_id,
        tenant: batch.tenant.clone(),
        request,
        requested_by: "user-1".to_owned(),
        accepted_at: batch.received_at,
        trace_id: batch.trace_id.clone(),
        multipart_id: None,
    }
}

/// Of its own for each file.
pub fn sha(batch: &PriceBatchMessage) -> String {
    batch.batch_id.as_uuid().simple().to_string().repeat(2)
}

pub fn layout() -> Layout {
    Layout { format: Format::Csv, compression: Compression::None, fields: vec![0, 1, 2, 3] }
}

/// 1,000 lines each.
pub fn ranges_of(count: u32) -> Vec<Range> {
    let of = |n: u32| Range {
        range: n,
        offset: u64::from(n) * 30_000,
        length: 30_000,
        first_line: u64::from(n) * 1000 + 2,
        has_header: false,
    };
    (0..count).map(of).collect()
}

pub fn begin(start: LoadStart<'_>) -> RangeLoad<'_> {
    match start {
        LoadStart::Ready(load) => load,
        LoadStart::Loaded { .. } => panic!("it was loaded before"),
        LoadStart::Ended(state) => panic!("the batch is {}", state.as_str()),
    }
}

pub async fn finish(store: &mut Store, batch: &PriceBatchMessage) -> BatchRow {
    assert_eq!(store.prepare_publication(batch).await.unwrap(), PreparedBatch::Clean);
    match store.publish(batch).await.unwrap() {
        Published::Done(row) => row,
        other => panic!("it was not published: {other:?}"),
    }
}

pub fn day(text: &str) -> Date {
    text.parse::<dunlin_contracts::prices::Day>().unwrap().0
}

pub fn days(rows: &[Row<'_>]) -> Option<(Date, Date)> {
    let days = || rows.iter().map(|row| day(row.2));
    days().min().zip(days().max())
}

/// Three prices around `price` on [`DAY`], from Oslo to Shanghai.
pub fn three(price: i64) -> Vec<Row<'static>> {
    [price - 1, price, price + 1].map(|price| ("NOOSL", "CNSHA", DAY, price)).to_vec()
}

/// What a loader sends: PostgreSQL, COPY, "Binary Format".
pub fn copy(number: i32, first_line: i32, rows: &[Row<'_>], ports: &HashMap<String, i32>) -> Bytes {
    let mut out = BytesMut::from(&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"[..]);
    for (line, (orig, dest, on, price)) in (first_line..).zip(rows) {
        let day = (day(on) - time::macros::date!(2000 - 01 - 01)).whole_days();
        out.put_i16(6);
        for value in [number, ports[*orig], ports[*dest], i32::try_from(day).unwrap()] {
            out.put_i32(4);
            out.put_i32(value);
        }
        out.put_i32(8);
        out.put_i64(*price);
        out.put_i32(4);
        out.put_i32(line);
    }
    out.put_i16(-1);
    out.freeze()
}

pub fn error() -> StepError {
    StepError { name: "Loader.FileUnusable".to_owned(), cause: "it is gone".to_owned() }
}

/// Waits until the server says so, or for 20 seconds.
pub async fn until(client: &Client, condition: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !client.query_one(condition, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(std::time::Instant::now() < deadline, "never came true: {condition}");
        tokio::task::yield_now().await;
    }
}

/// A statement of another connection waits for a lock.
pub const SOMEBODY_WAITS: &str = "select exists (select from pg_stat_activity
     where datname = current_database() and application_name = 'dunlin' and wait_event_type = 'Lock')";
