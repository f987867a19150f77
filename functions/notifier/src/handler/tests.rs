use super::*;
use crate::channels::webhook::{Webhook, sign};
use dunlin_cloud::{
    ObjectStore, Secrets,
    memory::{MemoryObjects, MemorySecrets},
};
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

fn outcome(result: &Result<NotifierOutput, Error>) -> DeliveryOutcome {
    result.as_ref().unwrap().deliveries[0].outcome
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
async fn while_storage_is_down_nothing_is_told() {
    let (port, mut requests) = receiver(&[200]).await;
    let (context, objects) = context(Some(format!("http://127.0.0.1:{port}/hook")), "127.0.0.1").await;
    objects.make_unavailable(Some("notifications/"));
    assert_eq!(handle(&context, sample()).await.unwrap_err().name(), "Notifier.StorageUnavailable");
    assert!(requests.try_recv().is_err());
    let _ = objects.get("x").await;
}
