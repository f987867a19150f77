//! Batches of prices, and the averages of what is in them.

use super::*;
use dunlin_contracts::{
    VERSION,
    prices::{PriceBatchAsked, PriceBatchMessage, PriceBatchRequest},
};
use dunlin_core::{
    BatchId,
    prices::{BadRow, BatchKind, Compression, Faults, Format, Layout, Range, Reason},
};
use dunlin_store::{Finished, LoadStart, PreparedBatch, Published};
use lambda_http::http::{HeaderMap, HeaderValue};
use std::collections::HashMap;
use time::macros::date;

/// A file of `demo` that came `minute` minutes after midnight; the same minute is the same file.
fn message(kind: BatchKind, minute: i64) -> PriceBatchMessage {
    let tenant = fixtures::tenant("demo");
    let key = format!("price-batches/demo/{kind}/{minute}.csv");
    PriceBatchMessage {
        version: VERSION,
        batch_id: BatchId::derived(&tenant, &key, "e", None),
        tenant,
        kind,
        key,
        etag: "e".into(),
        bytes: 1000,
        received_at: fixtures::EPOCH + time::Duration::minutes(minute),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
    }
}

/// A batch that is being loaded.
pub async fn registered(bench: &Bench) -> PriceBatchMessage {
    let message = message(BatchKind::Prices, 1);
    bench.database.store().await.register_batch(&message, None).await.unwrap();
    message
}

/// `demo` has two ports in two regions, and one that is empty.
async fn places(bench: &Bench) {
    let sql = "insert into tenants (tenant) values ('demo') on conflict do nothing;
         insert into regions (tenant, slug, name, parent) values ('demo', 'north', 'North', null), ('demo', 'baltic', 'Baltic', 'north');
         insert into ports (tenant, code, name, region) values ('demo', 'CNSGH', 'Shanghai', 'baltic'), ('demo', 'NLRTM', 'Rotterdam', 'baltic');";
    bench.database.client().await.batch_execute(sql).await.unwrap();
}

/// Published, with these prices in hundredths from Shanghai to Rotterdam on 1 January 2026.
async fn published(bench: &Bench, minute: i64, prices: &[i64]) -> PriceBatchMessage {
    let batch = message(BatchKind::Prices, minute);
    let mut store = bench.database.store().await;
    store.register_batch(&batch, None).await.unwrap();
    let layout = Layout { format: Format::Csv, compression: Compression::None, fields: vec![0, 1, 2, 3] };
    let range = Range { range: 0, offset: 30, length: 900, first_line: 2, has_header: false };
    let sha256 = batch.batch_id.as_uuid().simple().to_string().repeat(2);
    store.inspected(&batch, &sha256, &layout, &[range]).await.unwrap();
    let row = store.range(&batch, 0).await.unwrap().unwrap();
    let mut ports = HashMap::new();
    store.ports_of(&batch.tenant, |code, id| _ = ports.insert(code.to_owned(), id)).await.unwrap();
    let copy = copy(row.number, ports["CNSGH"], ports["NLRTM"], prices);
    let LoadStart::Ready(mut load) = store.load_range(&batch, &row).await.unwrap() else { panic!("it is loaded") };
    load.send(copy.into()).await.unwrap();
    let day = date!(2026 - 01 - 01);
    let loaded = load.finish(prices.len() as u64, &Faults::default(), Some((day, day))).await.unwrap();
    assert_eq!(loaded, Finished::Loaded);
    assert_eq!(store.prepare_publication(&batch).await.unwrap(), PreparedBatch::Clean);
    assert!(matches!(store.publish(&batch).await.unwrap(), Published::Done(_)));
    batch
}

/// PostgreSQL, COPY, "Binary Format".
fn copy(batch: i32, orig: i32, dest: i32, prices: &[i64]) -> Vec<u8> {
    let day = i32::try_from((date!(2026 - 01 - 01) - date!(2000 - 01 - 01)).whole_days()).unwrap();
    let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for (line, price) in (2_i32..).zip(prices) {
        out.extend(6_i16.to_be_bytes());
        for value in [batch, orig, dest, day] {
            out.extend([4_i32.to_be_bytes(), value.to_be_bytes()].concat());
        }
        out.extend(
            [&8_i32.to_be_bytes()[..], &price.to_be_bytes(), &4_i32.to_be_bytes(), &line.to_be_bytes()].concat(),
        );
    }
    out.extend((-1_i16).to_be_bytes());
    out
}

