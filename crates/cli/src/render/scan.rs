//! One scan: how it stands, its counts, what is missing, where to look further.

use super::Style;
use crate::{
    outcome,
    text::{clean, clean_line, count, duration},
};
use dunlin_contracts::{
    api::{JobView, ScanView},
    steps::Summary,
};
use dunlin_core::{finding::Severity, scan::ScanState};
use std::time::Duration;

/// Addresses for people.
pub struct Links {
    pub scan: String,
    pub report: String,
}

/// What is said at the end, below the findings.
pub fn conclusion(scan: &ScanView, links: Option<&Links>, style: Style) -> String {
    let mut lines = vec![title(scan, style)];
    if let Some(reason) = &scan.reason {
        lines.push(format!("  {}", clean_line(reason)));
    }
    if let Some(summary) = &scan.summary {
        lines.push(counts(scan, summary, style));
        lines.extend(known(summary));
    }
    lines.extend(scan.jobs.iter().filter_map(|job| incomplete(job, style)));
    lines.extend(scan.warnings.iter().map(|warning| format!("{} {}", style.yellow("warning:"), clean_line(warning))));
    if let Some(links) = links {
        lines.push(format!("scan:   {}", links.scan));
        if has_report(scan) {
            lines.push(format!("report: {}", links.report));
        }
    }
    lines.join("\n") + "\n"
}

/// Only these ends come with a report.
pub fn has_report(scan: &ScanView) -> bool {
    matches!(outcome::state(scan), Some(ScanState::Complete | ScanState::Partial))
}

fn title(scan: &ScanView, style: Style) -> String {
    let mut title = format!("scan {} of {}", scan.id, style.bold(&clean(&scan.repository)));
    if let Some(track) = &scan.track {
        title.push_str(&format!(" ({}", clean(track)));
        if let Some(revision) = &scan.revision {
            title.push_str(&format!(" at {}", clean(&short(revision))));
        }
        title.push(')');
    }
    title.push_str(&format!(": {}", style.state(&scan.status)));
    if let Some(ended) = scan.ended_at {
        let took = (ended - scan.accepted_at).try_into().unwrap_or(Duration::ZERO);
        title.push_str(&format!(" in {}", duration(took)));
    }
    title
}

/// As much of a commit id as people read.
pub fn short(revision: &str) -> String {
    revision.chars().take(12).collect()
}

fn counts(scan: &ScanView, summary: &Summary, style: Style) -> String {
    let by_severity: Vec<_> = Severity::ALL
        .into_iter()
        .filter_map(|severity| {
            let number = summary.by_severity.get(&severity).copied().filter(|n| *n > 0)?;
            Some(style.severity(severity, &format!("{number} {}", severity.as_str())))
        })
        .collect();
    let mut line = match summary.findings {
        // Incomplete is not clean.
        0 if outcome::state(scan) != Some(ScanState::Complete) => "no findings in what was scanned".to_owned(),
        0 => style.bold("no findings"),
        n => format!("{}: {}", style.bold(&count(n, "finding")), by_severity.join(", ")),
    };
    let advisory = summary.findings.saturating_sub(summary.enforced_by_severity.values().sum());
    if advisory > 0 {
        line.push_str(&format!(" ({advisory} of them advisory)"));
    }
    if summary.new > 0 || summary.fixed > 0 {
        line.push_str(&format!("; {} new, {} fixed", summary.new, summary.fixed));
    }
    line
}

/// What did not have to be computed.
fn known(summary: &Summary) -> Option<String> {
    let Summary { jobs, jobs_cached, .. } = *summary;
    match jobs_cached {
        0 => None,
        n if n == jobs => Some(format!("{n} of {} {} known: no engine ran", count(jobs.into(), "result"), was(jobs))),
        n => Some(format!("{n} of {} {} known already", count(jobs.into(), "result"), was(n))),
    }
}

fn was(number: u32) -> &'static str {
    if number == 1 { "was" } else { "were" }
}

