//! Who may be reached, who sees a token, and what people are told when it does not work.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, like the test")]

mod support;

use dunlin_cloud::Secrets;
use dunlin_runtime::Named;
use dunlin_source::Error;
use dunlin_testkit::git::{GitServer, Rule, TOKEN};
use serde_json::json;
use std::time::{Duration, Instant};
use support::{Fixture, TENANT, told};

async fn store(fixture: &Fixture, tenant: &str, name: &str, host: &str) {
    let secret = json!({ "host": host, "username": "bot", "token": TOKEN }).to_string();
    fixture.secrets.put(&format!("dunlin/test/tenants/{tenant}/git/{name}"), &secret).await.unwrap();
}

#[tokio::test]
async fn a_private_repository_opens_with_its_credential_only() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    server.repo("private.git").commit("main", &[("a", b"1")]);
    server.rule("/private.git", Rule::Private { user: "bot" });
    let url = server.url("private.git");
    store(&fixture, TENANT, "hub", &format!("git.test:{}", server.port)).await;
    store(&fixture, TENANT, "elsewhere", "git.test").await;
    store(&fixture, "umbrella", "theirs", &format!("git.test:{}", server.port)).await;

    let error = fixture.git(json!({ "url": url })).await.unwrap_err();
    assert!(matches!(&error, Error::AccessDenied(text) if text.contains("private or does not exist")), "{error:?}");
    let before = server.seen().len();
    for name in ["elsewhere", "nowhere", "theirs", "../../umbrella/git/theirs", "", "a b"] {
        let error = fixture.git(json!({ "url": url, "credential": name })).await.unwrap_err();
        assert!(matches!(error, Error::AccessDenied(_)), "{name}: {error:?}");
        assert!(!told(&error).contains(TOKEN));
    }
    assert_eq!(server.seen().len(), before, "a credential that does not fit is not tried");

    let snapshot = fixture.git(json!({ "url": url, "credential": "hub" })).await.unwrap();
    assert_eq!(snapshot.files, 1);
    assert!(server.seen()[before..].iter().all(|s| s.authorization.is_some()));
}

#[tokio::test]
async fn a_credential_that_is_not_accepted_is_said_so_without_telling_it() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    server.repo("private.git").commit("main", &[("a", b"1")]);
    server.rule("/private.git", Rule::Private { user: "another" });
    store(&fixture, TENANT, "hub", &format!("git.test:{}", server.port)).await;
    let error = fixture.git(json!({ "url": server.url("private.git"), "credential": "hub" })).await.unwrap_err();
    assert!(matches!(&error, Error::AccessDenied(text) if text.contains("does not accept")), "{error:?}");
    let told = told(&error);
    assert!(!told.contains(TOKEN) && !told.contains("Basic"), "{told}");
    assert_eq!(server.seen().len(), 1, "a refused credential is not tried again");
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_no_credential_along() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    server.repo("moved.git").commit("main", &[("a", b"1")]);
    server.rule("/shop.git", Rule::Redirect(format!("{}{{rest}}", server.url_at("other.test", "moved.git"))));
    store(&fixture, TENANT, "hub", &format!("git.test:{}", server.port)).await;

    let snapshot = fixture.git(json!({ "url": server.url("shop.git"), "credential": "hub" })).await.unwrap();
    assert_eq!(snapshot.files, 1);
    let seen = server.seen();
    let (here, there): (Vec<_>, Vec<_>) = seen.iter().partition(|s| s.host.starts_with("git.test"));
    assert_eq!(here.len(), 1, "after the redirect the first host is left alone");
    assert!(here[0].authorization.is_some());
    assert!(there.len() >= 2 && there.iter().all(|s| s.authorization.is_none()), "the token went to another host");
}

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    server.repo("new-name.git").commit("main", &[("a", b"1")]);
    server.rule("/old-name", Rule::Redirect("/new-name.git{rest}".into()));
    assert_eq!(fixture.git(json!({ "url": server.url("old-name") })).await.unwrap().files, 1);
}

