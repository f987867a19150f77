//! Reports, written from the rows of the transaction that ends the scan: once people see the end, the reports are there.

use crate::error::Error;
use dunlin_cloud::ObjectStore;
use dunlin_contracts::{
    api::{FindingView, Target},
    steps::ScanMessage,
};
use dunlin_core::{finding::Rule, keys};
use dunlin_reports::{CsvReport, JsonReport, ReportEngine, ReportFormat, ReportHead, ReportWriter, SarifReport};
use dunlin_store::StoreError;
use futures::{Stream, TryStreamExt};
use std::{fs::File, io::BufWriter, pin::pin};
use tempfile::NamedTempFile;

/// Everything about the scan but its findings.
pub fn head(
    scan: &ScanMessage,
    state: &str,
    track: &str,
    revision: &str,
    engines: Vec<ReportEngine>,
    warnings: Vec<String>,
) -> ReportHead {
    let repository_url = match &scan.request.target {
        Target::Git { url, .. } => Some(url.clone()),
        Target::Upload { .. } => None,
    };
    ReportHead {
        scan_id: scan.scan_id.to_string(),
        repository: scan.repository.clone(),
        repository_url,
        revision: revision.to_owned(),
        track: track.to_owned(),
        state: state.to_owned(),
        started_at: scan.accepted_at,
        // The end is after this.
        duration_ms: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        engines,
        warnings,
    }
}

/// Writes every format in one pass over the findings, then uploads them.
pub async fn write(
    objects: &dyn ObjectStore,
    scan: &ScanMessage,
    head: &ReportHead,
    rules: &[Rule],
    findings: impl Stream<Item = Result<FindingView, StoreError>> + Send,
) -> Result<(), Error> {
    let (sarif, json, csv) = (scratch()?, scratch()?, scratch()?);
    {
        let mut sarif = SarifReport::begin(out(&sarif)?, head)?;
        let mut json = JsonReport::begin(out(&json)?, head)?;
        let mut csv = CsvReport::begin(out(&csv)?)?;
        for rule in rules {
            sarif.rule(rule)?;
            json.rule(rule)?;
            csv.rule(rule)?;
        }
        let mut findings = pin!(findings);
        while let Some(finding) = findings.try_next().await? {
            sarif.finding(&finding)?;
            json.finding(&finding)?;
            csv.finding(&finding)?;
        }
        sarif.finish()?;
        json.finish()?;
        csv.finish()?;
    }
    for (format, file) in [(ReportFormat::Sarif, sarif), (ReportFormat::Json, json), (ReportFormat::Csv, csv)] {
        let key = keys::report(&scan.tenant, scan.scan_id, format.as_str());
        objects.put_file(&key, file.path(), format.content_type()).await?;
    }
    Ok(())
}

/// Whether every report is where people will look for it.
pub async fn all_there(objects: &dyn ObjectStore, scan: &ScanMessage) -> Result<bool, Error> {
    for format in ReportFormat::STORED {
        if objects.head(&keys::report(&scan.tenant, scan.scan_id, format.as_str())).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn scratch() -> Result<NamedTempFile, Error> {
    NamedTempFile::new().map_err(Error::Scratch)
}

fn out(file: &NamedTempFile) -> Result<BufWriter<File>, Error> {
    Ok(BufWriter::new(file.reopen().map_err(Error::Scratch)?))
}
