//! What is told while a scan runs and when it has ended, and with which exit code.

use crate::{
    mock::Answer,
    world::{Look, SCAN, World, finding, job, scan, scan_with},
};
use dunlin_contracts::{
    api::{JobView, ScanView},
    problem::Problem,
    steps::Summary,
};
use dunlin_core::finding::Severity;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::Command,
};

const TARGET: &str = "https://github.com/acme/shop";

fn look(scan: ScanView) -> Look {
    Look::Scan(Box::new(scan))
}

#[test]
fn the_exit_code_says_how_it_ended() {
    let found = |status: &str| scan_with(status, &[(Severity::High, 1), (Severity::Low, 2)]);
    let table: [(ScanView, &[&str], i32); 9] = [
        (found("complete"), &[], 0),
        (found("complete"), &["--fail-on", "critical"], 0),
        (found("complete"), &["--fail-on", "high"], 1),
        (found("complete"), &["--fail-on", "high", "--format", "sarif"], 1),
        (scan_with("complete", &[]), &["--fail-on", "low"], 0),
        (found("partial"), &[], 2),
        (found("partial"), &["--fail-on", "high"], 2),
        (scan("cancelled"), &["--fail-on", "high"], 2),
        (scan("failed"), &["--fail-on", "high"], 3),
    ];
    for (end, options, code) in table {
        let world = World::new();
        let status = end.status.clone();
        world.script(|script| script.looks = vec![look(end)]);
        for start in [&["scan", TARGET][..], &["show", &SCAN.to_string()], &["show", &SCAN.to_string(), "--follow"]] {
            let run = world.run(&[start, options].concat());
            assert_eq!(run.code, code, "{start:?} {options:?} of a scan that is {status}: {}", run.err);
        }
    }
}

#[test]
fn the_owners_threshold_decides_the_exit_code_unless_the_flag_does() {
    let end = ScanView { fail_on: Some(Severity::High), ..scan_with("complete", &[(Severity::High, 1)]) };
    let why = "findings of severity high or higher: fail_on in the repository's .dunlin.toml";
    for (options, code, told) in
        [(&[][..], 1, true), (&["--fail-on", "critical"], 0, false), (&["--fail-on", "low"], 1, false)]
    {
        let world = World::new();
        world.script(|script| script.looks = vec![look(end.clone())]);
        for start in [&["scan", TARGET][..], &["show", &SCAN.to_string()], &["show", &SCAN.to_string(), "--follow"]] {
            let run = world.run(&[start, options].concat());
            assert_eq!(run.code, code, "{start:?} {options:?}: {}", run.err);
            assert_eq!(run.err.contains(why), told, "{start:?} {options:?}: {}", run.err);
        }
    }
}

#[test]
fn progress_is_told_in_lines_where_there_is_no_terminal() {
    let world = World::new();
    let with = |status: &str, job: JobView| ScanView { jobs: vec![job], ..scan(status) };
    let done = ScanView {
        summary: Some(Summary {
            findings: 3,
            by_severity: [(Severity::High, 2), (Severity::Low, 1)].into(),
            enforced_by_severity: [(Severity::High, 2), (Severity::Low, 1)].into(),
            new: 3,
            jobs: 1,
            ..Summary::default()
        }),
        ..with("complete", job("ruff", "ended", Some("assessed")))
    };
    world.script(|script| {
        script.looks = vec![
            look(scan("accepted")),
            look(with("running", job("ruff", "queued", None))),
            look(with("running", job("ruff", "queued", None))),
            Look::Answer(Answer::typed(502, "text/html", "bad gateway")),
            Look::Answer(Answer::hang_up()),
            look(with("running", job("ruff", "running", None))),
            look(done),
        ];
        script.findings = vec![
            finding(Severity::Low, "b.py", "later"),
            finding(Severity::High, "evil\x1b]0;owned\x07.py", "with a shell"),
            finding(Severity::High, "a.py", "with\na shell"),
        ];
    });
    let run = world.run(&["scan", TARGET]);
    assert_eq!(run.code, 0, "{}", run.err);
    let server = world.api.url.trim_start_matches("http://");
    assert_eq!(
        run.err,
        format!(
            "scan {SCAN}: accepted\nscan {SCAN}: running\nruff: queued, lambda\n\
             {server} gave an answer that this version does not know: status 502 Bad Gateway, bad gateway; trying again\n\
             ruff: running, lambda\nscan {SCAN}: complete\nruff: done, 1 finding, 40 ms, lambda\n"
        )
    );
    insta::assert_snapshot!(run.out.replace(&world.api.url, "https://api"), @r#"
    high: 2 findings
      a.py:7                        ruff/S602  with a shell  [new]
      evil\u{1b}]0;owned\u{7}.py:7  ruff/S602  with a shell  [new]

    low: 1 finding
      b.py:7  ruff/S602  later  [new]

    scan 01990000-0000-7000-8000-000000000001 of github.com/acme/shop (trunk at 0123456789ab): complete in 12.0 s
    3 findings: 2 high, 1 low; 3 new, 0 fixed
    scan:   https://api/v1/scans/01990000-0000-7000-8000-000000000001
    report: https://api/v1/scans/01990000-0000-7000-8000-000000000001/report?format=sarif
    "#);
}