#[tokio::test]
async fn redirects_to_private_addresses_lead_nowhere() {
    let (server, inside) = (GitServer::start().await, GitServer::start().await);
    inside.repo("shop.git").commit("main", &[("a", b"1")]);
    let fixture = Fixture::new();
    for (n, base) in [
        format!("http://127.0.0.1:{}/shop.git", inside.port),
        format!("http://2130706433:{}/shop.git", inside.port),
        format!("http://[::ffff:127.0.0.1]:{}/shop.git", inside.port),
        "http://inside.test/shop.git".to_owned(),
        "https://inside.test/shop.git".to_owned(),
        "http://169.254.169.254/shop.git".to_owned(),
        "file:///etc".to_owned(),
        format!("http://x:y@git.test:{}/shop.git", inside.port),
    ]
    .into_iter()
    .enumerate()
    {
        server.rule(&format!("/r{n}.git"), Rule::Redirect(format!("{base}{{rest}}")));
        let error = fixture.git(json!({ "url": server.url(&format!("r{n}.git")) })).await.unwrap_err();
        assert_eq!(error.name(), "Source.AddressRefused", "{base}: {error:?}");
    }
    assert!(inside.seen().is_empty(), "a private server was reached: {:?}", inside.seen());
}

#[tokio::test]
async fn redirects_to_a_login_and_in_circles_end() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    server.rule("/login", Rule::Page("<html>log in</html>"));
    server.rule("/secret.git", Rule::Redirect("/login".into()));
    server.rule("/circle.git", Rule::Redirect("/circle.git{rest}".into()));
    let error = fixture.git(json!({ "url": server.url("secret.git") })).await.unwrap_err();
    assert!(matches!(error, Error::AccessDenied(_)), "{error:?}");
    let error = fixture.git(json!({ "url": server.url("circle.git") })).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("too often")), "{error:?}");
}

#[tokio::test]
async fn addresses_are_checked_here_whatever_intake_let_through() {
    let fixture = Fixture::new();
    for url in [
        "file:///etc/passwd",
        "ssh://git@github.com/a/b",
        "git@github.com:a/b",
        "git://github.com/a/b",
        "ext::sh -c id",
        "--upload-pack=id",
        "http://github.com/a/b",
        "https://user:pw@git.test/a",
        "https://127.0.0.1/a",
        "https://0x7f.1/a",
        "https://localhost:22/a",
        "https://[::1]/a",
        "https://169.254.169.254/latest",
        "https://inside.test/a",
        "https://git.test/a?x=y",
        "https://git.test/a#x",
        "",
    ] {
        let error = fixture.git(json!({ "url": url })).await.unwrap_err();
        assert_eq!(error.name(), "Source.AddressRefused", "{url}: {error:?}");
        assert!(!told(&error).contains("user:pw"), "{url}");
    }
}

#[tokio::test]
async fn what_a_server_answers_has_a_name() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    server.rule("/forbidden.git", Rule::Status(403));
    server.rule("/gone.git", Rule::Status(410));
    server.rule("/broken.git", Rule::Status(502));
    server.rule("/busy.git", Rule::Status(429));
    server.rule("/page.git", Rule::Page("<html>welcome</html>"));
    for (path, name) in [
        ("missing.git", "Source.RepositoryNotFound"),
        ("gone.git", "Source.RepositoryNotFound"),
        ("page.git", "Source.RepositoryNotFound"),
        ("forbidden.git", "Source.AccessDenied"),
        ("broken.git", "Source.Unavailable"),
        ("busy.git", "Source.Unavailable"),
    ] {
        let error = fixture.git(json!({ "url": server.url(path) })).await.unwrap_err();
        assert_eq!(error.name(), name, "{path}: {error:?}");
    }
    let error = fixture.git(json!({ "url": "https://git.test:1/a" })).await.unwrap_err();
    assert_eq!(error.name(), "Source.Unavailable", "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_no_more_than_the_time_it_has() {
    let (server, fixture) = (GitServer::start().await, Fixture::new());
    server.rule("/silent.git", Rule::Silent);
    // Never silent for as long as a connection may be.
    server.rule("/dribble.git", Rule::Dribble);
    for name in ["silent.git", "dribble.git"] {
        let started = Instant::now();
        let target = json!({ "type": "git", "url": server.url(name) });
        let error = fixture.run(&target, Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable(text) if text.contains("too long")), "{name}: {error:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{name} took {:?}", started.elapsed());
    }
}
