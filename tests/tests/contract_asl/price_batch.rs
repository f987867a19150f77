//! The machine of price batches against the Rust types.

use crate::machine::{Machine, PAYLOAD_LIMIT, filled, function_of, is_a};
use dunlin_contracts::{
    errors,
    prices::{
        CANNOT_REPLACE, InspectorInput, InspectorOutput, LOADER_INPUT, LoaderInput, PriceNotice, PublisherInput,
        RangeItem,
    },
};
use dunlin_core::{job::Compute, prices::BatchState};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn message() -> Value {
    json!({
        "version": 1,
        "batch_id": "01980000-0000-7000-8000-000000000001",
        "tenant": "acme",
        "kind": "prices",
        "key": "price-batches/acme/prices/november.csv",
        "etag": "b1946ac92492d2347c6235b4d2611184",
        "bytes": 47,
        "received_at": "2026-11-21T10:00:00Z",
        "trace_id": "01980000000070008000000000000001"
    })
}

/// What the machine's expressions stand for. An expression that is not here is one this test must be taught.
fn meaning(expression: &str) -> Value {
    match expression.trim() {
        "$states.context.Execution.Input" => message(),
        "$range" => json!(0),
        "$outcome" => json!("rejected"),
        "$rows" => json!(0),
        "$bad_rows" => json!(37),
        "$reason" => {
            json!({"name": CANNOT_REPLACE, "cause": "batch 1, which it replaces, is withdrawn and not published"})
        }
        "$failure" => json!({"name": "Loader.FileUnusable", "cause": "it is gone"}),
        other => panic!("teach this test what {other:?} stands for"),
    }
}

#[test]
fn payloads_are_the_types_of_the_contracts() {
    let mut checked = BTreeMap::new();
    for state in Machine::price_batch().tasks() {
        let Some(function) = function_of(&state) else { continue };
        let payload = filled(&state.body["Arguments"]["Payload"], &meaning);
        match function.as_str() {
            "inspector" => is_a::<InspectorInput>(&payload, &state.name),
            "loader" => is_a::<LoaderInput>(&payload, &state.name),
            "publisher" => is_a::<PublisherInput>(&payload, &state.name),
            "notifier" => {
                is_a::<PriceNotice>(&payload, &state.name);
                // As it is for a batch that did not fail.
                let mut told = payload;
                told["error"] = Value::Null;
                assert_eq!(serde_json::from_value::<PriceNotice>(told).unwrap().error, None);
            }
            other => panic!("{other} is not called by a price batch"),
        }
        *checked.entry(function).or_insert(0) += 1;
    }
    let expected = [("inspector", 1), ("loader", 1), ("notifier", 2), ("publisher", 2)];
    assert_eq!(checked, expected.map(|(name, times)| (name.to_owned(), times)).into());
}

#[test]
fn the_ranges_of_the_largest_file_fit_into_a_payload() {
    let output = InspectorOutput {
        ended: false,
        state: BatchState::Loading,
        rows: 0,
        bad_rows: 0,
        error: None,
        ranges: (0..1000).map(|range| RangeItem { range, compute: Compute::Lambda }).collect(),
    };
    let bytes = serde_json::to_vec(&output).unwrap().len() + 2048;
    assert!(bytes < PAYLOAD_LIMIT, "{bytes} bytes");
}

/// The loader's input is one variable, of an expression that this test does not calculate.
#[test]
fn a_job_on_batch_gets_what_the_function_gets() {
    let machine = Machine::price_batch();
    let states = &machine.definition["States"]["Load ranges"]["ItemProcessor"]["States"];
    let function = &states["Load range"]["Arguments"]["Payload"];
    let inner = |name: &str| {
        let text = function[name].as_str().unwrap();
        text.trim_start_matches("{% ").trim_end_matches(" %}").to_owned()
    };
    let given = &states["Load range on Batch"]["Arguments"]["ContainerOverrides"]["Environment"];
    let value = format!("{{% $string({{'batch': {}, 'range': {}}}) %}}", inner("batch"), inner("range"));
    assert_eq!(given, &json!([{"Name": LOADER_INPUT, "Value": value}]));
    let compute = serde_json::to_value(Compute::Batch).unwrap();
    let condition = format!("{{% $compute = '{}' %}}", compute.as_str().unwrap());
    assert_eq!(states["Choose compute"]["Choices"][0], json!({"Condition": condition, "Next": "Load range on Batch"}));
    // What Lambda has not enough of, Batch has.
    let catch = &states["Load range"]["Catch"][0];
    assert_eq!(catch["Next"], "Load range on Batch");
    for name in ["Sandbox.Timedout", "Runtime.OutOfMemory", "States.Timeout", errors::loader::DISK_FULL] {
        assert!(catch["ErrorEquals"].as_array().unwrap().contains(&json!(name)), "{name}");
    }
    // Another try there would fill the same disk.
    let tried_again = states["Load range"]["Retry"].to_string();
    assert!(!tried_again.contains(errors::loader::DISK_FULL), "{tried_again}");
}

#[test]
fn a_range_that_fails_fails_the_batch_and_not_silently() {
    let machine = Machine::price_batch().definition;
    let map = &machine["States"]["Load ranges"];
    assert_eq!(map["ItemProcessor"]["ProcessorConfig"]["Mode"], "INLINE");
    assert!(map["MaxConcurrency"].as_u64().unwrap() <= 40);
    assert_eq!(map["Catch"][0]["Next"], "Describe failure");
    // Publishing comes only behind the Map: nothing skips it but a batch that has ended.
    let to_publishing: Vec<&String> = machine["States"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, state)| state["Next"] == "Publish or reject" || state["Default"] == "Publish or reject")
        .map(|(name, _)| name)
        .collect();
    assert_eq!(to_publishing, ["Load ranges"]);
}
