//! What a scan finds, that it is not computed twice, and that people can read it.

use crate::{unseen, weak_python};
use anyhow::{Context, Result, ensure};
use dunlin_tests::{api::Api, cloud::Cloud, receiver::Receiver, wait};
use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

const FILES: [(&str, &str); 3] = [
    ("web/index.js", "const run = (x) => eval(x);\nmodule.exports = run;\n"),
    (
        ".github/workflows/ci.yml",
        "on: pull_request_target\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - run: echo ${{ github.event.pull_request.title }}\n",
    ),
    ("infra/main.tf", "resource \"aws_s3_bucket\" \"b\" {\n  bucket = \"b\"\n  acl    = \"public-read\"\n}\n"),
];

#[tokio::test]
async fn an_upload_is_scanned_by_every_engine_that_has_something_to_read() -> Result<()> {
    let api = Api::demo().await?;
    let python = weak_python(2);
    let secret = format!("AKIA{}", "QX3TJ5N7ZL2WB6KD");
    let config = format!("{}aws_key = \"{secret}\"\n", unseen());
    let [js, workflow, terraform] = FILES.map(|(_, text)| text);
    let js = format!("//{}{js}", unseen());
    let (workflow, terraform) = (format!("{}{workflow}", unseen()), format!("{}{terraform}", unseen()));
    let mut files = vec![(FILES[0].0, js.as_str()), (FILES[1].0, workflow.as_str()), (FILES[2].0, terraform.as_str())];
    files.extend([("app.py", python.as_str()), ("settings.py", config.as_str())]);
    let scan = api.scan(api.upload("every engine", &files).await?, None).await?;
    let view = api.ended(&scan).await?;
    ensure!(view.status == "complete", "{view:#?}");
    let engines: BTreeSet<_> = view.jobs.iter().map(|job| job.engine.as_str()).collect();
    for engine in ["ruff", "eslint", "gitleaks", "trivy", "zizmor"] {
        ensure!(engines.contains(engine), "{engine} did not run: {engines:?}");
    }
    ensure!(
        view.jobs.iter().all(|job| job.state == "ended" && job.outcome.as_deref() == Some("assessed") && !job.cached)
    );

    let findings = api.findings(&scan).await?;
    let summary = view.summary.context("no summary")?;
    ensure!(summary.findings == findings.len() as u64 && summary.new == summary.findings, "{summary:?}");
    for finding in &findings {
        ensure!(files.iter().any(|(path, _)| *path == finding.path), "a place that was not uploaded: {finding:#?}");
    }
    ensure!(
        findings.iter().any(|f| f.engine == "zizmor" && f.path == ".github/workflows/ci.yml"),
        "zizmor found nothing"
    );
    ensure!(
        findings.iter().any(|f| f.engine == "ruff" && f.path == "app.py" && f.start_line == Some(3)),
        "{findings:#?}"
    );
    ensure!(findings.iter().any(|f| f.engine == "gitleaks" && f.path == "settings.py"), "the secret was not found");

    // A matched secret is nowhere: not in the API, not in a report, not in an object.
    let sarif = String::from_utf8(api.report(&scan, "sarif").await?)?;
    for (place, text) in [
        ("findings", serde_json::to_string(&findings)?),
        ("sarif", sarif.clone()),
        ("json", String::from_utf8(api.report(&scan, "json").await?)?),
        ("csv", String::from_utf8(api.report(&scan, "csv").await?)?),
    ] {
        ensure!(!text.contains(&secret), "the secret is in the {place}");
    }
    let sarif: Value = serde_json::from_str(&sarif)?;
    let results: usize =
        sarif["runs"].as_array().context("no runs")?.iter().map(|r| r["results"].as_array().map_or(0, Vec::len)).sum();
    ensure!(results == findings.len(), "{results} results in sarif, {} findings", findings.len());
    Ok(())
}

