//! The page itself, from top to bottom.

use super::{
    EngineRow, Entry, Gathered, RULES, Seen,
    finding::{finding, weaknesses},
};
use crate::words::{self, Escaped, count, grouped};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use dunlin_core::finding::Severity;
use sha2::{Digest, Sha256};
use std::{
    cmp::Reverse,
    collections::HashMap,
    io::{self, Write},
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

pub(super) fn write(out: &mut impl Write, page: &Gathered) -> io::Result<()> {
    // Ids of the rows in the table of rules.
    let rules = ranked(page);
    let anchors: HashMap<&str, usize> = rules.iter().enumerate().map(|(n, (id, _))| (*id, n + 1)).collect();
    beginning(out, page)?;
    header(out, page)?;
    out.write_all(b"<main class=\"wrap\" id=\"main\">\n")?;
    verdict(out, page)?;
    tiles(out, page)?;
    engines(out, &page.engines())?;
    findings(out, page, &anchors)?;
    rule_table(out, page, &rules)?;
    out.write_all(b"</main>\n")?;
    let head = &page.head;
    write!(
        out,
        "<footer class=\"wrap\">Scan <code>{}</code>, written by Dunlin {}. This page is complete in itself: it loads nothing.</footer>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        Escaped(&head.scan_id),
        Escaped(&head.version),
    )
}

/// Nothing may be loaded, run or sent but the style and the script that are in the page, named by their hash. Links are for people.
fn beginning(out: &mut impl Write, page: &Gathered) -> io::Result<()> {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()));
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; \
         img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"robots\" content=\"noindex\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{} · {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#findings\">Skip to the findings</a>\n",
        hash(STYLE),
        hash(SCRIPT),
        Escaped(&words::line(&page.head.repository, 200)),
        Escaped(&headline(page)),
    )
}

fn header(out: &mut impl Write, page: &Gathered) -> io::Result<()> {
    let head = &page.head;
    let repository = Escaped(&head.repository);
    out.write_all(b"<header class=\"wrap\">\n<p class=\"kind\">Dunlin scan report</p>\n<h1>")?;
    match head.repository_url.as_deref().and_then(words::web_address) {
        Some(url) => write!(out, "<a class=\"rule\" href=\"{}\" rel=\"noreferrer\">{repository}</a>", Escaped(url))?,
        None => write!(out, "{repository}")?,
    }
    out.write_all(b"</h1>\n<dl class=\"facts\">\n")?;
    let short: String = head.revision.chars().take(12).collect();
    let revision = format!("<code title=\"{}\">{}</code>", Escaped(&head.revision), Escaped(&short));
    let started = words::moment(head.started_at);
    let machine = started.trim_end_matches(" UTC").replace(' ', "T");
    let facts = [
        ("Revision", (!head.revision.is_empty()).then_some(revision)),
        ("Branch or tag", (!head.track.is_empty()).then(|| Escaped(&head.track).to_string())),
        ("State", Some(Escaped(&head.state).to_string())),
        ("Started", Some(format!("<time datetime=\"{machine}Z\">{started}</time>"))),
        ("Took", head.duration_ms.map(words::duration)),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
        }
    }
    out.write_all(b"</dl>\n</header>\n")
}

/// The result in a few words; also the title.
fn headline(page: &Gathered) -> String {
    let open = page.open();
    match (page.is_complete(), open) {
        _ if page.head.engines.is_empty() && page.total == 0 => "nothing was scanned".to_owned(),
        (true, 0) => "no findings".to_owned(),
        (true, _) => count(open, "finding"),
        (false, 0) => "incomplete, no findings in what was scanned".to_owned(),
        (false, _) => format!("incomplete, {} so far", count(open, "finding")),
    }
}

