//! The guard of outgoing connections, with nothing of it replaced: the system's resolver, a name server that lies, real
//! redirects, and servers on private addresses that must never hear of us. Each test has a network of its own.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, like the test")]

mod support;

use dunlin_egress::{AddressPolicy, Egress, EgressError, Refused, Timeouts, redirect_target};
use dunlin_runtime::Named;
use dunlin_source::Error;
use dunlin_testkit::{
    git::{GitServer, Rule},
    network::{Listener, NameServer, inside, page, redirect},
};
use reqwest::{Method, Request};
use serde_json::json;
use std::{net::IpAddr, time::Duration};
use support::{Fixture, told};
use url::Url;

/// Public in the eyes of the guard; here they are on the loopback interface of the test's own network.
const OUTSIDE: &str = "1.1.1.1";
const OUTSIDE_6: &str = "2606:4700::1111";
const PRIVATE: [&str; 4] = ["10.0.0.1", "169.254.169.254", "192.168.1.1", "fd00:ec2::254"];

fn all() -> Vec<&'static str> {
    [&[OUTSIDE, OUTSIDE_6], PRIVATE.as_slice()].concat()
}

/// A server on every private address and port that is worth attacking.
struct Secrets(Vec<Listener>);

impl Secrets {
    async fn start() -> Self {
        let mut all = Vec::new();
        for address in ["127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254", "192.168.1.1", "[fd00:ec2::254]"] {
            for port in [80, 443] {
                all.push(Listener::start(&format!("{address}:{port}"), |_| page("secret")).await);
            }
        }
        // The premise: they can be reached.
        let stream = tokio::net::TcpStream::connect("169.254.169.254:80").await.unwrap();
        drop(stream);
        let first = || all[6].connections();
        while first() == 0 {
            tokio::task::yield_now().await;
        }
        Self(all)
    }

    /// Connections but the one of the premise.
    fn reached(&self) -> usize {
        self.0.iter().map(Listener::connections).sum::<usize>() - 1
    }
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

fn egress(allow: &str) -> Egress {
    let timeouts = Timeouts { connect: Duration::from_secs(5), idle: Duration::from_secs(5) };
    Egress::new(allow.parse::<AddressPolicy>().unwrap(), timeouts).unwrap()
}

fn get(url: &str) -> Request {
    Request::new(Method::GET, Url::parse(url).unwrap())
}

#[test]
fn the_address_that_was_checked_is_the_one_that_is_connected_to() {
    if !inside("the_address_that_was_checked_is_the_one_that_is_connected_to", &all()) {
        return;
    }
    run(async {
        let (secrets, outside) = (Secrets::start().await, Listener::start("1.1.1.1:80", |_| page("public")).await);
        // Public when it is asked for the first time, the metadata service ever after.
        let names = NameServer::start(|_, before| if before == 0 { ips(&[OUTSIDE]) } else { ips(&[PRIVATE[1]]) }).await;
        let egress = egress("");
        let answer = egress.send(get("http://rebind.test/")).await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "public");
        assert_eq!((names.asked("rebind.test"), outside.connections()), (1, 1), "asked once, connected to that answer");
        let error = egress.send(get("http://rebind.test/")).await.unwrap_err();
        assert!(matches!(&error, EgressError::Refused(Refused::Name(name)) if name == "rebind.test"), "{error:?}");
        assert_eq!((outside.connections(), secrets.reached()), (1, 0));
    });
}

#[test]
fn a_name_that_leads_inside_is_refused_whatever_else_it_leads_to() {
    if !inside("a_name_that_leads_inside_is_refused_whatever_else_it_leads_to", &all()) {
        return;
    }
    run(async {
        let secrets = Secrets::start().await;
        let outside = Listener::start("1.1.1.1:80", |_| page("public")).await;
        let outside_6 = Listener::start(&format!("[{OUTSIDE_6}]:80"), |_| page("public")).await;
        NameServer::start(|name, _| {
            ips(match name {
                "loopback.test" => &["127.0.0.1"],
                "metadata.test" | "metadata.google.internal" => &["169.254.169.254"],
                "private.test" | "xn--mller-kva.test" => &["10.0.0.1"],
                "second.test" => &[OUTSIDE, "192.168.1.1"],
                "first.test" => &["192.168.1.1", OUTSIDE],
                "six.test" => &["::1"],
                "other-kind.test" => &[OUTSIDE, "fd00:ec2::254"],
                "mapped.test" => &[OUTSIDE, "::ffff:169.254.169.254"],
                "compatible.test" => &["::127.0.0.1"],
                "nat64.test" => &["64:ff9b::a9fe:a9fe"],
                "6to4.test" => &["2002:a9fe:a9fe::"],
                "zero.test" => &["0.0.0.0"],
                "good.test" => &[OUTSIDE, OUTSIDE_6],
                _ => &[],
            })
        })
        .await;
        let egress = egress("");
        for host in [
            "loopback.test",
            "metadata.test",
            "metadata.google.internal",
            "private.test",
            "PRIVATE.test",
            "private.test.",
            "ｐrivate.test",
            "müller.test",
            "second.test",
            "first.test",
            "six.test",
            "other-kind.test",
            "mapped.test",
            "compatible.test",
            "nat64.test",
            "6to4.test",
            "zero.test",
            // From the machine's own list of names.
            "localhost",
        ] {
            let error = egress.send(get(&format!("http://{host}/"))).await.unwrap_err();
            assert!(matches!(error, EgressError::Refused(Refused::Name(_))), "{host}: {error:?}");
            let told = format!("{error:?}");
            assert!(!told.contains("169.254") && !told.contains("10.0.0.1"), "it tells what is inside: {told}");
        }
        assert_eq!((secrets.reached(), outside.connections()), (0, 0));
        // The premise: the same way leads to what is public.
        assert_eq!(egress.send(get("http://good.test/")).await.unwrap().text().await.unwrap(), "public");
        assert_eq!(outside.connections() + outside_6.connections(), 1);
    });
}

