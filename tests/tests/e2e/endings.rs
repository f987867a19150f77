//! How the state machine reads the end of a Batch job: the state itself, on causes as AWS words them.

use anyhow::{Context, Result, ensure};
use aws_sdk_sfn::types::ExecutionStatus;
use dunlin_tests::{
    cloud::{Cloud, repository},
    wait,
};
use serde_json::{Value, json};
use std::{fs, time::Duration};

/// The describing part of `DescribeJobs`, as `.sync` puts it into the cause.
fn job(status: &str, reason: Option<&str>, code: Option<i32>) -> String {
    let mut container = json!({});
    if let Some(reason) = reason {
        container["Reason"] = json!(reason);
    }
    if let Some(code) = code {
        container["ExitCode"] = json!(code);
    }
    json!({ "JobName": "x", "StatusReason": status, "Container": container }).to_string()
}

#[tokio::test]
async fn every_end_of_a_batch_job_has_its_name() -> Result<()> {
    let essential = "Essential container in task exited";
    let eni = "Timeout waiting for network interface provisioning to complete.";
    let init = "ResourceInitializationError: unable to pull secrets or registry auth";
    let pull = "CannotPullContainerError: ref pull has been retried 5 time(s)";
    // What Step Functions says, and: the name, whether another machine shall try.
    let table = [
        (job("Your Spot Task was interrupted.", None, None), "States.TaskFailed", true),
        (job(eni, None, None), "States.TaskFailed", true),
        (job(init, None, None), "States.TaskFailed", true),
        (job("Task failed to start", Some(init), None), "States.TaskFailed", true),
        (job(pull, None, None), "States.TaskFailed", true),
        (job(essential, Some(pull), None), "States.TaskFailed", true),
        (job("Task failed to start", Some("CannotStartContainerError: x"), None), "States.TaskFailed", true),
        (job(essential, None, Some(75)), "Runner.StorageUnavailable", true),
        (job(essential, None, Some(64)), "Runner.BadInput", false),
        (job(essential, None, Some(70)), "Runner.EngineCrashed", false),
        (job(essential, None, Some(124)), "Runner.TimedOut", false),
        (job("Job attempt duration exceeded timeout", None, Some(137)), "Runner.TimedOut", false),
        (
            job(essential, Some("OutOfMemoryError: Container killed due to memory usage"), Some(137)),
            "Runner.OutOfMemory",
            false,
        ),
        (job("the scan was cancelled", None, Some(143)), "Runner.Terminated", false),
        ("not json".to_owned(), "States.TaskFailed", false),
    ];
    every_end_has_its_name("scan.asl.json", "Run jobs", &table).await
}

#[tokio::test]
async fn every_end_of_a_load_has_its_name() -> Result<()> {
    let essential = "Essential container in task exited";
    let pull = "CannotPullContainerError: ref pull has been retried 5 time(s)";
    let killed = "OutOfMemoryError: Container killed due to memory usage";
    let table = [
        (job("Your Spot Task was interrupted.", None, Some(143)), "Loader.Terminated", true),
        (job("Your Spot Task was interrupted.", None, None), "States.TaskFailed", true),
        (job(essential, Some(pull), None), "States.TaskFailed", true),
        (job(essential, None, Some(73)), "Loader.DiskFull", false),
        (job(essential, None, Some(74)), "Loader.StorageUnavailable", true),
        (job(essential, None, Some(75)), "Loader.DatabaseUnavailable", true),
        (job(essential, None, Some(64)), "Loader.BadInput", false),
        (job(essential, None, Some(66)), "Loader.FileUnusable", false),
        (job(essential, None, Some(70)), "Loader.DatabaseRejected", false),
        (job(essential, None, Some(77)), "Loader.StorageRefused", false),
        (job("Job attempt duration exceeded timeout", None, Some(143)), "States.Timeout", false),
        (job("Job attempt duration exceeded timeout", None, Some(137)), "States.Timeout", false),
        (job(essential, Some(killed), Some(137)), "Runtime.OutOfMemory", false),
        (job("somebody stopped it", None, Some(143)), "Loader.Terminated", false),
        (job(essential, None, Some(101)), "States.TaskFailed", false),
        ("not json".to_owned(), "States.TaskFailed", false),
    ];
    every_end_has_its_name("price-batch.asl.json", "Load ranges", &table).await
}

