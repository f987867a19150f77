use super::*;
use crate::channels::webhook::{Webhook, sign};
use dunlin_cloud::{
    ObjectStore, Secrets,
    memory::{MemoryObjects, MemorySecrets},
};
use dunlin_contracts::steps::NotifierInput;
use dunlin_egress::{Egress, Timeouts};
use dunlin_runtime::Named;
use std::{path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn sample() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/notifier/complete.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A receiver that answers with these statuses in turn, and gives back every request it got.
async fn receiver(statuses: &'static [u16]) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, receive) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for status in statuses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            loop {
                let n = stream.read(&mut buffer).await.unwrap();
                text.push_str(&String::from_utf8_lossy(&buffer[..n]));
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length =
                    head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
                if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                    break;
                }
            }
            send.send(text).unwrap();
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (port, receive)
}

async fn context(url: Option<String>, allow: &str) -> (Context, Arc<MemoryObjects>) {
    let secrets = MemorySecrets::default();
    if let Some(url) = url {
        let secret = serde_json::json!({ "url": url, "signing_key": KEY }).to_string();
        secrets.put("dunlin/test/tenants/demo/webhook/receiver", &secret).await.unwrap();
    }
    let objects = Arc::new(MemoryObjects::default());
    let egress = Egress::new(allow.parse().unwrap(), Timeouts::default()).unwrap();
    let webhook = Webhook { secrets: Arc::new(secrets), secrets_prefix: "dunlin/test".into(), egress };
    (Context { objects: objects.clone(), channels: vec![Box::new(webhook)] }, objects)
}

fn outcome(result: &Result<Value, Error>) -> DeliveryOutcome {
    let output: NotifierOutput = serde_json::from_value(result.as_ref().unwrap().clone()).unwrap();
    output.deliveries[0].outcome
}

/// An event of S3 about the object that `recorder` writes, as the queue delivers it for the `receives`th time.
fn notice(receives: u32) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/notifier/ended-object.json");
    let mut event: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = receives.to_string().into();
    event
}

async fn put_ended(objects: &MemoryObjects) {
    let input: NotifierInput = serde_json::from_value(sample()).unwrap();
    let key = keys::ended(&input.scan.tenant, input.scan.scan_id);
    objects.put(&key, sample().to_string().into(), "application/json").await.unwrap();
}

