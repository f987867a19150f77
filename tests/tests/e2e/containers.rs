//! Images of an engine and of the loader, built and run as containers.

use crate::{
    prices::{LARGE_ROWS, World, large, published, send},
    weak_python,
};
use anyhow::{Context, Result, ensure};
use dunlin_tests::{
    api::Api,
    cloud::{Cloud, repository},
};
use serde_json::json;
use std::process::Command;

fn build(image: &str) -> Result<()> {
    let output = Command::new("python3").args(["infra/local/images.py", image]).current_dir(repository()).output()?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the image could not be built: {text}");
    Ok(())
}

async fn ran_as_a_container(cloud: &Cloud, job: String) -> Result<()> {
    let described = cloud.batch.describe_jobs().jobs(job).send().await?;
    let container = described.jobs().first().and_then(|j| j.container()).context("no container")?;
    ensure!(
        container.task_arn().is_some_and(|arn| arn.contains("container")),
        "it ran as a process, not as a container: {container:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_loaders_image_is_built_and_loads_as_a_container_with_its_role() -> Result<()> {
    build("loader")?;
    let (world, cloud) = (World::make().await?, Cloud::connect().await?);
    let packed = large(&world.ports[0], &world.ports[1])?;
    cloud.batch_mode("container").await?;
    let view = async { published(&world.api, &send(&world.api, "prices", packed, json!({})).await?).await }.await;
    cloud.batch_mode("process").await?;
    let view = view?;
    ensure!((view.rows, view.bad_rows) == (Some(LARGE_ROWS), 0), "{view:#?}");
    let (job, _) = cloud.load_jobs(&view.id.to_string()).await?.into_iter().next().context("no batch job")?;
    ran_as_a_container(&cloud, job).await
}

#[tokio::test]
async fn an_engine_image_is_built_and_run_as_a_container() -> Result<()> {
    build("ruff")?;
    let (api, cloud) = (Api::demo().await?, Cloud::connect().await?);
    let config = "engines = [\"ruff\"]\n[engine.ruff]\ncompute = \"batch\"\n";
    let python = weak_python(3);
    cloud.batch_mode("container").await?;
    let id = api.scan(api.upload("container", &[(".dunlin.toml", config), ("app.py", &python)]).await?, None).await?;
    let view = api.ended(&id).await;
    cloud.batch_mode("process").await?;
    let view = view?;
    ensure!(view.status == "complete" && view.summary.as_ref().is_some_and(|s| s.findings > 0), "{view:#?}");
    let (job, _) = cloud.batch_jobs(&id).await?.into_iter().next().context("no batch job")?;
    ran_as_a_container(&cloud, job).await
}