#[test]
fn a_redirect_leads_nowhere_that_a_url_could_not() {
    if !inside("a_redirect_leads_nowhere_that_a_url_could_not", &all()) {
        return;
    }
    run(async {
        let secrets = Secrets::start().await;
        let names = |name: &str, _| match name {
            "inside.test" => ips(&["10.0.0.1"]),
            name if name.ends_with(".test") => ips(&[OUTSIDE]),
            _ => Vec::new(),
        };
        NameServer::start(names).await;
        let egress = egress("");
        let targets = [
            "http://inside.test/",
            "https://inside.test/",
            "//inside.test/",
            "http://169.254.169.254/latest/meta-data/",
            "//169.254.169.254/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://169.16689662/",
            "http://169.254.169.254./",
            "http://[::ffff:169.254.169.254]/",
            "http://[::a9fe:a9fe]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::]/",
            "http://[fd00:ec2::254]/",
            "http://127.1/",
            "http://0/",
            "http://localhost/",
            "http://public.test@169.254.169.254/",
            "http://user:secret@public.test/",
            "http://public.test:8080/",
            "file:///etc/passwd",
            "gopher://10.0.0.1/",
        ];
        let outside = Listener::start("1.1.1.1:80", move |path| {
            redirect(targets[path.trim_start_matches('/').parse::<usize>().unwrap()])
        })
        .await;
        for (n, target) in targets.iter().enumerate() {
            let answer = egress.send(get(&format!("http://public.test/{n}"))).await.unwrap();
            let next = redirect_target(&answer).unwrap();
            let error = egress.send(Request::new(Method::GET, next)).await.unwrap_err();
            assert!(matches!(error, EgressError::Refused(_)), "{target}: {error:?}");
        }
        assert_eq!(outside.connections(), targets.len());
        assert_eq!(secrets.reached(), 0);
    });
}

#[test]
fn a_repository_whose_name_changes_its_address_is_not_fetched_from_inside() {
    if !inside("a_repository_whose_name_changes_its_address_is_not_fetched_from_inside", &all()) {
        return;
    }
    run(async {
        let secrets = Secrets::start().await;
        let outside = Listener::start("1.1.1.1:443", |_| String::new()).await;
        let names = NameServer::start(|name, before| match (name, before) {
            ("rebind.test", 0) | ("git.test", _) => ips(&[OUTSIDE]),
            ("rebind.test", _) => ips(&[PRIVATE[0]]),
            _ => Vec::new(),
        })
        .await;
        let fixture = Fixture::with_egress(egress(""));
        let fetch = async || fixture.git(json!({ "url": "https://rebind.test/shop.git" })).await.unwrap_err();
        // The server hangs up: worth another try, and that try is what an attacker waits for.
        let first = fetch().await;
        assert_eq!(first.name(), "Source.Unavailable", "{first:?}");
        assert_eq!((names.asked("rebind.test"), outside.connections()), (1, 1));
        let second = fetch().await;
        assert_eq!(second.name(), "Source.AddressRefused", "{second:?}");
        assert!(!told(&second).contains(PRIVATE[0]), "{second:?}");
        assert_eq!((outside.connections(), secrets.reached()), (1, 0));
    });
}

#[test]
fn a_git_server_that_redirects_to_a_name_inside_is_left() {
    if !inside("a_git_server_that_redirects_to_a_name_inside_is_left", &all()) {
        return;
    }
    run(async {
        let secrets = Secrets::start().await;
        NameServer::start(|name, _| match name {
            "git.test" => ips(&["127.0.0.1"]),
            "inside.test" => ips(&["169.254.169.254"]),
            _ => Vec::new(),
        })
        .await;
        let server = GitServer::start().await;
        server.repo("shop.git").commit("main", &[("a", b"1")]);
        server.rule("/moved.git", Rule::Redirect("https://inside.test/shop.git{rest}".into()));
        let fixture = Fixture::with_egress(egress(&format!("git.test:{}", server.port)));
        let error = fixture.git(json!({ "url": server.url("moved.git") })).await.unwrap_err();
        assert!(matches!(error, Error::AddressRefused(Refused::Name(_))), "{error:?}");
        assert_eq!(secrets.reached(), 0);
        // The premise: this server is fetched from.
        assert_eq!(fixture.git(json!({ "url": server.url("shop.git") })).await.unwrap().files, 1);
    });
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work);
}