fn failures(result: &Result<Value, Error>) -> usize {
    result.as_ref().unwrap()["batchItemFailures"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_new_object_about_an_end_is_told_once() {
    let (port, mut requests) = receiver(&[204, 204]).await;
    let (context, objects) = context(Some(format!("http://127.0.0.1:{port}/hook")), "127.0.0.1").await;
    assert_eq!(failures(&handle(&context, notice(1)).await), 1, "an object that is missing must not be forgotten");
    put_ended(&objects).await;
    assert_eq!(failures(&handle(&context, notice(1)).await), 0);
    assert!(requests.recv().await.unwrap().contains("\"status\":\"complete\""));
    // Slashes too, should S3 ever encode them.
    let mut encoded = notice(1);
    let body = encoded["Records"][0]["body"].as_str().unwrap().replace("ended/demo/", "ended%2Fdemo%2F");
    encoded["Records"][0]["body"] = body.into();
    assert_eq!(failures(&handle(&context, encoded).await), 0);
    // The state machine may have been there first, or S3 says it twice.
    assert_eq!(failures(&handle(&context, notice(2)).await), 0);
    assert_eq!(outcome(&handle(&context, sample()).await), DeliveryOutcome::AlreadyDelivered);
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn the_end_of_a_price_batch_is_told_once() {
    let (port, mut requests) = receiver(&[204, 204]).await;
    let (context, objects) = context(Some(format!("http://127.0.0.1:{port}/hook")), "127.0.0.1").await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/notifier/price-batch.json");
    let batch: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(outcome(&handle(&context, batch.clone()).await), DeliveryOutcome::Delivered);
    let told = requests.recv().await.unwrap();
    let body: Value = serde_json::from_str(told.split_once("\r\n\r\n").unwrap().1).unwrap();
    let id = batch["price_batch"]["batch_id"].as_str().unwrap();
    assert_eq!(body["type"], "dev.dunlin.price_batch.ended.v1");
    assert_eq!(body["subject"], format!("price-batches/{id}"));
    assert_eq!((&body["data"]["status"], &body["data"]["bad_rows"]), (&"rejected".into(), &37.into()));
    assert_eq!(objects.keys(), [format!("notifications/demo/{id}/webhook.ended.json")]);
    assert_eq!(outcome(&handle(&context, batch).await), DeliveryOutcome::AlreadyDelivered);
}

#[tokio::test]
async fn a_receiver_that_stays_away_does_not_end_in_the_dead_letter_queue() {
    let (port, _requests) = receiver(&[503, 503]).await;
    let (context, objects) = context(Some(format!("http://127.0.0.1:{port}/hook")), "127.0.0.1").await;
    put_ended(&objects).await;
    assert_eq!(failures(&handle(&context, notice(RECEIVES_OF_A_DELIVERY - 1)).await), 1);
    assert_eq!(failures(&handle(&context, notice(RECEIVES_OF_A_DELIVERY)).await), 0);
    // Storage that is away is another matter.
    objects.make_unavailable(Some("notifications/"));
    assert_eq!(failures(&handle(&context, notice(RECEIVES_OF_A_DELIVERY)).await), 1);
}

#[tokio::test]
async fn messages_about_anything_else_fail_and_the_test_of_s3_does_not() {
    let (context, _) = context(None, "").await;
    let with = |body: &str| {
        let mut event = notice(1);
        event["Records"][0]["body"] = body.into();
        event
    };
    let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-20T09:30:00.000Z","Bucket":"b","RequestId":"r","HostId":"h"}"#;
    assert_eq!(failures(&handle(&context, with(test)).await), 0);
    for bad in ["", "{}", "[]", r#"{"Records":[{"s3":{"object":{"key":"plans/demo/x/plan.json"}}}]}"#] {
        assert_eq!(failures(&handle(&context, with(bad)).await), 1, "{bad}");
    }
}

#[tokio::test]
async fn the_same_event_twice_is_told_once_and_signed() {
    let (port, mut requests) = receiver(&[200, 200]).await;
    let (context, _) = context(Some(format!("http://127.0.0.1:{port}/hook")), "127.0.0.1").await;
    assert_eq!(outcome(&handle(&context, sample()).await), DeliveryOutcome::Delivered);
    assert_eq!(outcome(&handle(&context, sample()).await), DeliveryOutcome::AlreadyDelivered);

    let request = requests.recv().await.unwrap();
    assert!(requests.try_recv().is_err(), "told twice");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let line = head.lines().find(|l| l.to_lowercase().starts_with(&format!("{name}: "))).unwrap();
        line.split_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(
        header("webhook-signature"),
        sign(KEY, &header("webhook-id"), &header("webhook-timestamp"), body).unwrap()
    );
    let event: Value = serde_json::from_str(body).unwrap();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["data"]["status"], "complete");
    assert_eq!(event["data"]["summary"]["findings"], 3);
}

#[tokio::test]
async fn a_receiver_that_is_down_is_tried_again_with_the_same_id() {
    let (port, mut requests) = receiver(&[503, 200]).await;
    let (context, _) = context(Some(format!("http://127.0.0.1:{port}/hook")), "127.0.0.1").await;
    assert_eq!(handle(&context, sample()).await.unwrap_err().name(), "Notifier.DeliveryUnavailable");
    assert_eq!(outcome(&handle(&context, sample()).await), DeliveryOutcome::Delivered);
    let id = |text: &str| text.lines().find(|l| l.to_lowercase().starts_with("webhook-id")).unwrap().to_owned();
    assert_eq!(id(&requests.recv().await.unwrap()), id(&requests.recv().await.unwrap()));
}

#[tokio::test]
async fn a_refusal_is_told_and_does_not_fail_the_scan() {
    let (port, _requests) = receiver(&[410]).await;
    let (context, objects) = context(Some(format!("http://127.0.0.1:{port}/hook?token=hunter2")), "127.0.0.1").await;
    let result = handle(&context, sample()).await;
    assert_eq!(outcome(&result), DeliveryOutcome::Failed);
    let text = format!("{result:?}");
    assert!(text.contains("410") && !text.contains("hunter2"), "{text}");
    assert!(objects.keys().is_empty(), "no marker without a delivery");
}

#[tokio::test]
async fn a_private_address_is_never_connected_to() {
    let (port, mut requests) = receiver(&[200]).await;
    let (context, _) = context(Some(format!("http://127.0.0.1:{port}/hook")), "").await;
    assert_eq!(outcome(&handle(&context, sample()).await), DeliveryOutcome::Failed);
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn without_a_webhook_there_is_nothing_to_do() {
    let (context, _) = context(None, "").await;
    assert_eq!(outcome(&handle(&context, sample()).await), DeliveryOutcome::NotConfigured);
}

#[tokio::test]
async fn a_receiver_that_cannot_be_looked_up_is_an_operators_matter_and_given_up_by_nobody() {
    let (mut context, objects) = context(None, "").await;
    let secrets = MemorySecrets::default();
    secrets.deny();
    let egress = Egress::new("".parse().unwrap(), Timeouts::default()).unwrap();
    context.channels = vec![Box::new(Webhook { secrets: Arc::new(secrets), secrets_prefix: "p".into(), egress })];
    assert_eq!(handle(&context, sample()).await.unwrap_err().name(), "Notifier.StorageRefused");
    put_ended(&objects).await;
    assert_eq!(failures(&handle(&context, notice(RECEIVES_OF_A_DELIVERY + 1)).await), 1);
}

#[tokio::test]
async fn while_storage_is_down_nothing_is_told() {
    let (port, mut requests) = receiver(&[200]).await;
    let (context, objects) = context(Some(format!("http://127.0.0.1:{port}/hook")), "127.0.0.1").await;
    objects.make_unavailable(Some("notifications/"));
    assert_eq!(handle(&context, sample()).await.unwrap_err().name(), "Notifier.StorageUnavailable");
    assert!(requests.try_recv().is_err());
    let _ = objects.get("x").await;
}

/// A channel that always delivers.
struct Other;

#[async_trait::async_trait]
impl Channel for Other {
    fn name(&self) -> &'static str {
        "other"
    }
    async fn tell(&self, _: &Notice) -> Result<Sent, Failure> {
        Ok(Sent::Delivered)
    }
}

#[tokio::test]
async fn storage_that_fails_for_one_channel_keeps_no_other_from_its_turn() {
    let (mut context, objects) = context(None, "").await;
    context.channels.push(Box::new(Other));
    let input: NotifierInput = serde_json::from_value(sample()).unwrap();
    let marker = |channel| keys::notification(&input.scan.tenant, input.scan.scan_id, channel, "ended");
    objects.make_unavailable(Some(&marker("webhook")));
    assert_eq!(handle(&context, sample()).await.unwrap_err().name(), "Notifier.StorageUnavailable");
    assert_eq!(objects.keys(), [marker("other")]);
    objects.make_unavailable(None);
    objects.deny(Some("notifications/"));
    assert_eq!(handle(&context, sample()).await.unwrap_err().name(), "Notifier.StorageRefused");
}
