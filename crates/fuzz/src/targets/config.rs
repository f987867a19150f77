//! What people write: an engine's manifest, and the owner's `.dunlin.toml`.

use crate::root;
use dunlin_core::{
    owner_config::{self, MAX_TIMEOUT_SECONDS},
    selection::{Selection, Shard},
};
use dunlin_engines::{CommandPaths, EngineManifest, catalog};
use std::{fs, path::Path};

pub fn engine_seeds() -> Vec<Vec<u8>> {
    let file = |engine: &EngineManifest| root().join("engines").join(&engine.name).join("engine.toml");
    catalog().iter().map(|engine| fs::read(file(engine)).expect("the manifest of an engine")).collect()
}

pub fn run_engine(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).unwrap_or("x");
    let manifest = match EngineManifest::from_toml(name, text) {
        Ok(manifest) => manifest,
        Err(why) => {
            assert!(!why.trim().is_empty());
            // What TOML itself refuses is shown with its place.
            let syntax = text.parse::<toml::Table>().is_err();
            let place = why.contains("line ") && why.contains("column ");
            // Of one thing the parser does not say where it is: brackets in brackets, eighty deep.
            assert!(!syntax || place || why.trim() == "recursion limit", "{why}");
            return;
        }
    };
    let selection = Selection {
        include: manifest.reads.include.clone(),
        exclude: manifest.reads.exclude.clone(),
        shard: Shard::WHOLE,
    };
    selection.compile().expect("a manifest that was accepted selects files").selects("a/b.py");
    let paths = CommandPaths {
        root: Path::new("/source"),
        out: Path::new("/out/report"),
        engine: Path::new("/engines/x"),
        tmp: Path::new("/tmp/x"),
        memory_bytes: 2 << 30,
    };
    if let Ok(line) = manifest.command_line(&paths, &["-rf".to_owned()]) {
        let of_file = |argument: &&String| *argument == "-rf";
        let own = manifest.run.command.iter().filter(of_file).count();
        assert_eq!(line.iter().filter(of_file).count(), own, "a file's name became an option");
    }
    let estimate = [0, 1, u64::MAX].map(|bytes| manifest.estimate_seconds(bytes));
    assert!(estimate.is_sorted(), "more bytes take less time: {estimate:?}");
    assert!(manifest.limits.estimate.seconds_fixed >= 0.0, "{:?}", manifest.limits.estimate);
    let _ = (manifest.exit_meaning(0), manifest.catalog_entry(), manifest.environment(&paths));
}

pub fn owner_seeds() -> Vec<Vec<u8>> {
    [
        "engines = [\"ruff\"]\nexclude = [\"vendor/**\", \"**/*.min.js\"]\nfail_on = \"high\"\n\n[engine.trivy]\ncompute = \"batch\"\n\
         timeout_seconds = 300\nenabled = true\n",
        "[engine.ruff]\nenabled = false\n[engine.\"trivy\"]\ntimeout_seconds = 0x10\n",
        "exclude = [\n  \"a\", # ü\n  'b[c-d]',\n  \"{x,y}\",\n]\n",
        "engine = { ruff = { enabled = true }, trivy = { compute = \"lambda\" } }\r\n",
        "fail_on = \"\"\"high\"\"\"\n",
        "",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

pub fn run_owner(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let known = |name: &str| ["ruff", "trivy"].contains(&name);
    match owner_config::parse(text, known) {
        Ok(config) => {
            assert!(config.engines.iter().flatten().chain(config.engine.keys()).all(|name| known(name)));
            let timeouts = config.engine.values().filter_map(|options| options.timeout_seconds);
            assert!(timeouts.into_iter().all(|seconds| (1..=MAX_TIMEOUT_SECONDS).contains(&seconds)));
            let selection = Selection { include: config.exclude, exclude: vec![], shard: Shard::WHOLE };
            selection.compile().expect("patterns that were accepted work together").selects("a/b.py");
        }
        Err(fault) => {
            let lines: Vec<&str> = text.split('\n').collect();
            let line =
                lines.get(fault.line.wrapping_sub(1)).unwrap_or_else(|| panic!("there is no line {}", fault.line));
            let columns = line.chars().count() + 1;
            assert!(
                (1..=columns).contains(&fault.column),
                "column {} of {columns} in line {}",
                fault.column,
                fault.line
            );
            assert!(!fault.message.trim().is_empty() && !fault.message.contains('\n'), "{:?}", fault.message);
            assert!(fault.message.len() < 2_000, "a message of {} bytes", fault.message.len());
        }
    }
}
