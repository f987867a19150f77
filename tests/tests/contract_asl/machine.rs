//! Reading of state machines.

use crate::contract_support::{read, repository};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeSet;

/// Error names that AWS gives: Step Functions developer guide, "Handling errors in Step Functions workflows" and the page of
/// each integration; Lambda developer guide, "Lambda runtime API" and "Troubleshoot invocation issues".
pub const AWS_ERRORS: &[&str] = &[
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
pub const LAMBDA_SERVICE_ERRORS: &[&str] = &[
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
];

pub const PAYLOAD_LIMIT: usize = 256 * 1024;

pub struct State {
    pub name: String,
    pub inside_map: bool,
    pub body: Value,
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

/// A state machine's definition, before it is rendered.
pub struct Machine {
    /// `statemachines/<name>.asl.json`.
    pub name: &'static str,
    /// Of the `aws_sfn_state_machine`.
    pub resource: &'static str,
    pub text: String,
    pub definition: Value,
}

impl Machine {
    fn read(name: &'static str, resource: &'static str) -> Self {
        let text = read(format!("statemachines/{name}.asl.json"));
        let definition = serde_json::from_str(&text).unwrap();
        Self { name, resource, text, definition }
    }

    pub fn scan() -> Self {
        Self::read("scan", "scan")
    }

    pub fn price_batch() -> Self {
        Self::read("price-batch", "price_batch")
    }

    /// Every one of the folder.
    pub fn all() -> [Self; 2] {
        let all = [Self::scan(), Self::price_batch()];
        let files: BTreeSet<String> = std::fs::read_dir(repository().join("statemachines"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let known = all.iter().map(|machine| format!("{}.asl.json", machine.name)).collect();
        assert_eq!(files, known, "a state machine that no test reads");
        all
    }

    pub fn states(&self) -> Vec<State> {
        let mut found = Vec::new();
        collect(&self.definition["States"], false, &mut found);
        assert!(found.len() > 8, "{} has lost most of its states", self.name);
        found
    }

    pub fn tasks(&self) -> Vec<State> {
        self.states().into_iter().filter(|state| state.body["Type"] == "Task").collect()
    }
}

pub fn names(value: &Value) -> Vec<&str> {
    value["ErrorEquals"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

pub fn list<'a>(state: &'a State, field: &str) -> &'a [Value] {
    state.body[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Every string of a value, keys left out.
pub fn strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(map) => map.values().for_each(|item| strings(item, found)),
        _ => {}
    }
}

pub fn expressions(value: &Value) -> Vec<&str> {
    let mut all = Vec::new();
    strings(value, &mut all);
    all.into_iter().filter_map(|text| text.strip_prefix("{%")?.strip_suffix("%}")).collect()
}

/// The function that a state calls: `recorder` of `${recorder_arn}`, `runner` where the item names it.
pub fn function_of(state: &State) -> Option<String> {
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

/// A payload with its expressions replaced by what they stand for.
pub fn filled(template: &Value, meaning: &dyn Fn(&str) -> Value) -> Value {
    match template {
        Value::String(text) => match text.strip_prefix("{%").and_then(|rest| rest.strip_suffix("%}")) {
            Some(expression) => meaning(expression),
            None => template.clone(),
        },
        Value::Array(items) => items.iter().map(|item| filled(item, meaning)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), filled(value, meaning))).collect(),
        other => other.clone(),
    }
}

/// The value is exactly what the type writes: nothing missing, nothing that nobody reads.
pub fn is_a<T: Serialize + DeserializeOwned>(value: &Value, state: &str) {
    let read: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{state}: {error}\n{value:#}"));
    let mut written = serde_json::to_value(&read).unwrap();
    if let (Value::Object(written), Value::Object(value)) = (&mut written, value) {
        // An Option that serialises as null may be left out.
        written.retain(|key, field| !field.is_null() || value.contains_key(key));
    }
    assert_eq!(&written, value, "{state}");
}