#[test]
fn nothing_is_told_on_the_way_when_nobody_wants_it() {
    let world = World::new();
    world.script(|script| script.looks = vec![look(scan("running")), look(scan_with("complete", &[]))]);
    let run = world.run(&["scan", TARGET, "--no-progress"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(run.out.contains("no findings"), "{}", run.out);
}

#[test]
fn what_is_incomplete_and_what_was_known_is_told() {
    let world = World::new();
    let mut end = scan_with("partial", &[]);
    end.reason = Some("1 of 2 jobs did not finish".into());
    end.warnings = vec![".dunlin.toml, line 2, column 1: there is no key \"engine\"".into()];
    end.jobs = vec![JobView { error: Some("no end after 300 s".into()), ..job("trivy", "ended", Some("timed_out")) }];
    end.summary = Some(Summary { jobs: 2, jobs_cached: 1, jobs_incomplete: 1, ..Summary::default() });
    world.script(|script| script.looks = vec![look(end)]);
    let run = world.run(&["scan", TARGET]);
    insta::assert_snapshot!(run.out.replace(&world.api.url, "https://api"), @r#"
    scan 01990000-0000-7000-8000-000000000001 of github.com/acme/shop (trunk at 0123456789ab): partial in 12.0 s
      1 of 2 jobs did not finish
    no findings in what was scanned
    1 of 2 results was known already
    incomplete: trivy timed out: no end after 300 s
    warning: .dunlin.toml, line 2, column 1: there is no key "engine"
    scan:   https://api/v1/scans/01990000-0000-7000-8000-000000000001
    report: https://api/v1/scans/01990000-0000-7000-8000-000000000001/report?format=sarif
    "#);
}

#[test]
fn a_failed_scan_says_why_on_standard_error() {
    let world = World::new();
    let end =
        ScanView { reason: Some("there is no repository at this address".into()), summary: None, ..scan("failed") };
    world.script(|script| script.looks = vec![look(end)]);
    let run = world.run(&["scan", TARGET, "--no-progress"]);
    assert_eq!((run.code, run.err.as_str()), (3, "error: the scan failed: there is no repository at this address\n"));
}

#[test]
fn a_report_comes_from_the_storage_as_it_is() {
    let world = World::new();
    world.script(|script| script.report = "{\"version\": \"2.1.0\"}\n\x1b");
    let run = world.run(&["scan", TARGET, "--format", "sarif"]);
    assert_eq!((run.code, run.out.as_str()), (0, "{\"version\": \"2.1.0\"}\n\x1b"), "{}", run.err);
    assert!(run.err.contains(": complete in 12.0 s"), "{}", run.err);
    assert_eq!(
        world.api.requests_of("GET /v1/scans").last().unwrap().path,
        format!("/v1/scans/{SCAN}/report?format=sarif")
    );

    let run = world.run(&["show", &SCAN.to_string(), "--format", "csv", "--output", "out/../results.csv"]);
    assert_eq!(run.code, 3, "there is no folder `out`");
    let run = world.run(&["show", &SCAN.to_string(), "--format", "csv", "--output", "results.csv"]);
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
    assert_eq!(fs::read_to_string(world.home.path().join("results.csv")).unwrap(), "{\"version\": \"2.1.0\"}\n\x1b");
    // The storage asserts for every request that no token came with it.
    assert_eq!(world.storage.requests_of("GET /reports/").len(), 2);
}

#[test]
fn a_report_that_does_not_arrive_leaves_no_file() {
    let world = World::new();
    world.script(|script| {
        script.storage =
            vec![Answer::typed(404, "application/xml", "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>")]
    });
    let run = world.run(&["scan", TARGET, "--format", "json", "--output", "r.json"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("the report could not be fetched") && run.err.contains("NoSuchKey: gone"), "{}", run.err);
    let files: Vec<_> = fs::read_dir(world.home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["config.toml"]);
}

const JSON_REPORT: &str = r#"{"version":1,
"scan":{"scan_id":"s","repository":"github.com/acme/shop","revision":"r","track":"main","state":"partial","started_at":"2026-11-20T10:00:00Z","version":"0.1.0",
"engines":[{"engine":"ruff","version":"1","outcome":"assessed","files":3},{"engine":"trivy","version":"2","outcome":"timed_out","files":9,"note":"stopped"}]},
"rules":[],
"findings":[{"id":"00000000-0000-0000-0000-000000000001","rule":"ruff/S602","rule_name":"shell","engine":"ruff","severity":"high","confidence":"high","path":"a.py","start_line":7,"message":"a <shell>","fingerprint":"f","state":"open","new":true}],
"count":1}"#;

#[test]
fn what_the_server_does_not_keep_is_made_of_its_json() {
    let world = World::new();
    world.script(|script| script.report = JSON_REPORT);
    let run = world.run(&["scan", TARGET, "--format", "junit"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(
        world.api.requests_of("GET /v1/scans").last().unwrap().path,
        format!("/v1/scans/{SCAN}/report?format=json")
    );
    // The end of the scan is in no report, and the server knows it.
    assert!(
        run.out.contains(
            "<testsuites name=\"dunlin github.com/acme/shop\" tests=\"2\" failures=\"1\" errors=\"1\" time=\"12.000\">"
        ),
        "{}",
        run.out
    );

    let run = world.run(&["show", &SCAN.to_string(), "--format", "html", "--output", "report.html"]);
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
    let page = fs::read_to_string(world.home.path().join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert!(
        page.contains("a &lt;shell&gt;") && page.contains("Incomplete, 1 finding so far") && page.contains("12.0 s"),
        "{page}"
    );
}

#[test]
fn a_report_that_cannot_be_converted_leaves_no_file() {
    let world = World::new();
    world.script(|script| script.report = JSON_REPORT.split_once("\"count\"").unwrap().0);
    let run = world.run(&["scan", TARGET, "--format", "html", "--output", "report.html"]);
    assert_eq!(run.code, 3);
    assert!(
        run.err.contains("the html report cannot be made") && run.err.contains("report cannot be read"),
        "{}",
        run.err
    );
    assert!(!world.home.path().join("report.html").exists());
}

#[test]
fn a_table_can_go_to_a_file() {
    let world = World::new();
    world.script(|script| {
        script.looks = vec![look(scan_with("complete", &[(Severity::High, 1)]))];
        script.findings = vec![finding(Severity::High, "a.py", "with a shell")];
    });
    let run = world.run(&["scan", TARGET, "--output", "r.txt"]);
    assert_eq!((run.code, run.out.as_str()), (0, ""));
    let text = fs::read_to_string(world.home.path().join("r.txt")).unwrap();
    assert!(text.starts_with("high: 1 finding\n  a.py:7  ruff/S602  with a shell  [new]\n"), "{text}");
}

#[test]
fn waiting_ends_when_the_time_is_over() {
    let world = World::new();
    world.script(|script| script.looks = vec![look(scan("running"))]);
    let run = world.run(&["scan", TARGET, "--timeout", "1s"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("has not ended in time") && run.err.contains("dunlin show"), "{}", run.err);
}

#[test]
fn a_scan_that_runs_can_be_shown() {
    let world = World::new();
    world.script(|script| {
        script.looks = vec![look(ScanView { jobs: vec![job("ruff", "running", None)], ..scan("running") })]
    });
    let run = world.run(&["show", &SCAN.to_string()]);
    assert_eq!(run.code, 2);
    assert!(run.out.starts_with("  ruff  running, lambda\nscan "), "{}", run.out);
    assert!(!run.out.contains("report:"), "{}", run.out);
}

#[test]
fn a_scan_of_somebody_else_is_not_there() {
    let world = World::new();
    world.script(|script| script.looks = vec![Look::Answer(Answer::problem(&Problem::not_found("scan")))]);
    for args in [&["show", &SCAN.to_string()][..], &["show", &SCAN.to_string(), "--follow"]] {
        let run = world.run(args);
        assert_eq!(run.code, 3);
        assert!(run.err.contains("because: there is no such scan\n"), "{}", run.err);
    }
}

#[cfg(unix)]
#[test]
fn the_first_interrupt_explains_and_the_second_leaves() {
    let world = World::new();
    world.script(|script| script.looks = vec![look(scan("running"))]);
    let mut child = world.command(&["scan", TARGET]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut wait_for = |text: &str| {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "{text:?} was not said");
        }
    };
    let interrupt =
        || assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    wait_for("running");
    interrupt();
    wait_for("the scan goes on without you");
    wait_for(&format!("dunlin show {SCAN} --follow"));
    wait_for(&format!("dunlin cancel {SCAN}"));
    interrupt();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(out, "");
    assert!(world.api.requests_of("DELETE").is_empty());
}
