//! Following a scan to its end and telling its result: what `scan` and `show` have in common.

use crate::{
    api::Api,
    args::{FollowArgs, ResultArgs},
    follow::{self, End, Pace},
    http, interrupt,
    outcome::{self, Outcome},
    render::{self, Style, live::Progress, scan::Links},
    terminal::Terminal,
    text, transfer,
};
use anyhow::{Context, anyhow};
use dunlin_contracts::api::{FindingView, ScanView};
use dunlin_reports::{ReportError, ReportFormat};
use std::{
    io::{self, IsTerminal, Seek, Write},
    path::Path,
};
use uuid::Uuid;

pub fn links(api: &Api, id: Uuid) -> Links {
    let id = id.to_string();
    Links {
        scan: api.link(&["v1", "scans", &id], &[]).to_string(),
        report: api.link(&["v1", "scans", &id, "report"], &[("format", "sarif".to_owned())]).to_string(),
    }
}

/// Waits for the end of the scan and tells it.
pub async fn follow_and_tell(
    api: &Api,
    id: Uuid,
    how: &FollowArgs,
    result: &ResultArgs,
    terminal: &Terminal,
) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new(terminal, id, !how.no_progress);
    let end = follow::follow(api, id, Pace::default(), how.timeout, interrupt::listen(), &mut progress).await;
    progress.finish();
    match end
        .with_context(|| format!("scan {id} cannot be followed; it may still be running (dunlin show {id} --follow)"))?
    {
        End::Ended(scan) => tell(api, &scan, result, terminal).await,
        End::OutOfTime => {
            terminal.warning(&format!(
                "scan {id} has not ended in time and goes on; come back with `dunlin show {id} --follow`"
            ));
            Ok(Outcome::Incomplete)
        }
    }
}

/// Prints the result as asked for, and says by the outcome what it means.
pub async fn tell(api: &Api, scan: &ScanView, result: &ResultArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let links = links(api, scan.id);
    match result.format.report() {
        None => {
            let findings = if render::scan::has_report(scan) {
                api.findings(scan.id).await.context("the findings cannot be read")?
            } else {
                Vec::new()
            };
            tell_people(scan, &findings, Some(&links), result, terminal)?;
        }
        Some(format) => {
            if render::scan::has_report(scan) {
                save_report(api, scan, format, result.output.as_deref()).await?;
            }
            terminal.note(render::scan::conclusion(scan, Some(&links), terminal.err).trim_end());
        }
    }
    Ok(judge(scan, result, terminal))
}

/// The table, and what is below it.
pub fn tell_people(
    scan: &ScanView,
    findings: &[FindingView],
    links: Option<&Links>,
    result: &ResultArgs,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let render = |style: Style| {
        let jobs = if outcome::has_ended(scan) { String::new() } else { render::scan::jobs(scan, style) };
        [render::findings::findings(findings, style), jobs, render::scan::conclusion(scan, links, style)].concat()
    };
    match &result.output {
        None => terminal.print(&render(terminal.out)).context("the result could not be printed"),
        Some(path) => {
            write_file(path, |file| Ok(file.write_all(render(Style::PLAIN).as_bytes())?))?;
            terminal.note(&render::scan::conclusion(scan, links, terminal.err));
            Ok(())
        }
    }
}

/// What the result means, and why.
pub fn judge(scan: &ScanView, result: &ResultArgs, terminal: &Terminal) -> Outcome {
    let judged = outcome::judge(scan, result.fail_on);
    if let (Outcome::Findings, None, Some(least)) = (judged, result.fail_on, scan.fail_on) {
        // Nobody asked on the command line, so the exit code needs a reason.
        terminal.note(&format!(
            "findings of severity {} or higher: fail_on in the repository's .dunlin.toml",
            least.as_str()
        ));
    }
    if judged == Outcome::Error {
        let reason = scan.reason.as_deref().unwrap_or("the server gives no reason");
        terminal.error(&anyhow!("the scan failed: {reason}"));
    }
    judged
}

async fn save_report(api: &Api, scan: &ScanView, format: ReportFormat, output: Option<&Path>) -> anyhow::Result<()> {
    // Whole or not at all: half a SARIF file would be worse than none.
    let mut file = output.map(beside).transpose()?;
    let mut stdout = io::stdout();
    // A program that reads it gets the bytes; a terminal would obey what a file's name says.
    let mut safe = stdout.is_terminal().then(|| text::Cleaning::new(io::stdout()));
    let sink: &mut dyn Write = match (&mut file, &mut safe) {
        (Some(file), _) => file,
        (None, Some(safe)) => safe,
        (None, None) => &mut stdout,
    };
    if ReportFormat::STORED.contains(&format) {
        fetch(api, scan.id, format, sink).await?;
    } else {
        // The server does not keep this one, so it is made here of the one that has everything.
        let mut json = tempfile::tempfile().context("there is no room for a temporary file")?;
        fetch(api, scan.id, ReportFormat::Json, &mut json).await?;
        json.rewind().context("the report cannot be read")?;
        convert(json, scan, format, sink)?;
    }
    if let Some(safe) = safe {
        safe.finish().context("the report could not be written")?;
    }
    match (file, output) {
        (Some(file), Some(path)) => keep(file, path),
        _ => Ok(()),
    }
}

async fn fetch(api: &Api, id: Uuid, format: ReportFormat, sink: &mut dyn Write) -> anyhow::Result<()> {
    let address = api.report_address(id, format.as_str()).await.context("the report cannot be had")?;
    transfer::fetch(&http::transfer_client()?, &address, sink).await?;
    Ok(())
}

fn convert(json: impl io::Read, scan: &ScanView, format: ReportFormat, sink: &mut dyn Write) -> anyhow::Result<()> {
    let took = scan.ended_at.and_then(|ended| u64::try_from((ended - scan.accepted_at).whole_milliseconds()).ok());
    let written = dunlin_reports::convert(io::BufReader::new(json), format, io::BufWriter::new(sink), |head| {
        head.duration_ms = head.duration_ms.or(took);
    });
    match written {
        // A reader that has seen enough (`| head`) is no error.
        Err(ReportError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.with_context(|| format!("the {} report cannot be made", format.as_str())),
    }
}

pub fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut tempfile::NamedTempFile) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut file = beside(path)?;
    fill(&mut file).with_context(|| format!("{} cannot be written", text::clean(&path.to_string_lossy())))?;
    keep(file, path)
}

fn beside(path: &Path) -> anyhow::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // A report is no secret of its writer; the user's umask decides, as for any file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.prefix(".dunlin-").tempfile_in(folder).with_context(|| format!("{} cannot be written", path.display()))
}

fn keep(file: tempfile::NamedTempFile, path: &Path) -> anyhow::Result<()> {
    file.persist(path).map_err(|error| error.error).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(())
}
