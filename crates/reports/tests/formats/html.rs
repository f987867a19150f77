//! The HTML page: complete, honest, and nothing but text whatever the repository put into it.

use super::{finding, findings, head, write};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use dunlin_contracts::api::FindingView;
use dunlin_reports::{ReportFormat, ReportHead};
use sha2::{Digest, Sha256};

fn render(head: &ReportHead, findings: &[FindingView]) -> String {
    let mut out = Vec::new();
    let mut writer = ReportFormat::Html.writer(&mut out, head).unwrap();
    for finding in findings {
        writer.finding(finding).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    String::from_utf8(out).unwrap()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("{from} is not there")) + from.len();
    &text[start..start + text[start..].find(to).unwrap()]
}

/// Every tag with the names of its attributes, as a browser's tokenizer finds them; values and text left out.
fn skeleton(page: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let (mut tag, mut quoted, mut end) = (String::new(), None, None);
        for (at, c) in rest[start + 1..].char_indices() {
            match (quoted, c) {
                (Some(quote), c) if c == quote => quoted = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quoted = Some(c),
                (None, '>') => {
                    end = Some(start + 1 + at + 1);
                    break;
                }
                (None, c) => tag.push(c),
            }
        }
        rest = &rest[end.unwrap()..];
        // What is in these two is not markup.
        for raw in ["script", "style"] {
            if tag == raw {
                rest = &rest[rest.find(&format!("</{raw}")).unwrap()..];
            }
        }
        tags.push(tag);
    }
    tags
}

fn evil(text: &str) -> FindingView {
    FindingView {
        path: format!("src/{text}"),
        message: text.into(),
        snippet: Some(format!("{text}\n{text}")),
        rule: format!("ruff/{text}"),
        rule_name: format!("name {text}"),
        engine: text.into(),
        fingerprint: text.into(),
        state: text.into(),
        help_url: None,
        ..finding(1)
    }
}

#[test]
fn hostile_text_adds_no_markup() {
    let page = |text: &str| {
        let mut head = head("partial");
        head.repository = text.into();
        head.revision = text.into();
        head.track = text.into();
        head.scan_id = text.into();
        head.warnings = vec![text.into()];
        // Rows are ordered by name: it must not depend on the text.
        head.engines[0].engine = format!("x{text}");
        head.engines[2].note = Some(text.into());
        head.engines[2].outcome = text.into();
        render(&head, &[evil(text)])
    };
    let harmless = skeleton(&page("plain"));
    for text in [
        "</script><script>alert(1)</script>",
        "</style><style>*{display:none}</style>",
        "</title></head><body onload=alert(1)>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "\" onmouseover=\"alert(1)",
        "</span></summary></details></li></ol><h1>no findings</h1>",
        "<!-- --!> <![CDATA[ ]]>",
        "&lt;script&gt; &#60;b&#62;",
        "</pre><textarea>",
    ] {
        assert_eq!(skeleton(&page(text)), harmless, "{text}");
    }
}

#[test]
fn the_test_of_markup_can_fail() {
    let page = render(&head("complete"), &[finding(1)]);
    let plain = skeleton(&page);
    assert_ne!(skeleton(&page.replace("src/b c:1.py", "<b>src")), plain);
    assert_ne!(skeleton(&page.replace("data-e=\"ruff\"", "data-e=\"ruff\" onclick=\"x\"")), plain);
}

#[test]
fn control_and_bidi_characters_are_shown_and_not_obeyed() {
    let page = render(&head("complete"), &[evil("a\u{202e}\u{2066}\u{0}\u{1b}[2J\u{200b}\u{feff}z")]);
    let unsafe_ones =
        |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || "\u{202e}\u{2066}\u{200b}\u{feff}".contains(c);
    assert_eq!(page.chars().filter(|c| unsafe_ones(*c)).count(), 0);
    assert!(page.contains("src/a\\u{202e}\\u{2066}\\u{0}\\u{1b}[2J\\u{200b}\\u{feff}z"));
}

