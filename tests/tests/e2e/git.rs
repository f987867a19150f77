//! Repositories that are fetched.

use crate::{unseen, weak_python};
use anyhow::{Result, ensure};
use dunlin_testkit::git::{GitServer, Rule, TOKEN};
use dunlin_tests::{
    api::Api,
    cloud::{Cloud, value},
};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_commit_is_fetched_once_and_branches_tags_and_commits_can_be_named() -> Result<()> {
    let api = Api::demo().await?;
    let server = GitServer::start().await;
    let repository = server.repo("shop");
    let first = repository.commit("main", &[("app.py", weak_python(1).as_bytes())]);
    let second = repository.commit("feature", &[("app.py", weak_python(2).as_bytes())]);
    let url = server.url_at("127.0.0.1", "shop");
    let scan =
        async |target: serde_json::Value| -> Result<_> { api.ended(&api.scan(target, Some(&["ruff"])).await?).await };

    let view = scan(json!({ "type": "git", "url": url })).await?;
    ensure!(view.status == "complete" && view.revision.as_deref() == Some(first.as_str()), "{view:#?}");
    ensure!(view.track.as_deref() == Some("main"), "{view:#?}");
    let fetches = server.fetches();
    ensure!(fetches == 1, "{fetches} fetches for one scan");

    let again = scan(json!({ "type": "git", "url": url, "branch": "main" })).await?;
    ensure!(again.jobs.iter().all(|job| job.cached), "{again:#?}");
    ensure!(server.fetches() == fetches, "the same commit was fetched again");

    let branch = scan(json!({ "type": "git", "url": url, "branch": "feature" })).await?;
    ensure!(branch.revision.as_deref() == Some(second.as_str()), "{branch:#?}");
    let commit = scan(json!({ "type": "git", "url": url, "commit": first })).await?;
    ensure!(commit.revision.as_deref() == Some(first.as_str()), "{commit:#?}");
    Ok(())
}

#[tokio::test]
async fn a_private_repository_needs_its_token_and_the_token_is_nowhere() -> Result<()> {
    let api = Api::demo().await?;
    let server = GitServer::start().await;
    server.rule("/vault", Rule::Private { user: "x-access-token" });
    server.repo("vault").commit("main", &[("app.py", weak_python(1).as_bytes()), ("b.txt", unseen().as_bytes())]);
    let url = server.url_at("127.0.0.1", "vault");
    let refused = api.ended(&api.scan(json!({ "type": "git", "url": url }), None).await?).await?;
    ensure!(refused.status == "failed" && refused.reason.is_some(), "{refused:#?}");

    let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let body = json!({ "host": host, "username": "x-access-token", "token": TOKEN });
    let stored = api.send(Method::PUT, "/v1/credentials/vault-reader", Some(body), &[]).await?;
    ensure!(stored.status == 204, "{} {}", stored.status, stored.body);
    let target = json!({ "type": "git", "url": url, "credential": "vault-reader" });
    let id = api.scan(target, Some(&["ruff"])).await?;
    let view = api.ended(&id).await?;
    ensure!(view.status == "complete", "{view:#?}");
    let logs = dunlin_tests::cloud::local_cloud(&["logs"])?;
    ensure!(!logs.contains(TOKEN), "the token is in the logs");
    ensure!(!serde_json::to_string(&view)?.contains(TOKEN));
    for (place, text) in kept(&id).await? {
        ensure!(!text.contains(TOKEN), "the token is in {place}");
    }
    api.send(Method::DELETE, "/v1/credentials/vault-reader", None, &[]).await?;
    Ok(())
}

/// What is written down about a scan of `demo`, by place: what was accepted, what was planned, and every step's input and output.
async fn kept(scan: &str) -> Result<Vec<(String, String)>> {
    let cloud = Cloud::connect().await?;
    let mut found = Vec::new();
    let bucket = value("DATA_BUCKET")?;
    for prefix in [format!("accepted/demo/{scan}"), format!("plans/demo/{scan}")] {
        let listed = cloud.objects.list_objects_v2().bucket(&bucket).prefix(&prefix).send().await?;
        ensure!(!listed.contents().is_empty(), "the premise: something is below {prefix}");
        for key in listed.contents().iter().filter_map(|object| object.key()) {
            let bytes = cloud.object(key).await?.unwrap_or_default();
            found.push((key.to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    let arn = format!("{}:{scan}", value("STATE_MACHINE_ARN")?.replace(":stateMachine:", ":execution:"));
    let described = cloud.workflows.describe_execution().execution_arn(&arn).send().await?;
    found.push(("the execution".to_owned(), format!("{described:?}")));
    let mut pages = cloud
        .workflows
        .get_execution_history()
        .execution_arn(&arn)
        .include_execution_data(true)
        .into_paginator()
        .send();
    let mut events = 0;
    while let Some(page) = pages.next().await {
        for event in page?.events() {
            events += 1;
            found.push(("the execution's history".to_owned(), format!("{event:?}")));
        }
    }
    let whole: String = found.iter().map(|(_, text)| text.as_str()).collect();
    ensure!(events > 20 && whole.contains("vault-reader"), "the premise: the history shows what the steps were given");
    Ok(found)
}

#[tokio::test]
async fn what_cannot_be_fetched_is_told_in_a_sentence() -> Result<()> {
    let api = Api::demo().await?;
    let server = GitServer::start().await;
    server.repo("there").commit("main", &[("app.py", weak_python(1).as_bytes())]);
    for (target, words) in [
        (json!({ "type": "git", "url": server.url_at("127.0.0.1", "nowhere") }), "repository"),
        (json!({ "type": "git", "url": server.url_at("127.0.0.1", "there"), "branch": "gone" }), "gone"),
    ] {
        let view = api.ended(&api.scan(target.clone(), None).await?).await?;
        ensure!(view.status == "failed", "{target}: {view:#?}");
        ensure!(
            view.reason.as_deref().is_some_and(|r| r.contains(words) && r.len() > 10),
            "{target}: {:?}",
            view.reason
        );
    }
    Ok(())
}
