//! How long engines took on a tree, and how much memory, so that the longest one is started first.

use dunlin_core::manifest::ResultManifest;
use dunlin_engines::EngineManifest;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// By engine.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History(BTreeMap<String, Past>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    pub duration_ms: u64,
    pub bytes: u64,
    pub peak_memory_bytes: u64,
}

impl History {
    /// It only serves a guess: what cannot be read is as good as nothing.
    pub fn load(file: &Path) -> Self {
        std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn note(&mut self, manifest: &ResultManifest, bytes: u64) {
        let past = Past { duration_ms: manifest.duration_ms, bytes, peak_memory_bytes: manifest.peak_memory_bytes };
        self.0.insert(manifest.engine.clone(), past);
    }

    /// How long `engine` will take for `bytes`: at the speed it had, else as its manifest guesses.
    pub fn estimate(&self, engine: &EngineManifest, bytes: u64) -> Duration {
        match self.0.get(&engine.name) {
            Some(past) if past.bytes > 0 => {
                let ratio = bytes as f64 / past.bytes as f64;
                // The start of an engine takes its time whatever there is to read.
                Duration::from_secs_f64(past.duration_ms as f64 / 1000.0 * ratio.clamp(0.2, 50.0))
            }
            _ => {
                let estimate = &engine.limits.estimate;
                let reading = bytes as f64 / estimate.bytes_per_second.max(1) as f64;
                Duration::from_secs_f64((estimate.seconds_fixed + reading).clamp(0.0, 1e6))
            }
        }
    }

    /// The most memory that it had, in bytes.
    pub fn peak(&self, engine: &str) -> Option<u64> {
        self.0.get(engine).map(|past| past.peak_memory_bytes).filter(|peak| *peak > 0)
    }
}
