//! The scan's machine against the Rust types.

use crate::{
    contract_support::read,
    machine::{Machine, PAYLOAD_LIMIT, expressions, filled, function_of, is_a},
};
use dunlin_contracts::{
    events::{JOB_STATE_CHANGE, JobStateChange, SOURCE},
    plan::{MAX_JOBS, PlanItem, Rung},
    steps::{
        AggregatorInput, JobEnd, NotifierInput, PlannerInput, PlannerOutput, RecorderInput, RunnerInput, SourceInput,
        StepError,
    },
};
use dunlin_core::job::{Compute, Size};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn scan_message() -> Value {
    json!({
        "version": 1,
        "scan_id": "01980000-0000-7000-8000-000000000001",
        "tenant": "acme",
        "repository_id": "6c0f5a0e-4f0b-5f6e-9d58-2f5e7a3d10d1",
        "repository": "git.example/acme/shop",
        "request": {"target": {"type": "git", "url": "https://git.example/acme/shop"}},
        "requested_by": "somebody",
        "accepted_at": "2026-11-21T10:00:00Z",
        "trace_id": "0af7651916cd43dd8448eb211c80319c"
    })
}

/// What the machine's expressions stand for. An expression that is not here is one this test must be taught.
fn meaning(expression: &str) -> Value {
    let scan = scan_message();
    let item = serde_json::to_value(item(0, 100)).unwrap();
    match expression.trim() {
        "$states.context.Execution.Input" => scan,
        "$states.context.Execution.Input.scan_id" => scan["scan_id"].clone(),
        "$states.context.Execution.Input.tenant" => scan["tenant"].clone(),
        "$states.context.Execution.Input.trace_id" => scan["trace_id"].clone(),
        "$snapshot" => json!({
            "prefix": "snapshots/acme/r/abc", "revision": "abc", "track": "main", "committed_at": "2026-11-20T10:00:00Z",
            "resolved_at": "2026-11-20T10:00:01Z",
            "files": 10, "bytes": 1000, "reused": false
        }),
        "$plan_key" => json!("plans/acme/s/plan.json"),
        "$job_ends" => json!([{"job": 0, "ok": true, "compute": "lambda", "attempts": 1}]),
        "$failure" => json!({"name": "Source.Empty", "cause": "nothing there"}),
        "$outcome" => json!("partial"),
        "$summary" => {
            json!({"findings": 1, "by_severity": {"high": 1}, "enforced_by_severity": {"high": 1}, "new": 1, "fixed": 0, "jobs": 1, "jobs_cached": 0, "jobs_incomplete": 0})
        }
        "$item.ticket_url" => item["ticket_url"].clone(),
        "$item.job" => item["job"].clone(),
        "$compute" => json!("batch"),
        "$attempts" => json!(2),
        "$ok" => json!(true),
        "$compute = 'lambda' ? 'running' : 'queued'" => json!("queued"),
        other => panic!("teach this test what {other:?} stands for"),
    }
}

#[test]
fn payloads_are_the_types_of_the_contracts() {
    let mut checked = BTreeMap::new();
    for state in Machine::scan().tasks() {
        if let Some(function) = function_of(&state) {
            let payload = filled(&state.body["Arguments"]["Payload"], &meaning);
            match function.as_str() {
                "recorder" => is_a::<RecorderInput>(&payload, &state.name),
                "source" => is_a::<SourceInput>(&payload, &state.name),
                "planner" => is_a::<PlannerInput>(&payload, &state.name),
                "runner" => is_a::<RunnerInput>(&payload, &state.name),
                "aggregator" => is_a::<AggregatorInput>(&payload, &state.name),
                "notifier" => is_a::<NotifierInput>(&payload, &state.name),
                other => panic!("{other} is not called by the scan"),
            }
            *checked.entry(function).or_insert(0) += 1;
        }
        for entry in state.body["Arguments"]["Entries"].as_array().into_iter().flatten() {
            assert_eq!(
                (&entry["Source"], &entry["DetailType"]),
                (&json!(SOURCE), &json!(JOB_STATE_CHANGE)),
                "{}",
                state.name
            );
            is_a::<JobStateChange>(&filled(&entry["Detail"], &meaning), &state.name);
            *checked.entry("events".to_owned()).or_insert(0) += 1;
        }
    }
    let expected = [
        ("aggregator", 1),
        ("events", 2),
        ("notifier", 2),
        ("planner", 1),
        ("recorder", 3),
        ("runner", 1),
        ("source", 1),
    ];
    assert_eq!(checked, expected.map(|(name, times)| (name.to_owned(), times)).into());
}