async fn withdraw(bench: &Bench, batch: BatchId) -> (u16, Value) {
    let (status, body, _) =
        send(bench, &event_with("POST", &format!("/v1/price-batches/{batch}/withdraw"), "demo")).await;
    (status, body)
}

fn fields(problem: &Value) -> Vec<&str> {
    let mut fields: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    fields
}

#[tokio::test]
async fn a_batch_whose_file_has_not_arrived_is_accepted() {
    let bench = bench().await;
    let mut get = sample("get-price-batch.json");
    let id = get["rawPath"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(send(&bench, &get).await.0, 404);

    let tenant = fixtures::tenant("demo");
    let batch_id: BatchId = id.parse().unwrap();
    let request = PriceBatchRequest { kind: BatchKind::Ports, bytes: 77, name: Some("all".into()), replaces: None };
    let asked = PriceBatchAsked {
        version: VERSION,
        batch_id,
        tenant: tenant.clone(),
        request,
        requested_by: "u-1".into(),
        accepted_at: fixtures::EPOCH,
        trace_id: "0".repeat(32),
        multipart_id: None,
    };
    let text = serde_json::to_string(&asked).unwrap();
    bench.objects.put(&keys::price_batch_request(&tenant, batch_id), text.into(), "").await.unwrap();
    let (status, body, _) = send(&bench, &get).await;
    assert_eq!((status, body["status"].as_str().unwrap()), (200, "accepted"));
    assert_eq!((&body["kind"], &body["bytes"], &body["sent_by"]), (&json!("ports"), &json!(77), &json!("u-1")));
    let (status, problem, _) = send(&bench, &sample("withdraw-price-batch.json")).await;
    assert_eq!((status, problem["detail"].as_str().unwrap().contains("the batch is accepted")), (409, true));
    get["requestContext"]["authorizer"]["jwt"]["claims"]["custom:tenant"] = json!("other");
    assert_eq!(send(&bench, &get).await.0, 404);
}

fn sample(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/api").join(name);
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[tokio::test]
async fn batches_are_listed_by_kind_and_state_newest_first() {
    let bench = bench().await;
    places(&bench).await;
    let old = published(&bench, 1, &[100]).await;
    let new = published(&bench, 2, &[200]).await;
    bench.database.store().await.register_batch(&message(BatchKind::Ports, 3), None).await.unwrap();
    let ids = |body: &Value| -> Vec<String> {
        body["items"].as_array().unwrap().iter().map(|b| b["id"].as_str().unwrap().to_owned()).collect()
    };
    let (status, body, _) = send(&bench, &sample("list-price-batches.json")).await;
    assert_eq!((status, ids(&body)), (200, vec![new.batch_id.to_string(), old.batch_id.to_string()]));
    let path = "/v1/price-batches";
    assert_eq!(ids(&ask(&bench, path, "kind=ports", "demo").await.1).len(), 1);
    assert_eq!(ids(&ask(&bench, path, "status=loading", "demo").await.1).len(), 1);
    let (status, problem, _) = ask(&bench, path, "status=accepted", "demo").await;
    assert_eq!((status, fields(&problem)), (400, vec!["?status"]), "it would always be empty");
    let (_, first, _) = ask(&bench, path, "limit=2", "demo").await;
    let query = format!("limit=2&cursor={}", first["next_cursor"].as_str().unwrap());
    let (_, second, _) = ask(&bench, path, &query, "demo").await;
    assert_eq!((ids(&first).len(), ids(&second)), (2, vec![old.batch_id.to_string()]));

    let (status, problem, _) =
        ask(&bench, path, "kind=x&status=gone&limit=201&cursor=rubbish&colour=red", "demo").await;
    assert_eq!((status, fields(&problem)), (400, vec!["?colour", "?kind", "?limit", "?status"]));
    let (status, problem, _) = ask(&bench, path, "cursor=rubbish", "demo").await;
    assert_eq!((status, fields(&problem)), (400, vec!["?cursor"]));
}

#[tokio::test]
async fn a_rejected_batch_names_its_bad_rows_and_where_all_of_them_are() {
    let bench = bench().await;
    let batch = registered(&bench).await;
    let mut faults = Faults::default();
    faults.add(&BadRow::new(1, Some("colour"), "colour", Reason::ExtraColumn), true);
    let mut store = bench.database.store().await;
    store.file_is_bad(&batch, &faults).await.unwrap();
    store.reject(&batch, &faults).await.unwrap();
    let path = format!("/v1/price-batches/{}", batch.batch_id);
    let (status, body, _) = ask(&bench, &path, "", "demo").await;
    assert_eq!((status, body["status"].as_str().unwrap()), (200, "rejected"), "{body}");
    assert_eq!(body["reasons"], json!({ "extra_column": 1 }));
    assert_eq!(
        body["first_bad_rows"][0],
        json!({ "line": 1, "column": "colour", "value": "colour", "reason": "extra_column" })
    );
    assert_eq!(body["report_url"], Value::Null);
    let report = keys::price_batch_report(&batch.tenant, batch.batch_id);
    bench.objects.put(&report, "line".into(), "text/csv").await.unwrap();
    let (_, body, _) = ask(&bench, &path, "", "demo").await;
    assert_eq!(body["report_url"], format!("memory://get/{report}"));
    let (status, problem) = withdraw(&bench, batch.batch_id).await;
    assert_eq!(
        (status, problem["detail"].as_str().unwrap()),
        (409, "the batch is rejected; only a published batch can be withdrawn")
    );
}

#[tokio::test]
async fn a_batch_that_is_withdrawn_twice_is_withdrawn_once() {
    let bench = bench().await;
    places(&bench).await;
    let batch = published(&bench, 1, &[100, 200, 300]).await;
    let (status, first) = withdraw(&bench, batch.batch_id).await;
    assert_eq!((status, first["status"].as_str().unwrap()), (200, "withdrawn"));
    assert_eq!(first["withdrawn_by"], "3f6b9f1f-0000-4000-8000-000000000001");
    assert_eq!(withdraw(&bench, batch.batch_id).await, (200, first));

    let ports = message(BatchKind::Ports, 2);
    bench.database.store().await.register_batch(&ports, None).await.unwrap();
    let (status, problem) = withdraw(&bench, ports.batch_id).await;
    assert_eq!((status, problem["detail"].as_str().unwrap().starts_with("only prices can be withdrawn")), (409, true));
    let get = format!("/v1/price-batches/{}/withdraw", batch.batch_id);
    assert_eq!(ask(&bench, &get, "", "demo").await.1["detail"], "there is no such route");
}

const RATES: &str = "/v1/rates";
const QUESTION: &str = "date_from=2026-01-01&date_to=2026-01-02&origin=CNSGH&destination=north";

/// Asks for rates, with what the caller has.
async fn rates(bench: &Bench, query: &str, known: Option<&str>) -> (u16, HeaderMap, String) {
    let mut event = event(RATES, query, "demo");
    if let Some(known) = known {
        event["headers"]["if-none-match"] = json!(known);
    }
    let request = lambda_http::request::from_str(&event.to_string()).unwrap();
    let response = handle(&bench.context, &request).await;
    let body = match response.body() {
        Body::Text(text) => text.clone(),
        _ => String::new(),
    };
    (response.status().as_u16(), response.headers().clone(), body)
}

#[tokio::test]
async fn averages_come_by_the_day_and_need_three_prices() {
    let bench = bench().await;
    places(&bench).await;
    published(&bench, 1, &[100, 200]).await;
    let (status, _, body) = rates(&bench, QUESTION, None).await;
    assert_eq!(status, 200);
    let none = json!([{ "day": "2026-01-01", "average_price": null }, { "day": "2026-01-02", "average_price": null }]);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, json!({ "origin": "CNSGH", "destination": "north", "rates": none }));
    published(&bench, 2, &[301]).await;
    let (_, _, body) = rates(&bench, QUESTION, None).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["rates"][0], json!({ "day": "2026-01-01", "average_price": 2.0 }));
    let (_, other, _) = ask(&bench, RATES, QUESTION, "other").await;
    assert_eq!(fields(&other), ["?destination", "?origin"], "another organisation has no such places");
}

