use super::*;
use dunlin_cloud::memory::{MemoryBatchJobs, MemoryObjects, MemoryQueue, MemorySecrets, MemoryWorkflows};
use dunlin_cloud::{Secrets, Workflows};
use dunlin_contracts::{api::ScanAccepted, steps::ScanMessage};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};

mod prices;

struct Bench {
    context: Context,
    objects: Arc<MemoryObjects>,
    queue: Arc<MemoryQueue>,
    workflows: Arc<MemoryWorkflows>,
    jobs: Arc<MemoryBatchJobs>,
    secrets: Arc<MemorySecrets>,
}

fn bench() -> Bench {
    let objects = Arc::new(MemoryObjects::default());
    let queue = Arc::new(MemoryQueue::default());
    let workflows = Arc::new(MemoryWorkflows::default());
    let jobs = Arc::new(MemoryBatchJobs::default());
    let secrets = Arc::new(MemorySecrets::default());
    let context = Context {
        objects: objects.clone(),
        scans: queue.clone(),
        workflows: workflows.clone(),
        batch_jobs: jobs.clone(),
        secrets: secrets.clone(),
        secrets_prefix: "dunlin/test".into(),
        egress_allow: Default::default(),
    };
    Bench { context, objects, queue, workflows, jobs, secrets }
}

