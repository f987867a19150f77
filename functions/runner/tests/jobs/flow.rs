//! The job's way: ticket, snapshot, engine, report, result; and what storage may do meanwhile.

use crate::support::{self, Job};
use dunlin_core::job::JobOutcome;

const READS_AND_REPORTS: &str = "open('src/a.py').read()\nsarif(2)\nsys.exit(1)\n";

#[test]
fn a_job_ends_with_a_result_and_its_evidence() {
    let job = Job::python(READS_AND_REPORTS);
    assert_eq!(job.run().code, Some(0));
    let (manifest, findings) = job.result();
    assert_eq!(findings, 2);
    assert_eq!((manifest.outcome, manifest.note, manifest.exit_code), (JobOutcome::Assessed, None, 1));
    assert_eq!((manifest.engine.as_str(), manifest.engine_version.as_str(), manifest.files), ("hostile", "1.0.0", 2));
    assert!(manifest.peak_memory_bytes > 1 << 20, "{}", manifest.peak_memory_bytes);
    assert_eq!(manifest.report_bytes, job.report().len() as u64);
    assert!(job.report().contains("physicalLocation"));
    assert!(job.storage.get("failure").is_none());
}

#[test]
fn an_engine_faster_than_any_look_has_a_peak_of_memory_too() {
    let sarif = r#"{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "short"}}, "results": []}]}"#;
    let job = Job::with_engine(&format!("#!/bin/sh\nread line < src/a.py\necho '{sarif}' > \"$1\"\n"));
    assert_eq!(job.run().code, Some(0));
    let (manifest, _) = job.result();
    assert!(manifest.peak_memory_bytes > 0, "after {} ms", manifest.duration_ms);
}

#[test]
fn the_same_job_twice_is_one_result() {
    let job = Job::python(READS_AND_REPORTS);
    assert_eq!(job.run().code, Some(0));
    let first = (job.storage.get("result"), job.storage.get("report"));
    let second = job.run();
    assert_eq!(second.code, Some(0));
    assert!(second.log.contains("result was stored before"));
    assert_eq!(first, (job.storage.get("result"), job.storage.get("report")));
    assert_eq!(job.storage.requests("PUT result"), 2);
}

#[test]
fn storage_that_stumbles_is_asked_again() {
    let job = Job::python(READS_AND_REPORTS);
    job.storage.fail("ticket", &[503]);
    job.storage.fail("snapshot", &[500, 503]);
    job.storage.cut_once("snapshot");
    job.storage.fail("report", &[503]);
    job.storage.fail("result", &[409, 503]);
    assert_eq!(job.run().code, Some(0));
    assert_eq!(job.result().1, 2);
    assert_eq!(job.storage.requests("PUT result"), 3);
}

#[test]
fn storage_that_stays_away_is_an_error_worth_another_try() {
    let job = Job::python(READS_AND_REPORTS);
    job.storage.fail("result", &[503; 20]);
    let ended = job.run();
    assert_eq!(ended.code, Some(75));
    assert_eq!(job.failure().error.name, "Runner.StorageUnavailable");
    assert!(!ended.log.contains("X-Amz-Signature"), "a presigned url is in the log");
}

#[test]
fn a_ticket_that_is_gone_expired_or_foreign_is_refused() {
    for break_it in [
        (|job: &mut Job| job.storage.fail("ticket", &[403])) as fn(&mut Job),
        |job| job.storage.fail("ticket", &[404]),
        |job| job.ticket.version = 2,
        |job| job.ticket.job = 7,
        |job| job.ticket.scan_id = "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a02".parse().unwrap(),
    ] {
        let mut job = Job::python(READS_AND_REPORTS);
        break_it(&mut job);
        let ended = job.run();
        assert_eq!(ended.code, Some(64));
        assert!(ended.log.contains("Runner.TicketUnreadable"));
        assert!(job.storage.get("result").is_none());
    }
}

