//! Batches of prices: a place for their file, and the file put together.

use super::*;
use dunlin_cloud::ObjectStore;
use dunlin_contracts::prices::{PriceBatchAccepted, PriceBatchAsked};
use dunlin_core::{BatchId, keys, prices::BatchKind};

fn fields(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect()
}

async fn asked(bench: &Bench) -> PriceBatchAsked {
    let key = bench.objects.keys().into_iter().find(|key| key.starts_with("price-requests/demo/")).unwrap();
    serde_json::from_slice(&bench.objects.get(&key).await.unwrap().unwrap()).unwrap()
}

/// The event that completes the batch with these ETags.
fn completing(etags: &[String]) -> Value {
    let mut event = event("complete-price-batch.json");
    event["body"] = json!(json!({ "etags": etags }).to_string());
    event
}

fn as_another_organisation(event: &Value) -> Value {
    let mut event = event.clone();
    event["requestContext"]["authorizer"]["jwt"]["claims"]["custom:tenant"] = json!("other");
    event
}

#[tokio::test]
async fn the_same_request_twice_is_one_batch_with_a_place_for_its_file() {
    let bench = bench();
    let (status, first, location) = send(&bench, &event("create-price-batch.json")).await;
    let (_, second, _) = send(&bench, &event("create-price-batch.json")).await;
    assert_eq!(status, 202, "{first}");
    let (first, second): (PriceBatchAccepted, PriceBatchAccepted) =
        (serde_json::from_value(first).unwrap(), serde_json::from_value(second).unwrap());
    assert_eq!((first.id, &first.parts), (second.id, &second.parts));
    assert_eq!(location.unwrap(), format!("/v1/price-batches/{}", first.id));
    assert_eq!((first.complete, &first.trace_id), (false, &first.id.simple().to_string()));
    let [part] = first.parts.as_slice() else { panic!("one piece") };
    assert!(part.url.contains(&format!("price-batches/demo/prices/upload/{}", first.id)), "{}", part.url);
    assert_eq!((part.part, part.offset, part.bytes), (1, 0, 26_214_400));
    assert_eq!(part.headers["content-length"], "26214400");
    assert_eq!(part.headers["if-none-match"], "*", "a file that is there is not written over");

    assert_eq!(bench.objects.keys(), [format!("price-requests/demo/{}.json", first.id)]);
    let asked = asked(&bench).await;
    assert_eq!((asked.batch_id.as_uuid(), asked.request.kind, asked.multipart_id), (first.id, BatchKind::Prices, None));
    assert_eq!(asked.requested_by, "3f6b9f1f-0000-4000-8000-000000000001");
    assert!(bench.queue.sent().is_empty(), "the file itself is the message");
}

