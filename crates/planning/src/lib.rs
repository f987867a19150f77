//! The decisions of a scan, without any input or output: engines, shards, result keys, compute, size.

use dunlin_contracts::plan::{MAX_JOBS, PlannedJob};
use dunlin_core::{
    ResultKey,
    job::{Compute, Size},
    manifest::{Skipped, SnapshotFile},
    owner_config::{self, OwnerConfig},
    selection::{BadPattern, InputDigest, Selection, Shard},
};
use dunlin_engines::EngineManifest;

/// More shards than this of one engine do not pay: each unpacks the snapshot anew.
const MAX_SHARDS: u32 = 16;

/// Part of every result key. Raise it when the meaning of a stored result changes.
const RESULT_VERSION: &str = "dunlin result 1";

/// A job before anybody knows whether its result is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft<'e> {
    pub engine: &'e EngineManifest,
    pub selection: Selection,
    pub files: u64,
    pub bytes: u64,
    pub input_digest: String,
    pub result_key: ResultKey,
    pub compute: Compute,
    pub size: Size,
    pub timeout_seconds: u32,
}

impl Draft<'_> {
    /// The job as the plan has it. `cached`: its result is stored.
    pub fn planned(&self, job: u32, cached: bool, compute: Compute) -> PlannedJob {
        PlannedJob {
            job,
            engine: self.engine.name.clone(),
            engine_version: self.engine.version.clone(),
            advisory: self.engine.advisory,
            selection: self.selection.clone(),
            files: self.files,
            bytes: self.bytes,
            input_digest: self.input_digest.clone(),
            result_key: self.result_key.clone(),
            cached,
            compute,
            size: self.size,
            timeout_seconds: self.timeout_seconds,
        }
    }
}

#[derive(Debug, Default, PartialEq)]
pub struct Drafts<'e> {
    pub jobs: Vec<Draft<'e>>,
    /// Engines that may run and select no file.
    pub nothing_to_read: Vec<String>,
    pub warnings: Vec<String>,
}

/// `asked` are the engines of the request; they go before those of the owner.
pub fn plan<'e>(
    engines: &'e [EngineManifest],
    files: &[SnapshotFile],
    asked: Option<&[String]>,
    owner: &OwnerConfig,
    lambda_threshold_seconds: u32,
) -> Result<Drafts<'e>, BadPattern> {
    let mut drafts = Drafts::default();
    let named = asked.or(owner.engines.as_deref());
    let most_shards = u32::try_from(MAX_JOBS / engines.len().max(1)).unwrap_or(1).clamp(1, MAX_SHARDS);
    for engine in engines {
        let options = owner.engine.get(&engine.name).copied().unwrap_or_default();
        let wanted = match named {
            Some(names) => names.contains(&engine.name),
            None => options.enabled.unwrap_or(true),
        };
        if !wanted {
            continue;
        }
        let jobs = jobs_of(engine, files, owner, most_shards, lambda_threshold_seconds)?;
        if jobs.is_empty() {
            drafts.nothing_to_read.push(engine.name.clone());
            if asked.is_some() {
                drafts.warnings.push(format!("{} was asked for, but there is no file that it reads", engine.name));
            }
        }
        if options.compute == Some(Compute::Lambda) && !engine.limits.lambda {
            drafts.warnings.push(format!("{} cannot run on lambda; it runs on batch", engine.name));
        }
        drafts.jobs.extend(jobs);
    }
    Ok(drafts)
}

