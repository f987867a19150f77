//! Batches of small ranges, and processes that are killed where a lock has stopped them.

use super::{
    files::FileObjects,
    process::{Job, Process, Step},
    sight::{Reader, Sight},
};
use dunlin_cloud::ObjectStore;
use dunlin_contracts::{
    VERSION,
    prices::{PriceBatchAsked, PriceBatchMessage, PriceBatchRequest},
};
use dunlin_core::{
    BatchId, TenantId,
    prices::{BatchKind, Range},
};
use dunlin_prices::Inspector;
use dunlin_store::{Inspected, Store};
use dunlin_testkit::TestDatabase;
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use time::{Date, OffsetDateTime, macros::date};
use tokio_postgres::{Client, types::FromSql};

const FIRST_DAY: Date = date!(1990 - 01 - 01);
/// Of a file that is not large.
pub const DAYS: i64 = 100;

/// Two ports of one tenant; and places where the server stops when the test holds an advisory lock: at the end of a statement of the
/// owner's, and at the end of a transaction.
const SETUP: &str = "
    insert into tenants (tenant) values ('demo'), ('other');
    insert into regions (tenant, slug, name) select tenant, 'sea', 'Sea' from tenants;
    insert into ports (tenant, code, name, region) select tenant, code, code, 'sea' from tenants, unnest('{AAAAA,BBBBB}'::text[]) code;
    create function stop() returns trigger language plpgsql as $$ begin
        perform pg_advisory_xact_lock_shared(hashtext(tg_argv[0]), coalesce((to_jsonb(new)->>'number')::int, 0));
        return new;
    end $$;
    create function stop_statement() returns event_trigger language plpgsql as $$ begin
        perform pg_advisory_xact_lock_shared(hashtext(tg_tag), coalesce(substring(object_identity from 'price_rows_([0-9]+)')::int, 0))
        from pg_event_trigger_ddl_commands();
    end $$;
    create constraint trigger loaded after update on price_batch_ranges deferrable initially deferred
        for each row execute function stop('commit');
    create constraint trigger ended after update of state on price_batches deferrable initially deferred
        for each row when (new.state in ('published', 'rejected')) execute function stop('commit');
    create event trigger stop_index on ddl_command_end when tag in ('CREATE TABLE', 'CREATE INDEX', 'ALTER TABLE') execute function stop_statement();";

pub struct Batch {
    pub message: PriceBatchMessage,
    pub number: i32,
    pub price: i64,
    pub rows: i64,
    pub ranges: Vec<Range>,
}

impl Batch {
    /// First and last line of the rows of a range.
    fn lines(&self, range: usize) -> (i64, i64) {
        let first = |range: &Range| i64::try_from(range.first_line).unwrap() + i64::from(range.has_header);
        let next = self.ranges.get(range + 1).map_or(self.rows + 2, first);
        (first(&self.ranges[range]), next - 1)
    }

    pub fn rows_of(&self, range: usize) -> i64 {
        let (first, last) = self.lines(range);
        last - first + 1
    }
}

/// Where a process is stopped.
#[derive(Clone, Copy)]
pub enum Stop {
    /// By a lock of these statements, in this statement of its own. `{n}` and `{id}` are the batch, `{old}` and `{old_id}` the one before.
    Lock(&'static str, &'static str),
    /// In the middle of COPY: the server does not get further than half of the rows.
    Server,
    /// In the middle of COPY: the process gets no more of its file.
    File(usize),
    /// It has done everything, and has only to say so.
    Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The server notices at once that the process is gone.
    Noticed,
    /// The server goes on when it can, and notices when it wants to read or write.
    Late,
}

pub struct Stage {
    pub database: TestDatabase,
    pub tenant: TenantId,
    folder: TempDir,
    objects: Arc<dyn ObjectStore>,
    looker: Client,
    files: u32,
}

impl Stage {
    pub async fn new() -> Self {
        let database = TestDatabase::new().await;
        let looker = database.client().await;
        looker.batch_execute(SETUP).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let objects = Arc::new(FileObjects { folder: folder.path().to_owned(), stalls_after: None });
        Self { database, tenant: "demo".parse().unwrap(), folder, objects, looker, files: 0 }
    }

    pub async fn reader(&self) -> (Reader, Arc<Sight>) {
        let days = (FIRST_DAY, FIRST_DAY + time::Duration::days(DAYS - 1));
        let reader = Reader::start(&self.database, self.tenant.clone(), days).await;
        let sight = reader.sight.clone();
        (reader, sight)
    }

    pub async fn one<T: for<'a> FromSql<'a>>(&self, query: &str) -> T {
        self.looker.query_one(query, &[]).await.unwrap().get(0)
    }

    pub async fn store(&self) -> Store {
        self.database.store().await
    }

