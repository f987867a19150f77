//! The state machine against the Rust types, the functions' error names, and the rules of the Amazon States Language
//! that neither Terraform nor the emulator checks.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, in its helpers too")]

mod contract_support;

use contract_support::{Module, attribute, entries, number, read};
use dunlin_contracts::{
    errors,
    events::{JOB_STATE_CHANGE, JobStateChange, SOURCE},
    plan::{MAX_JOBS, PlanItem, Rung},
    steps::{
        AggregatorInput, JobEnd, NotifierInput, PlannerInput, PlannerOutput, RecorderInput, RunnerInput, SourceInput,
        StepError,
    },
};
use dunlin_core::job::{Compute, Size};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Error names that AWS gives: Step Functions developer guide, "Handling errors in Step Functions workflows" and the page of
/// each integration; Lambda developer guide, "Lambda runtime API" and "Troubleshoot invocation issues".
const AWS_ERRORS: &[&str] = &[
    "States.ALL",
    "States.TaskFailed",
    "States.Timeout",
    "Lambda.AWSLambdaException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.SdkClientException",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Sandbox.Timedout",
    "Batch.AWSBatchException",
    "Batch.BatchException",
    "Batch.ClientException",
    "Batch.SdkClientException",
    "Batch.ServerException",
    "EventBridge.FailedEntry",
];

/// Step Functions developer guide, "Handling transient Lambda service exceptions" (best practices).
const LAMBDA_SERVICE_ERRORS: &[&str] = &[
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
];

const PAYLOAD_LIMIT: usize = 256 * 1024;

/// `statemachines/scan.asl.json`, before it is rendered.
fn scan_machine() -> Value {
    serde_json::from_str(&read("statemachines/scan.asl.json")).unwrap()
}

struct State {
    name: String,
    inside_map: bool,
    body: Value,
}

fn collect(states: &Value, inside_map: bool, found: &mut Vec<State>) {
    for (name, body) in states.as_object().unwrap() {
        let mut body = body.clone();
        // The inner states are listed for themselves.
        let inner = body.as_object_mut().unwrap().remove("ItemProcessor");
        found.push(State { name: name.clone(), inside_map, body });
        if let Some(inner) = inner {
            collect(&inner["States"], true, found);
        }
    }
}

fn states() -> Vec<State> {
    let mut found = Vec::new();
    collect(&scan_machine()["States"], false, &mut found);
    assert!(found.len() > 15, "the machine has lost most of its states");
    found
}

fn tasks() -> Vec<State> {
    states().into_iter().filter(|state| state.body["Type"] == "Task").collect()
}

fn names(value: &Value) -> Vec<&str> {
    value["ErrorEquals"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

fn list<'a>(state: &'a State, field: &str) -> &'a [Value] {
    state.body[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Every string of a value, keys left out.
fn strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(map) => map.values().for_each(|item| strings(item, found)),
        _ => {}
    }
}

fn expressions(value: &Value) -> Vec<&str> {
    let mut all = Vec::new();
    strings(value, &mut all);
    all.into_iter().filter_map(|text| text.strip_prefix("{%")?.strip_suffix("%}")).collect()
}

/// The function that a state calls: `recorder` of `${recorder_arn}`, `runner` where the item names it.
fn function_of(state: &State) -> Option<String> {
    if state.body["Resource"] != "arn:aws:states:::lambda:invoke" {
        return None;
    }
    let name = state.body["Arguments"]["FunctionName"].as_str().unwrap();
    match name.strip_prefix("${").and_then(|name| name.strip_suffix("_arn}")) {
        Some(function) => Some(function.to_owned()),
        None if name == "{% $item.function %}" => Some("runner".to_owned()),
        None => panic!("{}: who is {name}", state.name),
    }
}

#[test]
fn every_placeholder_is_supplied_and_sits_in_a_string() {
    let text = read("statemachines/scan.asl.json");
    assert!(!text.contains("%{"), "terraform reads that as the start of a directive");
    // The file parsed before it was rendered, so a placeholder can only be inside a string.
    let machine = scan_machine();
    let mut all = Vec::new();
    strings(&machine, &mut all);
    let used: BTreeSet<String> = all
        .iter()
        .flat_map(|text| text.split("${").skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()))
        .collect();
    assert_eq!(text.matches("${").count(), all.iter().map(|text| text.matches("${").count()).sum::<usize>());

    let root = Module::root();
    let definition = attribute(root.block("resource", &["aws_sfn_state_machine", "scan"]), "definition").unwrap();
    let hcl::Expression::FuncCall(call) = definition else { panic!("definition is not templatefile(...)") };
    assert_eq!(call.name.name.as_str(), "templatefile");
    let supplied: BTreeSet<String> = entries(&call.args[1]).into_keys().collect();
    assert_eq!(used, supplied);
}

