use crate::{
    Store, StoreError,
    values::{rank, signed32, text},
};
use bytes::Bytes;
use dunlin_core::finding::{Finding, Rule};
use std::pin::Pin;
use tokio_postgres::{
    CopyInSink,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

/// Takes job results into temporary tables, one job at a time. Nothing of it is seen by anybody, or outlives the connection.
pub struct Loader<'a> {
    store: &'a mut Store,
    /// Numbers findings in the order they came, over all jobs.
    next: i64,
}

/// One job's findings on their way into the database. Dropped without [`FindingSink::finish`], none of them arrives.
pub struct FindingSink<'l> {
    writer: Pin<Box<BinaryCopyInWriter>>,
    next: &'l mut i64,
    job: i32,
    engine: String,
    count: u64,
}

const FINDING_TYPES: [Type; 14] = [
    Type::INT8,
    Type::INT4,
    Type::TEXT,
    Type::TEXT,
    Type::INT2,
    Type::TEXT,
    Type::TEXT,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
];

const RULE_TYPES: [Type; 9] =
    [Type::INT4, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::INT4_ARRAY, Type::INT2, Type::TEXT];

impl Store {
    pub async fn load(&mut self) -> Result<Loader<'_>, StoreError> {
        self.client
            .batch_execute(
                // Large sets are sorted and joined in memory; compiling the few statements takes longer than running them.
                "set jit = off; set work_mem = '64MB'; set temp_buffers = '32MB';
                 drop table if exists pg_temp.incoming, pg_temp.incoming_rules;
                 create temporary table incoming (
                     n bigint not null, job integer not null, engine text not null, rule_id text not null,
                     severity smallint not null, confidence text not null, path text collate \"C\" not null,
                     start_line integer, start_column integer, end_line integer, message text not null, snippet text,
                     fingerprint text not null, content_key text not null
                 );
                 create temporary table incoming_rules (
                     job integer not null, id text not null, engine text not null, name text not null, description text,
                     help_url text, cwe integer[] not null, severity smallint not null, confidence text not null
                 );",
            )
            .await?;
        Ok(Loader { store: self, next: 0 })
    }
}

impl Loader<'_> {
    /// All rules of one job, in one round trip.
    pub async fn add_rules(&mut self, job: u32, rules: &[Rule]) -> Result<(), StoreError> {
        if rules.is_empty() {
            return Ok(());
        }
        let sink: CopyInSink<Bytes> = self
            .store
            .client
            .copy_in(
                "copy incoming_rules (job, id, engine, name, description, help_url, cwe, severity, confidence) from stdin binary",
            )
            .await?;
        let mut writer = Box::pin(BinaryCopyInWriter::new(sink, &RULE_TYPES));
        for rule in rules {
            let cwe: Vec<i32> = rule.cwe.iter().map(|n| signed32(*n)).collect();
            let row: [&(dyn ToSql + Sync); 9] = [
                &signed32(job),
                &text(&rule.id),
                &text(&rule.engine),
                &text(&rule.name),
                &rule.description.as_deref().map(text),
                &rule.help_url.as_deref().map(text),
                &cwe,
                &rank(rule.severity),
                &rule.confidence.as_str(),
            ];
            writer.as_mut().write(&row).await?;
        }
        writer.as_mut().finish().await?;
        Ok(())
    }

    /// Opens the way for the findings of `job`.
    pub async fn findings(&mut self, job: u32, engine: &str) -> Result<FindingSink<'_>, StoreError> {
        let sink: CopyInSink<Bytes> = self
            .store
            .client
            .copy_in(
                "copy incoming (n, job, engine, rule_id, severity, confidence, path, start_line, start_column, end_line,
                                message, snippet, fingerprint, content_key) from stdin binary",
            )
            .await?;
        Ok(FindingSink {
            writer: Box::pin(BinaryCopyInWriter::new(sink, &FINDING_TYPES)),
            next: &mut self.next,
            job: signed32(job),
            engine: engine.to_owned(),
            count: 0,
        })
    }

    /// Forgets what `job` has brought, because its result turned out to be unreadable.
    pub async fn discard(&mut self, job: u32) -> Result<(), StoreError> {
        for statement in ["delete from incoming where job = $1", "delete from incoming_rules where job = $1"] {
            self.store.client.execute(statement, &[&signed32(job)]).await?;
        }
        Ok(())
    }
}

impl FindingSink<'_> {
    pub async fn push(&mut self, finding: &Finding) -> Result<(), StoreError> {
        let at = &finding.location;
        let number = |n: Option<u32>| n.map(signed32);
        let (line, column, end) = (number(at.start_line), number(at.start_column), number(at.end_line));
        let row: [&(dyn ToSql + Sync); 14] = [
            &*self.next,
            &self.job,
            &self.engine,
            &text(&finding.rule),
            &rank(finding.severity),
            &finding.confidence.as_str(),
            &text(&at.path),
            &line,
            &column,
            &end,
            &text(&finding.message),
            &finding.snippet.as_deref().map(text),
            &text(&finding.fingerprint),
            &text(&finding.content_key),
        ];
        self.writer.as_mut().write(&row).await?;
        *self.next += 1;
        self.count += 1;
        Ok(())
    }

    /// How many findings arrived.
    pub async fn finish(mut self) -> Result<u64, StoreError> {
        self.writer.as_mut().finish().await?;
        Ok(self.count)
    }
}
