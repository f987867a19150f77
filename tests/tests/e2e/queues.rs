//! Dead letters, and the way back.

use crate::weak_python;
use anyhow::{Context, Result, ensure};
use aws_sdk_sqs::types::QueueAttributeName;
use dunlin_tests::{
    api::Api,
    cloud::{Cloud, local_cloud, value},
    wait,
};
use std::time::Duration;

async fn depth(cloud: &Cloud, queue: &str) -> Result<u64> {
    let answer = cloud
        .queues
        .get_queue_attributes()
        .queue_url(value(queue)?)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .send()
        .await?;
    let attributes = answer.attributes().context("no attributes")?;
    Ok(attributes.get(&QueueAttributeName::ApproximateNumberOfMessages).context("no depth")?.parse()?)
}

#[tokio::test]
async fn a_poison_message_ends_in_the_dead_letter_queue_and_the_good_one_beside_it_is_done() -> Result<()> {
    let (api, cloud) = (Api::demo().await?, Cloud::connect().await?);
    // Five deliveries at the real timeout take a quarter of an hour.
    let patience = visibility_timeout(&cloud, "1").await?;
    let result = poison(&api, &cloud).await;
    visibility_timeout(&cloud, &patience).await?;
    result
}

/// Sets how long a message that was not handled stays hidden; answers what it was.
async fn visibility_timeout(cloud: &Cloud, seconds: &str) -> Result<String> {
    let name = QueueAttributeName::VisibilityTimeout;
    let url = value("SCANS_QUEUE_URL")?;
    let answer = cloud.queues.get_queue_attributes().queue_url(&url).attribute_names(name.clone()).send().await?;
    let before = answer.attributes().and_then(|a| a.get(&name)).context("no visibility timeout")?.clone();
    cloud.queues.set_queue_attributes().queue_url(&url).attributes(name, seconds).send().await?;
    Ok(before)
}

async fn poison(api: &Api, cloud: &Cloud) -> Result<()> {
    let target = api.upload("beside poison", &[("app.py", &weak_python(1))]).await?;
    let poison = format!("poison {}", uuid::Uuid::now_v7());
    cloud.queues.send_message().queue_url(value("SCANS_QUEUE_URL")?).message_body(&poison).send().await?;
    let id = api.scan(target, Some(&["ruff"])).await?;
    ensure!(api.ended(&id).await?.status == "complete");
    let dead = async || Ok((depth(cloud, "SCANS_DLQ_URL").await? >= 1).then_some(()));
    wait::until("the poison message to be a dead letter", Duration::from_secs(120), dead).await?;

    // `make redrive` brings it back; still poison, it ends there again.
    local_cloud(&["redrive"])?;
    wait::until("the dead letter to be taken back", Duration::from_secs(30), async || {
        Ok((depth(cloud, "SCANS_DLQ_URL").await? == 0).then_some(()))
    })
    .await?;
    wait::until("the poison message to be a dead letter again", Duration::from_secs(120), dead).await?;
    cloud.queues.purge_queue().queue_url(value("SCANS_DLQ_URL")?).send().await?;
    Ok(())
}
