//! The real executable as a Lambda function: it talks to a Runtime API, and answers like one.

use crate::support::{self, Job, SCAN, until};
use dunlin_contracts::steps::RunnerOutput;
use dunlin_core::job::JobOutcome;
use dunlin_engines::catalog;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Child, Command},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

#[derive(Default)]
struct State {
    events: VecDeque<Value>,
    /// Path of the answer and its body.
    answers: Vec<(String, Value)>,
}

/// The Lambda Runtime API (AWS, "Using the Lambda runtime API for custom runtimes"), one request after the other.
struct Lambda {
    function: Child,
    state: Arc<Mutex<State>>,
}

impl Lambda {
    fn start(job: &Job, seconds: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(&stream, &shared, seconds));
            }
        });
        let function = Command::new(env!("CARGO_BIN_EXE_runner"))
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "dunlin-test-runner-ruff")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "x")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "x")
            .env("ENGINES_DIR", support::engines_dir())
            .env("TMPDIR", job.tmp())
            .spawn()
            .unwrap();
        Self { function, state }
    }

    /// Sends the event and answers what came back: the path's last word and the body.
    fn invoke(&self, event: Value) -> (String, Value) {
        let before = self.state.lock().unwrap().answers.len();
        self.state.lock().unwrap().events.push_back(event);
        until("the answer of the function", || self.state.lock().unwrap().answers.get(before).cloned())
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        let _ = self.function.kill();
        let _ = self.function.wait();
    }
}

fn serve(stream: &std::net::TcpStream, state: &Mutex<State>, seconds: u64) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut stream = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let path = first.split(' ').nth(1)?.to_owned();
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        if path.ends_with("/next") {
            let event = loop {
                if let Some(event) = state.lock().unwrap().events.pop_front() {
                    break event.to_string();
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            let deadline = SystemTime::now() + Duration::from_secs(seconds);
            let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: r1\r\nlambda-runtime-deadline-ms: {deadline}\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-central-1:000000000000:function:x\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{event}",
                event.len()
            )
            .ok()?;
        } else {
            let word = path.rsplit('/').next()?.to_owned();
            let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
            state.lock().unwrap().answers.push((word, answer));
            write!(stream, "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").ok()?;
        }
    }
}

fn sample(name: &str, job: &Job) -> Value {
    let text = std::fs::read_to_string(support::root().join("events/runner").join(name)).unwrap();
    let mut event: Value = serde_json::from_str(&text).unwrap();
    if event.get("ticket_url").is_some() {
        event["ticket_url"] = json!(job.storage.url("ticket"));
    }
    event
}

fn ruff_job() -> Job {
    let ruff = catalog().iter().find(|engine| engine.name == "ruff").unwrap();
    let job = Job::of_engine(
        ruff,
        &[("app.py", "import subprocess\nsubprocess.call(input(), shell=True)\neval(input())\n".to_owned())],
    );
    job.storage.put("ticket", serde_json::to_vec(&job.ticket).unwrap());
    job
}

#[test]
fn the_same_event_twice_is_answered_alike_and_stored_once() {
    let job = ruff_job();
    let lambda = Lambda::start(&job, 60);
    let answer = |(word, body): (String, Value)| {
        assert_eq!(word, "response", "{body}");
        serde_json::from_value::<RunnerOutput>(body).unwrap()
    };
    let first = answer(lambda.invoke(sample("small-python.json", &job)));
    assert_eq!((first.job, first.outcome), (0, JobOutcome::Assessed));
    assert!(first.findings >= 2);
    let stored = job.storage.get("result").unwrap();
    let second = answer(lambda.invoke(sample("small-python.json", &job)));
    assert_eq!((second.outcome, second.findings), (first.outcome, first.findings));
    assert_eq!(job.storage.get("result").unwrap(), stored);
    assert!(job.tmp().read_dir().unwrap().next().is_none());
}

#[test]
fn errors_have_the_names_that_the_state_machine_knows() {
    let mut job = ruff_job();
    let lambda = Lambda::start(&job, 60);
    let name = |(word, body): (String, Value)| {
        assert_eq!(word, "error", "{body}");
        body["errorType"].as_str().unwrap().to_owned()
    };
    assert_eq!(name(lambda.invoke(sample("not-a-job.json", &job))), "Runner.BadInput");
    let mut foreign = sample("small-python.json", &job);
    foreign["job"] = json!(5);
    assert_eq!(name(lambda.invoke(foreign)), "Runner.TicketUnreadable");
    job.ticket.engine_version = "0.0.1".to_owned();
    job.storage.put("ticket", serde_json::to_vec(&job.ticket).unwrap());
    assert_eq!(name(lambda.invoke(sample("small-python.json", &job))), "Runner.EngineMissing");
    assert_eq!(job.failure().error.name, "Runner.EngineMissing");
}

#[test]
fn before_lambda_ends_the_invocation_the_job_ends_by_name() {
    let job = ruff_job();
    job.storage.fail("snapshot", &[503; 50]);
    // The runner keeps six seconds for itself, so nothing is left for the job.
    let lambda = Lambda::start(&job, 6);
    let (word, body) = lambda.invoke(sample("small-python.json", &job));
    assert_eq!((word.as_str(), body["errorType"].as_str()), ("error", Some("Runner.TimedOut")));
}

#[test]
fn the_real_executable_runs_a_batch_job() {
    let job = ruff_job();
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
    command
        .arg("batch")
        .env("ENGINES_DIR", support::engines_dir())
        .env("TMPDIR", job.tmp())
        .env("DUNLIN_TICKET_URL", job.storage.url("ticket"))
        .env("DUNLIN_SCAN_ID", SCAN)
        .env("DUNLIN_JOB", "0")
        .env("DUNLIN_TRACE_ID", support::TRACE)
        .env("DUNLIN_MEMORY_MIB", "2048");
    assert_eq!(command.status().unwrap().code(), Some(0));
    assert!(job.result().1 >= 2);
    assert_eq!(command.env_remove("DUNLIN_TICKET_URL").status().unwrap().code(), Some(64));
}
