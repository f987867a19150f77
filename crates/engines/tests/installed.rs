//! The installed engines themselves. `make engines` installs them; `ENGINES_DIR` is where they are, `.local/engines` without it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../examples/try_engine/assess.rs"]
mod assess;

use dunlin_engines::{EngineManifest, catalog};
use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
};

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn engines() -> PathBuf {
    let folder = env::var_os("ENGINES_DIR").map_or_else(|| home().join("../../.local/engines"), PathBuf::from);
    assert!(folder.is_dir(), "no engines are installed at {}: run `make engines`", folder.display());
    folder
}

/// Rule, path and line of every finding in the engine's own recorded source.
fn found(engine: &EngineManifest, more: &[&Path]) -> BTreeSet<(String, String, Option<u32>)> {
    let source = home().join("../../engines").join(&engine.name).join("reports/source");
    let folders: Vec<&Path> = [source.as_path()].into_iter().chain(more.iter().copied()).collect();
    let assessed = assess::assess(engine, &engines(), &folders).unwrap();
    let (text, report) = assessed.raw.unwrap_or_else(|| {
        let (code, meaning, files) = (assessed.exit_code, assessed.meaning, assessed.files);
        panic!(
            "{}: exit code {code} ({meaning:?}) on {files} files after {:?}: {}",
            engine.name, assessed.duration, assessed.log
        )
    });
    assert!(!text.is_empty());
    let findings = report.findings.into_iter();
    findings.map(|finding| (finding.rule, finding.location.path, finding.location.start_line)).collect()
}

/// What the recorded report says, so that a recording which no engine writes is noticed.
fn recorded(engine: &EngineManifest) -> BTreeSet<(String, String, Option<u32>)> {
    let path = home().join("../../engines").join(&engine.name).join("reports/expected/normal.snap");
    let text = std::fs::read_to_string(path).unwrap();
    let json: serde_json::Value = serde_json::from_str(text.splitn(3, "---\n").nth(2).unwrap()).unwrap();
    let own = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let findings = json["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| {
            let line = finding["location"]["start_line"].as_u64().and_then(|n| u32::try_from(n).ok());
            (own(&finding["rule"]), own(&finding["location"]["path"]), line)
        })
        .collect()
}

#[test]
fn engines_find_what_was_recorded() {
    for engine in catalog() {
        assert_eq!(found(engine, &[]), recorded(engine), "{}", engine.name);
    }
}

#[test]
fn settings_of_the_repository_switch_nothing_off() {
    let settings = home().join("tests/repository_settings");
    for engine in catalog() {
        let missing: Vec<_> = recorded(engine).difference(&found(engine, &[&settings])).cloned().collect();
        assert!(missing.is_empty(), "{}: {missing:?}", engine.name);
    }
}