fn jobs_of<'e>(
    engine: &'e EngineManifest,
    files: &[SnapshotFile],
    owner: &OwnerConfig,
    most_shards: u32,
    lambda_threshold_seconds: u32,
) -> Result<Vec<Draft<'e>>, BadPattern> {
    let mut selection = Selection {
        include: engine.reads.include.clone(),
        exclude: engine.reads.exclude.iter().chain(&owner.exclude).cloned().collect(),
        shard: Shard::WHOLE,
    };
    let whole = selection.compile()?;
    let selected: Vec<_> = files.iter().filter(|file| whole.selects(&file.path)).collect();
    let count = shards(selected.len(), engine.limits.shard, most_shards);
    let mut jobs = Vec::new();
    for index in 0..count {
        selection.shard = Shard { index, count };
        let selector = selection.compile()?;
        let mut digest = InputDigest::default();
        let mut bytes = 0;
        for file in selected.iter().filter(|file| selector.selects(&file.path)) {
            digest.add(&file.path, &file.sha256);
            bytes += file.size;
        }
        if digest.files() == 0 {
            continue;
        }
        let files = digest.files();
        let input_digest = digest.finish();
        let result_key =
            ResultKey::of_parts([RESULT_VERSION.as_bytes(), engine.identity().as_bytes(), input_digest.as_bytes()]);
        let options = owner.engine.get(&engine.name).copied().unwrap_or_default();
        jobs.push(Draft {
            engine,
            selection: selection.clone(),
            files,
            bytes,
            input_digest,
            result_key,
            compute: compute(engine, bytes, options.compute, lambda_threshold_seconds),
            size: engine.limits.size,
            timeout_seconds: options.timeout_seconds.unwrap_or(engine.limits.timeout_seconds),
        });
    }
    Ok(jobs)
}

/// `per_shard` of 0: the engine needs all files at once.
fn shards(files: usize, per_shard: u32, most: u32) -> u32 {
    if per_shard == 0 {
        return 1;
    }
    u32::try_from(files.div_ceil(per_shard as usize)).unwrap_or(most).clamp(1, most)
}

fn compute(engine: &EngineManifest, bytes: u64, wish: Option<Compute>, threshold_seconds: u32) -> Compute {
    if !engine.limits.lambda {
        return Compute::Batch;
    }
    match wish {
        Some(wish) => wish,
        None if engine.estimate_seconds(bytes) < threshold_seconds => Compute::Lambda,
        None => Compute::Batch,
    }
}

/// The owner's wishes. Of a file that cannot be used, the defaults and a warning.
pub fn owner(text: &str, engines: &[EngineManifest], warnings: &mut Vec<String>) -> OwnerConfig {
    owner_config::parse(text, |name| engines.iter().any(|e| e.name == name)).unwrap_or_else(|fault| {
        warnings.push(format!("{fault}; the defaults apply"));
        OwnerConfig::default()
    })
}

/// Files that are there and are not in the snapshot, and whether there are more than are named.
pub fn unread(skipped: &[Skipped], skipped_total: u64) -> (Vec<String>, bool) {
    let named: Vec<_> = skipped.iter().filter(|path| path.reason.hides_code()).map(|path| path.path.clone()).collect();
    // They are named before all others.
    let more = named.len() == skipped.len() && skipped_total > skipped.len() as u64;
    (named, more)
}

/// What was left out of the snapshot, in one sentence a reason.
pub fn left_out(skipped: &[Skipped], skipped_total: u64) -> Vec<String> {
    let mut counts = std::collections::BTreeMap::<String, (u64, &str)>::new();
    for path in skipped {
        let reason = serde_json::to_value(path.reason).ok().and_then(|v| v.as_str().map(str::to_owned));
        counts.entry(reason.unwrap_or_default()).or_insert((0, &path.path)).0 += 1;
    }
    let mut warnings: Vec<String> = counts
        .into_iter()
        .map(|(reason, (n, first))| {
            let words = reason.replace('_', " ");
            if n == 1 {
                format!("not scanned ({words}): {first}")
            } else {
                format!("{n} paths not scanned ({words}), the first is {first}")
            }
        })
        .collect();
    let untold = skipped_total.saturating_sub(skipped.len() as u64);
    if untold > 0 {
        warnings.push(format!("{untold} more paths not scanned"));
    }
    warnings
}

#[cfg(test)]
mod tests;
