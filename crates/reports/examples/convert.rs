//! Another format from a JSON report: `cargo run -p dunlin-reports --example convert -- html < report.json > report.html`.

use dunlin_reports::{ReportFormat, convert};
use std::io::{BufReader, BufWriter};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let format = ReportFormat::ALL.into_iter().find(|format| format.as_str() == wanted);
    let format = format.ok_or("usage: convert sarif|json|csv|html|junit < report.json")?;
    convert(BufReader::new(std::io::stdin()), format, BufWriter::new(std::io::stdout()), |_| ())?;
    Ok(())
}
