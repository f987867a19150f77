//! What holds of every state machine.

use crate::{
    contract_support::{Module, attribute, entries, number},
    machine::{AWS_ERRORS, LAMBDA_SERVICE_ERRORS, Machine, State, expressions, function_of, list, names, strings},
};
use dunlin_contracts::{errors, events::ExecutionOutput};
use serde_json::Value;
use std::collections::BTreeSet;

fn every_state() -> Vec<State> {
    Machine::all().iter().flat_map(Machine::states).collect()
}

fn every_task() -> Vec<State> {
    Machine::all().iter().flat_map(Machine::tasks).collect()
}

#[test]
fn every_placeholder_is_supplied_and_sits_in_a_string() {
    for machine in Machine::all() {
        check_placeholders(&machine);
    }
}

fn check_placeholders(machine: &Machine) {
    let text = &machine.text;
    assert!(!text.contains("%{"), "terraform reads that as the start of a directive");
    // The file parsed before it was rendered, so a placeholder can only be inside a string.
    let mut all = Vec::new();
    strings(&machine.definition, &mut all);
    let used: BTreeSet<String> = all
        .iter()
        .flat_map(|text| text.split("${").skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()))
        .collect();
    assert_eq!(text.matches("${").count(), all.iter().map(|text| text.matches("${").count()).sum::<usize>());

    let root = Module::root();
    let definition =
        attribute(root.block("resource", &["aws_sfn_state_machine", machine.resource]), "definition").unwrap();
    let hcl::Expression::FuncCall(call) = definition else { panic!("definition is not templatefile(...)") };
    assert_eq!(call.name.name.as_str(), "templatefile");
    let supplied: BTreeSet<String> = entries(&call.args[1]).into_keys().collect();
    assert_eq!(used, supplied);
}

#[test]
fn every_task_has_timeout_retry_and_catch() {
    for state in every_task() {
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
    for state in every_state() {
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
    for state in every_state() {
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
                .filter(|word| ["Runner.", "Loader.", "States."].iter().any(|prefix| word.starts_with(prefix)))
            {
                assert!(known.contains(word), "{}: unknown error name {word}", state.name);
            }
        }
    }
}

#[test]
fn no_error_matches_two_retriers_of_a_state() {
    // The first one decides, so the second would never count.
    for state in every_state() {
        let all: Vec<&str> = list(&state, "Retry").iter().flat_map(names).collect();
        let distinct: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(all.len(), distinct.len(), "{}: {all:?}", state.name);
    }
}

#[test]
fn what_is_worth_another_try_is_tried_again() {
    for state in every_task() {
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

/// How long a retrier waits on average: full jitter waits half of each delay.
fn waits(retrier: &Value) -> f64 {
    let mut delay = retrier["IntervalSeconds"].as_f64().unwrap();
    let mut total = 0.0;
    for _ in 0..retrier["MaxAttempts"].as_u64().unwrap() {
        total += delay / 2.0;
        delay = (delay * retrier["BackoffRate"].as_f64().unwrap()).min(retrier["MaxDelaySeconds"].as_f64().unwrap());
    }
    total
}

#[test]
fn work_outlives_a_database_that_is_away_for_an_hour() {
    for state in every_task() {
        for retrier in list(&state, "Retry")
            .iter()
            .filter(|retrier| names(retrier).iter().any(|name| name.ends_with("DatabaseUnavailable")))
        {
            assert!(waits(retrier) >= 3600.0, "{} gives up after {} s", state.name, waits(retrier));
        }
    }
}

/// While the database is away, every function that waits for it holds its place; the others are refused one.
#[test]
fn work_outlives_an_hour_without_room_on_lambda_or_goes_to_batch() {
    const NO_ROOM: &str = "Lambda.TooManyRequestsException";
    for state in every_task().iter().filter(|state| state.body["Resource"] == "arn:aws:states:::lambda:invoke") {
        let retrier = list(state, "Retry").iter().find(|retrier| names(retrier).contains(&NO_ROOM)).unwrap();
        let to_batch = list(state, "Catch")
            .iter()
            .any(|catcher| names(catcher).contains(&NO_ROOM) && catcher["Assign"]["compute"] == "batch");
        assert!(to_batch || waits(retrier) >= 3600.0, "{} gives up after {} s", state.name, waits(retrier));
    }
}

#[test]
fn the_end_of_an_execution_says_whether_receivers_were_told() {
    for machine in Machine::all() {
        let notify = machine.states().into_iter().find(|state| state.name == "Notify receivers").unwrap();
        let catcher = &list(&notify, "Catch")[0];
        for (output, told) in [(&notify.body["Output"], true), (&catcher["Output"], false)] {
            let output: ExecutionOutput = serde_json::from_value(output.clone()).unwrap();
            assert_eq!(output, ExecutionOutput { receivers_told: told });
        }
        for next in [&notify.body["Next"], &catcher["Next"]] {
            let end = machine.states().into_iter().find(|state| next == state.name.as_str()).unwrap();
            assert_eq!((&end.body["Type"], end.body.get("Output")), (&Value::from("Succeed"), None));
        }
    }
}

#[test]
fn a_task_outwaits_its_function() {
    let root = Module::root();
    let timeouts = entries(root.local("timeouts"));
    let mut seen = 0;
    for state in every_task() {
        let Some(function) = function_of(&state) else { continue };
        let function_timeout = number(timeouts[&function]);
        assert!(
            state.body["TimeoutSeconds"].as_u64().unwrap() > function_timeout,
            "{} ends before {function} does",
            state.name
        );
        seen += 1;
    }
    assert!(seen > 11);
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
    for machine in Machine::all() {
        check_reachable(&machine.definition);
    }
}

#[test]
fn every_variable_is_assigned_in_one_scope_and_hides_no_function() {
    for machine in Machine::all() {
        check_variables(&machine);
    }
}

fn check_variables(machine: &Machine) {
    // Step Functions developer guide, "Passing data between states with variables": a Map's inner scope reads the outer one and
    // may not assign the same names.
    let mut scopes = [BTreeSet::new(), BTreeSet::new()];
    for state in machine.states() {
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
    for state in machine.states() {
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
