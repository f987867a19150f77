//! The file that a job leaves: manifest line, rules, findings.

use dunlin_core::manifest::{ResultLine, ResultManifest};
use dunlin_engines::Report;
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

pub fn write(into: &Path, manifest: ResultManifest, report: Report) -> io::Result<()> {
    let file = File::create_new(into)?;
    let mut out = zstd::Encoder::new(BufWriter::new(file), 3)?;
    let mut line = |line: ResultLine| -> io::Result<()> {
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")
    };
    line(ResultLine::Manifest(manifest))?;
    for rule in report.rules {
        line(ResultLine::Rule(rule))?;
    }
    for finding in report.findings {
        line(ResultLine::Finding(finding))?;
    }
    out.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}