fn verdict(out: &mut impl Write, page: &Gathered) -> io::Result<()> {
    let nothing = page.head.engines.is_empty() && page.total == 0;
    let kind = match (page.is_complete() && !nothing, page.open()) {
        (true, 0) => "clean",
        (true, _) => "found",
        (false, _) => "incomplete",
    };
    let headline = capital(&headline(page));
    writeln!(
        out,
        "<section class=\"verdict {kind}\" aria-labelledby=\"verdict\">\n<h2 id=\"verdict\">{headline}</h2>"
    )?;
    if nothing {
        out.write_all(b"<p>No engine had a file to read, so nobody knows whether there is something to find.</p>\n")?;
    } else if !page.is_complete() {
        incomplete(out, page)?;
    }
    let engines = page.engines().len() as u64;
    let mut notes = Vec::new();
    if page.is_complete() && engines > 0 {
        notes.push(if engines == 1 {
            "The one engine finished.".to_owned()
        } else {
            format!("All {engines} engines finished.")
        });
    }
    if page.new > 0 {
        notes.push(format!("{} not been seen by an earlier scan.", counted(page.new, "has", "have")));
    }
    if page.settled > 0 {
        let more = counted(page.settled, "more is", "more are");
        notes.push(format!("{more} settled by people: false positive, accepted or duplicate."));
    }
    if !notes.is_empty() {
        writeln!(out, "<p>{}</p>", notes.join(" "))?;
    }
    if !page.head.warnings.is_empty() {
        out.write_all(b"<ul>\n")?;
        for warning in &page.head.warnings {
            writeln!(out, "<li><strong class=\"not\">Warning:</strong> {}</li>", Escaped(warning))?;
        }
        out.write_all(b"</ul>\n")?;
    }
    out.write_all(b"</section>\n")
}

/// Incomplete is not clean, so what is missing is named, each with its reason.
fn incomplete(out: &mut impl Write, page: &Gathered) -> io::Result<()> {
    let rows = page.engines();
    let unfinished = rows.iter().filter(|row| !row.unfinished.is_empty()).count();
    if unfinished == 0 {
        return writeln!(
            out,
            "<p>The scan ended as <em>{}</em>: what it did not look at may hold anything.</p>",
            Escaped(&page.head.state)
        );
    }
    writeln!(
        out,
        "<p>{} of {} did not finish. What {} did not look at may hold anything.</p>\n<ul>",
        unfinished,
        count(rows.len() as u64, "engine"),
        if unfinished == 1 { "it" } else { "they" },
    )?;
    for engine in rows.iter().flat_map(|row| &row.unfinished) {
        writeln!(
            out,
            "<li><strong>{}</strong> {}{}</li>",
            Escaped(&engine.engine),
            Escaped(&words::outcome(&engine.outcome)),
            why(engine.note.as_deref())
        )?;
    }
    out.write_all(b"</ul>\n")
}

/// `1 is`, `5,000 are`.
fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

fn why(note: Option<&str>) -> String {
    note.map(|note| format!(": {}", Escaped(note))).unwrap_or_default()
}

fn tiles(out: &mut impl Write, page: &Gathered) -> io::Result<()> {
    out.write_all(b"<nav aria-label=\"Findings by severity\"><ul class=\"tiles\">\n")?;
    for severity in Severity::ALL {
        let name = severity.as_str();
        let number = page.by_severity.get(&severity).copied().unwrap_or_default();
        if page.shown.iter().any(|entry| entry.finding.severity == severity) {
            writeln!(out, "<li><a class=\"{name}\" href=\"#{name}\"><b>{}</b> {name}</a></li>", grouped(number))?;
        } else {
            writeln!(out, "<li><span class=\"none {name}\"><b>{}</b> {name}</span></li>", grouped(number))?;
        }
    }
    out.write_all(b"</ul></nav>\n")
}

