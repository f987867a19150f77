//! Real requests to a server on the loopback interface, with a resolver that says what the test wants.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, like the test")]

use async_trait::async_trait;
use dunlin_egress::{AddressPolicy, Egress, EgressError, Lookup, Refused, Timeouts, redirect_target};
use reqwest::{Method, Request};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use url::Url;

/// Answers every connection with `answer` and counts them.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    if stream.read(&mut request).await.is_ok() && !answer.is_empty() {
                        let _ = stream.write_all(answer.as_bytes()).await;
                    } else {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { address, connections }
    }

    async fn ok() -> Self {
        Self::start("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".into()).await
    }

    async fn redirecting(to: &str) -> Self {
        Self::start(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
            .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Gives its answers one after the other, and the last one for ever.
struct Answers {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Answers {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self { answers: Mutex::new(answers.iter().map(parse).collect()), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Lookup for Answers {
    async fn addresses(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

fn get(url: &str) -> Request {
    Request::new(Method::GET, Url::parse(url).unwrap())
}

fn egress(allow: &str, lookup: Arc<dyn Lookup>) -> Egress {
    let timeouts = Timeouts { connect: Duration::from_millis(300), idle: Duration::from_millis(300) };
    Egress::with_lookup(allow.parse::<AddressPolicy>().unwrap(), timeouts, lookup).unwrap()
}

#[tokio::test]
async fn a_name_is_resolved_once_and_that_address_is_connected_to() {
    let server = Server::ok().await;
    // The second answer has no server: connecting to anything but the first would fail.
    let lookup = Answers::new(&[&["127.0.0.1"], &["127.0.0.99"]]);
    let egress = egress("git.test", lookup.clone());
    let answer = egress.send(get(&format!("http://git.test:{}/", server.address.port()))).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!((lookup.asked.load(Ordering::SeqCst), server.connections()), (1, 1));
}

#[tokio::test]
async fn a_name_with_a_private_address_among_its_own_is_refused() {
    for answers in
        [&["127.0.0.1"][..], &["8.8.8.8", "10.0.0.1"], &["2606:4700::1111", "::ffff:10.0.0.1"], &["fd00:ec2::254"]]
    {
        let error = egress("", Answers::new(&[answers])).send(get("http://rebind.test/")).await.unwrap_err();
        assert!(
            matches!(&error, EgressError::Refused(Refused::Name(name)) if name == "rebind.test"),
            "{answers:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn every_resolution_is_checked() {
    // Nothing is remembered about a name: whatever DNS says next is checked like its first answer.
    let lookup = Answers::new(&[&["127.0.0.99"], &["127.0.0.1"]]);
    let policy: AddressPolicy = "".parse().unwrap();
    let egress = Egress::with_lookup(policy, Timeouts::default(), lookup.clone()).unwrap();
    for _ in 0..2 {
        assert!(matches!(egress.send(get("http://rebind.test/")).await, Err(EgressError::Refused(_))));
    }
    assert_eq!(lookup.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn redirects_are_handed_back_and_checked_like_any_url() {
    let inside = Server::ok().await;
    let inside_port = inside.address.port();
    for target in [
        format!("http://127.0.0.1:{inside_port}/"),
        format!("http://2130706433:{inside_port}/"),
        format!("http://[::ffff:127.0.0.1]:{inside_port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let server = Server::redirecting(&target).await;
        let egress = egress("git.test", Answers::new(&[&["127.0.0.1"]]));
        let answer = egress.send(get(&format!("http://git.test:{}/", server.address.port()))).await.unwrap();
        assert_eq!(answer.status(), 302, "the redirect must not be followed by the client");
        let next = redirect_target(&answer).unwrap();
        let error = egress.send(Request::new(Method::GET, next)).await.unwrap_err();
        assert!(matches!(error, EgressError::Refused(_)), "{target}: {error:?}");
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn literals_never_reach_the_resolver() {
    let lookup = Answers::new(&[&["127.0.0.1"]]);
    for url in ["http://127.0.0.1/", "http://0x7f.1/", "http://[::1]/"] {
        let error = egress("", lookup.clone()).send(get(url)).await.unwrap_err();
        assert!(matches!(error, EgressError::Refused(Refused::Address(_))), "{url}: {error:?}");
    }
    assert_eq!(lookup.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_silent_server_times_out_and_a_missing_one_is_unreachable() {
    let server = Server::start(String::new()).await;
    let egress = egress("git.test", Answers::new(&[&["127.0.0.1"]]));
    let silent = egress.send(get(&format!("http://git.test:{}/", server.address.port()))).await.unwrap_err();
    assert!(matches!(silent, EgressError::TimedOut), "{silent:?}");

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let missing = egress.send(get(&format!("http://git.test:{free}/secret-path"))).await.unwrap_err();
    assert!(matches!(missing, EgressError::Unreachable(_)), "{missing:?}");
    assert!(!format!("{missing:?}").contains("secret-path"), "the URL is in the error: {missing:?}");
}
