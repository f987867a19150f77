//! A scan on this machine and a scan through the cloud are the same scan.

use crate::{
    command_line::{Person, work_tree_of},
    unseen,
};
use anyhow::{Context, Result, ensure};
use dunlin_core::selection::{Selection, Shard};
use dunlin_tests::cloud::repository;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};

/// The JSON report of a scan of `root`, with what was said about it.
fn report(person: &Person, root: &Path, local: bool) -> Result<(i32, Value, String)> {
    let file = root.join("../report.json");
    let output = file.to_str().context("not utf-8")?;
    let mut arguments = vec!["scan", ".", "--no-progress", "--name", "same here and there", "--format", "json"];
    arguments.extend(["--output", output]);
    if local {
        arguments.push("--local");
    }
    let (code, out, said) = person.run(root, &arguments)?;
    ensure!(code == 1, "the application's own threshold decides: {code}\n{out}\n{said}");
    Ok((code, serde_json::from_slice(&fs::read(&file)?)?, said))
}

/// Without what is of one scan only: ids, and what is new in a place where the other has never looked.
fn comparable(report: &Value) -> Result<Value> {
    let mut findings = report["findings"].as_array().context("no findings")?.clone();
    for finding in &mut findings {
        let fields = finding.as_object_mut().context("not an object")?;
        ensure!(fields.remove("id").is_some() && fields.remove("new").is_some());
    }
    // Where severity, path and line are equal, the order is by the ids that were just removed.
    findings.sort_by_key(|finding| {
        let text = |name: &str| finding[name].to_string();
        (
            text("path"),
            finding["start_line"].as_u64(),
            text("fingerprint"),
            text("message"),
            finding["start_column"].as_u64(),
        )
    });
    let scan = &report["scan"];
    let mut engines = scan["engines"].as_array().context("no engines")?.clone();
    for engine in &mut engines {
        engine.as_object_mut().context("not an object")?.remove("duration_ms");
    }
    Ok(json!({
        "findings": findings,
        "rules": report["rules"],
        "engines": engines,
        "state": scan["state"],
        "revision": scan["revision"],
        "repository": scan["repository"],
        "warnings": scan["warnings"],
    }))
}

fn by_engine(report: &Value) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for finding in report["findings"].as_array().into_iter().flatten() {
        *counts.entry(finding["engine"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    counts
}

/// `5 of 8 results were known already`.
fn known(said: &str) -> Option<String> {
    said.lines().find(|line| line.contains(" known")).map(str::to_owned)
}

#[test]
fn a_local_scan_finds_what_the_cloud_finds() -> Result<()> {
    let person = Person::signed_in()?;
    let (_keep, root) = work_tree_of(&repository().join("tests/apps/weak-app"), &[("app/fresh.py", &unseen())])?;

    let (_, cloud, _) = report(&person, &root, false)?;
    let (_, local, said) = report(&person, &root, true)?;
    let (theirs, ours) = (comparable(&cloud)?, comparable(&local)?);
    ensure!(by_engine(&cloud) == by_engine(&local), "{:?}\n{:?}", by_engine(&cloud), by_engine(&local));
    ensure!(by_engine(&local).len() >= 6 && by_engine(&local).values().sum::<usize>() >= 100, "{said}");
    for part in ["revision", "repository", "state", "engines", "warnings", "rules"] {
        ensure!(theirs[part] == ours[part], "{part}:\n{}\n{}", theirs[part], ours[part]);
    }
    let pairs =
        theirs["findings"].as_array().into_iter().flatten().zip(ours["findings"].as_array().into_iter().flatten());
    for (theirs, ours) in pairs {
        ensure!(theirs == ours, "\n{theirs:#}\n{ours:#}");
    }
    ensure!(theirs == ours, "not the same number of findings");

    let jobs = cloud["scan"]["engines"].as_array().context("no engines")?.len();
    let (_, again, said) = report(&person, &root, true)?;
    ensure!(known(&said) == Some(format!("{jobs} of {jobs} results were known: no engine ran")), "{said}");
    ensure!(comparable(&again)? == ours);

    // One changed file: only the engines that read it run, here as there.
    let changed = "scripts/deploy.sh";
    let text = fs::read_to_string(root.join(changed))?;
    fs::write(root.join(changed), format!("{text}{}", unseen()))?;
    let readers = dunlin_engines::catalog().iter().filter(|engine| {
        let (include, exclude) = (engine.reads.include.clone(), engine.reads.exclude.clone());
        let selection = Selection { include, exclude, shard: Shard::WHOLE };
        selection.compile().is_ok_and(|selector| selector.selects(changed))
    });
    let readers = readers.count();
    ensure!(readers > 0 && readers < jobs, "{readers} of {jobs}");
    let (_, local, here) = report(&person, &root, true)?;
    let (_, cloud, there) = report(&person, &root, false)?;
    ensure!(known(&here) == Some(format!("{} of {jobs} results were known already", jobs - readers)), "{here}");
    ensure!(known(&here) == known(&there), "{here}\n{there}");
    ensure!(comparable(&cloud)? == comparable(&local)?);
    Ok(())
}