#[test]
fn every_task_has_timeout_retry_and_catch() {
    for state in tasks() {
        let name = &state.name;
        let timeout = &state.body["TimeoutSeconds"];
        // A Batch job's is its engine's and more: contract_time.rs.
        assert!(timeout.is_u64() || !expressions(timeout).is_empty(), "{name} has no TimeoutSeconds");
        assert!(!list(&state, "Retry").is_empty(), "{name} has no Retry");
        let last = list(&state, "Catch").last().unwrap_or_else(|| panic!("{name} has no Catch"));
        assert_eq!(names(last), ["States.ALL"], "{name}: the last Catch takes everything");
    }
}

#[test]
fn every_retry_is_bounded_and_spread() {
    for state in states() {
        for retrier in list(&state, "Retry") {
            let at = format!("{}: {:?}", state.name, names(retrier));
            assert_eq!(retrier["JitterStrategy"], "FULL", "{at}");
            assert!(retrier["MaxAttempts"].as_u64().unwrap_or_else(|| panic!("{at}: no MaxAttempts")) > 0, "{at}");
            let interval = retrier["IntervalSeconds"].as_u64().unwrap_or_else(|| panic!("{at}: no IntervalSeconds"));
            let most = retrier["MaxDelaySeconds"].as_u64().unwrap_or_else(|| panic!("{at}: no MaxDelaySeconds"));
            assert!(interval < most && most <= 60, "{at}: waits up to {most} s");
            assert!(retrier["BackoffRate"].as_f64().unwrap() > 1.0, "{at}");
        }
    }
}

#[test]
fn every_error_name_exists() {
    let known: BTreeSet<&str> = AWS_ERRORS.iter().chain(errors::ALL).copied().collect();
    for state in states() {
        for rule in list(&state, "Retry").iter().chain(list(&state, "Catch")) {
            for name in names(rule) {
                assert!(known.contains(name), "{}: nobody fails with {name}", state.name);
            }
        }
        // Names that the machine itself gives, such as those it derives from exit codes.
        for expression in expressions(&state.body) {
            for word in expression
                .split('\'')
                .skip(1)
                .step_by(2)
                .filter(|word| word.starts_with("Runner.") || word.starts_with("States."))
            {
                assert!(known.contains(word), "{}: unknown error name {word}", state.name);
            }
        }
    }
}

#[test]
fn no_error_matches_two_retriers_of_a_state() {
    // The first one decides, so the second would never count.
    for state in states() {
        let all: Vec<&str> = list(&state, "Retry").iter().flat_map(names).collect();
        let distinct: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(all.len(), distinct.len(), "{}: {all:?}", state.name);
    }
}

#[test]
fn what_is_worth_another_try_is_tried_again() {
    for state in tasks() {
        let Some(function) = function_of(&state) else { continue };
        let retried: BTreeSet<&str> = list(&state, "Retry").iter().flat_map(names).collect();
        for name in LAMBDA_SERVICE_ERRORS {
            assert!(retried.contains(name), "{} does not retry {name}", state.name);
        }
        let prefix = format!("{}{}.", function[..1].to_uppercase(), &function[1..]);
        for name in errors::ALL.iter().filter(|name| name.starts_with(&prefix)) {
            assert_eq!(name.ends_with("Unavailable"), retried.contains(name), "{}: {name}", state.name);
        }
    }
}

#[test]
fn a_scan_outlives_a_database_that_is_away_for_an_hour() {
    for state in tasks() {
        for retrier in list(&state, "Retry")
            .iter()
            .filter(|retrier| names(retrier).iter().any(|name| name.ends_with("DatabaseUnavailable")))
        {
            // Full jitter waits half of the delay on average.
            let mut delay = retrier["IntervalSeconds"].as_f64().unwrap();
            let mut total = 0.0;
            for _ in 0..retrier["MaxAttempts"].as_u64().unwrap() {
                total += delay / 2.0;
                delay = (delay * retrier["BackoffRate"].as_f64().unwrap())
                    .min(retrier["MaxDelaySeconds"].as_f64().unwrap());
            }
            assert!(total >= 3600.0, "{} gives up after {total} s", state.name);
        }
    }
}

#[test]
fn a_task_outwaits_its_function() {
    let root = Module::root();
    let timeouts = entries(root.local("timeouts"));
    let mut seen = 0;
    for state in tasks() {
        let Some(function) = function_of(&state) else { continue };
        let function_timeout = number(timeouts[&function]);
        assert!(
            state.body["TimeoutSeconds"].as_u64().unwrap() > function_timeout,
            "{} ends before {function} does",
            state.name
        );
        seen += 1;
    }
    assert!(seen > 6);
}

fn targets(state: &Value) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for field in ["Next", "Default"] {
        found.extend(state[field].as_str());
    }
    for field in ["Choices", "Catch"] {
        for rule in state[field].as_array().into_iter().flatten() {
            found.push(rule["Next"].as_str().unwrap());
        }
    }
    found
}

