//! How long engines took on this repository before: the results of the last plans tell, and a guess from sizes is only for the
//! first time.

use crate::error::Error;
use dunlin_cloud::ObjectStore;
use dunlin_contracts::plan::PlannedJob;
use dunlin_core::{
    RepositoryId, ResultKey, TenantId, keys,
    manifest::{ResultLine, ResultManifest},
};
use dunlin_engines::EngineManifest;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
};
use tokio_util::io::SyncIoBridge;

/// More than a manifest line ever has.
const MAX_LINE: u64 = 64 * 1024;

/// Plans of an engine that are remembered. The newest one has no result while its jobs run, and none for ever when they failed.
const PLANS: usize = 3;

/// Up to so many times the bytes that were measured, an engine's speed is taken for constant.
const FAR: f64 = 10.0;

/// The jobs of the last plans of a repository, by engine, the newest plan first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History(BTreeMap<String, Vec<Vec<Past>>>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Past {
    result_key: ResultKey,
    bytes: u64,
}

impl History {
    /// With one more plan. The same plan again changes nothing, so that a planner that runs twice decides twice the same; engines that
    /// are not in it keep what they had.
    pub fn with(mut self, jobs: &[PlannedJob]) -> Self {
        let mut engines = BTreeMap::<&str, Vec<Past>>::new();
        for job in jobs {
            let past = Past { result_key: job.result_key.clone(), bytes: job.bytes };
            engines.entry(&job.engine).or_default().push(past);
        }
        for (engine, plan) in engines {
            let plans = self.0.entry(engine.to_owned()).or_default();
            plans.retain(|known| *known != plan);
            plans.insert(0, plan);
            plans.truncate(PLANS);
        }
        self
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

    /// Seconds that `engine` will take for `bytes`, by the newest plan that left results. None when there is none.
    pub async fn seconds(
        &self,
        objects: &dyn ObjectStore,
        tenant: &TenantId,
        engine: &EngineManifest,
        bytes: u64,
    ) -> Result<Option<u32>, Error> {
        for plan in self.0.get(&engine.name).into_iter().flatten() {
            let mut measured = Measured::default();
            for past in plan {
                if let Some(manifest) = manifest(objects, tenant, &past.result_key).await? {
                    measured.add(manifest.duration_ms, past.bytes);
                }
            }
            if measured.runs > 0 {
                return Ok(Some(measured.seconds(engine, bytes)));
            }
        }
        Ok(None)
    }
}

#[derive(Debug, Default)]
struct Measured {
    runs: u32,
    took_ms: u64,
    bytes: u64,
}

impl Measured {
    fn add(&mut self, took_ms: u64, bytes: u64) {
        self.runs += 1;
        self.took_ms += took_ms;
        self.bytes += bytes.max(1);
    }

    /// What an engine takes to start does not grow with the files; the rest does, as far as the measurement reaches. For far
    /// more bytes than were measured, the guess from sizes counts as well: a few of them tell little of the speed.
    fn seconds(&self, engine: &EngineManifest, bytes: u64) -> u32 {
        let runs = f64::from(self.runs);
        let mean = self.took_ms as f64 / 1000.0 / runs;
        let fixed = engine.limits.estimate.seconds_fixed.min(mean);
        let factor = bytes as f64 / (self.bytes as f64 / runs);
        let seconds = (fixed + (mean - fixed) * factor.min(FAR)).ceil().min(f64::from(u32::MAX)) as u32;
        if factor > FAR { seconds.max(engine.estimate_seconds(bytes)) } else { seconds }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts in 3 s and reads 300,000 bytes a second, by its manifest.
    fn eslint() -> &'static EngineManifest {
        let engine = dunlin_engines::find("eslint").unwrap();
        assert_eq!((engine.limits.estimate.seconds_fixed, engine.limits.estimate.bytes_per_second), (3.0, 300_000));
        engine
    }

    fn seconds(runs: &[(u64, u64)], bytes: u64) -> u32 {
        let mut measured = Measured::default();
        runs.iter().for_each(|(took_ms, read)| measured.add(*took_ms, *read));
        measured.seconds(eslint(), bytes)
    }

    #[test]
    fn the_start_of_an_engine_does_not_grow_with_the_files() {
        // One small file took 1.5 s, all of it the start: 200 times the bytes are no five minutes.
        assert_eq!(seconds(&[(1_500, 100)], 20_000), 4);
        assert_eq!(seconds(&[(13_000, 1_000_000)], 2_000_000), 23);
        assert_eq!(seconds(&[(13_000, 1_000_000)], 100_000), 4);
    }

    #[test]
    fn far_beyond_what_was_measured_the_guess_counts_too() {
        assert_eq!(seconds(&[(1_500, 100)], 300_000_000), 1_003);
        assert_eq!(seconds(&[(103_000, 1_000)], 1_000_000_000), 3_337, "not 100 s for each further 1,000 bytes");
        assert_eq!(seconds(&[(103_000, 1_000)], 100_000), 1_003, "ten times what was over the start");
    }

    #[test]
    fn shards_are_measured_together() {
        assert_eq!(seconds(&[(5_000, 1_000), (9_000, 3_000)], 2_000), 7);
    }
}
