//! When a stored result counts. One that is not as it must be is no result: nothing of it is kept, and the job has failed.

use dunlin_contracts::{VERSION, plan::PlannedJob};
use dunlin_core::{
    finding::{Finding, Rule},
    manifest::ResultManifest,
};
use std::collections::HashSet;

/// Longer than any line that a reader writes: message, snippet, path and help are bounded.
pub const MAX_LINE: usize = 1 << 20;
pub const MAX_RULES: usize = 50_000;
pub const MAX_FINDINGS: u64 = 1_000_000;
/// Identifiers are keys of the database's indexes, and those have room for about 2,700 bytes.
const MAX_KEY_BYTES: usize = 1_000;

/// What was found where a job's result should be.
#[derive(Debug)]
pub enum Loaded {
    Result(ResultManifest),
    Missing,
    Unreadable(String),
}

pub fn manifest(manifest: &ResultManifest, job: &PlannedJob) -> Result<(), String> {
    if manifest.version != VERSION {
        return Err(format!("version {} is not known here", manifest.version));
    }
    if manifest.result_key != job.result_key || manifest.engine != job.engine {
        return Err("it is the result of something else".to_owned());
    }
    if !manifest.outcome.has_findings() {
        return Err(format!("its outcome is {}", manifest.outcome.as_str()));
    }
    Ok(())
}

/// An engine speaks for its own rules only.
pub fn rule(rule: &Rule, job: &PlannedJob) -> Result<(), String> {
    let own = rule.id.strip_prefix(&job.engine).is_some_and(|rest| rest.starts_with('/'));
    if own && rule.engine == job.engine && rule.id.len() <= MAX_KEY_BYTES {
        return Ok(());
    }
    Err("it has a rule of another engine, or one whose id is too long".to_owned())
}

pub fn finding(finding: &Finding, rules: &HashSet<String>) -> Result<(), String> {
    if !rules.contains(&finding.rule) {
        return Err("a finding names a rule that is not there".to_owned());
    }
    let key = |text: &String| !text.is_empty() && text.len() <= MAX_KEY_BYTES;
    if !key(&finding.fingerprint) || !key(&finding.content_key) || finding.location.path.is_empty() {
        return Err("a finding has no place or no fingerprint".to_owned());
    }
    Ok(())
}

pub fn count(found: u64, manifest: &ResultManifest) -> Result<(), String> {
    if found == manifest.findings {
        return Ok(());
    }
    Err(format!("it has {found} findings and promises {}", manifest.findings))
}
