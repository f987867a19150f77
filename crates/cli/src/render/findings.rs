//! Findings, grouped by severity, worst first.

use super::{Style, column, pad};
use crate::text::{clean, clean_line, count};
use dunlin_contracts::api::FindingView;
use dunlin_core::finding::Severity;

pub fn findings(findings: &[FindingView], style: Style) -> String {
    let mut text = String::new();
    for severity in Severity::ALL {
        let mut group: Vec<_> = findings.iter().filter(|f| f.severity == severity).collect();
        if group.is_empty() {
            continue;
        }
        group.sort_by(|a, b| {
            (&a.path, a.start_line, a.start_column, &a.rule).cmp(&(&b.path, b.start_line, b.start_column, &b.rule))
        });
        let heading = style.severity(severity, severity.as_str());
        text.push_str(&format!("{heading}: {}\n", count(group.len() as u64, "finding")));
        let rows: Vec<_> = group.into_iter().map(|f| (place(f), clean(&f.rule).into_owned(), f)).collect();
        let (place_width, rule_width) =
            (column(rows.iter().map(|r| r.0.as_str()), 48), column(rows.iter().map(|r| r.1.as_str()), 36));
        for (place, rule, finding) in &rows {
            let marks = marks(finding, style);
            text.push_str(&format!(
                "  {}  {}  {}{marks}\n",
                pad(place, place_width),
                style.dim(&pad(rule, rule_width)),
                clean_line(&finding.message)
            ));
        }
        text.push('\n');
    }
    text
}

/// `path:line:column`, as editors and terminals know it.
fn place(finding: &FindingView) -> String {
    let mut place = clean(&finding.path).into_owned();
    if let Some(line) = finding.start_line {
        place.push_str(&format!(":{line}"));
        if let Some(column) = finding.start_column {
            place.push_str(&format!(":{column}"));
        }
    }
    place
}

fn marks(finding: &FindingView, style: Style) -> String {
    let mut marks = String::new();
    if finding.new {
        marks.push_str(&format!("  {}", style.bold("[new]")));
    }
    // Open is what one expects; everything else is said.
    if finding.state != "open" {
        marks.push_str(&format!("  {}", style.dim(&format!("[{}]", clean(&finding.state).replace('_', " ")))));
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample::finding;

    fn some() -> Vec<FindingView> {
        let mut list = vec![
            finding(Severity::Low, "app/util.py", 3, "ruff/S110", "`try`-`except`-`pass` detected"),
            finding(Severity::High, "infra/main.tf", 12, "trivy/AWS-0107", "open to the world"),
            finding(Severity::High, "app/run.py", 101, "ruff/S602", "`subprocess` call with `shell=True`"),
            finding(Severity::High, "app/run.py", 9, "ruff/S605", "starting a process\n with a shell"),
            finding(Severity::Critical, "evil\x1b[2J\u{202e}.py", 1, "gitleaks/key", "a key \x1b]0;pwned\x07"),
        ];
        list[2].new = true;
        list[3].state = "false_positive".into();
        list[1].start_column = None;
        list[4].start_line = None;
        list
    }

    #[test]
    fn findings_are_grouped_and_harmless() {
        insta::assert_snapshot!(findings(&some(), Style::PLAIN), @r#"
        critical: 1 finding
          evil\u{1b}[2J\u{202e}.py  gitleaks/key  a key \u{1b}]0;pwned\u{7}

        high: 3 findings
          app/run.py:9:5    ruff/S605       starting a process with a shell  [false positive]
          app/run.py:101:5  ruff/S602       `subprocess` call with `shell=True`  [new]
          infra/main.tf:12  trivy/AWS-0107  open to the world

        low: 1 finding
          app/util.py:3:5  ruff/S110  `try`-`except`-`pass` detected
        "#);
    }

    #[test]
    fn colours_are_used_when_wanted() {
        insta::assert_snapshot!(findings(&some()[2..3], Style { colour: true }).replace('\x1b', "ESC"), @r#"
        ESC[1;31mhighESC[0m: 1 finding
          app/run.py:101:5  ESC[2mruff/S602ESC[0m  `subprocess` call with `shell=True`  ESC[1m[new]ESC[0m
        "#);
    }

    #[test]
    fn no_findings_is_no_text() {
        assert_eq!(findings(&[], Style::PLAIN), "");
    }
}
