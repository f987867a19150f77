//! Whatever dies on the way, accepted work ends exactly once.

use crate::weak_python;
use anyhow::{Context, Result, ensure};
use dunlin_tests::{
    api::Api,
    cloud::{Cloud, local_cloud, value},
    engines,
};
use serde_json::json;

#[tokio::test]
async fn work_is_accepted_while_the_database_is_down_and_done_when_it_is_back() -> Result<()> {
    let api = Api::demo().await?;
    let target = api.upload("database down", &[("app.py", &weak_python(1))]).await?;
    local_cloud(&["postgres", "stop"])?;
    let scan = api.scan(target, Some(&["ruff"])).await;
    let read = api.get("/v1/scans").await;
    local_cloud(&["postgres", "start"])?;
    let scan = scan.context("not accepted while the database was down")?;
    ensure!(read?.status == 503, "a list without a database");
    let view = api.ended(&scan).await?;
    ensure!(view.status == "complete", "{view:#?}");
    Ok(())
}

#[tokio::test]
async fn the_same_message_three_times_is_one_scan() -> Result<()> {
    let (api, cloud) = (Api::demo().await?, Cloud::connect().await?);
    let target = api.upload("three times", &[("app.py", &weak_python(1))]).await?;
    let id = api.scan(target, Some(&["ruff"])).await?;
    let message = cloud.object(&format!("accepted/demo/{id}.json")).await?.context("nothing was written down")?;
    for _ in 0..2 {
        let body = String::from_utf8(message.clone())?;
        cloud.queues.send_message().queue_url(value("SCANS_QUEUE_URL")?).message_body(body).send().await?;
    }
    let first = api.ended(&id).await?;
    ensure!(first.status == "complete", "{first:#?}");
    // Once more after the end: it changes nothing either.
    let body = String::from_utf8(message)?;
    cloud.queues.send_message().queue_url(value("SCANS_QUEUE_URL")?).message_body(body).send().await?;
    dunlin_tests::wait::until("the queue to be empty", std::time::Duration::from_secs(30), async || {
        let attributes = cloud
            .queues
            .get_queue_attributes()
            .queue_url(value("SCANS_QUEUE_URL")?)
            .attribute_names(aws_sdk_sqs::types::QueueAttributeName::All)
            .send()
            .await?;
        let count = |name: &str| {
            attributes.attributes().and_then(|a| a.iter().find(|(k, _)| k.as_str() == name)).map(|(_, v)| v.clone())
        };
        let empty = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            .iter()
            .all(|n| count(n).as_deref() == Some("0"));
        Ok(empty.then_some(()))
    })
    .await?;
    ensure!(api.read(&id).await? == first);
    let database = cloud.database().await?;
    let scans: i64 = database.query_one("select count(*) from scans where id::text = $1", &[&id]).await?.get(0);
    let findings: i64 =
        database.query_one("select count(*) from scan_findings where scan_id::text = $1", &[&id]).await?.get(0);
    ensure!(scans == 1 && findings as u64 == first.summary.context("no summary")?.findings);
    Ok(())
}

#[tokio::test]
async fn an_execution_that_is_aborted_by_somebody_ends_its_scan() -> Result<()> {
    let (api, cloud) = (Api::demo().await?, Cloud::connect().await?);
    let _slow = engines::replace("ruff", "sleep 600")?;
    let config = "engines = [\"ruff\"]\n[engine.ruff]\ncompute = \"batch\"\n";
    let target = api.upload("aborted", &[(".dunlin.toml", config), ("app.py", &weak_python(1))]).await?;
    let id = api.scan(target, None).await?;
    api.wait_for(&id, "the job to run", 60, |v| v.jobs.first().is_some_and(|j| j.state == "running")).await?;
    let arn = format!("{}:{id}", value("STATE_MACHINE_ARN")?.replace(":stateMachine:", ":execution:"));
    cloud.workflows.stop_execution().execution_arn(arn).cause("by an operator").send().await?;
    let view = api.ended(&id).await?;
    ensure!(view.status == "failed" && view.reason.is_some(), "nobody asked to cancel it: {view:#?}");
    ensure!(view.jobs[0].outcome.as_deref() == Some("not_run"), "{view:#?}");
    Ok(())
}

#[tokio::test]
async fn an_upload_that_is_no_archive_fails_with_a_sentence() -> Result<()> {
    let api = Api::demo().await?;
    let target = api.upload_bytes("rubbish", b"this is not an archive".to_vec()).await?;
    let view = api.ended(&api.scan(target, None).await?).await?;
    ensure!(view.status == "failed", "{view:#?}");
    ensure!(view.reason.as_deref().is_some_and(|r| r.contains("archive")), "{:?}", view.reason);

    let missing = json!({ "type": "upload", "upload_id": uuid::Uuid::now_v7(), "repository": "missing" });
    let view = api.ended(&api.scan(missing, None).await?).await?;
    ensure!(view.status == "failed" && view.reason.as_deref().is_some_and(|r| r.contains("upload")), "{view:#?}");
    Ok(())
}