/// What a container of the runner is told: the names that `functions/runner` reads.
#[test]
fn batch_jobs_get_what_the_runner_reads() {
    let state = Machine::scan()
        .tasks()
        .into_iter()
        .find(|state| state.body["Resource"] == "arn:aws:states:::batch:submitJob.sync")
        .unwrap();
    let told: BTreeSet<&str> = state.body["Arguments"]["ContainerOverrides"]["Environment"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["Name"].as_str().unwrap())
        .collect();
    let source = read("functions/runner/src/context.rs");
    let wanted: BTreeSet<&str> = source
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|word| {
            word.starts_with("DUNLIN_")
                && word.len() > "DUNLIN_".len()
                && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        })
        .collect();
    assert_eq!(told, wanted);
}

fn item(job: u32, url_bytes: usize) -> PlanItem {
    let scan = "01980000-0000-7000-8000-000000000001";
    let engine = "an-engine-of-a-very-long-name";
    PlanItem {
        job,
        engine: engine.into(),
        compute: Compute::Lambda,
        function: format!("dunlin-production1-runner-{engine}"),
        job_definition: format!("dunlin-production1-engine-{engine}"),
        job_name: format!("{scan}-{job}-{engine}"),
        ladder: Size::LADDER.into_iter().map(Rung::from).collect(),
        timeout_seconds: 3600,
        ticket_url: "u".repeat(url_bytes),
    }
}

#[test]
fn the_largest_plan_fits_into_a_payload() {
    let output = PlannerOutput {
        plan_key: "p".repeat(200),
        jobs: (0..u32::try_from(MAX_JOBS).unwrap()).map(|job| item(job, 2500)).collect(),
        planned: 1000,
        cached: 0,
    };
    // Step Functions wraps a Lambda answer into about 1 KiB of its own.
    let bytes = serde_json::to_vec(&output).unwrap().len() + 2048;
    assert!(bytes < PAYLOAD_LIMIT, "{bytes} bytes");
}

#[test]
fn the_worst_ends_of_all_jobs_fit_into_a_payload() {
    // The machine cuts a cause to this; a control character takes six bytes in JSON.
    let cut = |name: &str| {
        let state = Machine::scan().states().into_iter().find(|state| state.name == name).unwrap();
        expressions(&state.body)
            .iter()
            .find_map(|text| text.split("$substring($text, 0, ").nth(1)?.split(')').next()?.parse::<usize>().ok())
            .unwrap_or_else(|| panic!("{name} does not cut the cause"))
    };
    let most = cut("Describe job failure").max(cut("Read how the Batch job ended"));
    let end = |job| JobEnd {
        job,
        ok: false,
        compute: Compute::Batch,
        attempts: 6,
        error: Some(StepError { name: "Runner.SnapshotUnreadable".into(), cause: "\u{1}".repeat(most) }),
    };
    let input = json!({
        "scan": scan_message(), "snapshot": meaning("$snapshot"), "plan_key": "p".repeat(200),
        "job_ends": (0..u32::try_from(MAX_JOBS).unwrap()).map(end).collect::<Vec<_>>(),
    });
    let bytes = serde_json::to_vec(&input).unwrap().len() + 16 * 1024;
    assert!(bytes < PAYLOAD_LIMIT, "{bytes} bytes");
    assert_eq!(cut("Describe failure"), 1000, "contracts::steps::StepError says so");
}

#[test]
fn the_map_takes_all_jobs_and_turns_failures_into_data() {
    let machine = Machine::scan().definition;
    let map = &machine["States"]["Run jobs"];
    assert_eq!(map["ItemProcessor"]["ProcessorConfig"]["Mode"], "INLINE");
    // An inline Map runs at most 40 at once (Step Functions developer guide, "Using Map state in Inline mode").
    assert!(map["MaxConcurrency"].as_u64().unwrap() <= 40);
    let inner = map["ItemProcessor"]["States"].as_object().unwrap();
    assert!(inner.values().all(|state| state["Type"] != "Fail"), "a failed iteration would fail the scan");
    let ends: Vec<_> = inner.iter().filter(|(_, state)| state["End"] == true).map(|(name, _)| name.as_str()).collect();
    assert_eq!(ends, ["Report job"], "one place makes contracts::steps::JobEnd");
}
