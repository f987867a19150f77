//! Scans as a table.

use super::{Style, column, pad, scan::short};
use crate::text::clean;
use dunlin_contracts::api::ScanView;
use time::macros::format_description;

pub fn scans(scans: &[ScanView], style: Style) -> String {
    if scans.is_empty() {
        return "no scans\n".to_owned();
    }
    let heading = ["id", "state", "findings", "accepted (utc)", "repository"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(heading).chain(scans.iter().map(row)).collect();
    let widths: Vec<_> = (0..5).map(|i| column(rows.iter().map(|row| row[i].as_str()), 60)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let mut cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        if number > 0 {
            let padding = " ".repeat(widths[1].saturating_sub(console::measure_text_width(&row[1])));
            cells[1] = format!("{}{padding}", style.state(&row[1]));
        }
        let line = cells.join("  ");
        let line = line.trim_end();
        text.push_str(&if number == 0 { style.dim(line) } else { line.to_owned() });
        text.push('\n');
    }
    text
}

fn row(scan: &ScanView) -> [String; 5] {
    let accepted = scan
        .accepted_at
        .to_offset(time::UtcOffset::UTC)
        .format(format_description!("[year]-[month]-[day] [hour]:[minute]"))
        .unwrap_or_default();
    let mut repository = clean(&scan.repository).into_owned();
    if let Some(track) = &scan.track {
        repository.push_str(&format!(" ({}", clean(track)));
        if let Some(revision) = &scan.revision {
            repository.push_str(&format!(" at {}", clean(&short(revision))));
        }
        repository.push(')');
    }
    let findings = scan.summary.as_ref().map_or_else(|| "-".to_owned(), |s| s.findings.to_string());
    [scan.id.to_string(), clean(&scan.status).into_owned(), findings, accepted, repository]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample::scan_with;
    use dunlin_core::finding::Severity;

    #[test]
    fn a_table_of_scans() {
        let list = [
            scan_with("complete", &[(Severity::Low, 1204)]),
            ScanView { summary: None, track: None, repository: "a\x1b[2Jb".into(), ..scan_with("running", &[]) },
        ];
        insta::assert_snapshot!(scans(&list, Style::PLAIN), @r#"
        id                                    state     findings  accepted (utc)    repository
        01990000-0000-7000-8000-000000000001  complete  1204      2026-11-20 10:00  github.com/acme/shop (main at 0123456789ab)
        01990000-0000-7000-8000-000000000001  running   -         2026-11-20 10:00  a\u{1b}[2Jb
        "#);
        assert_eq!(scans(&[], Style::PLAIN), "no scans\n");
    }
}