#[tokio::test]
async fn the_same_commit_runs_no_engine_and_one_changed_file_runs_those_that_read_it() -> Result<()> {
    let api = Api::demo().await?;
    let python = weak_python(1);
    let mut files = FILES.to_vec();
    files.push(("app.py", &python));
    let first = api.ended(&api.scan(api.upload("reuse", &files).await?, None).await?).await?;
    ensure!(first.status == "complete", "{first:#?}");

    let again = api.ended(&api.scan(api.upload("reuse", &files).await?, None).await?).await?;
    let summary = again.summary.clone().context("no summary")?;
    ensure!(again.jobs.iter().all(|job| job.cached) && summary.jobs_cached == summary.jobs, "{again:#?}");
    ensure!(summary.new == 0 && summary.fixed == 0 && summary.findings > 0, "{summary:?}");
    ensure!(again.revision == first.revision);

    let changed = weak_python(3);
    if let Some(last) = files.last_mut() {
        *last = ("app.py", &changed);
    }
    let third = api.ended(&api.scan(api.upload("reuse", &files).await?, None).await?).await?;
    let ran: BTreeSet<_> = third.jobs.iter().filter(|job| !job.cached).map(|job| job.engine.as_str()).collect();
    ensure!(ran.contains("ruff") && ran.contains("gitleaks"), "{ran:?}");
    ensure!(!ran.contains("eslint") && !ran.contains("zizmor") && !ran.contains("trivy"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn findings_live_on_over_scans_and_are_closed_when_they_are_gone() -> Result<()> {
    let api = Api::demo().await?;
    let header = unseen();
    let call = "import subprocess\nsubprocess.call('ls', shell=True)\n";
    let scan = async |path: &str, text: &str| -> Result<_> {
        let id = api.scan(api.upload("life", &[(path, text)]).await?, Some(&["ruff"])).await?;
        Ok((api.ended(&id).await?.summary.context("no summary")?, api.findings(&id).await?))
    };
    let (summary, before) = scan("a.py", &format!("{header}{call}")).await?;
    ensure!(summary.new == summary.findings && !before.is_empty(), "{summary:?}");
    // Moved down, then renamed: the same findings.
    let (summary, moved) = scan("a.py", &format!("{header}\n\n{call}")).await?;
    ensure!(summary.new == 0 && summary.fixed == 0, "{summary:?}");
    let ids = |findings: &[dunlin_contracts::api::FindingView]| findings.iter().map(|f| f.id).collect::<BTreeSet<_>>();
    ensure!(ids(&before) == ids(&moved));
    let (summary, renamed) = scan("b.py", &format!("{header}\n\n{call}")).await?;
    ensure!(summary.new == 0 && ids(&renamed) == ids(&before), "{summary:?}");
    let (summary, _) = scan("b.py", &format!("{header}print(1)\n")).await?;
    ensure!(summary.findings == 0 && summary.fixed == before.len() as u64, "{summary:?}");
    Ok(())
}

#[tokio::test]
async fn lists_filter_sort_and_page() -> Result<()> {
    let api = Api::demo().await?;
    let python = weak_python(5);
    let mut files = FILES.to_vec();
    files.push(("app.py", &python));
    let id = api.scan(api.upload("lists", &files).await?, None).await?;
    let view = api.ended(&id).await?;
    let all = api.findings(&id).await?;
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api.get(&format!("/v1/scans/{id}/findings?limit=3&sort=path{cursor}")).await?.body;
        paged.extend(
            page["items"].as_array().context("no items")?.iter().map(|f| f["path"].as_str().unwrap_or("").to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    ensure!(paged.len() == all.len() && paged.is_sorted(), "{paged:?}");
    let only = api.get(&format!("/v1/scans/{id}/findings?engine=ruff&path=app")).await?.body;
    ensure!(
        only["items"].as_array().is_some_and(|i| !i.is_empty() && i.iter().all(|f| f["engine"] == "ruff")),
        "{only}"
    );

    let repository = api.get(&format!("/v1/repositories/{}", view.repository_id)).await?.body;
    ensure!(
        repository["latest"]["id"] == id && repository["name"].as_str().is_some_and(|name| name.starts_with("lists")),
        "{repository}"
    );
    let scans = api.get(&format!("/v1/scans?repository_id={}&status=complete", view.repository_id)).await?.body;
    ensure!(scans["items"][0]["id"] == id, "{scans}");
    Ok(())
}

#[tokio::test]
async fn the_owners_file_is_heeded_and_its_faults_are_told_with_their_place() -> Result<()> {
    let api = Api::demo().await?;
    let python = weak_python(1);
    let heeded = "engines = [\"ruff\"]\nexclude = [\"vendor/**\"]\n";
    let files = [(".dunlin.toml", heeded), ("app.py", &python), ("vendor/lib.py", &python)];
    let id = api.scan(api.upload("owner", &files).await?, None).await?;
    let view = api.ended(&id).await?;
    ensure!(view.jobs.len() == 1 && view.jobs[0].files == 1, "{view:#?}");
    ensure!(api.findings(&id).await?.iter().all(|f| f.path == "app.py"));

    let files = [(".dunlin.toml", "engines = [\"ruff\"]\nexclud = []\n"), ("app.py", &python)];
    let view = api.ended(&api.scan(api.upload("owner", &files).await?, None).await?).await?;
    ensure!(view.warnings.iter().any(|w| w.starts_with(".dunlin.toml:2:1:")), "{:?}", view.warnings);
    ensure!(view.status == "complete" && view.jobs.len() > 1, "the defaults apply: {view:#?}");
    Ok(())
}

#[tokio::test]
async fn a_webhook_hears_of_the_end_once_signed_and_with_the_same_trace() -> Result<()> {
    let api = Api::demo().await?;
    let receiver = Receiver::start().await?;
    let url = format!("http://127.0.0.1:{}/hook", receiver.port);
    let created = api.send(Method::PUT, "/v1/webhook", Some(json!({ "url": url })), &[]).await?;
    ensure!(created.status == 200, "{}", created.body);
    let target = api.upload("webhook", &[("app.py", &weak_python(1))]).await?;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let header = format!("00-{trace}-b7ad6b7169203331-01");
    let body = json!({ "target": target, "engines": ["ruff"] });
    let answer = api.send(Method::POST, "/v1/scans", Some(body), &[("traceparent", &header)]).await?;
    let id = answer.body["id"].as_str().context("no id")?.to_owned();
    let view = api.ended(&id).await?;
    ensure!(view.trace_id == trace);
    let told = wait::until("the webhook", Duration::from_secs(30), async || {
        Ok(receiver.received().into_iter().find(|r| r.body.contains(&id)))
    })
    .await;
    api.send(Method::DELETE, "/v1/webhook", None, &[]).await?;
    let told = told?;
    let event: Value = serde_json::from_str(&told.body)?;
    ensure!(event["specversion"] == "1.0" && event["data"]["status"] == "complete", "{event}");
    let signature = sign(
        created.body["signing_key"].as_str().context("no key")?,
        &format!(
            "{}.{}.{}",
            told.header("webhook-id").unwrap_or(""),
            told.header("webhook-timestamp").unwrap_or(""),
            told.body
        ),
    )?;
    ensure!(told.header("webhook-signature") == Some(signature.as_str()), "{told:?}");
    Ok(())
}

/// "Nobody is to be told" is an answer too, and not a permission that is missing.
#[tokio::test]
async fn without_a_webhook_the_notifier_has_told_everybody() -> Result<()> {
    let (api, cloud) = (Api::demo().await?, Cloud::connect().await?);
    let id = api.scan(api.upload("no webhook", &[("app.py", &weak_python(1))]).await?, Some(&["ruff"])).await?;
    api.ended(&id).await?;
    let arn =
        format!("{}:{id}", dunlin_tests::cloud::value("STATE_MACHINE_ARN")?.replace(":stateMachine:", ":execution:"));
    let output = wait::until("the execution's output", Duration::from_secs(30), async || {
        let told = cloud.workflows.describe_execution().execution_arn(&arn).send().await?;
        Ok(told.output().map(str::to_owned))
    })
    .await?;
    ensure!(serde_json::from_str::<Value>(&output)? == json!({ "receivers_told": true }), "{output}");
    Ok(())
}

/// Its state machine was stopped and tells nobody.
#[tokio::test]
async fn a_webhook_hears_of_a_scan_that_was_cancelled() -> Result<()> {
    let api = Api::other().await?;
    let receiver = Receiver::start().await?;
    let url = format!("http://127.0.0.1:{}/hook", receiver.port);
    let created = api.send(Method::PUT, "/v1/webhook", Some(json!({ "url": url })), &[]).await?;
    ensure!(created.status == 200, "{}", created.body);
    let config = "engines = [\"ruff\"]\n[engine.ruff]\ncompute = \"batch\"\n";
    let target = api.upload("webhook cancelled", &[(".dunlin.toml", config), ("app.py", &weak_python(1))]).await?;
    let id = api.scan(target, None).await?;
    let answer = api.send(Method::DELETE, &format!("/v1/scans/{id}"), None, &[]).await?;
    ensure!(answer.status == 202, "{}", answer.body);
    let told = wait::until("the webhook", Duration::from_secs(60), async || {
        Ok(receiver.received().into_iter().find(|r| r.body.contains(&id)))
    })
    .await;
    api.send(Method::DELETE, "/v1/webhook", None, &[]).await?;
    let event: Value = serde_json::from_str(&told?.body)?;
    ensure!(event["data"]["status"] == "cancelled", "{event}");
    ensure!(api.read(&id).await?.status == "cancelled", "told before it was so");
    ensure!(receiver.received().len() == 1, "told more than once");
    Ok(())
}

#[tokio::test]
async fn one_trace_is_followed_from_the_request_into_jobs_on_lambda_and_on_batch() -> Result<()> {
    let api = Api::demo().await?;
    for (compute, job) in [("lambda", "runner-ruff"), ("batch", "jobs")] {
        let trace = uuid::Uuid::now_v7().simple().to_string();
        let config = format!("engines = [\"ruff\"]\n[engine.ruff]\ncompute = \"{compute}\"\n");
        // Nothing of it is known, or no job would run.
        let python = format!("# {trace}\n{}", weak_python(1));
        let target = api.upload("trace", &[(".dunlin.toml", &config), ("app.py", &python)]).await?;
        let header = format!("00-{trace}-b7ad6b7169203331-01");
        let body = json!({ "target": target });
        let answer = api.send(Method::POST, "/v1/scans", Some(body), &[("traceparent", &header)]).await?;
        let id = answer.body["id"].as_str().context("no id")?.to_owned();
        ensure!(api.ended(&id).await?.trace_id == trace);
        for source in ["intake", "dispatcher", "source", "planner", job, "aggregator", "notifier", "recorder"] {
            wait::until(&format!("the trace in the log of {source}"), Duration::from_secs(30), async || {
                let logs = dunlin_tests::cloud::local_cloud(&["logs", source])?;
                let line = logs.lines().find(|line| line.contains(&trace)).map(str::to_owned);
                ensure!(
                    line.as_deref().is_none_or(|line| line.contains(&id)),
                    "{source} does not name the scan: {line:?}"
                );
                Ok(line)
            })
            .await?;
        }
    }
    Ok(())
}

fn sign(key: &str, text: &str) -> Result<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use hmac::{Hmac, KeyInit, Mac};
    let key = STANDARD.decode(key.trim_start_matches("whsec_"))?;
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key)?;
    mac.update(text.as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// Law 6, and secrets: what Step Functions keeps of an execution is small and holds references.
#[tokio::test]
async fn the_state_machine_carries_references() -> Result<()> {
    let (api, cloud) = (Api::demo().await?, Cloud::connect().await?);
    let python = weak_python(40);
    let id = api.scan(api.upload("references", &[("app.py", &python)]).await?, None).await?;
    api.ended(&id).await?;
    let arn =
        format!("{}:{id}", dunlin_tests::cloud::value("STATE_MACHINE_ARN")?.replace(":stateMachine:", ":execution:"));
    let mut pages = cloud.workflows.get_execution_history().execution_arn(arn).into_paginator().send();
    let mut largest = 0;
    while let Some(page) = pages.next().await {
        for event in page?.events() {
            let text = format!("{event:?}");
            largest = largest.max(text.len());
            ensure!(!text.contains("subprocess.call"), "source code in the history: {text}");
        }
    }
    ensure!(largest > 0 && largest < 64 * 1024, "the largest event has {largest} bytes");
    Ok(())
}
