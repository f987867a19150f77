//! How long a scan and a price batch may take: an execution that times out cannot be caught, so its scan fails with all that its engines found. A
//! job that takes too long must end before that, as data.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, in its helpers too")]

mod contract_support;

use contract_support::{Module, attribute, entries, number, read};
use dunlin_core::owner_config::MAX_TIMEOUT_SECONDS;
use dunlin_prices::MAX_RANGES;
use serde_json::Value;

/// Law 2 allows the database to be away: findings wait an hour for it.
const DATABASE_AWAY: u64 = 3600;

fn machine() -> Value {
    serde_json::from_str(&read("statemachines/scan.asl.json")).unwrap()
}

fn job_states(machine: &Value) -> &Value {
    &machine["States"]["Run jobs"]["ItemProcessor"]["States"]
}

/// The number between two pieces of text.
fn between(text: &str, before: &str, after: &str) -> u64 {
    let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("no {before:?} in {text}"));
    let digits = rest.split(after).next().unwrap().trim().replace('_', "");
    digits.parse().unwrap_or_else(|error| panic!("{before:?} in {text}: {error}"))
}

/// Seconds that the retries of these errors wait and run at most, when each run takes `run`.
fn retries(state: &Value, names: &[&str], run: u64) -> u64 {
    let rules = state["Retry"].as_array().unwrap().iter().filter(|rule| {
        rule["ErrorEquals"].as_array().unwrap().iter().any(|name| names.contains(&name.as_str().unwrap()))
    });
    rules.map(|rule| rule["MaxAttempts"].as_u64().unwrap() * (rule["MaxDelaySeconds"].as_u64().unwrap() + run)).sum()
}

/// A repository may give an engine more time than its manifest does.
fn longest_engine() -> u64 {
    let catalog: Value = serde_json::from_str(&read("engines/catalog.json")).unwrap();
    let engines = catalog.as_object().unwrap().values().map(|engine| engine["timeout_seconds"].as_u64().unwrap());
    engines.chain([u64::from(MAX_TIMEOUT_SECONDS)]).max().unwrap()
}

/// What Batch adds to an engine's own time while the machine holds the job: `item.timeout_seconds + 180`.
fn attempt(engine: u64) -> u64 {
    engine + 180
}

struct Batch {
    spot: u64,
    ondemand: u64,
}

fn batch(machine: &Value) -> Batch {
    let text = job_states(machine)["Run on Batch"]["TimeoutSeconds"].as_str().unwrap();
    assert!(text.contains("$item.timeout_seconds + ($queue = '${job_queue_spot}' ?"), "{text}");
    let engine = longest_engine();
    Batch { spot: engine + between(text, "?", ":"), ondemand: engine + between(text, ":", ")") }
}

