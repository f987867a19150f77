//! JUnit XML against Jenkins' schema, read back with an XML parser.

use super::{finding, findings, head, write};
use dunlin_contracts::api::FindingView;
use dunlin_reports::{ReportFormat, ReportHead};
use uppsala::{Document, NodeId, XsdValidator};

/// Jenkins' schema, and the two attributes that GitLab and others read beyond it.
fn schema() -> String {
    let text = include_str!("../schema/junit-10.xsd");
    let last = "<xs:attribute name=\"classname\" type=\"xs:string\"/>";
    assert_eq!(text.matches(last).count(), 1);
    text.replace(
        last,
        &format!("{last}<xs:attribute name=\"file\" type=\"xs:string\"/><xs:attribute name=\"line\" type=\"xs:positiveInteger\"/>"),
    )
}

fn errors(xml: &str) -> Vec<String> {
    let schema = schema();
    let validator = XsdValidator::from_schema(&uppsala::parse(&schema).unwrap()).unwrap();
    validator.validate(&uppsala::parse(xml).unwrap()).iter().map(ToString::to_string).collect()
}

struct Xml<'a>(Document<'a>);

impl<'a> Xml<'a> {
    fn new(text: &'a str) -> Self {
        assert_eq!(errors(text), Vec::<String>::new());
        Self(uppsala::parse(text).unwrap())
    }

    fn all(&self, name: &str) -> Vec<NodeId> {
        self.0.get_elements_by_tag_name(name)
    }