fn engines(out: &mut impl Write, rows: &[EngineRow<'_>]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let timed = rows.iter().any(|row| row.duration_ms.is_some());
    write!(
        out,
        "<section>\n<h2 id=\"engines\">Engines</h2>\n<div class=\"card\" tabindex=\"0\" role=\"region\" aria-labelledby=\"engines\"><table>\n\
         <thead><tr><th scope=\"col\">Engine</th><th scope=\"col\" class=\"opt\">Version</th><th scope=\"col\">Outcome</th>\
         <th scope=\"col\" class=\"num\">Files</th>{}<th scope=\"col\" class=\"num\">Findings</th></tr></thead>\n<tbody>\n",
        if timed { "<th scope=\"col\" class=\"num opt\">Time</th>" } else { "" },
    )?;
    for row in rows {
        write!(
            out,
            "<tr><th scope=\"row\" class=\"name\">{}</th><td class=\"opt\">{}</td><td>{}</td><td class=\"num\">{}</td>",
            Escaped(row.name),
            Escaped(row.version),
            outcome(row),
            grouped(row.files),
        )?;
        if timed {
            let took = row.duration_ms.map(words::duration).unwrap_or_default();
            write!(out, "<td class=\"num opt\">{took}</td>")?;
        }
        writeln!(out, "<td class=\"num\">{}</td></tr>", grouped(row.findings))?;
    }
    out.write_all(b"</tbody>\n</table></div>\n</section>\n")
}

fn outcome(row: &EngineRow<'_>) -> String {
    let mut words = match row.unfinished.first() {
        // An engine that read nothing has not found anything clean.
        None if row.files == 0 => "<span class=\"not\">had no file to read</span>".to_owned(),
        None => "<span class=\"ok\">done</span>".to_owned(),
        Some(engine) => format!("<span class=\"not\">{}</span>", Escaped(&words::outcome(&engine.outcome))),
    };
    if row.findings == 0 && row.unfinished.is_empty() && row.files > 0 {
        words.push_str(&format!("<span class=\"note\">{} assessed, nothing found</span>", count(row.files, "file")));
    }
    if row.parts > 1 {
        let unfinished = match row.unfinished.len() {
            0 => String::new(),
            n => format!(", {n} of them not finished"),
        };
        words.push_str(&format!("<span class=\"note\">in {} parts{unfinished}</span>", row.parts));
    }
    for note in row.unfinished.iter().filter_map(|engine| engine.note.as_deref()) {
        words.push_str(&format!("<span class=\"note\">{}</span>", Escaped(note)));
    }
    words
}

fn findings(out: &mut impl Write, page: &Gathered, anchors: &HashMap<&str, usize>) -> io::Result<()> {
    out.write_all(b"<h2 id=\"findings\" tabindex=\"-1\">Findings</h2>\n")?;
    if page.shown.is_empty() {
        return writeln!(out, "<p>{}.</p>", if page.is_complete() { "None" } else { "None in what was scanned" });
    }
    let missing = page.total - page.shown.len() as u64;
    if missing > 0 {
        writeln!(
            out,
            "<p class=\"verdict cut\"><strong>The {} worst are shown.</strong> {} more are counted above and not listed here; \
             the JSON, CSV and SARIF reports list all.</p>",
            grouped(page.shown.len() as u64),
            grouped(missing),
        )?;
    }
    // What the filters stay in sight of.
    out.write_all(b"<div>\n")?;
    filters(out, page)?;
    let entries: Vec<&Entry> = page.shown.iter().collect();
    let mut number = 0;
    for group in entries.chunk_by(|a, b| a.finding.severity == b.finding.severity) {
        let name = group[0].finding.severity.as_str();
        writeln!(
            out,
            "<section class=\"sev\" id=\"{name}\" aria-labelledby=\"h-{name}\">\n<h3 id=\"h-{name}\"><span class=\"{name}\">{}</span> <small>{}</small></h3>",
            capital(name),
            group_size(group),
        )?;
        for file in group.chunk_by(|a, b| a.finding.path == b.finding.path) {
            write!(
                out,
                "<div class=\"file\"><h4><bdi class=\"path\">{}</bdi><small>{}</small></h4>\n<ol>\n",
                Escaped(&file[0].finding.path),
                count(file.len() as u64, "finding"),
            )?;
            for entry in file {
                number += 1;
                finding(out, page, &entry.finding, number, anchors)?;
            }
            out.write_all(b"</ol></div>\n")?;
        }
        out.write_all(b"</section>\n")?;
    }
    out.write_all(b"</div>\n")
}

fn group_size(group: &[&Entry]) -> String {
    let settled = group.iter().filter(|entry| words::is_settled(&entry.finding.state)).count();
    let all = count(group.len() as u64, "finding");
    if settled == 0 { all } else { format!("{all}, {} of them settled", grouped(settled as u64)) }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// Hidden until the script shows it: without a script it would do nothing.
fn filters(out: &mut impl Write, page: &Gathered) -> io::Result<()> {
    out.write_all(
        b"<div id=\"filters\" role=\"search\" aria-label=\"Filter the findings\" hidden>\n\
          <label class=\"vh\" for=\"search\">Search in path, rule and message</label>\
          <input type=\"search\" id=\"search\" placeholder=\"Search ( / )\" autocomplete=\"off\" spellcheck=\"false\">\n\
          <fieldset><legend class=\"vh\">Severity</legend>",
    )?;
    for severity in Severity::ALL {
        if page.shown.iter().any(|entry| entry.finding.severity == severity) {
            let name = severity.as_str();
            write!(out, "<label><input type=\"checkbox\" name=\"severity\" value=\"{name}\" checked> {name}</label>")?;
        }
    }
    out.write_all(b"</fieldset>\n<label class=\"vh\" for=\"engine\">Engine</label><select id=\"engine\"><option value=\"\">every engine</option>")?;
    let mut engines: Vec<&str> = page.shown.iter().map(|entry| entry.finding.engine.as_str()).collect();
    engines.sort_unstable();
    engines.dedup();
    for engine in engines {
        write!(out, "<option value=\"{0}\">{0}</option>", Escaped(engine))?;
    }
    out.write_all(b"</select>\n")?;
    // Where all are new, as in a first scan, or none is, there is nothing to choose.
    if page.new > 0 && page.new < page.total {
        out.write_all(b"<label><input type=\"checkbox\" id=\"fresh\"> new only</label>\n")?;
    }
    if page.settled > 0 && page.open() > 0 {
        out.write_all(b"<label><input type=\"checkbox\" id=\"unsettled\"> hide settled</label>\n")?;
    }
    out.write_all(
        b"<button type=\"button\" id=\"open\">Unfold all</button> <button type=\"button\" id=\"close\">Fold all</button>\n\
          <span id=\"shown\" role=\"status\"></span>\n</div>\n",
    )
}

/// Rules by the severity of their findings, then by how many there are.
fn ranked(page: &Gathered) -> Vec<(&str, &Seen)> {
    let mut rules: Vec<(&str, &Seen)> = page.by_rule.iter().map(|(id, seen)| (id.as_str(), seen)).collect();
    rules.sort_unstable_by_key(|(id, seen)| (Reverse(seen.severity), Reverse(seen.count), *id));
    rules.truncate(RULES);
    rules
}

fn rule_table(out: &mut impl Write, page: &Gathered, rules: &[(&str, &Seen)]) -> io::Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    out.write_all(
        b"<section>\n<h2 id=\"rules\">Rules that found something</h2>\n\
          <div class=\"card\" tabindex=\"0\" role=\"region\" aria-labelledby=\"rules\"><table>\n<thead><tr><th scope=\"col\" class=\"name\">Severity</th><th scope=\"col\">Rule</th>\
          <th scope=\"col\" class=\"num\">Findings</th></tr></thead>\n<tbody>\n",
    )?;
    for (position, (id, seen)) in rules.iter().enumerate() {
        let severity = seen.severity.as_str();
        write!(
            out,
            "<tr id=\"r{}\"><td class=\"name {severity}\">{severity}</td><th scope=\"row\" class=\"about\"><code>{}</code> {}",
            position + 1,
            Escaped(id),
            Escaped(&seen.name),
        )?;
        let rule = page.rules.get(*id);
        let description = rule.and_then(|rule| rule.description.as_deref()).filter(|text| text.trim() != seen.name);
        if let Some(description) = description {
            write!(out, "<span class=\"note\">{}</span>", Escaped(&words::line(description, 700)))?;
        }
        out.write_all(b"<span class=\"links\">")?;
        weaknesses(out, &seen.cwe)?;
        let help = seen.help_url.as_deref().or_else(|| rule.and_then(|rule| rule.help_url.as_deref()));
        if let Some(url) = help.and_then(words::web_address) {
            write!(out, " <a href=\"{}\" rel=\"noreferrer\">help</a>", Escaped(url))?;
        }
        writeln!(out, "</span></th><td class=\"num\">{}</td></tr>", grouped(seen.count))?;
    }
    out.write_all(b"</tbody>\n</table></div>\n")?;
    let missing = page.by_rule.len() - rules.len();
    if missing > 0 {
        writeln!(out, "<p>{} more are not listed.</p>", count(missing as u64, "rule"))?;
    }
    out.write_all(b"</section>\n")
}