fn check_reachable(machine: &Value) {
    let states = machine["States"].as_object().unwrap();
    let mut open = vec![machine["StartAt"].as_str().unwrap()];
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name) {
            continue;
        }
        let state = states.get(name).unwrap_or_else(|| panic!("there is no state {name}"));
        let next = targets(state);
        let ends = state["End"] == true || ["Succeed", "Fail"].contains(&state["Type"].as_str().unwrap());
        assert_eq!(ends, next.is_empty(), "{name} goes nowhere, or on after its end");
        open.extend(next);
        assert!(name.len() <= 80, "{name} is too long a name");
        if let Some(inner) = state.get("ItemProcessor") {
            check_reachable(inner);
        }
    }
    let all: BTreeSet<&str> = states.keys().map(String::as_str).collect();
    assert_eq!(seen, all, "unreachable states");
}

#[test]
fn every_state_is_reachable() {
    check_reachable(&scan_machine());
}

#[test]
fn every_variable_is_assigned_in_one_scope_and_hides_no_function() {
    // Step Functions developer guide, "Passing data between states with variables": a Map's inner scope reads the outer one and
    // may not assign the same names.
    let mut scopes = [BTreeSet::new(), BTreeSet::new()];
    for state in states() {
        let mut assigns = vec![&state.body["Assign"]];
        for field in ["Choices", "Catch"] {
            assigns.extend(list(&state, field).iter().map(|rule| &rule["Assign"]));
        }
        for assign in assigns.into_iter().filter_map(Value::as_object) {
            scopes[usize::from(state.inside_map)].extend(assign.keys().cloned());
        }
    }
    let both: Vec<_> = scopes[0].intersection(&scopes[1]).collect();
    assert!(both.is_empty(), "assigned inside and outside the Map: {both:?}");

    const FUNCTIONS: &[&str] = &[
        "exists",
        "string",
        "length",
        "substring",
        "contains",
        "parse",
        "type",
        "count",
        "merge",
        "join",
        "millis",
        "toMillis",
    ];
    for state in states() {
        for expression in expressions(&state.body) {
            let local: BTreeSet<&str> = expression
                .match_indices(":=")
                .map(|(at, _)| expression[..at].trim_end().rsplit('$').next().unwrap())
                .collect();
            for (at, _) in expression.match_indices('$') {
                let name: String =
                    expression[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let scoped = scopes[0].contains(&name) || (state.inside_map && scopes[1].contains(&name));
                assert!(
                    name.is_empty()
                        || name == "states"
                        || FUNCTIONS.contains(&name.as_str())
                        || local.contains(name.as_str())
                        || scoped,
                    "{}: who assigns ${name}",
                    state.name
                );
                assert!(!FUNCTIONS.contains(&name.as_str()) || !scoped, "${name} hides a function");
            }
        }
    }
}

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

fn filled(template: &Value) -> Value {
    match template {
        Value::String(text) => match text.strip_prefix("{%").and_then(|rest| rest.strip_suffix("%}")) {
            Some(expression) => meaning(expression),
            None => template.clone(),
        },
        Value::Array(items) => items.iter().map(filled).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), filled(value))).collect(),
        other => other.clone(),
    }
}

/// The value is exactly what the type writes: nothing missing, nothing that nobody reads.
fn is_a<T: Serialize + DeserializeOwned>(value: &Value, state: &str) {
    let read: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{state}: {error}\n{value:#}"));
    let mut written = serde_json::to_value(&read).unwrap();
    if let (Value::Object(written), Value::Object(value)) = (&mut written, value) {
        // An Option that serialises as null may be left out.
        written.retain(|key, field| !field.is_null() || value.contains_key(key));
    }
    assert_eq!(&written, value, "{state}");
}

#[test]
fn payloads_are_the_types_of_the_contracts() {
    let mut checked = BTreeMap::new();
    for state in tasks() {
        if let Some(function) = function_of(&state) {
            let payload = filled(&state.body["Arguments"]["Payload"]);
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
            is_a::<JobStateChange>(&filled(&entry["Detail"]), &state.name);
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
    let state =
        tasks().into_iter().find(|state| state.body["Resource"] == "arn:aws:states:::batch:submitJob.sync").unwrap();
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
        let state = states().into_iter().find(|state| state.name == name).unwrap();
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
    let machine = scan_machine();
    let map = &machine["States"]["Run jobs"];
    assert_eq!(map["ItemProcessor"]["ProcessorConfig"]["Mode"], "INLINE");
    // An inline Map runs at most 40 at once (Step Functions developer guide, "Using Map state in Inline mode").
    assert!(map["MaxConcurrency"].as_u64().unwrap() <= 40);
    let inner = map["ItemProcessor"]["States"].as_object().unwrap();
    assert!(inner.values().all(|state| state["Type"] != "Fail"), "a failed iteration would fail the scan");
    let ends: Vec<_> = inner.iter().filter(|(_, state)| state["End"] == true).map(|(name, _)| name.as_str()).collect();
    assert_eq!(ends, ["Report job"], "one place makes contracts::steps::JobEnd");
}