#[tokio::test]
async fn a_batchs_key_with_another_body_is_refused_and_another_organisations_is_another_batch() {
    let bench = bench();
    let create = event("create-price-batch.json");
    let (_, first, _) = send(&bench, &create).await;
    let mut other = create.clone();
    other["body"] = json!(r#"{"kind":"prices","bytes":7}"#);
    let (status, problem, _) = send(&bench, &other).await;
    let kind = problem["type"].as_str().unwrap();
    assert_eq!((status, kind), (422, "https://dunlin.dev/problems/idempotency-key-reused"));
    let (status, another, _) = send(&bench, &as_another_organisation(&create)).await;
    assert_eq!(status, 202);
    assert_ne!(first["id"], another["id"]);

    let mut without = create;
    without["headers"].as_object_mut().unwrap().remove("idempotency-key");
    let (_, a, _) = send(&bench, &without).await;
    let (_, b, _) = send(&bench, &without).await;
    assert_ne!(a["id"], b["id"]);
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_batch_is_named_and_nothing_is_kept() {
    let bench = bench();
    let (status, problem, _) = send(&bench, &event("create-price-batch-invalid.json")).await;
    assert_eq!((status, fields(&problem)), (400, vec!["/bytes", "/name", "/replaces"]));
    for (body, field) in [
        (r#"{"kind":"oranges","bytes":1}"#, "/kind"),
        (r#"{"kind":"prices","bytes":1.5}"#, "/bytes"),
        (r#"{"kind":"prices","bytes":-1}"#, "/bytes"),
        (r#"{"kind":"prices","bytes":1,"replaces":"7"}"#, "/replaces"),
        (r#"{"kind":"prices","bytes":1,"colour":"red"}"#, "/colour"),
        (r#"{"kind":"prices"}"#, ""),
        ("[]", ""),
    ] {
        let mut event = event("create-price-batch.json");
        event["body"] = json!(body);
        let (status, problem, _) = send(&bench, &event).await;
        assert_eq!((status, fields(&problem)), (400, vec![field]), "{body}");
    }
    assert!(bench.objects.keys().is_empty() && bench.objects.uploads().is_empty());
}

#[tokio::test]
async fn a_large_file_is_sent_in_parts_and_put_together_once() {
    let bench = bench();
    let (status, accepted, _) = send(&bench, &event("create-large-price-batch.json")).await;
    assert_eq!(status, 202, "{accepted}");
    let accepted: PriceBatchAccepted = serde_json::from_value(accepted).unwrap();
    let sizes: Vec<_> = accepted.parts.iter().map(|part| (part.part, part.bytes)).collect();
    assert_eq!((accepted.complete, sizes), (true, (1..=4).map(|n| (n, 16 << 20)).collect()));
    assert_eq!(accepted.parts[3].headers["content-length"], (16 << 20).to_string());

    // Again, before anything was sent: the same upload.
    let (_, again, _) = send(&bench, &event("create-large-price-batch.json")).await;
    assert_eq!(json!(accepted.parts), again["parts"]);
    let uploads = bench.objects.uploads();
    let [upload] = uploads.as_slice() else { panic!("{uploads:?}") };

    let etags: Vec<String> =
        (1..=4).map(|part| format!("\"{}\"", bench.objects.send_part(upload, part, format!("part {part};")))).collect();
    for _ in 0..2 {
        let (status, body, _) = send(&bench, &completing(&etags)).await;
        assert_eq!((status, body), (204, Value::Null));
    }
    let tenant = "demo".parse().unwrap();
    let key = keys::price_batch_upload(&tenant, BatchKind::Prices, BatchId::from_uuid(accepted.id));
    assert_eq!(bench.objects.get(&key).await.unwrap().unwrap(), "part 1;part 2;part 3;part 4;");
}

#[tokio::test]
async fn places_for_parts_that_storage_has_given_up_are_not_handed_out_again() {
    let bench = bench();
    let (_, accepted, _) = send(&bench, &event("create-large-price-batch.json")).await;
    let mut old = asked(&bench).await;
    let key = keys::price_batch_request(&old.tenant, old.batch_id);
    let file = keys::price_batch_upload(&old.tenant, BatchKind::Prices, old.batch_id);
    old.accepted_at -= time::Duration::days(3);
    bench.objects.put(&key, serde_json::to_vec(&old).unwrap().into(), "application/json").await.unwrap();
    let (status, problem, _) = send(&bench, &event("create-large-price-batch.json")).await;
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("ask for a new batch"), "{problem}");
    // One that was completed meanwhile is still the same batch.
    bench.objects.put(&file, "whole".into(), "text/csv").await.unwrap();
    let (status, again, _) = send(&bench, &event("create-large-price-batch.json")).await;
    assert_eq!((status, &again["id"]), (202, &accepted["id"]));
}

#[tokio::test]
async fn parts_that_were_not_sent_are_refused() {
    let bench = bench();
    let complete = event("complete-price-batch.json");
    assert_eq!(send(&bench, &complete).await.0, 404, "nobody has asked for it");
    send(&bench, &event("create-large-price-batch.json")).await;
    assert_eq!(send(&bench, &as_another_organisation(&complete)).await.0, 404);

    let (status, problem, _) = send(&bench, &complete).await;
    let kind = problem["type"].as_str().unwrap();
    assert_eq!((status, kind), (422, "https://dunlin.dev/problems/wrong-parts"), "{problem}");
    let (status, problem, _) = send(&bench, &completing(&["a".into(), "<".into()])).await;
    assert_eq!((status, fields(&problem)), (400, vec!["/etags", "/etags/1"]));
    for (body, field) in [("{}", ""), (r#"{"etags":7}"#, "/etags"), (r#"{"etags":[],"x":1}"#, "/x")] {
        let mut event = complete.clone();
        event["body"] = json!(body);
        let (status, problem, _) = send(&bench, &event).await;
        assert_eq!((status, fields(&problem)), (400, vec![field]), "{body}");
    }

    let upload = &bench.objects.uploads()[0];
    let large = keys::price_batch_upload(&"demo".parse().unwrap(), BatchKind::Prices, asked(&bench).await.batch_id);
    bench.objects.abort_multipart(&large, upload).await.unwrap();
    let (status, problem, _) = send(&bench, &complete).await;
    assert_eq!(status, 409, "{problem}");
}

#[tokio::test]
async fn a_file_of_one_piece_has_no_parts_to_complete() {
    let bench = bench();
    let (_, accepted, _) = send(&bench, &event("create-price-batch.json")).await;
    let mut complete = event("complete-price-batch.json");
    let path = json!(format!("/v1/price-batches/{}/complete", accepted["id"].as_str().unwrap()));
    complete["rawPath"] = path.clone();
    complete["requestContext"]["http"]["path"] = path;
    let (status, problem, _) = send(&bench, &complete).await;
    assert_eq!((status, problem["type"].as_str().unwrap()), (409, "https://dunlin.dev/problems/conflict"));
    complete["rawPath"] = json!("/v1/price-batches/7/complete");
    complete["requestContext"]["http"]["path"] = complete["rawPath"].clone();
    assert_eq!(send(&bench, &complete).await.0, 404);
}

#[tokio::test]
async fn when_storage_is_down_nothing_is_begun_that_nobody_knows_of() {
    let bench = bench();
    bench.objects.make_unavailable(Some("price-"));
    for name in ["create-price-batch.json", "create-large-price-batch.json", "complete-price-batch.json"] {
        let (status, problem, _) = send(&bench, &event(name)).await;
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(
            (status, detail.ends_with("Idempotency-Key")),
            (503, name.starts_with("create")),
            "{name}: {detail}"
        );
    }
    bench.objects.make_unavailable(None);
    assert_eq!(send(&bench, &event("create-large-price-batch.json")).await.0, 202);
    assert_eq!(bench.objects.uploads().len(), 1);
}
