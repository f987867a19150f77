//! `make invoke`: cargo-lambda runs every function, with the environment it has in the stack, on one of its sample events.

use anyhow::{Context, Result, ensure};
use dunlin_tests::cloud::{repository, value};
use serde_json::Value;
use std::{collections::BTreeSet, fs, process::Command};

/// Function, event, and what its answer must hold at a JSON pointer.
const SAMPLES: [(&str, &str, &str, &str); 13] = [
    ("aggregator", "two-engines", "/state", r#""partial""#),
    ("api", "get-report", "/statusCode", "303"),
    (
        "dispatcher",
        "one-scan-one-poison",
        "/batchItemFailures/0/itemIdentifier",
        r#""2c5a2c0e-7d55-4a5e-9a30-7a0f6f3c0002""#,
    ),
    ("inspector", "ended", "/state", r#""failed""#),
    ("intake", "create-upload", "/statusCode", "201"),
    ("loader", "range", "/rows", "1"),
    ("migrate", "run", "/applied", "[]"),
    ("notifier", "failed", "/deliveries/0/channel", r#""webhook""#),
    ("planner", "small-python", "/planned", "2"),
    ("publisher", "fail", "/state", r#""failed""#),
    ("recorder", "register", "/state", r#""running""#),
    ("runner", "small-python", "/outcome", r#""assessed""#),
    ("source", "upload", "/files", "3"),
];

/// The answer of a function, or what the tool said instead.
fn invoke(function: &str, event: &str) -> Result<Value> {
    let mut command = Command::new("python3");
    command.args(["infra/local/invoke.py", function, event, "--stack", &value("STACK")?]).current_dir(repository());
    // What cargo tells a test about its own package would make build scripts run again.
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    {
        command.env_remove(name);
    }
    let output = command.output()?;
    let (out, errors) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{function} on {event}:\n{out}\n{errors}");
    // The progress lines of the tool come first; the answer is the rest, from the line with its opening brace.
    let answer = out
        .find("\n{")
        .map(|at| &out[at..])
        .with_context(|| format!("{function} on {event} answered no object:\n{out}"))?;
    let answer: Value = serde_json::from_str(answer).with_context(|| format!("{function} on {event}:\n{out}"))?;
    ensure!(answer.get("errorType").is_none(), "{function} on {event}: {answer}");
    Ok(answer)
}

#[test]
fn every_function_runs_on_a_sample_event() -> Result<()> {
    let folders: BTreeSet<String> = fs::read_dir(repository().join("functions"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    let sampled: BTreeSet<String> = SAMPLES.iter().map(|(function, ..)| (*function).to_owned()).collect();
    ensure!(folders == sampled, "functions {folders:?}, but samples of {sampled:?}");
    for (function, event, place, expected) in SAMPLES {
        let answer = invoke(function, event)?;
        let expected: Value = serde_json::from_str(expected)?;
        ensure!(
            answer.pointer(place) == Some(&expected),
            "{function} on {event}: {place} is not {expected} in {answer}"
        );
    }
    Ok(())
}

#[test]
fn an_answer_that_is_an_error_fails_the_command() -> Result<()> {
    let error = invoke("runner", "not-a-job").map(|answer| answer.to_string());
    ensure!(error.as_ref().is_err_and(|text| text.to_string().contains("runner failed on not-a-job")), "{error:?}");
    Ok(())
}
