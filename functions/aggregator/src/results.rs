//! Reads one job's result into the database, as a stream. A result that is not as it must be is no result: nothing of it is kept
//! and the job has failed, with the reason.

use crate::{
    error::Error,
    lines::{LineError, Lines},
};
use dunlin_cloud::ObjectStore;
use dunlin_contracts::{VERSION, plan::PlannedJob};
use dunlin_core::{
    TenantId,
    finding::{Finding, Rule},
    keys,
    manifest::{ResultLine, ResultManifest},
};
use dunlin_store::Loader;
use std::collections::HashSet;

/// Longer than any line that a reader writes: message, snippet, path and help are bounded.
const MAX_LINE: usize = 1 << 20;
const MAX_RULES: usize = 50_000;
const MAX_FINDINGS: u64 = 1_000_000;
/// Identifiers are keys of the database's indexes, and those have room for about 2,700 bytes.
const MAX_KEY_BYTES: usize = 1_000;

#[derive(Debug)]
pub enum Loaded {
    Result(ResultManifest),
    Missing,
    Unreadable(String),
}

/// Why a stream of lines is given up.
enum Stop {
    Corrupt(String),
    Error(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl From<LineError> for Stop {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Storage(e) => Self::Error(Error::StorageStream(e)),
            LineError::Corrupt(what) => Self::Corrupt(what.to_owned()),
        }
    }
}

pub async fn load(
    objects: &dyn ObjectStore,
    tenant: &TenantId,
    job: &PlannedJob,
    loader: &mut Loader<'_>,
) -> Result<Loaded, Error> {
    let Some((_, reader)) = objects.get_stream(&keys::result(tenant, &job.result_key)).await? else {
        return Ok(Loaded::Missing);
    };
    let lines = Lines::new(reader, MAX_LINE).map_err(Error::StorageStream)?;
    match copy(lines, job, loader).await {
        Ok(manifest) => Ok(Loaded::Result(manifest)),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Corrupt(what)) => {
            loader.discard(job.job).await?;
            Ok(Loaded::Unreadable(what))
        }
    }
}

async fn copy(mut lines: Lines, job: &PlannedJob, loader: &mut Loader<'_>) -> Result<ResultManifest, Stop> {
    let manifest = match next(&mut lines).await? {
        Some(ResultLine::Manifest(manifest)) => manifest,
        _ => return Err(corrupt("it does not begin with its manifest")),
    };
    check_manifest(&manifest, job)?;

    let mut rules = HashSet::new();
    let mut first = None;
    while let Some(line) = next(&mut lines).await? {
        match line {
            ResultLine::Rule(rule) => {
                check_rule(&rule, job)?;
                if rules.len() >= MAX_RULES {
                    return Err(corrupt(format!("it has more than {MAX_RULES} rules")));
                }
                loader.add_rule(job.job, &rule).await?;
                rules.insert(rule.id);
            }
            ResultLine::Finding(finding) => {
                first = Some(finding);
                break;
            }
            ResultLine::Manifest(_) => return Err(corrupt("it has two manifests")),
        }
    }

    let mut sink = loader.findings(job.job, &job.engine).await?;
    let mut count = 0;
    while let Some(finding) = first.take() {
        check_finding(&finding, &rules)?;
        sink.push(&finding).await?;
        count += 1;
        if count > MAX_FINDINGS {
            return Err(corrupt(format!("it has more than {MAX_FINDINGS} findings")));
        }
        first = match next(&mut lines).await? {
            None => None,
            Some(ResultLine::Finding(finding)) => Some(finding),
            Some(_) => return Err(corrupt("its lines are out of order")),
        };
    }
    if count != manifest.findings {
        return Err(corrupt(format!("it has {count} findings and promises {}", manifest.findings)));
    }
    sink.finish().await?;
    Ok(manifest)
}

async fn next(lines: &mut Lines) -> Result<Option<ResultLine>, Stop> {
    match lines.next().await? {
        None => Ok(None),
        // What is wrong with the line is not told: it would quote the scanned code.
        Some(line) => serde_json::from_slice(line).map(Some).map_err(|_| corrupt("a line is not readable")),
    }
}

fn check_manifest(manifest: &ResultManifest, job: &PlannedJob) -> Result<(), Stop> {
    if manifest.version != VERSION {
        return Err(corrupt(format!("version {} is not known here", manifest.version)));
    }
    if manifest.result_key != job.result_key || manifest.engine != job.engine {
        return Err(corrupt("it is the result of something else"));
    }
    if !manifest.outcome.has_findings() {
        return Err(corrupt(format!("its outcome is {}", manifest.outcome.as_str())));
    }
    Ok(())
}

/// An engine speaks for its own rules only.
fn check_rule(rule: &Rule, job: &PlannedJob) -> Result<(), Stop> {
    let own = rule.id.strip_prefix(&job.engine).is_some_and(|rest| rest.starts_with('/'));
    if own && rule.engine == job.engine && rule.id.len() <= MAX_KEY_BYTES {
        return Ok(());
    }
    Err(corrupt("it has a rule of another engine, or one whose id is too long"))
}

fn check_finding(finding: &Finding, rules: &HashSet<String>) -> Result<(), Stop> {
    if !rules.contains(&finding.rule) {
        return Err(corrupt("a finding names a rule that is not there"));
    }
    let key = |text: &String| !text.is_empty() && text.len() <= MAX_KEY_BYTES;
    if !key(&finding.fingerprint) || !key(&finding.content_key) || finding.location.path.is_empty() {
        return Err(corrupt("a finding has no place or no fingerprint"));
    }
    Ok(())
}

fn corrupt(what: impl Into<String>) -> Stop {
    Stop::Corrupt(what.into())
}
