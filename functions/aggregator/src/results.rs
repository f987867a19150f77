//! Reads one job's result into the database, as a stream. A result that is not as it must be is no result: nothing of it is kept
//! and the job has failed, with the reason.

use crate::{
    error::Error,
    lines::{LineError, Lines},
};
use dunlin_aggregation::check::{self, Loaded, MAX_FINDINGS, MAX_LINE, MAX_RULES};
use dunlin_cloud::ObjectStore;
use dunlin_contracts::plan::PlannedJob;
use dunlin_core::{
    TenantId, keys,
    manifest::{ResultLine, ResultManifest},
};
use dunlin_store::Loader;
use std::collections::HashSet;

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
    check::manifest(&manifest, job).map_err(corrupt)?;

    let mut rules = Vec::new();
    let mut first = None;
    while let Some(line) = next(&mut lines).await? {
        match line {
            ResultLine::Rule(rule) => {
                check::rule(&rule, job).map_err(corrupt)?;
                if rules.len() >= MAX_RULES {
                    return Err(corrupt(format!("it has more than {MAX_RULES} rules")));
                }
                rules.push(rule);
            }
            ResultLine::Finding(finding) => {
                first = Some(finding);
                break;
            }
            ResultLine::Manifest(_) => return Err(corrupt("it has two manifests")),
        }
    }

    loader.add_rules(job.job, &rules).await?;
    let rules: HashSet<String> = rules.into_iter().map(|rule| rule.id).collect();
    let mut sink = loader.findings(job.job, &job.engine).await?;
    let mut count = 0;
    while let Some(finding) = first.take() {
        check::finding(&finding, &rules).map_err(corrupt)?;
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
    check::count(count, &manifest).map_err(corrupt)?;
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

fn corrupt(what: impl Into<String>) -> Stop {
    Stop::Corrupt(what.into())
}