async fn every_end_has_its_name(file: &str, map: &str, table: &[(String, &str, bool)]) -> Result<()> {
    let machine: Value = serde_json::from_str(&fs::read_to_string(repository().join("statemachines").join(file))?)?;
    let mut state = machine["States"][map]["ItemProcessor"]["States"]["Read how the Batch job ended"].clone();
    ensure!(state["Type"] == "Pass", "{state}");
    state["Next"] = json!("Tell");
    let definition = json!({ "QueryLanguage": "JSONata", "StartAt": "Read", "States": {
        "Read": state, "Tell": { "Type": "Pass", "Output": "{% $ending %}", "End": true } } });
    let cloud = Cloud::connect().await?;
    let machine = make(&cloud, &definition).await?;
    let told = tell(&cloud, &machine, table).await;
    cloud.workflows.delete_state_machine().state_machine_arn(machine).send().await?;
    told
}

/// A scan that is too old starts no other run: the gate itself, with the age at which it closes and with none.
#[tokio::test]
async fn a_job_that_has_no_time_left_is_given_up_as_data() -> Result<()> {
    let machine: Value = serde_json::from_str(&fs::read_to_string(repository().join("statemachines/scan.asl.json"))?)?;
    let inner = &machine["States"]["Run jobs"]["ItemProcessor"]["States"];
    let mut give_up = inner["Give up for lack of time"].clone();
    give_up["Next"] = json!("Tell");
    let cloud = Cloud::connect().await?;
    for (limit, expected) in [("7800000", "it runs"), ("-1", "no time was left to run it again: the machine went away")]
    {
        let gate = inner["Choose compute"].to_string();
        ensure!(gate.contains("> 7800000 %"), "{gate}");
        let gate: Value = serde_json::from_str(&gate.replace("> 7800000 %", &format!("> {limit} %")))?;
        let ending = json!({ "name": "States.TaskFailed", "cause": "the machine went away", "lost": true });
        let run = json!({ "Type": "Pass", "Output": { "cause": "it runs", "attempts": 2, "name": "" }, "End": true });
        let tell = "{% $merge([$ending, {'attempts': $attempts}]) %}";
        let definition = json!({ "QueryLanguage": "JSONata", "StartAt": "Begin", "States": {
            "Begin": { "Type": "Pass", "Assign": { "compute": "batch", "attempts": 2, "ending": ending }, "Next": "Choose compute" },
            "Choose compute": gate, "Give up for lack of time": give_up, "Run on Lambda": run, "Run on Batch": run,
            "Tell": { "Type": "Pass", "Output": tell, "End": true } } });
        let machine = make(&cloud, &definition).await?;
        let output = output(&cloud, &machine, &json!({})).await;
        cloud.workflows.delete_state_machine().state_machine_arn(machine).send().await?;
        let output = output?;
        ensure!(output["cause"] == expected, "{limit}: {output}");
        if limit == "-1" {
            ensure!(output["name"] == "States.Timeout" && output["attempts"] == 1, "the run that never was: {output}");
        }
    }
    Ok(())
}

async fn make(cloud: &Cloud, definition: &Value) -> Result<String> {
    let made = cloud
        .workflows
        .create_state_machine()
        .name(format!("endings-{}", uuid::Uuid::now_v7()))
        .definition(definition.to_string())
        .role_arn("arn:aws:iam::000000000000:role/dunlin-test-scan")
        .send()
        .await?;
    Ok(made.state_machine_arn().to_owned())
}

async fn output(cloud: &Cloud, machine: &str, input: &Value) -> Result<Value> {
    let begun = cloud.workflows.start_execution().state_machine_arn(machine).input(input.to_string()).send().await?;
    let output = wait::until("the execution's end", Duration::from_secs(20), async || {
        let seen = cloud.workflows.describe_execution().execution_arn(begun.execution_arn()).send().await?;
        ensure!(matches!(seen.status(), ExecutionStatus::Running | ExecutionStatus::Succeeded), "{input}: {seen:?}");
        Ok(seen.output().map(str::to_owned))
    })
    .await?;
    Ok(serde_json::from_str(&output)?)
}

async fn tell(cloud: &Cloud, machine: &str, table: &[(String, &str, bool)]) -> Result<()> {
    for (cause, name, lost) in table {
        let ending = output(cloud, machine, &json!({ "Error": "States.TaskFailed", "Cause": cause })).await?;
        ensure!(ending["name"] == *name && ending["lost"] == *lost, "{cause}: {ending}");
        ensure!(!ending["cause"].as_str().context("no cause")?.is_empty(), "{cause}: {ending}");
    }
    Ok(())
}
