//! How long engines took on this repository before: the results of the last plan tell, and a guess from sizes is only for the
//! first time.

use crate::error::Error;
use dunlin_cloud::ObjectStore;
use dunlin_contracts::plan::PlannedJob;
use dunlin_core::{
    RepositoryId, ResultKey, TenantId, keys,
    manifest::{ResultLine, ResultManifest},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
};
use tokio_util::io::SyncIoBridge;

/// More than a manifest line ever has.
const MAX_LINE: u64 = 64 * 1024;

/// The jobs of the last plan of a repository, by engine.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History(BTreeMap<String, Vec<Past>>);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Past {
    result_key: ResultKey,
    bytes: u64,
}

impl History {
    pub fn of(jobs: &[PlannedJob]) -> Self {
        let mut engines = BTreeMap::<String, Vec<Past>>::new();
        for job in jobs {
            let past = Past { result_key: job.result_key.clone(), bytes: job.bytes };
            engines.entry(job.engine.clone()).or_default().push(past);
        }
        Self(engines)
    }

    /// None when there was no plan. One that cannot be read is as good as none: it only serves a guess.
    pub async fn read(objects: &dyn ObjectStore, tenant: &TenantId, repository: RepositoryId) -> Result<Self, Error> {
        let key = keys::plan_history(tenant, repository);
        let Some(bytes) = objects.get(&key).await? else { return Ok(Self::default()) };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, object.key = key, "the history cannot be read; sizes decide");
            Self::default()
        }))
    }

    /// Seconds that `engine` will take for `bytes`, at the speed it had. None when it left no result.
    pub async fn seconds(
        &self,
        objects: &dyn ObjectStore,
        tenant: &TenantId,
        engine: &str,
        bytes: u64,
    ) -> Result<Option<u32>, Error> {
        let (mut took_ms, mut read) = (0_u64, 0_u64);
        for past in self.0.get(engine).into_iter().flatten() {
            if let Some(manifest) = manifest(objects, tenant, &past.result_key).await? {
                took_ms += manifest.duration_ms;
                read += past.bytes.max(1);
            }
        }
        if read == 0 {
            return Ok(None);
        }
        let seconds = took_ms as f64 / 1000.0 * bytes as f64 / read as f64;
        Ok(Some(seconds.ceil().min(f64::from(u32::MAX)) as u32))
    }
}

/// First line of a stored result.
async fn manifest(
    objects: &dyn ObjectStore,
    tenant: &TenantId,
    key: &ResultKey,
) -> Result<Option<ResultManifest>, Error> {
    let Some((_, reader)) = objects.get_stream(&keys::result(tenant, key)).await? else { return Ok(None) };
    let bridge = SyncIoBridge::new(reader);
    let line = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut line = String::new();
        BufReader::new(zstd::Decoder::new(bridge)?.take(MAX_LINE)).read_line(&mut line)?;
        Ok(line)
    })
    .await
    .map_err(std::io::Error::other)
    .and_then(|line| line);
    Ok(match line.map(|line| serde_json::from_str(&line)) {
        Ok(Ok(ResultLine::Manifest(manifest))) => Some(manifest),
        // The aggregator tells of results that cannot be read; here they only mean that nothing is known.
        _ => None,
    })
}
