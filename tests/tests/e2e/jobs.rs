//! Jobs that run elsewhere, die, hang, crash or are stopped.

use crate::weak_python;
use anyhow::{Context, Result, ensure};
use aws_sdk_sfn::types::ExecutionStatus;
use dunlin_contracts::api::{JobView, ScanView};
use dunlin_tests::{
    api::Api,
    cloud::{Cloud, value},
    engines, wait,
};
use reqwest::Method;
use std::{fs, time::Duration};

const ON_BATCH: &str = "engines = [\"ruff\"]\n[engine.ruff]\ncompute = \"batch\"\n";

fn only_job(view: &ScanView) -> Result<&JobView> {
    ensure!(view.jobs.len() == 1, "{view:#?}");
    Ok(&view.jobs[0])
}

/// Starts a scan with one ruff job.
async fn start(api: &Api, name: &str, config: &str, calls: usize) -> Result<String> {
    let python = weak_python(calls);
    api.scan(api.upload(name, &[(".dunlin.toml", config), ("app.py", &python)]).await?, None).await
}

#[tokio::test]
async fn a_job_on_batch_finds_what_it_finds_on_lambda() -> Result<()> {
    let api = Api::demo().await?;
    let python = weak_python(4);
    let mut counts = Vec::new();
    for compute in ["lambda", "batch"] {
        // A comment of its own for each: the same input would be answered from the store.
        let text = format!("# {compute}\n{python}");
        let config = format!("engines = [\"ruff\"]\n[engine.ruff]\ncompute = \"{compute}\"\n");
        let id =
            api.scan(api.upload("both computes", &[(".dunlin.toml", &config), ("app.py", &text)]).await?, None).await?;
        let view = api.ended(&id).await?;
        let job = only_job(&view)?;
        ensure!(job.compute == compute && job.outcome.as_deref() == Some("assessed"), "{job:#?}");
        ensure!(job.duration_ms.is_some() && job.peak_memory_bytes.is_some_and(|n| n > 0), "{job:#?}");
        counts.push(job.findings.context("no count")?);
    }
    ensure!(counts[0] == counts[1] && counts[0] > 0, "{counts:?}");
    Ok(())
}

#[tokio::test]
async fn progress_is_seen_while_a_job_runs() -> Result<()> {
    let api = Api::demo().await?;
    let _slow = engines::replace("ruff", "sleep 4; exec \"$ORIGINAL\" \"$@\"")?;
    let id = start(&api, "progress", ON_BATCH, 1).await?;
    let seen =
        api.wait_for(&id, "the job to run", 60, |v| v.jobs.first().is_some_and(|j| j.state == "running")).await?;
    ensure!(seen.status == "running" && only_job(&seen)?.compute == "batch", "{seen:#?}");
    ensure!(api.ended(&id).await?.status == "complete");
    Ok(())
}

#[tokio::test]
async fn one_engine_that_crashes_makes_the_scan_partial() -> Result<()> {
    let api = Api::demo().await?;
    let python = weak_python(2);
    let docker = format!("{}FROM debian:latest\nRUN cd /tmp\n", crate::unseen());
    let files = [("app.py", python.as_str()), ("Dockerfile", docker.as_str())];
    let first = {
        let _crash = engines::replace("hadolint", "kill -SEGV $$")?;
        let target = api.upload("crash", &files).await?;
        api.ended(&api.scan(target, Some(&["ruff", "hadolint"])).await?).await?
    };
    ensure!(first.status == "partial", "{first:#?}");
    ensure!(first.reason.as_deref().is_some_and(|r| r.contains("hadolint")), "{:?}", first.reason);
    let crashed = first.jobs.iter().find(|j| j.engine == "hadolint").context("no hadolint")?;
    ensure!(crashed.outcome.as_deref() == Some("failed") && crashed.error.is_some(), "{crashed:#?}");
    ensure!(crashed.attempt == 1, "a crash is not tried again: {crashed:#?}");
    let found = api.findings(&first.id.to_string()).await?;
    ensure!(found.iter().any(|f| f.engine == "ruff"), "what the other engine found is there");

    // A failure is not stored as a result: mended, it runs, and only it.
    let second = api.ended(&api.scan(api.upload("crash", &files).await?, Some(&["ruff", "hadolint"])).await?).await?;
    ensure!(second.status == "complete", "{second:#?}");
    ensure!(second.jobs.iter().all(|j| j.cached == (j.engine == "ruff")), "{second:#?}");
    let hadolint = api.findings_by_engine(&second.id.to_string()).await?.get("hadolint").copied();
    ensure!(hadolint > Some(0), "the premise: hadolint finds something");

    // Law 5: what the engine found is not closed when it crashes.
    let _crash = engines::replace("hadolint", "kill -SEGV $$")?;
    let changed = format!("{}FROM debian:latest\nRUN cd /tmp\n", crate::unseen());
    let files = [("app.py", python.as_str()), ("Dockerfile", changed.as_str())];
    let third = api.ended(&api.scan(api.upload("crash", &files).await?, Some(&["ruff", "hadolint"])).await?).await?;
    ensure!(third.status == "partial" && third.summary.as_ref().is_some_and(|s| s.fixed == 0), "{third:#?}");
    Ok(())
}