#[test]
fn a_snapshot_that_is_not_the_planned_one_is_refused() {
    for break_it in [
        (|job: &mut Job| job.ticket.snapshot_sha256 = "0".repeat(64)) as fn(&mut Job),
        |job| job.ticket.snapshot_bytes -= 1,
        |job| job.ticket.files = 3,
        |job| job.ticket.input_digest = "0".repeat(64),
        |job| job.storage.fail("snapshot", &[404]),
        |job| job.storage.put("snapshot", b"not an archive".to_vec()),
    ] {
        let mut job = Job::python(READS_AND_REPORTS);
        break_it(&mut job);
        assert_eq!(job.run().code, Some(64));
        assert_eq!(job.failure().error.name, "Runner.SnapshotUnreadable");
    }
}

#[test]
fn only_the_selected_files_are_there() {
    let mut job = Job::python("open('src/a.py').read()\nsarif(0 if os.listdir('src') == ['a.py'] else 1)\n");
    let whole = job.ticket.clone();
    job.ticket = support::ticket(
        &job.storage,
        &[("src/a.py", "import os\nos.system(input())\n".to_owned())],
        "hostile",
        "1.0.0",
    );
    // The archive of two files, the plan of one.
    let two = [("src/a.py", "import os\nos.system(input())\n".to_owned()), ("src/b.py", "print()\n".to_owned())];
    support::ticket(&job.storage, &two, "hostile", "1.0.0");
    job.ticket.snapshot_sha256 = whole.snapshot_sha256;
    job.ticket.snapshot_bytes = whole.snapshot_bytes;
    job.ticket.selection.include = vec!["**/a.py".to_owned()];
    assert_eq!(job.run().code, Some(0));
    assert_eq!(job.result().1, 0);
}

#[test]
fn an_engine_that_is_missing_or_another_version_is_named() {
    for break_it in [
        (|job: &mut Job| job.ticket.engine_version = "2.0.0".to_owned()) as fn(&mut Job),
        |job| job.ticket.engine = "nobody".to_owned(),
        |job| std::fs::remove_dir_all(job.dir.path().join("engines/hostile")).unwrap(),
        |job| std::fs::write(job.dir.path().join("engines/hostile/bin/hostile"), "#!/no/such/interpreter\n").unwrap(),
    ] {
        let mut job = Job::python(READS_AND_REPORTS);
        break_it(&mut job);
        assert_eq!(job.run().code, Some(70));
        assert_eq!(job.failure().error.name, "Runner.EngineMissing");
    }
}

#[test]
fn a_report_on_standard_output_is_read() {
    let stdout = |text: &str| {
        Job::python(&format!("open('src/a.py').read()\n{text}")).manifest(
            "command = [\"hostile\", \"{out}\"]",
            "command = [\"hostile\", \"/dev/stdout\"]\nstdout_report = true",
        )
    };
    let job = stdout("report = 1\nsarif(2)\n");
    let ended = job.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(job.result().1, 2);
    let job = stdout("os.write(1, b'{' * 100)\n");
    assert_eq!(job.run().code, Some(70));
    assert_eq!(job.failure().error.name, "Runner.ReportUnreadable");
}

#[test]
fn secrets_in_a_report_are_in_nothing_that_is_stored() {
    // Put together here, so that no scanner takes it for a real one.
    let secret = ["ghp", "_", &"a1B2c3D4e5".repeat(4)[..36]].concat();
    let job = Job::python(&format!(
        "open('src/a.py').read()\nsarif(1)\ntext = open(report).read().replace('found', 'found {secret}')\nopen(report, 'w').write(text)\n"
    ));
    assert_eq!(job.run().code, Some(0));
    let result = zstd::decode_all(job.storage.get("result").unwrap().as_slice()).unwrap();
    for text in [job.report(), String::from_utf8(result).unwrap()] {
        assert!(text.contains("found") && !text.contains(&secret), "{text}");
    }
}

#[test]
fn what_a_failing_engine_says_is_told_without_secrets_and_places() {
    let secret = ["ghp", "_", &"a1B2c3D4e5".repeat(4)[..36]].concat();
    let job =
        Job::python(&format!("sys.stderr.write(f'cannot parse {{os.getcwd()}}/a.py: token {secret}')\nsys.exit(2)\n"));
    assert_eq!(job.run().code, Some(70));
    let failure = job.failure();
    assert_eq!(failure.exit_code, None);
    let cause = failure.error.cause;
    assert!(
        cause.contains("it refused its input, exit code 2") && cause.contains("cannot parse /source/a.py"),
        "{cause}"
    );
    assert!(!cause.contains(&secret), "{cause}");
}
