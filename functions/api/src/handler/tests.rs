use super::*;
use dunlin_cloud::{ObjectStore, memory::MemoryObjects};
use dunlin_contracts::{api::AuthDiscovery, openapi::ROUTES, steps::ScanMessage};
use dunlin_core::keys;
use dunlin_testkit::{TestDatabase, fixtures};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};

mod prices;

struct Bench {
    context: Context,
    objects: Arc<MemoryObjects>,
    database: TestDatabase,
}

async fn bench() -> Bench {
    let database = TestDatabase::new().await;
    let objects = Arc::new(MemoryObjects::default());
    let auth = AuthDiscovery { endpoint: "e".into(), client_id: "c".into(), issuer: "i".into() };
    let context = Context { objects: objects.clone(), database: database.config(), auth };
    Bench { context, objects, database }
}

/// A sample event, asked for this path by this tenant.
fn event(path: &str, query: &str, tenant: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/api/get-scan.json");
    let mut event: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    event["rawPath"] = json!(path);
    event["requestContext"]["http"]["path"] = json!(path);
    event["rawQueryString"] = json!(query);
    let pairs: serde_json::Map<String, Value> =
        query.split('&').filter_map(|kv| kv.split_once('=')).map(|(k, v)| (k.to_owned(), json!(v))).collect();
    event["queryStringParameters"] = Value::Object(pairs);
    event["requestContext"]["authorizer"]["jwt"]["claims"]["custom:tenant"] = json!(tenant);
    event
}

/// The same, with another method.
fn event_with(method: &str, path: &str, tenant: &str) -> Value {
    let mut event = event(path, "", tenant);
    event["requestContext"]["http"]["method"] = json!(method);
    event
}

