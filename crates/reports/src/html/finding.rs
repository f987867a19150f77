//! One finding: in a line when it is folded, with everything that is known when it is not.

use super::Gathered;
use crate::words::{self, Escaped};
use dunlin_contracts::api::FindingView;
use std::{
    collections::HashMap,
    io::{self, Write},
};

/// Findings that are unfolded at first: the worst, as many as one reads before choosing.
const OPEN: usize = 12;

/// `number` is its place on the page; `anchors` are the rows of the table of rules.
pub(super) fn finding(
    out: &mut impl Write,
    page: &Gathered,
    finding: &FindingView,
    number: usize,
    anchors: &HashMap<&str, usize>,
) -> io::Result<()> {
    let settled = words::is_settled(&finding.state);
    write!(
        out,
        "<li class=\"f{}\" id=\"f{number}\" data-e=\"{}\"{}><details{}><summary><span class=\"m\">{}</span><span class=\"by\">",
        if settled { " settled" } else { "" },
        Escaped(&finding.engine),
        if finding.new { " data-n" } else { "" },
        if number <= OPEN { " open" } else { "" },
        Escaped(finding.message.trim()),
    )?;
    match (finding.start_line, finding.start_column) {
        (Some(line), Some(column)) => write!(out, "<span class=\"at\">line {line}:{column}</span> ")?,
        (Some(line), None) => write!(out, "<span class=\"at\">line {line}</span> ")?,
        (None, _) => {}
    }
    write!(out, "<code>{}</code>", Escaped(&finding.rule))?;
    if finding.new {
        out.write_all(b" <span class=\"tag new\">new</span>")?;
    }
    // Open is what one expects; everything else is said.
    if finding.state != "open" {
        write!(out, " <span class=\"tag\">{}</span>", Escaped(&finding.state.replace('_', " ")))?;
    }
    out.write_all(b"</span></summary><div class=\"body\">")?;
    if let Some(text) = &finding.snippet {
        snippet(out, finding, text)?;
    }
    links(out, page, finding, anchors)?;
    out.write_all(b"</div></details></li>\n")
}

fn snippet(out: &mut impl Write, finding: &FindingView, text: &str) -> io::Result<()> {
    out.write_all(b"<pre tabindex=\"0\" aria-label=\"code\">")?;
    for (offset, line) in text.split('\n').enumerate() {
        let Some(start) = finding.start_line else {
            write!(out, "<span>{}</span>", Escaped(line))?;
            continue;
        };
        let number = u64::from(words::snippet_start(start)) + offset as u64;
        let end = finding.end_line.unwrap_or(start).max(start);
        let on = (u64::from(start)..=u64::from(end)).contains(&number);
        write!(out, "<span data-n=\"{number}\"{}>{}</span>", if on { " class=\"on\"" } else { "" }, Escaped(line))?;
    }
    out.write_all(b"</pre>")
}

fn links(
    out: &mut impl Write,
    page: &Gathered,
    finding: &FindingView,
    anchors: &HashMap<&str, usize>,
) -> io::Result<()> {
    out.write_all(b"<p class=\"links\">")?;
    // Many engines give the rule's name as the message.
    let name = if finding.rule_name.trim() == finding.message.trim() { "about this rule" } else { &finding.rule_name };
    match anchors.get(finding.rule.as_str()) {
        Some(anchor) => write!(out, "<a href=\"#r{anchor}\">{}</a>", Escaped(name))?,
        None => write!(out, "<span>{}</span>", Escaped(&finding.rule_name))?,
    }
    weaknesses(out, &finding.cwe)?;
    if let Some(url) = finding.help_url.as_deref().and_then(words::web_address) {
        write!(out, " <a href=\"{}\" rel=\"noreferrer\">help</a>", Escaped(url))?;
    }
    if let Some(url) = source_address(page, finding) {
        write!(out, " <a href=\"{}\" rel=\"noreferrer\">source</a>", Escaped(&url))?;
    }
    write!(
        out,
        " <span>{} confidence</span> <span>{}</span> <span>fingerprint <code>{}</code></span></p>",
        finding.confidence.as_str(),
        if finding.new { "new in this scan" } else { "known before" },
        Escaped(&finding.fingerprint),
    )
}

pub(super) fn weaknesses(out: &mut impl Write, cwe: &[u32]) -> io::Result<()> {
    for number in cwe {
        write!(
            out,
            " <a href=\"https://cwe.mitre.org/data/definitions/{number}.html\" rel=\"noreferrer\">CWE-{number}</a>"
        )?;
    }
    Ok(())
}

/// The line on the code host, for the hosts whose addresses are known to be made this way.
fn source_address(page: &Gathered, finding: &FindingView) -> Option<String> {
    let head = &page.head;
    let url = words::web_address(head.repository_url.as_deref()?)?.trim_end_matches('/');
    let url = url.strip_suffix(".git").unwrap_or(url);
    let is_commit = matches!(head.revision.len(), 40 | 64) && head.revision.bytes().all(|b| b.is_ascii_hexdigit());
    let view = match url {
        _ if !is_commit || url.contains(['?', '#', '@']) => return None,
        url if url.starts_with("https://github.com/") => "blob",
        url if url.starts_with("https://gitlab.com/") => "-/blob",
        _ => return None,
    };
    let line = finding.start_line.map(|line| format!("#L{line}")).unwrap_or_default();
    Some(format!("{url}/{view}/{}/{}{line}", head.revision, crate::sarif::encode(&finding.path)))
}