/// What a job did not look at, and why. Incomplete is not clean, so none of them goes unsaid.
fn incomplete(job: &JobView, style: Style) -> Option<String> {
    let outcome = job.outcome.as_deref()?;
    if outcome == "assessed" {
        return None;
    }
    let why = job.error.as_deref().map(|error| format!(": {}", clean_line(error))).unwrap_or_default();
    Some(format!("{} {} {}{why}", style.yellow("incomplete:"), name(job), outcome_in_words(outcome)))
}

/// The engine, and which part of the files when there are several.
pub fn name(job: &JobView) -> String {
    let engine = clean(&job.engine);
    if job.shard_count > 1 {
        format!("{engine} {}/{}", job.shard_index + 1, job.shard_count)
    } else {
        engine.into_owned()
    }
}

/// An outcome may come from a server that knows more of them.
fn outcome_in_words(outcome: &str) -> String {
    dunlin_reports::outcome_in_words(&clean(outcome))
}

/// A job in one line, without its name: what it does, or how it ended.
pub fn job_state(job: &JobView) -> String {
    let mut parts = Vec::new();
    match &job.outcome {
        Some(outcome) => {
            parts.extend(job.cached.then(|| "known".to_owned()));
            // That a known result left files out is as true as when it was new.
            parts.extend((!job.cached || outcome != "assessed").then(|| outcome_in_words(outcome)));
            parts.extend(job.findings.map(|n| count(n, "finding")));
            // A known result took its time once, and not now.
            parts.extend(job.duration_ms.filter(|_| !job.cached).map(|ms| duration(Duration::from_millis(ms))));
        }
        None => {
            parts.push(clean(&job.state).into_owned());
            parts.extend(job.duration_ms.map(|ms| duration(Duration::from_millis(ms))));
        }
    }
    // There is one place where a job of a local scan can run.
    if !job.cached && job.compute != "local" {
        parts.push(clean(&job.compute).into_owned());
    }
    if job.attempt > 1 {
        parts.push(format!("attempt {}", job.attempt));
    }
    parts.join(", ")
}

/// The jobs of a scan, a line each.
pub fn jobs(scan: &ScanView, style: Style) -> String {
    let names: Vec<_> = scan.jobs.iter().map(name).collect();
    let width = super::column(names.iter().map(String::as_str), 30);
    let rows = scan
        .jobs
        .iter()
        .zip(&names)
        .map(|(job, name)| format!("  {}  {}\n", super::pad(name, width), mark(job, style)));
    rows.collect()
}

