//! A bucket in memory, a database of its own, and batches that go through all three steps.

use dunlin_cloud::{ObjectStore, memory::MemoryObjects};
use dunlin_contracts::{
    VERSION,
    prices::{InspectorOutput, LoaderOutput, PriceBatchMessage, PublisherOutput},
};
use dunlin_core::{BatchId, TenantId, prices::BatchKind};
use dunlin_ingest::{Error, Limits};
use dunlin_store::{DatabaseConfig, Store};
use dunlin_testkit::TestDatabase;
use parquet::{
    data_type::{ByteArray, ByteArrayType, Int64Type},
    file::writer::SerializedFileWriter,
    schema::parser::parse_message_type,
};
use std::sync::Arc;
use time::OffsetDateTime;

/// A compressed file of more is one for Batch.
pub const LAMBDA_BYTES: u64 = 1000;

pub struct World {
    pub database: TestDatabase,
    pub memory: Arc<MemoryObjects>,
    pub objects: Arc<dyn ObjectStore>,
}

impl World {
    /// With the ports AAAAA to CCCCC in one region.
    pub async fn with_ports() -> Self {
        let memory = Arc::new(MemoryObjects::default());
        let world = Self { database: TestDatabase::new().await, objects: memory.clone(), memory };
        let regions = world.put(BatchKind::Regions, "r.csv", b"slug,name,parent\nsea,Sea,\n").await;
        let ports = "code,name,region\nAAAAA,A,sea\nBBBBB,B,sea\nCCCCC,C,sea\n";
        let ports = world.put(BatchKind::Ports, "p.csv", ports.as_bytes()).await;
        for batch in [regions, ports] {
            let ended = world.run(&batch).await.unwrap();
            assert_eq!(ended.state.as_str(), "published", "{ended:?}");
        }
        world
    }

    pub fn config(&self) -> DatabaseConfig {
        self.database.config()
    }

    pub async fn store(&self) -> Store {
        Store::connect(&self.config()).await.unwrap()
    }

    /// A file as a partner puts it there.
    pub async fn put(&self, kind: BatchKind, name: &str, file: &[u8]) -> PriceBatchMessage {
        let tenant: TenantId = "demo".parse().unwrap();
        let key = format!("price-batches/{tenant}/{kind}/{name}");
        self.objects.put(&key, file.to_vec().into(), "text/csv").await.unwrap();
        let etag = self.objects.head(&key).await.unwrap().unwrap().etag;
        PriceBatchMessage {
            version: VERSION,
            batch_id: BatchId::derived(&tenant, &key, &etag, None),
            tenant,
            kind,
            key,
            etag,
            bytes: file.len() as u64,
            received_at: OffsetDateTime::now_utc(),
            trace_id: "0".repeat(32),
        }
    }

    pub async fn inspect(&self, batch: &PriceBatchMessage) -> Result<InspectorOutput, Error> {
        let limits = Limits { lambda_bytes: LAMBDA_BYTES, at_once_bytes: 0 };
        dunlin_ingest::inspect(&self.objects, &self.config(), batch, limits).await
    }

    pub async fn load(&self, batch: &PriceBatchMessage, range: u32) -> Result<LoaderOutput, Error> {
        dunlin_ingest::load(&self.objects, &self.config(), batch, range).await
    }

    pub async fn finish(&self, batch: &PriceBatchMessage) -> Result<PublisherOutput, Error> {
        dunlin_ingest::finish(&self.objects, &self.config(), batch).await
    }

    /// What the state machine does.
    pub async fn run(&self, batch: &PriceBatchMessage) -> Result<PublisherOutput, Error> {
        let inspected = self.inspect(batch).await?;
        if inspected.ended {
            return Ok(PublisherOutput { state: inspected.state, rows: 0, bad_rows: 0, error: inspected.error });
        }
        for item in inspected.ranges {
            self.load(batch, item.range).await?;
        }
        self.finish(batch).await
    }
}

/// A file of prices as another program writes it: prices are whole numbers.
pub fn parquet(rows: &[(&str, &str, &str, i64)]) -> Vec<u8> {
    let schema =
        "message m { required binary orig_code (utf8); required binary dest_code (utf8); required binary day (utf8);
                  required int64 price; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    let texts: [Vec<ByteArray>; 3] = [
        rows.iter().map(|row| row.0.into()).collect(),
        rows.iter().map(|row| row.1.into()).collect(),
        rows.iter().map(|row| row.2.into()).collect(),
    ];
    for text in texts {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&text, None, None).unwrap();
        column.close().unwrap();
    }
    let prices: Vec<i64> = rows.iter().map(|row| row.3).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&prices, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    file.into_inner().unwrap()
}
