use super::*;
use dunlin_core::{finding::Severity, selection::Shard};
use dunlin_testkit::fixtures;
use std::io::Write;
use uuid::Uuid;

fn job(engine: &str) -> PlannedJob {
    fixtures::job(&fixtures::scan("acme", 1), 0, engine, Shard::WHOLE)
}

fn packed(lines: &[ResultLine]) -> Vec<u8> {
    let mut out = zstd::Encoder::new(Vec::new(), 3).unwrap();
    for line in lines {
        out.write_all(&serde_json::to_vec(line).unwrap()).unwrap();
        out.write_all(b"\n").unwrap();
    }
    out.finish().unwrap()
}

fn result(engine: &str, findings: &[Finding]) -> JobFindings {
    let job = job(engine);
    let lines = fixtures::result_lines(&job, JobOutcome::Assessed, findings);
    read(packed(&lines).as_slice(), &job).unwrap()
}

#[test]
fn many_results_are_read_as_each_of_them_is() {
    // Large enough for threads, in sizes that differ; one has no result, one is damaged.
    let files: Vec<Vec<u8>> = (0..9_u32)
        .map(|number| {
            let findings: Vec<Finding> = (0..number * 300)
                .map(|n| finding(&format!("{number}/{n}.py"), n, &Uuid::now_v7().to_string()))
                .collect();
            packed(&fixtures::result_lines(&job("ruff"), JobOutcome::Assessed, &findings))
        })
        .collect();
    assert!(files.iter().map(Vec::len).sum::<usize>() > FOR_ONE_THREAD);
    let jobs: Vec<PlannedJob> = (0..9).map(|number| PlannedJob { job: number, ..job("ruff") }).collect();
    let result = |job: &PlannedJob| match job.job {
        4 => None,
        5 => Some(&files[5][..100]),
        number => Some(files[number as usize].as_slice()),
    };
    for (number, read) in read_all(&jobs, result).into_iter().enumerate() {
        let alone = result(&jobs[number]).map(|bytes| super::read(bytes, &jobs[number]));
        assert_eq!(format!("{read:?}"), format!("{alone:?}"), "{number}");
        let findings = read.and_then(Result::ok).map(|found| found.findings.len());
        assert_eq!(findings, (![4, 5].contains(&number)).then_some(number * 300));
    }
}

fn found(findings: &[Finding]) -> Findings {
    let repository = fixtures::scan("acme", 1).repository_id;
    let engines: BTreeSet<&str> = findings.iter().map(|f| f.rule.split('/').next().unwrap()).collect();
    let of = |engine: &str| -> Vec<Finding> {
        findings.iter().filter(|f| f.rule.starts_with(&format!("{engine}/"))).cloned().collect()
    };
    Findings::collect(repository, engines.into_iter().map(|engine| result(engine, &of(engine))).collect())
}

fn finding(path: &str, line: u32, code: &str) -> Finding {
    fixtures::finding("ruff", "S1", path, line, code)
}

fn new_since(before: &[Finding], now: &[Finding], seers: &[&str]) -> (Vec<String>, u64) {
    let mut now = found(now);
    let seers: Vec<String> = seers.iter().map(|seer| (*seer).to_owned()).collect();
    let fixed = now.keep_new(&found(before), &seers, &["unread.py".to_owned()]);
    assert!(now.findings.iter().all(|finding| finding.new));
    (now.findings.iter().map(|f| format!("{}:{}", f.path, f.start_line.unwrap())).collect(), fixed)
}

