//! Merges the stored results of a plan's jobs into one SARIF file, as `dunlin scan --local` does at its end, and prints how many
//! findings that has: `merge <plan.json> <folder with <result key>/result.ndjson.zst> <out.sarif>`. For `make bench`.

use anyhow::{Context, Result, bail};
use dunlin_aggregation::memory::{self, Findings};
use dunlin_contracts::plan::Plan;
use dunlin_core::ResultKey;
use dunlin_reports::{ReportEngine, ReportHead, ReportWriter, SarifReport};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::PathBuf,
};

fn main() -> Result<()> {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [plan, folder, out] = words.as_slice() else { bail!("usage: merge <plan> <folder> <out>") };
    let plan: Plan = serde_json::from_slice(&fs::read(plan)?)?;
    let mut results: HashMap<&ResultKey, Vec<u8>> = HashMap::new();
    for job in &plan.jobs {
        let file = folder.join(job.result_key.as_str()).join("result.ndjson.zst");
        results.insert(&job.result_key, fs::read(&file).with_context(|| file.display().to_string())?);
    }
    let mut all = Vec::new();
    for read in memory::read_all(&plan.jobs, |job| results.get(&job.result_key).map(Vec::as_slice)) {
        all.push(read.context("no result")?.map_err(anyhow::Error::msg)?);
    }
    let engines = plan.jobs.iter().zip(&all).map(|(job, result)| ReportEngine {
        engine: job.engine.clone(),
        version: job.engine_version.clone(),
        outcome: result.manifest.outcome.as_str().to_owned(),
        files: job.files,
        duration_ms: None,
        note: None,
    });
    let head = ReportHead {
        scan_id: plan.scan_id.to_string(),
        repository: "bench".to_owned(),
        repository_url: None,
        revision: plan.revision.clone(),
        track: "main".to_owned(),
        state: "complete".to_owned(),
        started_at: all.first().context("no jobs")?.manifest.finished_at,
        duration_ms: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        engines: engines.collect(),
        warnings: Vec::new(),
    };
    let findings = Findings::collect(plan.repository_id, all);
    let mut report = SarifReport::begin(BufWriter::new(File::create(out)?), &head)?;
    for rule in &findings.rules {
        report.rule(rule)?;
    }
    for finding in &findings.findings {
        report.finding(finding)?;
    }
    report.finish()?;
    writeln!(io::stdout(), "{}", findings.findings.len())?;
    // As there, the process ends without giving back each string.
    let _: &Findings = Box::leak(Box::new(findings));
    Ok(())
}