fn event(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/intake").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

async fn send(bench: &Bench, event: &Value) -> (u16, Value, Option<String>) {
    let request = lambda_http::request::from_str(&event.to_string()).unwrap();
    let response = handle(&bench.context, &request).await;
    let location = response.headers().get("location").map(|v| v.to_str().unwrap().to_owned());
    let body = match response.body() {
        Body::Text(text) => serde_json::from_str(text).unwrap(),
        _ => Value::Null,
    };
    (response.status().as_u16(), body, location)
}

#[tokio::test]
async fn the_same_request_twice_is_one_scan() {
    let bench = bench();
    let (status, first, location) = send(&bench, &event("create-scan.json")).await;
    let (_, second, _) = send(&bench, &event("create-scan.json")).await;
    assert_eq!(status, 202);
    assert_eq!(first, second);
    let accepted: ScanAccepted = serde_json::from_value(first).unwrap();
    assert_eq!(location.unwrap(), format!("/v1/scans/{}", accepted.id));
    assert_eq!(accepted.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(bench.objects.keys(), [format!("accepted/demo/{}.json", accepted.id)]);
    let sent = bench.queue.sent();
    assert_eq!(sent.len(), 2, "sent again, in case the first message was lost");
    assert_eq!(sent[0], sent[1]);
    let message: ScanMessage = serde_json::from_str(&sent[0]).unwrap();
    assert_eq!((message.tenant.as_str(), message.repository.as_str()), ("demo", "github.com/example/shop"));
}

#[tokio::test]
async fn a_key_with_another_body_is_refused() {
    let bench = bench();
    send(&bench, &event("create-scan.json")).await;
    let mut other = event("create-scan.json");
    other["body"] = json!(r#"{"target":{"type":"git","url":"https://github.com/example/other"}}"#);
    let (status, problem, _) = send(&bench, &other).await;
    assert_eq!(
        (status, problem["type"].as_str().unwrap()),
        (422, "https://dunlin.dev/problems/idempotency-key-reused")
    );
    assert_eq!(bench.queue.sent().len(), 1);
}

#[tokio::test]
async fn without_a_key_every_request_is_a_new_scan() {
    let bench = bench();
    let mut event = event("create-scan.json");
    event["headers"].as_object_mut().unwrap().remove("idempotency-key");
    let (_, first, _) = send(&bench, &event).await;
    let (_, second, _) = send(&bench, &event).await;
    assert_ne!(first["id"], second["id"]);
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_accepted() {
    let bench = bench();
    let (status, problem, _) = send(&bench, &event("create-scan-invalid.json")).await;
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!((status, fields), (400, vec!["/target/branch", "/target/url"]));
    assert_eq!(problem["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");

    for (body, field) in [
        (r#"{"target":{"type":"git","url":"https://a.example/b"},"colour":"red"}"#, "/colour"),
        (r#"{"target":{"type":"svn"}}"#, "/target/type"),
        (r#"{"engines":["ruff"]}"#, ""),
        ("not json", ""),
    ] {
        let mut event = event("create-scan.json");
        event["body"] = json!(body);
        let (status, problem, _) = send(&bench, &event).await;
        assert_eq!((status, problem["errors"][0]["field"].as_str().unwrap()), (400, field), "{body}: {problem}");
    }
    assert!(bench.objects.keys().is_empty() && bench.queue.sent().is_empty());
}

#[tokio::test]
async fn when_storage_is_down_the_caller_is_told_to_come_back() {
    let bench = bench();
    bench.objects.make_unavailable(Some("accepted/"));
    let (status, problem, _) = send(&bench, &event("create-scan.json")).await;
    assert_eq!((status, bench.queue.sent().len()), (503, 0));
    let detail = |problem: &Value| problem["detail"].as_str().unwrap().to_owned();
    assert!(detail(&problem).ends_with("try again with the same Idempotency-Key"), "{problem}");
    let (status, problem, _) = send(&bench, &event("cancel-scan.json")).await;
    assert_eq!((status, detail(&problem).ends_with("try again")), (503, true), "a cancellation has no key: {problem}");
    bench.objects.make_unavailable(None);
    assert_eq!(send(&bench, &event("create-scan.json")).await.0, 202);
}

/// A scan of `demo` that runs, with a job, and the event that cancels it.
async fn running(bench: &Bench) -> (String, Value) {
    let (_, accepted, _) = send(bench, &event("create-scan.json")).await;
    let id = accepted["id"].as_str().unwrap().to_owned();
    bench.workflows.start(&id, "{}").await.unwrap();
    bench.jobs.run(&format!("{id}-0-ruff"));
    bench.jobs.run("another-scan-0-ruff");
    let mut cancel = event("cancel-scan.json");
    cancel["rawPath"] = json!(format!("/v1/scans/{id}"));
    cancel["requestContext"]["http"]["path"] = cancel["rawPath"].clone();
    (id, cancel)
}

#[tokio::test]
async fn cancelling_twice_stops_the_execution_and_its_jobs_and_nothing_else() {
    let bench = bench();
    let (id, cancel) = running(&bench).await;
    for _ in 0..2 {
        let (status, body, _) = send(&bench, &cancel).await;
        assert_eq!((status, body["status"].as_str().unwrap()), (202, "cancelling"));
    }
    assert!(bench.objects.keys().contains(&format!("cancelled/demo/{id}.json")));
    assert_eq!(bench.workflows.executions()[0].1, dunlin_cloud::WorkflowState::Ended);
    assert_eq!(bench.jobs.running(), ["another-scan-0-ruff"]);
}

#[tokio::test]
async fn a_scan_that_has_ended_is_not_cancelled() {
    let bench = bench();
    let (id, cancel) = running(&bench).await;
    bench.workflows.end(&id);
    assert_eq!(send(&bench, &cancel).await.0, 409);
    assert!(!bench.objects.keys().contains(&format!("cancelled/demo/{id}.json")));
}

#[tokio::test]
async fn a_scan_of_another_organisation_does_not_exist() {
    let bench = bench();
    let (id, mut cancel) = running(&bench).await;
    cancel["requestContext"]["authorizer"]["jwt"]["claims"]["custom:tenant"] = json!("other");
    assert_eq!(send(&bench, &cancel).await.0, 404);
    assert_eq!(bench.jobs.running().len(), 2);
    assert!(bench.workflows.state(&id).await.unwrap() == Some(dunlin_cloud::WorkflowState::Running));
}

#[tokio::test]
async fn an_upload_is_bound_to_its_size_its_digest_and_its_organisation() {
    let bench = bench();
    let (status, target, _) = send(&bench, &event("create-upload.json")).await;
    assert_eq!(status, 201);
    let url = target["url"].as_str().unwrap();
    assert!(url.contains(&format!("uploads/demo/{}", target["upload_id"].as_str().unwrap())), "{url}");
    assert_eq!(target["headers"]["content-length"], "1024");
}

#[tokio::test]
async fn secrets_are_stored_under_their_organisation_and_never_given_back() {
    let bench = bench();
    for _ in 0..2 {
        let (status, body, _) = send(&bench, &event("put-credential.json")).await;
        assert_eq!((status, body), (204, Value::Null));
    }
    let secret = bench.secrets.get("dunlin/test/tenants/demo/git/shop-reader").await.unwrap().unwrap();
    assert!(secret.contains("not-a-real-token"));
    let (status, body, _) = send(&bench, &event("put-webhook.json")).await;
    assert_eq!(status, 200);
    assert!(body["signing_key"].as_str().unwrap().starts_with("whsec_"));
    let mut delete = event("put-credential.json");
    delete["requestContext"]["http"]["method"] = json!("DELETE");
    assert_eq!(send(&bench, &delete).await.0, 204);
    assert_eq!(send(&bench, &delete).await.0, 204);
    assert!(bench.secrets.get("dunlin/test/tenants/demo/git/shop-reader").await.unwrap().is_none());
}

#[tokio::test]
async fn without_a_verified_token_nothing_is_done() {
    let bench = bench();
    let mut event = event("create-scan.json");
    event["requestContext"].as_object_mut().unwrap().remove("authorizer");
    assert_eq!(send(&bench, &event).await.0, 401);
    assert!(bench.objects.keys().is_empty());
}
