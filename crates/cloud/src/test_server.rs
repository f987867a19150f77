//! Answers requests of an AWS client with what a test says, in turn.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Every answer has it.
pub const ETAG: &str = "0cc175b9c0f1b6a831c399e269772661";

pub struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// The first request gets the first answer; there must be no more requests than answers.
    pub async fn answering(answers: &[(u16, &str)]) -> Self {
        let answers: Vec<_> = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        Self::start(Duration::ZERO, move |n, _| answers.get(n).cloned().unwrap_or((500, String::new()))).await
    }

    /// `answer` gets the number of the request and its first line.
    pub async fn start(
        delay: Duration,
        answer: impl Fn(usize, &str) -> (u16, String) + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, log) = (requests.clone(), heads.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (seen, log, answer) = (seen.clone(), log.clone(), answer.clone());
                tokio::spawn(async move {
                    let head = read(&mut stream).await;
                    log.lock().unwrap().push(head.to_lowercase());
                    let (status, body) = answer(seen.fetch_add(1, Ordering::SeqCst), head.lines().next().unwrap_or(""));
                    tokio::time::sleep(delay).await;
                    let length = body.len();
                    let text = format!(
                        "HTTP/1.1 {status} x\r\netag: \"{ETAG}\"\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                    );
                    stream.write_all(text.as_bytes()).await.unwrap();
                });
            }
        });
        Self { url, requests, heads }
    }

    /// First line and headers of each request, in lower case.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// For this server, and without the client's own retries: a test counts requests.
    pub fn configure(&self, config: aws_sdk_s3::config::Builder) -> aws_sdk_s3::config::Builder {
        config
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
            .region(aws_sdk_s3::config::Region::new("eu-central-1"))
            .credentials_provider(aws_credential_types::Credentials::new("id", "key", None, None, "test"))
            .endpoint_url(&self.url)
            .force_path_style(true)
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
    }
}

/// Everything up to the end of the body; answers with the head.
async fn read(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await.unwrap();
        text.extend_from_slice(&buffer[..n]);
        let seen = String::from_utf8_lossy(&text);
        let Some((head, body)) = seen.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        if n == 0 || body.len() >= length.and_then(|l| l.parse().ok()).unwrap_or(0) {
            return head.to_owned();
        }
    }
}
