//! What the pipeline says about a repository against what the engines say themselves: the command of each engine.toml, run here by
//! hand on the same files, and its raw report counted by a few lines that share nothing with the readers.

use crate::unseen;
use anyhow::{Context, Result, bail, ensure};
use dunlin_engines::catalog;
use dunlin_testkit::git::GitServer;
use dunlin_tests::{api::Api, cloud::repository};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Files by their path in the repository, each from the weak application.
fn sources(files: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
    let read = |(path, sample): &(&str, &str)| {
        let text = fs::read_to_string(repository().join("tests/apps/weak-app").join(sample))
            .with_context(|| (*sample).to_owned())?;
        // At the end, where a comment changes no line number, in the two ways these languages write one.
        let comment =
            if path.ends_with(".js") || path.ends_with(".go") { unseen().replace('#', "//") } else { unseen() };
        Ok(((*path).to_owned(), format!("{text}\n{comment}")))
    };
    files.iter().map(read).collect()
}

fn programs(engine: &str) -> PathBuf {
    repository().join(".local/engines").join(engine)
}

/// Runs the engine in `root` and answers its report.
fn by_hand(engine: &str, root: &Path) -> Result<Value> {
    let manifest = catalog().iter().find(|manifest| manifest.name == engine).context("no such engine")?;
    let home = programs(engine);
    let scratch = tempfile::tempdir()?;
    let out = scratch.path().join("report");
    let mut words = Vec::new();
    for word in &manifest.run.command {
        if word == "{files}" {
            words.extend(listed(engine, root)?);
        } else {
            let word =
                word.replace("{engine}", &home.display().to_string()).replace("{out}", &out.display().to_string());
            words.push(word.replace("{tmp}", &scratch.path().display().to_string()));
        }
    }
    let output = Command::new(home.join("bin").join(&words[0]))
        .args(&words[1..])
        .current_dir(root)
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("NO_COLOR", "1")])
        .env("HOME", scratch.path())
        .output()
        .with_context(|| format!("{engine} cannot be run"))?;
    let code = output.status.code().context("ended by a signal")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(manifest.exit.done.contains(&code) || manifest.exit.findings.contains(&code), "{engine}: {code} {said}");
    let report =
        if manifest.run.stdout_report { output.stdout } else { fs::read(&out).with_context(|| said.into_owned())? };
    Ok(serde_json::from_slice(&report)?)
}

/// Files for the engines that are told each by name.
fn listed(engine: &str, root: &Path) -> Result<Vec<String>> {
    let wanted = |name: &str| match engine {
        "shellcheck" => Ok(name.ends_with(".sh")),
        "hadolint" => Ok(name == "Dockerfile"),
        other => bail!("which files does {other} read?"),
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        if wanted(&name)? {
            names.push(name);
        }
    }
    Ok(names)
}

/// Results of a SARIF log, or comments of ShellCheck's own format.
fn count(report: &Value) -> usize {
    let runs = report["runs"].as_array().into_iter().flatten();
    let results: usize = runs.map(|run| run["results"].as_array().map_or(0, Vec::len)).sum();
    results + report["comments"].as_array().map_or(0, Vec::len)
}

async fn compare(server: &GitServer, name: &str, engines: &[&str], files: &[(&str, &str)]) -> Result<()> {
    let api = Api::demo().await?;
    let files = sources(files)?;
    let content: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
    server.repo(name).commit("main", &content);
    let target = json!({ "type": "git", "url": server.url_at("127.0.0.1", name) });
    let view = api.ended(&api.scan(target, Some(engines)).await?).await?;
    ensure!(view.status == "complete" && view.jobs.iter().all(|job| !job.cached), "{view:#?}");
    let listed = api.findings_by_engine(&view.id.to_string()).await?;

    let root = tempfile::tempdir()?;
    for (path, text) in &files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(path, text)?;
    }
    let mut expected = BTreeMap::new();
    for engine in engines {
        let raw = count(&by_hand(engine, root.path())?);
        ensure!(raw > 0, "the premise: {engine} finds something in {name}");
        expected.insert((*engine).to_owned(), raw);
    }
    ensure!(listed == expected, "{name}: the pipeline lists {listed:?}, the engines say {expected:?}");
    let jobs: BTreeMap<_, _> = view
        .jobs
        .iter()
        .map(|job| Ok((job.engine.clone(), usize::try_from(job.findings.context("no count")?)?)))
        .collect::<Result<_>>()?;
    ensure!(jobs == expected, "{name}: the jobs count {jobs:?}, the engines say {expected:?}");
    let summary = view.summary.as_ref().context("no summary")?;
    ensure!(summary.findings == expected.values().sum::<usize>() as u64, "{summary:?}, the engines say {expected:?}");
    Ok(())
}

#[tokio::test]
async fn the_pipeline_counts_what_the_engines_say_themselves() -> Result<()> {
    let server = GitServer::start().await;
    compare(
        &server,
        "python-shop",
        &["ruff", "gitleaks", "foxguard"],
        &[("shop/store.py", "app/store.py"), ("settings.env", "config/settings.env")],
    )
    .await?;
    compare(
        &server,
        "javascript-app",
        &["eslint", "zizmor"],
        &[("app.js", "web/index.js"), (".github/workflows/build.yml", ".github/workflows/release.yml")],
    )
    .await?;
    compare(
        &server,
        "shell-and-infrastructure",
        &["shellcheck", "hadolint", "trivy"],
        &[("main.tf", "infra/main.tf"), ("Dockerfile", "Dockerfile"), ("deploy.sh", "scripts/deploy.sh")],
    )
    .await
}