#[test]
fn the_longest_scan_ends_before_its_execution_does() {
    let machine = machine();
    let states = &machine["States"];
    let gate = job_states(&machine)["Choose compute"]["Choices"][0].clone();
    assert_eq!(gate["Next"], "Give up for lack of time", "the first question is whether there is time");
    let condition = gate["Condition"].as_str().unwrap();
    assert!(condition.contains("$millis() - $toMillis($states.context.Execution.StartTime)"), "{condition}");
    let latest = between(condition, ">", "%}") / 1000;

    // Every way to another run leads through the gate.
    for (name, state) in job_states(&machine).as_object().unwrap() {
        let text = state.to_string();
        assert!(
            name == "Choose compute" || !text.contains(r#":"Run on Batch""#) && !text.contains(r#":"Run on Lambda""#),
            "{name} starts a run past the gate"
        );
    }
    let lambda = &job_states(&machine)["Run on Lambda"];
    let one = lambda["TimeoutSeconds"].as_u64().unwrap();
    let on_lambda = one + retries(lambda, &["Runner.StorageUnavailable"], one);
    let Batch { spot, ondemand } = batch(&machine);
    let batch = &job_states(&machine)["Run on Batch"];
    let submitted = retries(batch, &["Batch.ServerException", "Batch.ClientException"], 0);
    let last_run = on_lambda.max(submitted + spot.max(ondemand));

    let announced: u64 = ["Announce start", "Announce end"]
        .iter()
        .map(|name| {
            let state = &job_states(&machine)[*name];
            let one = state["TimeoutSeconds"].as_u64().unwrap();
            one + retries(state, &["States.Timeout"], one)
        })
        .sum();
    let end: u64 = ["Aggregate findings", "Notify receivers"]
        .iter()
        .map(|name| states[*name]["TimeoutSeconds"].as_u64().unwrap())
        .sum();
    let total = latest + announced + last_run + DATABASE_AWAY + end;
    let allowed = machine["TimeoutSeconds"].as_u64().unwrap();
    assert!(total <= allowed, "a scan can take {total} s ({latest} + {last_run} + ...), its execution {allowed} s");
    // The URLs of the tickets: docs/decisions/0003-tickets.md.
    let planner = read("functions/planner/src/handler.rs");
    let hours = between(&planner, "const TICKET_VALID: Duration = Duration::from_secs(", "* 3600);");
    assert!(allowed <= hours * 3600, "a job could start with a ticket that has expired");
}

#[test]
fn a_run_that_lost_its_machine_has_time_for_another() {
    let machine = machine();
    let Batch { spot, ondemand } = batch(&machine);
    let engine = attempt(longest_engine());
    assert!(spot >= engine + 1800, "spot gives {spot} s, of which the engine needs {engine}");
    assert!(ondemand >= engine + 3000, "on demand gives {ondemand} s, of which the engine needs {engine}");
    let latest =
        between(job_states(&machine)["Choose compute"]["Choices"][0]["Condition"].as_str().unwrap(), ">", "%}") / 1000;
    assert!(latest >= spot + 1200, "when spot gave nothing all its time, on demand still gets its turn");
}

/// What Batch tries again by itself is what the state machine takes to another queue when Batch has given up.
#[test]
fn what_batch_tries_again_is_lost_to_the_state_machine_too() {
    let root = Module::root();
    for job in ["engine", "loader"] {
        let definition = root.block("resource", &["aws_batch_job_definition", job]);
        let strategy = definition.body().blocks().find(|block| block.identifier() == "retry_strategy").unwrap();
        let rules: Vec<_> = strategy.body().blocks().collect();
        assert_eq!(rules.len(), 2, "{job}: the list, and the rest");
        assert_eq!(attribute(rules[0], "for_each").unwrap().to_string(), "local.lost_tasks", "{job}");
    }
    let hcl::Expression::Array(rules) = root.local("lost_tasks") else { panic!("not a list") };
    assert!(rules.len() < 5, "batch takes five conditions, and the rest is the last one");
    for machine in [job_states(&machine()), load_states(&prices())] {
        let read = machine["Read how the Batch job ended"]["Assign"]["ending"].as_str().unwrap();
        let lost = read.split("$lost := ").nth(1).unwrap().split(';').next().unwrap();
        let mut seen = 0;
        for rule in rules {
            let rule = entries(rule);
            let told = ["on_reason", "on_status_reason"].map(|name| rule[name]);
            let text = told.iter().find(|value| ***value != hcl::Expression::Null).unwrap().to_string();
            let text = text.trim_matches('"').trim_end_matches('*').trim_start_matches("Your ").to_owned();
            assert!(lost.contains(&text), "the state machine does not know {text:?}: {lost}");
            seen += 1;
        }
        assert_eq!(seen, 4);
        assert!(
            lost.contains("$told") && !lost.contains("$reason") && !lost.contains("$status,"),
            "both places: {lost}"
        );
        assert!(!lost.contains("Host EC2"), "fargate has no such host");
    }
}

fn prices() -> Value {
    serde_json::from_str(&read("statemachines/price-batch.asl.json")).unwrap()
}

fn load_states(machine: &Value) -> &Value {
    &machine["States"]["Load ranges"]["ItemProcessor"]["States"]
}

#[test]
fn every_range_has_time_and_the_slowest_way_ends_before_its_execution_does() {
    let machine = prices();
    let states = &machine["States"];
    let of_function = |state: &Value| state["TimeoutSeconds"].as_u64().unwrap();
    let on_batch = load_states(&machine)["Load range on Batch"]["TimeoutSeconds"].as_str().unwrap();
    assert!(on_batch.contains("$queue = '${load_queue_spot}' ?"), "{on_batch}");
    let (spot, job) = (between(on_batch, "?", ":"), between(on_batch, ":", "%"));
    let definition = Module::root().block("resource", &["aws_batch_job_definition", "loader"]).clone();
    let timeout = definition.body().blocks().find(|block| block.identifier() == "timeout").unwrap();
    let attempt = number(attribute(timeout, "attempt_duration_seconds").unwrap());
    assert!(job >= attempt + 3000, "{job} s for an attempt of {attempt} s and its time in the queue");
    let ends = ["Publish or reject", "Record failure", "Notify receivers"].map(|name| of_function(&states[name]));
    // On Lambda first, then twice on Batch; the database may be away before each step.
    let lambda = of_function(&load_states(&machine)["Load range"]);
    let total =
        of_function(&states["Inspect file"]) + lambda + spot + job + ends.iter().sum::<u64>() + 3 * DATABASE_AWAY;
    let allowed = machine["TimeoutSeconds"].as_u64().unwrap();
    // And the others before it, so many at once: 32 MiB are ten seconds' work on one core.
    let waves = MAX_RANGES.div_ceil(states["Load ranges"]["MaxConcurrency"].as_u64().unwrap());
    let left =
        allowed.checked_sub(total).unwrap_or_else(|| panic!("a batch can take {total} s, its execution {allowed} s"));
    assert!(left / waves >= 100, "{left} s for {waves} turns");
}

/// Whoever is cut off by Lambda or by the gateway does not know whether the file is whole.
#[test]
fn intake_has_time_to_put_a_file_together_and_to_say_that_it_took_too_long() {
    let root = Module::root();
    let intake = 1000 * number(entries(root.local("timeouts"))["intake"]);
    let integration = root.block("resource", &["aws_apigatewayv2_integration", "function"]);
    let gateway = number(attribute(integration, "timeout_milliseconds").unwrap());
    assert!(intake + 1000 <= gateway, "the gateway's clock runs while the function starts");

    let clients = read("crates/cloud/src/aws.rs");
    let short = clients.split("SHORT: Self = ").nth(1).unwrap();
    // What was asked for is read first: every attempt in vain but the last, and two pauses between them.
    let asked = 1000 * (between(short, "attempts: ", ",") * between(short, "attempt: Duration::from_secs(", ")") + 2);
    let patience = "const COMPLETION_PATIENCE: Duration = Duration::from_secs(";
    let completion = 1000 * between(&read("crates/cloud/src/objects.rs"), patience, ")");
    let reserve = "const RESERVE: Duration = Duration::from_millis(";
    let answer = between(&read("crates/runtime/src/http.rs"), reserve, ")");
    assert!(
        asked + completion + answer <= intake,
        "{asked} + {completion} + {answer} ms, and intake is ended after {intake}"
    );
}

/// Step Functions ends an execution with its 25,000th event.
#[test]
fn the_largest_price_batch_fits_into_the_history_of_an_execution() {
    let machine = prices();
    let states = load_states(&machine);
    let (mut name, mut events) = ("Prepare range", 2);
    loop {
        let state = &states[name];
        // Entered, exited; of a task also scheduled, started, succeeded.
        events += if state["Type"] == "Task" { 5 } else { 2 };
        let Some(next) = [&state["Default"], &state["Next"]].into_iter().find_map(Value::as_str) else { break };
        name = next;
    }
    assert_eq!(name, "End range");
    // The rest is for a database that is away, three events a try.
    let ranges = MAX_RANGES * events;
    assert!((10_000..18_000).contains(&ranges), "{ranges} events");
}