#[test]
fn a_result_that_is_not_whole_is_none() {
    let job = job("ruff");
    let good = fixtures::result_lines(&job, JobOutcome::Assessed, &[finding("a.py", 1, "x"), finding("b.py", 2, "y")]);
    assert_eq!(read(packed(&good).as_slice(), &job).unwrap().findings.len(), 2);
    let why = |bytes: &[u8]| match read(bytes, &job) {
        Err(why) => why,
        Ok(read) => panic!("{read:?}"),
    };
    assert!(why(&packed(&good[1..])).contains("does not begin with its manifest"));
    assert!(why(&packed(&good[..3])).contains("1 findings and promises 2"));
    assert!(why(&packed(&[good[0].clone(), good[2].clone()])).contains("names a rule that is not there"));
    let mut turned = good.clone();
    turned.swap(1, 2);
    assert!(why(&packed(&turned)).contains("names a rule that is not there"));
    let whole = packed(&good);
    for cut in [0, 1, 9, whole.len() / 2, whole.len() - 1] {
        why(&whole[..cut]);
    }
    assert!(why(b"not zstd").contains("decompressed"));
    let other = PlannedJob { engine: "trivy".into(), ..job.clone() };
    assert!(read(whole.as_slice(), &other).unwrap_err().contains("something else"));
    // 64 MiB of one character: a few KiB on the disk.
    let bomb = zstd::encode_all(io::repeat(b'x').take(64 << 20), 3).unwrap();
    assert!(why(&bomb).contains("too long"));
}

#[test]
fn findings_come_worst_first_and_each_has_its_own_id() {
    let mut low = finding("a.py", 1, "x");
    low.severity = Severity::Low;
    let twice = [finding("b.py", 9, "same"), finding("b.py", 3, "same")];
    let all = found(&[low, twice[0].clone(), twice[1].clone(), fixtures::finding("trivy", "T1", "a.tf", 1, "z")]);
    let order: Vec<_> = all.findings.iter().map(|f| (f.path.as_str(), f.start_line.unwrap())).collect();
    assert_eq!(order, [("a.tf", 1), ("b.py", 3), ("b.py", 9), ("a.py", 1)]);
    let ids: HashSet<_> = all.findings.iter().map(|f| f.id).collect();
    assert_eq!(ids.len(), 4, "the same code twice in one file");
    assert_eq!(all.rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["ruff/S1", "trivy/T1"]);
    assert_eq!(found(&twice).findings[0].id, all.findings[1].id, "the same place has the same id in every scan");
}

#[test]
fn only_what_has_no_match_is_new() {
    let before = [finding("a.py", 1, "x"), finding("old.py", 5, "unique"), finding("gone.py", 1, "gone")];
    let now = [finding("a.py", 40, "x"), finding("renamed.py", 5, "unique"), finding("a.py", 2, "added")];
    assert_eq!(new_since(&before, &now, &["ruff"]), (vec!["a.py:2".to_owned()], 1));
    // The same code once more is one finding more.
    let again = [finding("a.py", 1, "x"), finding("a.py", 7, "x")];
    assert_eq!(new_since(&again[..1], &again, &["ruff"]), (vec!["a.py:7".to_owned()], 0));
    // Nobody has read the file now.
    assert_eq!(new_since(&[finding("unread.py", 1, "x")], &[], &["ruff"]), (Vec::new(), 0));
    // Two candidates stay apart.
    let two = [finding("b.py", 1, "unique"), finding("c.py", 1, "unique")];
    assert_eq!(new_since(&before[1..2], &two, &["ruff"]), (vec!["b.py:1".to_owned(), "c.py:1".to_owned()], 1));
}

#[test]
fn an_engine_that_did_not_see_everything_says_of_nothing_that_it_is_gone() {
    let before = [finding("old.py", 5, "unique")];
    let now = [finding("renamed.py", 5, "unique")];
    assert_eq!(new_since(&before, &now, &[]), (vec!["renamed.py:5".to_owned()], 0));
    assert_eq!(new_since(&before, &[], &[]), (vec![], 0));
    assert_eq!(new_since(&before, &[], &["ruff"]), (vec![], 1));
}

#[test]
fn advisory_findings_are_counted_and_not_enforced() {
    let scan = fixtures::scan("acme", 1);
    let mut plan = fixtures::plan(&scan, &fixtures::snapshot(&scan, 1), &["ruff", "trivy"]);
    plan.jobs[1].advisory = true;
    let all = found(&[finding("a.py", 1, "x"), fixtures::finding("trivy", "T1", "a.tf", 1, "z")]);
    let summary = all.summary(&plan, &[], 0);
    assert_eq!((summary.findings, summary.by_severity[&Severity::High]), (2, 2));
    assert_eq!(summary.enforced_by_severity[&Severity::High], 1);
}