fn mark(job: &JobView, style: Style) -> String {
    let state = job_state(job);
    match job.outcome.as_deref() {
        Some("assessed") => style.green(&state),
        Some(_) => style.yellow(&state),
        None => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample::{ended, job, scan_with};

    fn links() -> Links {
        Links {
            scan: "https://api.example.com/v1/scans/x".into(),
            report: "https://api.example.com/v1/scans/x/report?format=sarif".into(),
        }
    }

    #[test]
    fn a_complete_scan() {
        let scan = scan_with("complete", &[(Severity::Critical, 1), (Severity::Medium, 11)]);
        insta::assert_snapshot!(conclusion(&scan, Some(&links()), Style::PLAIN), @r#"
        scan 01990000-0000-7000-8000-000000000001 of github.com/acme/shop (main at 0123456789ab): complete in 13.4 s
        12 findings: 1 critical, 11 medium; 2 new, 1 fixed
        scan:   https://api.example.com/v1/scans/x
        report: https://api.example.com/v1/scans/x/report?format=sarif
        "#);
    }

    #[test]
    fn advisory_findings_are_told_apart() {
        let mut scan = scan_with("complete", &[(Severity::High, 3)]);
        if let Some(summary) = &mut scan.summary {
            summary.enforced_by_severity = [(Severity::High, 1)].into();
        }
        let text = conclusion(&scan, Some(&links()), Style::PLAIN);
        assert!(text.contains("3 findings: 3 high (2 of them advisory); 2 new"), "{text}");
    }

    #[test]
    fn everything_known() {
        let mut scan = scan_with("complete", &[]);
        scan.summary = Some(Summary { jobs: 8, jobs_cached: 8, ..Summary::default() });
        insta::assert_snapshot!(conclusion(&scan, Some(&links()), Style::PLAIN), @r#"
        scan 01990000-0000-7000-8000-000000000001 of github.com/acme/shop (main at 0123456789ab): complete in 13.4 s
        no findings
        8 of 8 results were known: no engine ran
        scan:   https://api.example.com/v1/scans/x
        report: https://api.example.com/v1/scans/x/report?format=sarif
        "#);
        scan.summary = Some(Summary { jobs: 8, jobs_cached: 1, ..Summary::default() });
        assert!(conclusion(&scan, Some(&links()), Style::PLAIN).contains("\n1 of 8 results was known already\n"));
    }

    #[test]
    fn a_partial_scan_names_what_is_missing() {
        let mut scan = scan_with("partial", &[(Severity::Low, 1)]);
        scan.reason = Some("2 of 4 jobs did not finish".into());
        scan.warnings = vec![".dunlin.toml line 3, column 1: unknown key \x1b[31m`engine`".into()];
        scan.jobs = vec![
            ended(0, "ruff", 1),
            JobView {
                outcome: Some("timed_out".into()),
                error: Some("no end after 300 s".into()),
                ..job(1, "trivy", "ended")
            },
            JobView {
                outcome: Some("out_of_memory".into()),
                shard_index: 1,
                shard_count: 3,
                ..job(2, "eslint", "ended")
            },
            JobView {
                outcome: Some("partly_assessed".into()),
                error: Some("2 files could not be parsed".into()),
                ..job(3, "zizmor", "ended")
            },
        ];
        insta::assert_snapshot!(conclusion(&scan, Some(&links()), Style::PLAIN), @r#"
        scan 01990000-0000-7000-8000-000000000001 of github.com/acme/shop (main at 0123456789ab): partial in 13.4 s
          2 of 4 jobs did not finish
        1 finding: 1 low; 2 new, 1 fixed
        incomplete: trivy timed out: no end after 300 s
        incomplete: eslint 2/3 ran out of memory
        incomplete: zizmor left files out: 2 files could not be parsed
        warning: .dunlin.toml line 3, column 1: unknown key \u{1b}[31m`engine`
        scan:   https://api.example.com/v1/scans/x
        report: https://api.example.com/v1/scans/x/report?format=sarif
        "#);
        insta::assert_snapshot!(jobs(&scan, Style::PLAIN), @r#"
        ruff        done, 1 finding, 412 ms, lambda
        trivy       timed out, lambda
        eslint 2/3  ran out of memory, lambda
        zizmor      left files out, lambda
        "#);
    }

    #[test]
    fn a_failed_scan_has_no_report() {
        let scan = ScanView {
            summary: None,
            reason: Some("the repository does not exist".into()),
            ..scan_with("failed", &[])
        };
        insta::assert_snapshot!(conclusion(&scan, Some(&links()), Style::PLAIN), @r#"
        scan 01990000-0000-7000-8000-000000000001 of github.com/acme/shop (main at 0123456789ab): failed in 13.4 s
          the repository does not exist
        scan:   https://api.example.com/v1/scans/x
        "#);
    }

    #[test]
    fn jobs_in_every_state() {
        let mut scan = scan_with("running", &[]);
        scan.jobs = vec![
            job(0, "ruff", "queued"),
            JobView { compute: "batch".into(), attempt: 2, ..job(1, "trivy", "starting") },
            job(2, "zizmor", "running"),
            ended(3, "gitleaks", 2),
            JobView { cached: true, ..ended(4, "eslint", 0) },
            JobView { outcome: Some("not_run".into()), ..job(5, "x\x1b[2J", "ended") },
            JobView { cached: true, outcome: Some("partly_assessed".into()), ..ended(6, "foxguard", 0) },
        ];
        insta::assert_snapshot!(jobs(&scan, Style::PLAIN), @r#"
        ruff        queued, lambda
        trivy       starting, batch, attempt 2
        zizmor      running, lambda
        gitleaks    done, 2 findings, 412 ms, lambda
        eslint      known, 0 findings
        x\u{1b}[2J  was not run, lambda
        foxguard    known, left files out, 0 findings
        "#);
    }
}