    /// Three prices for every day, each in another third of the file, with this average; then `more`. Its ranges are noted.
    pub async fn inspected(
        &mut self,
        price: i64,
        (days, ranges): (i64, u64),
        more: &str,
        replaces: Option<&Batch>,
    ) -> Batch {
        self.sent(price, (days, ranges), more, replaces, true).await
    }

    /// The same, of one range, and nothing is known of it but what the sender said.
    pub async fn registered(&mut self, price: i64, more: &str, replaces: Option<&Batch>) -> Batch {
        self.sent(price, (DAYS, 1), more, replaces, false).await
    }

    /// Whether its ranges are known.
    pub async fn is_noted(&self, batch: &Batch) -> bool {
        self.one(&format!("select layout is not null from price_batches where number = {}", batch.number)).await
    }

    async fn sent(
        &mut self,
        price: i64,
        (days, ranges): (i64, u64),
        more: &str,
        replaces: Option<&Batch>,
        is_noted: bool,
    ) -> Batch {
        let mut file = "orig_code,dest_code,day,price\n".to_owned();
        for price in [price - 1, price, price + 1] {
            for day in 0..days {
                writeln!(file, "AAAAA,BBBBB,{},{price}", FIRST_DAY + time::Duration::days(day)).unwrap();
            }
        }
        file.push_str(more);
        self.files += 1;
        let key = format!("price-batches/{}/prices/{}.csv", self.tenant, self.files);
        let bytes = file.len() as u64;
        let mut inspector = Inspector::with_range_bytes(BatchKind::Prices, bytes, bytes.div_ceil(ranges));
        inspector.push(file.as_bytes());
        self.objects.put(&key, file.into(), "text/csv").await.unwrap();
        let etag = self.objects.head(&key).await.unwrap().unwrap().etag;
        let message = PriceBatchMessage {
            version: VERSION,
            batch_id: BatchId::derived(&self.tenant, &key, &etag, None),
            tenant: self.tenant.clone(),
            kind: BatchKind::Prices,
            key,
            etag,
            bytes,
            received_at: OffsetDateTime::now_utc(),
            trace_id: "0".repeat(32),
        };
        let asked = PriceBatchAsked {
            version: VERSION,
            batch_id: message.batch_id,
            tenant: message.tenant.clone(),
            request: PriceBatchRequest {
                kind: message.kind,
                bytes,
                name: None,
                replaces: replaces.map(|old| old.message.batch_id.as_uuid()),
            },
            requested_by: "user-1".to_owned(),
            accepted_at: message.received_at,
            trace_id: message.trace_id.clone(),
            multipart_id: None,
        };
        let inspection = inspector.finish();
        let (layout, cut) = (inspection.layout.unwrap(), inspection.ranges);
        assert_eq!(cut.len() as u64, ranges, "{cut:?}");
        let mut store = self.store().await;
        let number = store.register_batch(&message, Some(&asked)).await.unwrap().number;
        if is_noted {
            let inspected = store.inspected(&message, &inspection.sha256, &layout, &cut).await.unwrap();
            assert_eq!(inspected, Inspected::Ready);
        }
        store.close().await;
        Batch { message, number, price, rows: days * 3, ranges: cut }
    }

    /// Another range than those is not loaded.
    pub async fn load(&self, batch: &Batch, ranges: impl IntoIterator<Item = usize>) {
        for range in ranges {
            let range = u32::try_from(range).unwrap();
            dunlin_ingest::load(&self.objects, &self.database.config(), &batch.message, range).await.unwrap();
        }
    }

    pub fn job(&self, batch: &Batch, step: Step) -> Job {
        Job::new(&self.database.config(), self.folder.path().to_owned(), &batch.message, step)
    }

    /// In a process that nobody stops.
    pub async fn run(&self, batch: &Batch, step: Step) -> Value {
        self.job(batch, step).start().answer().await.unwrap()
    }

    pub async fn published(&self, batch: &Batch) {
        let finished = self.run(batch, Step::Finish).await;
        assert_eq!(finished, json!({ "state": "published", "rows": batch.rows, "bad_rows": 0 }));
    }

    pub async fn published_at_once(&self, batch: &Batch) {
        let ended = self.run(batch, Step::AtOnce).await;
        let expected = json!({ "ended": true, "state": "published", "rows": batch.rows, "bad_rows": 0, "ranges": [] });
        assert_eq!(ended, expected);
    }

    /// As the inspector makes it for several ranges, and made it for one in earlier versions.
    pub async fn with_table(&self, batch: &Batch) {
        self.looker.execute("select price_table_make($1)", &[&batch.number]).await.unwrap();
    }

    /// Holds a lock; it goes with the client's transaction.
    pub async fn hold(&self, lock: &str) -> Client {
        let client = self.database.client().await;
        client.batch_execute(&format!("begin; {lock}")).await.unwrap();
        client
    }