#[test]
fn nothing_is_loaded_and_nothing_else_may_run() {
    let page = write(ReportFormat::Html, "partial", &findings(20));
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\"");
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(policy.contains(&format!("script-src {};", hash(between(&page, "<script>", "</script>")))), "{policy}");
    assert!(policy.contains(&format!("style-src {};", hash(between(&page, "<style>", "</style>")))), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for tag in skeleton(&page) {
        let loads = [" src", " srcset", " style", " on", "iframe", "object", "embed", "form ", "base"];
        assert!(!loads.iter().any(|word| tag.contains(word)), "<{tag}>");
        // The one address outside of a link for people is the empty icon.
        assert!(!tag.starts_with("link") || page.contains("<link rel=\"icon\" href=\"data:,\">"), "<{tag}>");
    }
    let style = between(&page, "<style>", "</style>");
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[test]
fn only_web_addresses_are_links() {
    let linked = |url: &str| {
        let mut head = head("complete");
        head.repository_url = Some(url.into());
        let page = render(&head, &[FindingView { help_url: Some(url.into()), ..finding(1) }]);
        page.matches("href=\"").count()
    };
    let with = linked("https://example.org/x");
    for url in
        ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//example.org", "https://a b", "vbscript:x"]
    {
        // The heading, the finding and its rule.
        assert_eq!(linked(url), with - 3, "{url}");
    }
}

#[test]
fn source_links_lead_to_the_line_of_the_commit() {
    let page = render(&head("complete"), &[finding(1)]);
    let revision = "0123456789abcdef0123456789abcdef01234567";
    assert!(page.contains(&format!("href=\"https://github.com/acme/shop/blob/{revision}/src/b%20c%3A1.py#L1\"")));
    for (url, commit) in [("https://example.org/acme/shop", revision), ("https://github.com/acme/shop", "tree-digest")]
    {
        let mut head = head("complete");
        (head.repository_url, head.revision) = (Some(url.into()), commit.into());
        assert!(!render(&head, &[finding(1)]).contains(">source</a>"), "{url} {commit}");
    }
}

fn verdict(page: &str) -> String {
    let inside = between(page, "<section class=\"verdict", "</section>");
    let mut text = String::new();
    let mut in_tag = true;
    for c in inside.chars() {
        match c {
            '<' => in_tag = true,
            '>' => in_tag = false,
            '\n' => text.push(' '),
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_verdict_is_plain() {
    let calm = |state: &str| ReportHead { warnings: vec![], ..head(state) };
    let open = |n: u32| FindingView { state: "open".into(), new: n == 1, ..finding(n) };
    assert_eq!(verdict(&render(&calm("complete"), &[])), "No findings The one engine finished.");
    let settled = FindingView { state: "false_positive".into(), new: false, ..finding(3) };
    assert_eq!(
        verdict(&render(&calm("complete"), &[open(1), open(2), settled])),
        "2 findings The one engine finished. 1 has not been seen by an earlier scan. 1 more is settled by people: false positive, \
         accepted or duplicate."
    );
    assert_eq!(
        verdict(&render(&calm("partial"), &[])),
        "Incomplete, no findings in what was scanned 1 of 2 engines did not finish. What it did not look at may hold anything. \
         eslint timed out: stopped after 300 seconds"
    );
    let mut nothing = calm("complete");
    nothing.engines.clear();
    let page = render(&nothing, &[]);
    assert!(verdict(&page).starts_with("Nothing was scanned") && !page.contains("verdict clean"), "{}", verdict(&page));
    let mut unexplained = calm("partial");
    unexplained.engines.pop();
    assert!(
        verdict(&render(&unexplained, &[]))
            .starts_with("Incomplete, no findings in what was scanned The scan ended as partial")
    );
    assert!(verdict(&render(&head("complete"), &[])).ends_with("Warning: .dunlin.toml: line 3, column 1: unknown key"));
}

#[test]
fn only_a_complete_scan_without_findings_is_green() {
    let green =
        |head: &ReportHead, findings: &[FindingView]| render(head, findings).contains("class=\"verdict clean\"");
    assert!(green(&head("complete"), &[]));
    assert!(!green(&head("partial"), &[]));
    assert!(!green(&head("complete"), &[FindingView { state: "open".into(), ..finding(1) }]));
}

#[test]
fn an_engine_without_findings_says_what_it_assessed() {
    let page = render(&head("complete"), &[]);
    assert!(page.contains("14 files assessed, nothing found") && page.contains("in 2 parts") && page.contains("2.5 s"));
    let mut none = head("complete");
    none.engines.iter_mut().for_each(|engine| engine.files = 0);
    let page = render(&none, &[]);
    assert!(page.contains("had no file to read") && !page.contains("nothing found"));
}

#[test]
fn findings_come_worst_first_and_by_file() {
    let page = write(ReportFormat::Html, "complete", &findings(20));
    let places: Vec<_> = ["critical", "high", "medium", "low", "info"]
        .map(|severity| page.find(&format!("<section class=\"sev\" id=\"{severity}\"")).unwrap())
        .into();
    assert!(places.is_sorted());
    assert_eq!(page.matches("<li class=\"f").count(), 20);
    for part in [
        "https://cwe.mitre.org/data/definitions/78.html",
        "Possible &quot;shell&quot; injection",
        "data-n=\"1\" class=\"on\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Everything is there without the script; what only works with it is hidden until it runs.
    assert!(page.contains("id=\"filters\" role=\"search\" aria-label=\"Filter the findings\" hidden"));
}