async fn ask(bench: &Bench, path: &str, query: &str, tenant: &str) -> (u16, Value, Option<String>) {
    send(bench, &event(path, query, tenant)).await
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

/// A registered scan of `demo` that intake has written down too.
async fn registered(bench: &Bench) -> ScanMessage {
    let scan = fixtures::scan("demo", 1);
    accept(bench, &scan).await;
    bench.database.store().await.register_scan(&scan, false).await.unwrap();
    scan
}

async fn accept(bench: &Bench, scan: &ScanMessage) {
    let text = serde_json::to_string(scan).unwrap();
    bench.objects.put(&keys::accepted(&scan.tenant, scan.scan_id), text.into(), "").await.unwrap();
}

#[tokio::test]
async fn a_scan_that_the_database_does_not_know_yet_is_accepted() {
    let bench = bench().await;
    let scan = fixtures::scan("demo", 1);
    let path = format!("/v1/scans/{}", scan.scan_id);
    assert_eq!(ask(&bench, &path, "", "demo").await.0, 404);
    accept(&bench, &scan).await;
    let (status, body, _) = ask(&bench, &path, "", "demo").await;
    assert_eq!((status, body["status"].as_str().unwrap()), (200, "accepted"));
    let (status, body, _) = ask(&bench, &format!("{path}/findings"), "", "demo").await;
    assert_eq!((status, body["items"].as_array().unwrap().len()), (200, 0));
    assert_eq!(ask(&bench, &format!("{path}/report"), "", "demo").await.0, 409);
}

#[tokio::test]
async fn reading_twice_changes_nothing() {
    let bench = bench().await;
    let scan = registered(&bench).await;
    let path = format!("/v1/scans/{}", scan.scan_id);
    let first = ask(&bench, &path, "", "demo").await;
    assert_eq!((first.0, first.1["repository"].as_str().unwrap()), (200, "github.com/example/app"));
    assert_eq!(first, ask(&bench, &path, "", "demo").await);
}

/// Every route with an id, from the table: what belongs to somebody else is not there.
#[tokio::test]
async fn another_organisations_ids_do_not_exist() {
    let bench = bench().await;
    let scan = registered(&bench).await;
    let batch = prices::registered(&bench).await;
    let mut tried = 0;
    for route in ROUTES.iter().filter(|r| r.function == "api" && r.token && r.path.contains("{id}")) {
        let id = match route.path.split('/').nth(2) {
            Some("repositories") => scan.repository_id.to_string(),
            Some("price-batches") => batch.batch_id.to_string(),
            _ => scan.scan_id.to_string(),
        };
        let path = route.path.replace("{id}", &id);
        let status = async |path: &str, tenant: &str| send(&bench, &event_with(route.method, path, tenant)).await.0;
        assert_eq!(status(&path, "other").await, 404, "{path} for another organisation");
        assert_ne!(status(&path, "demo").await, 404, "{path} for its own");
        assert_eq!(status(&route.path.replace("{id}", "7"), "demo").await, 404, "{path} with a bad id");
        tried += 1;
    }
    assert_eq!(tried, 6);
    for path in ["/v1/scans", "/v1/repositories", "/v1/price-batches"] {
        assert_eq!(ask(&bench, path, "", "other").await.1["items"], json!([]), "{path}");
        assert_eq!(ask(&bench, path, "", "demo").await.1["items"].as_array().unwrap().len(), 1, "{path}");
    }
}

#[tokio::test]
async fn every_route_of_the_table_is_served_and_asks_for_a_token() {
    let bench = bench().await;
    let id = fixtures::scan("demo", 1).scan_id.to_string();
    for route in ROUTES.iter().filter(|r| r.function == "api") {
        let path = route.path.replace("{id}", &id);
        let mut event = event_with(route.method, &path, "demo");
        let (_, body, _) = send(&bench, &event).await;
        assert_ne!(body["detail"], "there is no such route", "{path}");
        event["requestContext"].as_object_mut().unwrap().remove("authorizer");
        let (status, ..) = send(&bench, &event).await;
        assert_eq!(status == 401, route.token, "{path} without a token answered {status}");
    }
}

#[tokio::test]
async fn every_wrong_parameter_is_named() {
    let bench = bench().await;
    let scan = registered(&bench).await;
    let query = "severity=high,huge&min_severity=x&new=maybe&sort=size&limit=0&colour=red&state=gone";
    let (status, body, _) = ask(&bench, &format!("/v1/scans/{}/findings", scan.scan_id), query, "demo").await;
    let mut fields: Vec<_> = body["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(status, 400);
    assert_eq!(fields, ["?colour", "?limit", "?min_severity", "?new", "?severity", "?sort", "?state"]);
    let (status, body, _) = ask(&bench, "/v1/scans", "cursor=rubbish", "demo").await;
    assert_eq!((status, body["errors"][0]["field"].as_str().unwrap()), (400, "?cursor"));
}

#[tokio::test]
async fn while_the_database_is_down_the_caller_is_told_to_come_back_and_health_is_ok() {
    let mut bench = bench().await;
    bench.context.database.port = 1;
    bench.context.database.connect_timeout = Duration::from_millis(300);
    let (status, body, _) = ask(&bench, "/v1/scans", "", "demo").await;
    assert_eq!((status, body["type"].as_str().unwrap()), (503, "https://dunlin.dev/problems/unavailable"));
    assert_eq!(ask(&bench, "/v1/health", "", "demo").await.0, 200);
}

/// The store's cursor holds the path of the last finding, which may be long.
#[tokio::test]
async fn a_cursor_may_be_as_long_as_the_store_makes_it() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let bench = bench().await;
    let scan = registered(&bench).await;
    let place = json!({ "k": "path", "p": "a/".repeat(1_700), "l": 1, "id": uuid::Uuid::nil() });
    let query = format!("sort=path&cursor={}", URL_SAFE_NO_PAD.encode(place.to_string()));
    let (status, body, _) = ask(&bench, &format!("/v1/scans/{}/findings", scan.scan_id), &query, "demo").await;
    assert_eq!(status, 200, "{body}");
    let (status, body, _) = ask(&bench, "/v1/scans", &format!("cursor={}", "A".repeat(9_000)), "demo").await;
    assert_eq!((status, body["errors"][0]["field"].as_str().unwrap()), (400, "?cursor"));
}