    /// Waits until the process is in that statement and gets no further.
    pub async fn stopped(&self, process: &mut Process, statement: &str) {
        self.until(
            process,
            &format!(
                "exists (select from pg_stat_activity where datname = current_database() and application_name = '{}'
                     and wait_event_type = 'Lock' and query ilike '%{statement}%')",
                process.application
            ),
        )
        .await;
    }

    async fn until(&self, process: &mut Process, condition: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.one::<bool>(&format!("select {condition}")).await {
            assert!(process.is_alive(), "the process has ended before: {condition}");
            assert!(Instant::now() < deadline, "never came true: {condition}");
        }
    }

    async fn gone(&self, application: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let sessions = format!(
            "select count(*) from pg_stat_activity where datname = current_database() and application_name = '{application}'"
        );
        while self.one::<i64>(&sessions).await > 0 {
            assert!(Instant::now() < deadline, "its session is still there");
        }
    }

    /// Runs a step until it is where `stop` says, and kills it there.
    pub async fn kill(&self, batch: &Batch, step: Step, stop: Stop, then: Then, old: Option<&Batch>) {
        let noticed = if then == Then::Noticed { Duration::from_millis(20) } else { Duration::ZERO };
        let job = self.job(batch, step).noticed_after(noticed);
        let table = format!("price_rows_{}", batch.number);
        let (lock, job) = match stop {
            Stop::Lock(lock, _) => {
                let mut lock =
                    lock.replace("{n}", &batch.number.to_string()).replace("{id}", &batch.message.batch_id.to_string());
                if let Some(old) = old {
                    lock = lock
                        .replace("{old}", &old.number.to_string())
                        .replace("{old_id}", &old.message.batch_id.to_string());
                }
                (lock, job)
            }
            Stop::Server => {
                let range = if let Step::Load(range) = step { range } else { 0 };
                let (first, last) = batch.lines(range as usize);
                self.looker
                    .batch_execute(&format!(
                        "create trigger half before insert on {table} for each row when (new.line = {})
                         execute function stop('row')",
                        first.midpoint(last)
                    ))
                    .await
                    .unwrap();
                ("select pg_advisory_xact_lock(hashtext('row'), 0)".to_owned(), job)
            }
            Stop::File(bytes) => (String::new(), job.stalling(Some(bytes))),
            Stop::Answer => (String::new(), job),
        };
        let holder = self.hold(&lock).await;
        let mut process = job.start();
        let application = process.application.clone();
        match stop {
            Stop::Lock(_, statement) => self.stopped(&mut process, statement).await,
            Stop::Server => self.stopped(&mut process, &format!("copy {table}")).await,
            Stop::File(_) => {
                let copying = "exists (select from pg_stat_progress_copy c join pg_stat_activity a using (pid)
                    where c.datname = current_database() and c.tuples_processed > 0 and a.wait_event = 'ClientRead')";
                self.until(&mut process, copying).await;
            }
            Stop::Answer => process.returned().await,
        }
        process.kill().await;
        if then == Then::Noticed {
            self.gone(&application).await;
        }
        holder.batch_execute("rollback").await.unwrap();
        self.gone(&application).await;
        self.looker.batch_execute(&format!("drop trigger if exists half on {table}")).await.unwrap();
    }

    /// Rows of a range in the batch's table. None is there twice.
    pub async fn rows(&self, batch: &Batch, range: usize) -> i64 {
        let table = format!("select to_regclass('price_rows_{}') is not null", batch.number);
        if !self.one::<bool>(&table).await {
            return 0;
        }
        let (first, last) = batch.lines(range);
        let found = format!("from price_rows_{} where line between {first} and {last}", batch.number);
        let rows = self.one(&format!("select count(*) {found}")).await;
        assert_eq!(rows, self.one::<i64>(&format!("select count(distinct line) {found}")).await);
        rows
    }

    pub async fn report(&self, batch: &Batch) -> String {
        let key = format!("reports/{}/{}/bad-rows.csv", self.tenant, batch.message.batch_id);
        String::from_utf8(self.objects.get(&key).await.unwrap().unwrap().to_vec()).unwrap()
    }

    pub async fn state(&self, batch: &Batch) -> String {
        self.one(&format!("select state from price_batches where number = {}", batch.number)).await
    }

    pub async fn revision(&self) -> i64 {
        self.one("select coalesce(max(revision), 0) from price_revisions where tenant = 'demo'").await
    }

    /// Tables of batches, by number. A table of a batch that has ended is left over.
    pub async fn tables(&self) -> Vec<i32> {
        let sql = "select coalesce(array_agg(substr(relname, 12)::int order by relname), '{}') from pg_class
                   where relname ~ '^price_rows_[0-9]+$'";
        self.one(sql).await
    }
}