#[tokio::test]
async fn a_job_killed_midway_is_tried_again_and_counted_once() -> Result<()> {
    let (api, cloud) = (Api::demo().await?, Cloud::connect().await?);
    let _slow = engines::replace("ruff", "sleep 5; exec \"$ORIGINAL\" \"$@\"")?;
    let id = start(&api, "killed", ON_BATCH, 3).await?;
    let running = async || Ok(cloud.batch_jobs(&id).await?.into_iter().find(|(_, state)| state == "RUNNING"));
    let (job, _) = wait::until("the job to run", Duration::from_secs(60), running).await?;
    cloud.interrupt(&job).await?;
    let view = api.ended(&id).await?;
    let job = only_job(&view)?;
    ensure!(view.status == "complete" && job.outcome.as_deref() == Some("assessed"), "{view:#?}");
    ensure!(job.attempt >= 2, "it was not tried again: {job:#?}");
    let summary = view.summary.context("no summary")?;
    ensure!(summary.jobs == 1 && summary.findings == api.findings(&id).await?.len() as u64, "{summary:?}");
    let fingerprints: std::collections::BTreeSet<_> = api.findings(&id).await?.into_iter().map(|f| f.id).collect();
    ensure!(fingerprints.len() as u64 == summary.findings);
    Ok(())
}

#[tokio::test]
async fn a_cancelled_scan_leaves_no_process() -> Result<()> {
    let (api, cloud) = (Api::demo().await?, Cloud::connect().await?);
    // A number that is in no other command line.
    let marker = "86413.25";
    let _hang = engines::replace("ruff", &format!("sleep {marker} & sleep {marker}"))?;
    let id = start(&api, "cancelled", ON_BATCH, 1).await?;
    wait::until("the engine to hang", Duration::from_secs(60), async || Ok((processes(marker)? >= 2).then_some(())))
        .await?;
    for _ in 0..2 {
        let answer = api.send(Method::DELETE, &format!("/v1/scans/{id}"), None, &[]).await?;
        ensure!(answer.status == 202, "{} {}", answer.status, answer.body);
    }
    let view = api.ended(&id).await?;
    ensure!(view.status == "cancelled", "{view:#?}");
    ensure!(only_job(&view)?.outcome.as_deref() == Some("not_run"), "{view:#?}");
    wait::until("the engine's processes to be gone", Duration::from_secs(45), async || {
        Ok((processes(marker)? == 0).then_some(()))
    })
    .await?;
    ensure!(cloud.batch_jobs(&id).await?.iter().all(|(_, state)| state == "FAILED" || state == "SUCCEEDED"));
    Ok(())
}

/// Processes with this word in their command line.
fn processes(marker: &str) -> Result<usize> {
    let mut n = 0;
    for entry in fs::read_dir("/proc")? {
        let Ok(line) = fs::read(entry?.path().join("cmdline")) else { continue };
        let words = String::from_utf8_lossy(&line).replace('\0', " ");
        n += usize::from(words.starts_with("sleep") && words.contains(marker));
    }
    Ok(n)
}

#[tokio::test]
async fn a_scan_cancelled_before_it_starts_never_runs() -> Result<()> {
    let (api, cloud) = (Api::demo().await?, Cloud::connect().await?);
    let id = start(&api, "cancelled early", ON_BATCH, 1).await?;
    let answer = api.send(Method::DELETE, &format!("/v1/scans/{id}"), None, &[]).await?;
    ensure!(answer.status == 202, "{}", answer.body);
    let view = api.ended(&id).await?;
    ensure!(view.status == "cancelled", "{view:#?}");
    // The execution may only end after the scan has; what it submitted until then is all there will be.
    wait::until("the execution's end", Duration::from_secs(60), async || {
        let machine = value("STATE_MACHINE_ARN")?.replace(":stateMachine:", ":execution:");
        match cloud.workflows.describe_execution().execution_arn(format!("{machine}:{id}")).send().await {
            Ok(seen) => Ok((*seen.status() != ExecutionStatus::Running).then_some(())),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_execution_does_not_exist()) => Ok(Some(())),
            Err(e) => Err(e.into()),
        }
    })
    .await?;
    for (job, _) in cloud.batch_jobs(&id).await? {
        let described = cloud.batch.describe_jobs().jobs(&job).send().await?;
        let job = described.jobs().first().context("a job that is listed is not described")?;
        ensure!(job.started_at().is_none() && job.attempts().is_empty(), "it ran, and was ended: {job:?}");
    }
    Ok(())
}

#[tokio::test]
async fn too_little_memory_goes_from_lambda_to_batch_and_up_the_ladder() -> Result<()> {
    let api = Api::demo().await?;
    // `tail` keeps a line that does not end: 2.4 GB, more than the first rung has and less than the second.
    let hog = "head -c 2400000000 /dev/zero | tail > /dev/null; exec \"$ORIGINAL\" \"$@\"";
    let _hog = engines::replace("ruff", hog)?;
    let id = start(&api, "memory", "engines = [\"ruff\"]\n", 1).await?;
    let view = api.ended(&id).await?;
    let job = only_job(&view)?;
    ensure!(view.status == "complete" && job.compute == "batch" && job.attempt >= 2, "{view:#?}");
    ensure!(job.peak_memory_bytes.is_some_and(|n| n > 2_000_000_000), "{job:#?}");
    Ok(())
}

#[tokio::test]
async fn an_engine_that_hangs_is_ended_at_its_time_and_told() -> Result<()> {
    let api = Api::demo().await?;
    let _hang = engines::replace("ruff", "sleep 600")?;
    let config = "engines = [\"ruff\"]\n[engine.ruff]\ncompute = \"batch\"\ntimeout_seconds = 2\n";
    let id = start(&api, "hang", config, 1).await?;
    let view = api.ended(&id).await?;
    ensure!(view.status == "partial", "{view:#?}");
    ensure!(only_job(&view)?.outcome.as_deref() == Some("timed_out"), "{view:#?}");
    ensure!(view.reason.as_deref().is_some_and(|r| r.contains("ruff")), "{:?}", view.reason);
    Ok(())
}
