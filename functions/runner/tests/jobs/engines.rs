//! The engines of the catalog, as they are installed, in the sandbox: each finds what it finds outside of it.

use crate::support::{self, Conditions, Job};
use dunlin_core::job::JobOutcome;
use dunlin_engines::{CommandPaths, EngineManifest, ReportFormat, catalog};
use std::{fs, path::Path, process::Command};

/// A repository with something for each of them.
fn weak_application() -> Vec<(&'static str, String)> {
    // Put together here, so that no scanner takes it for a real one.
    let key = ["AKIA", "Z7QK2M5XW4RT6PNB"].concat();
    let mut files = vec![
        (
            ".github/workflows/ci.yml",
            "on: pull_request_target\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      \
             - run: echo ${{ github.event.pull_request.title }}\n"
                .to_owned(),
        ),
        ("Dockerfile", "FROM debian:latest\nRUN apt-get update && apt-get install curl\nRUN cd /tmp\n".to_owned()),
        ("app/run.py", "import subprocess, hashlib\nsubprocess.call(input(), shell=True)\nhashlib.md5(b'x')\neval(input())\n".to_owned()),
        ("deploy/keys.env", format!("AWS_ACCESS_KEY_ID={key}\n")),
        (
            "infra/main.tf",
            "resource \"aws_security_group_rule\" \"open\" {\n  type = \"ingress\"\n  from_port = 0\n  to_port = 65535\n  protocol = \"tcp\"\n  \
             cidr_blocks = [\"0.0.0.0/0\"]\n}\nresource \"aws_s3_bucket\" \"b\" {\n  bucket = \"b\"\n}\n"
                .to_owned(),
        ),
        ("web/index.js", "const { exec } = require('child_process');\nexec(process.argv[2]);\neval(process.argv[3]);\nnew RegExp(process.argv[4]);\n".to_owned()),
        ("web/script.sh", "#!/bin/sh\nrm -rf $1/*\n".to_owned()),
    ];
    files.sort();
    files
}

/// The number of results of the engine, started by hand over the same files.
fn by_hand(engine: &EngineManifest, files: &[(&str, String)]) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let selection = dunlin_core::selection::Selection {
        include: engine.reads.include.clone(),
        exclude: engine.reads.exclude.clone(),
        shard: dunlin_core::selection::Shard::WHOLE,
    };
    let selector = selection.compile().unwrap();
    let (source, out, tmp) = (dir.path().join("source"), dir.path().join("report"), dir.path().join("tmp"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&tmp).unwrap();
    let mut selected = Vec::new();
    for (path, content) in files.iter().filter(|(path, _)| selector.selects(path)) {
        fs::create_dir_all(source.join(path).parent().unwrap()).unwrap();
        fs::write(source.join(path), content).unwrap();
        selected.push((*path).to_owned());
    }
    let folder = support::engines_dir().join(&engine.name);
    let places = CommandPaths { root: &source, out: &out, engine: &folder, tmp: &tmp, memory_bytes: 2 << 30 };
    let line = engine.command_line(&places, &selected).unwrap();
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).envs(engine.environment(&places).unwrap()).current_dir(&source);
    let ran = command.output().unwrap();
    let report = if engine.run.stdout_report { ran.stdout } else { fs::read(Path::new(&out)).unwrap() };
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    match engine.report.format {
        ReportFormat::Sarif => {
            report["runs"].as_array().unwrap().iter().map(|run| run["results"].as_array().map_or(0, Vec::len)).sum()
        }
        ReportFormat::ShellcheckJson1 => report["comments"].as_array().unwrap().len(),
    }
}

fn conditions() -> &'static [Conditions] {
    if nix::unistd::geteuid().is_root() {
        &[Conditions::Usual, Conditions::SameUser, Conditions::SameUserWithoutLandlock]
    } else {
        &[Conditions::Usual]
    }
}

#[test]
fn every_engine_finds_in_the_sandbox_what_it_finds_outside() {
    let files = weak_application();
    for engine in catalog() {
        let expected = by_hand(engine, &files);
        assert!(expected > 0, "{} finds nothing by hand", engine.name);
        for conditions in conditions() {
            let job = Job::of_engine(engine, &files).under(*conditions);
            let ended = job.run();
            assert_eq!(ended.code, Some(0), "{} {conditions:?}: {}", engine.name, ended.log);
            let (manifest, findings) = job.result();
            eprintln!(
                "{} {conditions:?}: {findings} findings, {} ms, {} MiB",
                engine.name,
                manifest.duration_ms,
                manifest.peak_memory_bytes >> 20
            );
            assert_eq!(findings, expected, "{} {conditions:?}", engine.name);
            assert_eq!(
                (manifest.outcome, manifest.note),
                (JobOutcome::Assessed, None),
                "{} {conditions:?}",
                engine.name
            );
            assert!(!job.report().contains("runner-test-"), "{}: the place of the run is in the report", engine.name);
        }
    }
}

#[test]
fn the_key_that_gitleaks_finds_is_in_nothing_that_is_stored() {
    let files = weak_application();
    let key = files
        .iter()
        .find(|(path, _)| *path == "deploy/keys.env")
        .unwrap()
        .1
        .trim()
        .rsplit('=')
        .next()
        .unwrap()
        .to_owned();
    let engine = catalog().iter().find(|engine| engine.name == "gitleaks").unwrap();
    let job = Job::of_engine(engine, &files);
    let ended = job.run();
    let result = zstd::decode_all(job.storage.get("result").unwrap().as_slice()).unwrap();
    let result = String::from_utf8(result).unwrap();
    assert!(result.contains("deploy/keys.env"), "it was not found at all");
    for text in [result, job.report(), ended.log] {
        assert!(!text.contains(&key), "{text}");
    }
}