#[tokio::test]
async fn an_answer_is_good_until_the_prices_change() {
    let bench = bench().await;
    places(&bench).await;
    let batch = published(&bench, 1, &[100, 200, 300]).await;
    let (status, headers, _) = rates(&bench, QUESTION, None).await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!((status, headers["cache-control"].to_str().unwrap()), (200, "private, no-cache"));
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    // In another order it is the same question.
    let turned = "destination=north&origin=CNSGH&date_to=2026-01-02&date_from=2026-01-01";
    for (query, known) in [
        (QUESTION, tag.clone()),
        (turned, tag.clone()),
        (QUESTION, format!("W/{tag}")),
        (QUESTION, format!("\"other\", {tag}")),
    ] {
        let (status, headers, body) = rates(&bench, query, Some(&known)).await;
        assert_eq!((status, body.as_str()), (304, ""), "{query} {known}");
        assert_eq!(
            (headers["etag"].to_str().unwrap(), &headers["cache-control"]),
            (&*tag, &HeaderValue::from_static("private, no-cache"))
        );
    }
    for (query, known) in
        [(QUESTION, "\"other\""), (QUESTION, "*"), (&*QUESTION.replace("01-02", "01-03"), &*tag), (QUESTION, "")]
    {
        assert_eq!(rates(&bench, query, Some(known)).await.0, 200, "{query} {known}");
    }
    withdraw(&bench, batch.batch_id).await;
    let (status, headers, body) = rates(&bench, QUESTION, Some(&tag)).await;
    assert_eq!((status, body.contains("\"average_price\":2.0")), (200, false));
    assert_ne!(headers["etag"], &*tag);
}