    fn attribute(&self, node: NodeId, name: &str) -> &str {
        self.0.get_attribute(node, name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn suite(&self, name: &str) -> NodeId {
        self.all("testsuite").into_iter().find(|suite| self.attribute(*suite, "name") == name).unwrap()
    }

    fn inside(&self, node: NodeId, name: &str) -> Vec<NodeId> {
        let named = |id: &NodeId| self.0.element(*id).is_some_and(|element| &*element.name.local_name == name);
        self.0.descendants(node).into_iter().filter(named).collect()
    }

    /// tests, failures, errors, skipped, as the suite says and as it has.
    fn counts(&self, suite: NodeId) -> [usize; 4] {
        let said: [usize; 4] =
            ["tests", "failures", "errors", "skipped"].map(|name| self.attribute(suite, name).parse().unwrap());
        let found = ["testcase", "failure", "error", "skipped"].map(|name| self.inside(suite, name).len());
        assert_eq!(said, found);
        found
    }
}

fn of_engine(engine: &str, mut finding: FindingView) -> FindingView {
    finding.engine = engine.into();
    finding
}

fn render(head: &ReportHead, findings: &[FindingView]) -> String {
    let mut out = Vec::new();
    let mut writer = ReportFormat::Junit.writer(&mut out, head).unwrap();
    for finding in findings {
        writer.finding(finding).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    String::from_utf8(out).unwrap()
}

#[test]
fn it_follows_the_schema_and_counts_right() {
    for state in ["complete", "partial"] {
        for count in [0, 1, 20] {
            let text = write(ReportFormat::Junit, state, &findings(count));
            let xml = Xml::new(&text);
            for suite in xml.all("testsuite") {
                xml.counts(suite);
            }
            let tests: usize = xml.attribute(xml.all("testsuites")[0], "tests").parse().unwrap();
            assert_eq!(tests, xml.all("testcase").len());
        }
    }
}

#[test]
fn the_schema_test_can_fail() {
    let text = render(&head("complete"), &[FindingView { state: "open".into(), ..finding(1) }]);
    assert!(errors(&text).is_empty());
    for (from, to) in [(" failures=", " failed="), ("<failure ", "<failure x=\"\" "), ("line=\"1\"", "line=\"one\"")] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text, "{from}");
        assert!(!errors(&broken).is_empty(), "{to} was accepted");
    }
}

#[test]
fn a_finding_is_a_failure_with_its_place() {
    let given = finding(1);
    let text = render(&head("complete"), &[FindingView { state: "open".into(), ..given.clone() }]);
    let xml = Xml::new(&text);
    let suite = xml.suite("ruff");
    assert_eq!(xml.counts(suite), [1, 1, 0, 0]);
    let case = xml.inside(suite, "testcase")[0];
    assert_eq!(xml.attribute(case, "file"), given.path);
    assert_eq!(xml.attribute(case, "classname"), given.path);
    assert_eq!(xml.attribute(case, "line"), "1");
    assert_eq!(xml.attribute(case, "name"), "ruff/S602: Possible \"shell\" injection (000000000000)");
    let failure = xml.all("failure")[0];
    assert_eq!(xml.attribute(failure, "type"), given.severity.as_str());
    assert_eq!(xml.attribute(failure, "message"), "line one line \"two\", with a comma");
    let words = xml.0.text_content_deep(failure);
    for part in ["src/b c:1.py:1:1\n", "     2 | b\n", "weakness: CWE-78\n", &given.fingerprint] {
        assert!(words.contains(part), "{part:?} is not in {words}");
    }
    // Two shards of one engine are one suite.
    let time = xml.attribute(suite, "time");
    assert_eq!(time, "2.500");
}

#[test]
fn the_name_survives_moved_lines_and_other_words() {
    let (mut moved, given) = (finding(1), finding(1));
    moved.start_line = Some(900);
    moved.message = "other words".into();
    let name = |finding: FindingView| {
        let text = render(&head("complete"), &[finding]);
        let xml = Xml::new(&text);
        xml.attribute(xml.inside(xml.suite("ruff"), "testcase")[0], "name").to_owned()
    };
    assert_eq!(name(given), name(moved));
}

#[test]
fn what_people_settled_does_not_fail() {
    for state in ["false_positive", "accepted", "duplicate"] {
        let text = render(&head("complete"), &[FindingView { state: state.into(), ..finding(1) }]);
        let xml = Xml::new(&text);
        assert_eq!(xml.counts(xml.suite("ruff")), [1, 0, 0, 1]);
        let words = xml.attribute(xml.all("skipped")[0], "message");
        assert!(words.starts_with(&state.replace('_', " ")), "{words}");
    }
}

#[test]
fn an_engine_that_did_not_finish_is_an_error_and_one_without_findings_passes() {
    let text = render(&head("partial"), &[of_engine("eslint", FindingView { state: "open".into(), ..finding(1) })]);
    let xml = Xml::new(&text);
    // What it found before it was stopped is there as well.
    assert_eq!(xml.counts(xml.suite("eslint")), [2, 1, 1, 0]);
    let error = xml.all("error")[0];
    assert_eq!(xml.attribute(error, "type"), "timed_out");
    assert_eq!(xml.attribute(error, "message"), "eslint timed out: stopped after 300 seconds");
    assert_eq!(xml.counts(xml.suite("ruff")), [1, 0, 0, 0]);
    assert_eq!(xml.0.text_content_deep(xml.inside(xml.suite("ruff"), "system-out")[0]), "14 files assessed");
}

#[test]
fn an_engine_that_read_nothing_does_not_pass() {
    let mut head = head("complete");
    head.engines.iter_mut().for_each(|engine| engine.files = 0);
    let text = render(&head, &[]);
    let xml = Xml::new(&text);
    assert_eq!(xml.counts(xml.suite("ruff")), [1, 0, 0, 1]);
}

#[test]
fn what_is_no_engines_fault_has_a_suite_too() {
    let warned = render(&head("complete"), &[]);
    let xml = Xml::new(&warned);
    assert_eq!(xml.counts(xml.suite("dunlin")), [1, 0, 0, 0]);
    assert!(xml.0.text_content_deep(xml.suite("dunlin")).contains("line 3, column 1: unknown key"));

    let mut calm = head("complete");
    calm.warnings.clear();
    assert_eq!(Xml::new(&render(&calm, &[])).all("testsuite").len(), 1);
    calm.state = "partial".into();
    let unexplained = render(&calm, &[]);
    let xml = Xml::new(&unexplained);
    assert_eq!(xml.counts(xml.suite("dunlin")), [1, 0, 1, 0]);
    // A report without a test would fail a build in Jenkins, and one that passes would be a lie.
    (calm.state, calm.engines) = ("complete".into(), vec![]);
    let empty = render(&calm, &[]);
    let xml = Xml::new(&empty);
    assert_eq!(xml.counts(xml.suite("dunlin")), [1, 0, 0, 1]);
}

#[test]
fn hostile_text_stays_text() {
    let mut evil = finding(1);
    evil.state = "open".into();
    evil.path = "a]]>\u{0}\u{1b}[2J\u{202e}<b>&\"'.py".into();
    evil.message = "</failure></testcase> ]]> \u{fffe}\u{ffff}\u{8}\u{d}end".into();
    evil.snippet = Some("<!-- \u{b} &amp; ]]>\n<![CDATA[".into());
    evil.rule_name = "x\n\ty".into();
    evil.fingerprint = "é\"".repeat(20);
    evil.help_url = Some("javascript:alert(1)".into());
    let mut head = head("partial");
    head.repository = "a\nb\u{1}<".into();
    head.engines[2].note = Some("\u{1f}</error>\nsecond".into());
    head.warnings = vec!["</system-err>\u{0}".into()];
    let text = render(&head, &[evil]);
    let xml = Xml::new(&text);
    assert_eq!(xml.attribute(xml.all("testcase")[2], "file"), "a]]>\\u{0}\\u{1b}[2J\\u{202e}<b>&\"'.py");
    assert_eq!(xml.attribute(xml.all("testsuites")[0], "name"), "dunlin a\nb\\u{1}<");
    let words = xml.0.text_content_deep(xml.all("failure")[0]);
    assert!(words.contains("</failure></testcase> ]]> \\u{fffe}\\u{ffff}\\u{8}\\u{d}end"), "{words}");
    assert!(words.contains("<!-- \\u{b} &amp; ]]>\n     2 | <![CDATA[\n"), "{words}");
    assert!(!words.contains("javascript:"));
}

#[test]
fn many_findings_wait_outside_of_memory() {
    // More than is kept in memory, of two engines in turn: nothing is lost or mixed up.
    let many: Vec<_> = (1..=3_000)
        .map(|n| {
            of_engine(if n % 2 == 0 { "ruff" } else { "trivy" }, FindingView { state: "open".into(), ..finding(n) })
        })
        .collect();
    let text = render(&head("complete"), &many);
    let xml = Xml(uppsala::parse(&text).unwrap());
    for engine in ["ruff", "trivy"] {
        assert_eq!(xml.counts(xml.suite(engine)), [1_500, 1_500, 0, 0]);
    }
}