/// Somebody holds `prices`, as nobody ever does: a query would wait for it, and is ended after half a second.
#[tokio::test]
async fn a_known_answer_is_not_computed_again() {
    let mut bench = bench().await;
    places(&bench).await;
    published(&bench, 1, &[100, 200, 300]).await;
    let (_, headers, _) = rates(&bench, QUESTION, None).await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    bench.context.database.statement_timeout = Duration::from_millis(500);
    let holder = bench.database.client().await;
    holder.batch_execute("begin; lock table prices in access exclusive mode").await.unwrap();
    assert_eq!(rates(&bench, QUESTION, Some(&tag)).await.0, 304);
    let (status, headers, _) = rates(&bench, QUESTION, None).await;
    assert!(status >= 500 && !headers.contains_key("etag"), "{status}");
}

#[tokio::test]
async fn every_wrong_word_of_a_question_is_named() {
    let bench = bench().await;
    places(&bench).await;
    let with = |from: &str, to: &str| format!("date_from={from}&date_to={to}&origin=CNSGH&destination=NLRTM");
    for (query, wrong) in [
        (String::new(), vec!["?date_from", "?date_to", "?destination", "?origin"]),
        ("date_from=&date_to=x&origin=".into(), vec!["?date_from", "?date_to", "?destination", "?origin"]),
        (with("2026-02-30", "2026-13-01"), vec!["?date_from", "?date_to"]),
        (with("2026-1-1", "2026-01-01T00:00:00Z"), vec!["?date_from", "?date_to"]),
        (with("2026-01-02", "2026-01-01"), vec!["?date_to"]),
        (with("2023-01-01", "2026-01-05"), vec!["?date_to"]),
        (with("2026-01-01", "2026-01-02") + "&colour=red", vec!["?colour"]),
        (with("2026-01-01", "2026-01-02") + "&origin=NLRTM", vec!["?origin"]),
        (with("2026-01-01", "2026-01-02").replace("CNSGH", "cnsgh"), vec!["?origin"]),
        (with("2026-01-01", "2026-01-02").replace("NLRTM", "south"), vec!["?destination"]),
        (with("2026-01-01", "2026-01-02").replace("NLRTM", "a").replace("CNSGH", "b"), vec!["?destination", "?origin"]),
        (with("2026-01-01", "2026-01-02").replace("NLRTM", "a%00"), vec!["?destination"]),
    ] {
        let (status, headers, body) = rates(&bench, &query, None).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, fields(&problem)), (400, wrong), "{query}: {problem}");
        assert!(!headers.contains_key("etag"));
    }
    // Exactly as many days as are allowed, and the sample.
    assert_eq!(rates(&bench, &with("2023-01-01", "2026-01-04"), None).await.0, 200);
    let (status, problem, _) = send(&bench, &sample("get-rates.json")).await;
    assert_eq!((status, fields(&problem)), (400, vec!["?destination"]), "nobody knows it yet");
}
