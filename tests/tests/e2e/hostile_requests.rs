//! Requests that are wrong, through the real gateway: each is refused in words, leaves nothing behind and disturbs nobody.

use crate::weak_python;
use anyhow::{Result, ensure};
use dunlin_contracts::api::ScanView;
use dunlin_tests::api::{Answer, Api};
use reqwest::Method;
use serde_json::json;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const GOOD: &str = r#"{"target":{"type":"git","url":"https://github.com/a/b"}}"#;

async fn post(api: &Api, path: &str, body: &[u8], headers: &[(&str, &str)]) -> Result<Answer> {
    api.send_bytes(Method::POST, path, Some(body.to_vec()), headers).await
}

/// A refusal that says which field is wrong, and can be asked about.
fn refused(answer: &Answer, status: u16, what: &str) -> Result<()> {
    ensure!(answer.status == status, "{what}: {} {}", answer.status, answer.body);
    let problem = &answer.body;
    ensure!(
        problem["type"].as_str().is_some_and(|t| t.starts_with("https://dunlin.dev/problems/")),
        "{what}: {problem}"
    );
    ensure!(problem["detail"].as_str().is_some_and(|d| d.len() > 10 && d.len() < 1000), "{what}: {problem}");
    ensure!(problem["trace_id"].as_str().is_some_and(|t| t.len() == 32), "{what}: {problem}");
    Ok(())
}

async fn newest(api: &Api) -> Result<Option<String>> {
    let answer = api.get("/v1/scans?limit=1").await?;
    ensure!(answer.status == 200, "{}", answer.body);
    Ok(answer.body["items"][0]["id"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be_are_refused_in_words() -> Result<()> {
    let api = Api::demo().await?;
    let before = newest(&api).await?;
    let nested = [b"[".repeat(30_000), b"]".repeat(30_000)].concat();
    let deep_target = format!(r#"{{"target":{}1{}}}"#, r#"{"a":"#.repeat(5000), "}".repeat(5000));
    let in_utf16: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_mark = [b"\xef\xbb\xbf", GOOD.as_bytes()].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", b"".to_vec()),
        ("blanks", b"   ".to_vec()),
        ("no json", b"target=git".to_vec()),
        ("cut", GOOD.as_bytes()[..30].to_vec()),
        ("two values", format!("{GOOD}{GOOD}").into_bytes()),
        ("a list", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("a text", b"\"git\"".to_vec()),
        ("no utf-8", b"{\"target\":\"\xff\xfe\"}".to_vec()),
        ("utf-16", in_utf16),
        ("a byte order mark", with_mark),
        ("half a surrogate", br#"{"target":{"type":"git","url":"https://github.com/\ud800"}}"#.to_vec()),
        ("a zero byte", b"{\"target\":{\"type\":\"git\",\"url\":\"https://github.com/\0\"}}".to_vec()),
        ("lists in lists", nested),
        ("objects in objects", deep_target.into_bytes()),
        (
            "a field twice",
            br#"{"target":{"type":"git","url":"https://a.example/b","url":"https://c.example/d"}}"#.to_vec(),
        ),
        (
            "a target twice",
            br#"{"target":{"type":"git","url":"https://a.example/b"},"target":{"type":"upload"}}"#.to_vec(),
        ),
        ("a type twice", br#"{"target":{"type":"git","type":"upload","url":"https://a.example/b"}}"#.to_vec()),
        ("no target", b"{}".to_vec()),
        ("no type", br#"{"target":{"url":"https://a.example/b"}}"#.to_vec()),
        ("no url", br#"{"target":{"type":"git"}}"#.to_vec()),
        ("a number as url", br#"{"target":{"type":"git","url":1}}"#.to_vec()),
        ("a list as branch", br#"{"target":{"type":"git","url":"https://a.example/b","branch":["main"]}}"#.to_vec()),
        ("a text as engines", br#"{"target":{"type":"git","url":"https://a.example/b"},"engines":"ruff"}"#.to_vec()),
        ("a number as engine", br#"{"target":{"type":"git","url":"https://a.example/b"},"engines":[1]}"#.to_vec()),
        ("no engines", br#"{"target":{"type":"git","url":"https://a.example/b"},"engines":[]}"#.to_vec()),
        (
            "an unknown engine",
            br#"{"target":{"type":"git","url":"https://a.example/b"},"engines":["../ruff"]}"#.to_vec(),
        ),
        ("an unknown field", br#"{"target":{"type":"git","url":"https://a.example/b"},"tenant":"other"}"#.to_vec()),
        ("an unknown field below", br#"{"target":{"type":"git","url":"https://a.example/b","path":"/etc"}}"#.to_vec()),
        ("an upload without id", br#"{"target":{"type":"upload","repository":"r"}}"#.to_vec()),
        ("another key as id", br#"{"target":{"type":"upload","upload_id":"../other/x","repository":"r"}}"#.to_vec()),
    ];
    for (what, body) in &cases {
        refused(&post(&api, "/v1/scans", body, &JSON).await?, 400, what)?;
    }
    for (what, body) in [
        ("more bytes than are allowed", json!({ "bytes": (1_u64 << 30) + 1, "sha256": "0".repeat(64) }).to_string()),
        ("no bytes", json!({ "bytes": 0, "sha256": "0".repeat(64) }).to_string()),
        ("fewer bytes than none", json!({ "bytes": -1, "sha256": "0".repeat(64) }).to_string()),
        ("half a byte", json!({ "bytes": 1.5, "sha256": "0".repeat(64) }).to_string()),
        ("bytes beyond numbers", format!(r#"{{"bytes":1e400,"sha256":"{}"}}"#, "0".repeat(64))),
        ("bytes as a text", json!({ "bytes": "1", "sha256": "0".repeat(64) }).to_string()),
        ("a digest that is none", json!({ "bytes": 1, "sha256": "../../etc" }).to_string()),
        ("a digest in upper case", json!({ "bytes": 1, "sha256": "A".repeat(64) }).to_string()),
    ] {
        refused(&post(&api, "/v1/uploads", body.as_bytes(), &JSON).await?, 400, what)?;
    }
    for name in ["..%5Cother", "a.b", "A", "a%20b", "%00", &"a".repeat(65)] {
        let body = json!({ "host": "github.com", "token": "t" });
        let answer = api.send(Method::PUT, &format!("/v1/credentials/{name}"), Some(body), &[]).await?;
        refused(&answer, 400, name)?;
    }
    let headers = [JSON.as_slice(), &[("idempotency-key", "a b")]].concat();
    refused(&post(&api, "/v1/scans", GOOD.as_bytes(), &headers).await?, 400, "a key with a blank")?;
    ensure!(newest(&api).await? == before, "a refused request became a scan");
    Ok(())
}

#[tokio::test]
async fn bodies_of_ten_megabytes_are_refused_and_a_scan_beside_them_is_not_disturbed() -> Result<()> {
    let api = Api::demo().await?;
    let good = api.scan(api.upload("beside", &[("app.py", &weak_python(3))]).await?, Some(&["ruff"])).await?;
    let padded = format!(r#"{{"target":{{"type":"git","url":"https://github.com/{}"}}}}"#, "a".repeat(10_000_000));
    let noise = vec![b'x'; 10_000_000];
    for (method, path) in [
        (Method::POST, "/v1/scans"),
        (Method::POST, "/v1/uploads"),
        (Method::PUT, "/v1/credentials/x"),
        (Method::PUT, "/v1/webhook"),
    ] {
        for body in [padded.as_bytes(), &noise] {
            let answer = api.send_bytes(method.clone(), path, Some(body.to_vec()), &JSON).await?;
            refused(&answer, 413, path)?;
        }
    }
    let view = api.ended(&good).await?;
    ensure!(view.status == "complete" && view.summary.is_some_and(|s| s.findings == 6), "the scan beside it");
    Ok(())
}

/// The same list as in intake's own tests, shortened: here the answer is the gateway's, and nothing may be left behind.
#[tokio::test]
async fn urls_that_lead_inside_or_carry_options_are_refused_by_name() -> Result<()> {
    let api = Api::demo().await?;
    let before = newest(&api).await?;
    for url in [
        "https://user:hunter2@github.com/a/b",
        "https://hunter2@github.com/a/b",
        "file:///etc/passwd",
        "ssh://git@github.com/a/b",
        "git@github.com:a/b",
        "git://github.com/a/b",
        "ext::sh -c id",
        "--upload-pack=id",
        "http://github.com/a/b",
        "https://10.0.0.1/a",
        "https://169.254.169.254/latest/meta-data",
        "https://2852039166/latest",
        "https://0xa9fea9fe/latest",
        "https://0251.0376.0251.0376/latest",
        "https://169.16689662/latest",
        "https://169.254.169.254./latest",
        "https://[::ffff:169.254.169.254]/latest",
        "https://[::a9fe:a9fe]/latest",
        "https://[64:ff9b::a9fe:a9fe]/latest",
        "https://[2002:a9fe:a9fe::]/latest",
        "https://[fd00:ec2::254]/latest",
        "https://[fe80::1%25eth0]/",
        "https://１６９.254.169.254/",
        "https://github.com:22/a/b",
    ] {
        let body = json!({ "target": { "type": "git", "url": url } });
        let answer = api.send(Method::POST, "/v1/scans", Some(body), &[]).await?;
        refused(&answer, 400, url)?;
        ensure!(answer.body["errors"][0]["field"] == "/target/url", "{url}: {}", answer.body);
        ensure!(!answer.body.to_string().contains("hunter2"), "the password is in the answer: {}", answer.body);
    }
    for (field, value) in [
        ("branch", "--upload-pack=id"),
        ("branch", "main\nwant 0000"),
        ("branch", "main:refs/heads/x"),
        ("tag", "-u"),
        ("tag", "v1..v2"),
        ("commit", "--upload-pack=id"),
        ("commit", "HEAD"),
        ("credential", "../../other/git/x"),
    ] {
        let mut target = json!({ "type": "git", "url": "https://github.com/a/b" });
        target[field] = json!(value);
        let answer = api.send(Method::POST, "/v1/scans", Some(json!({ "target": target })), &[]).await?;
        refused(&answer, 400, value)?;
        ensure!(answer.body["errors"][0]["field"] == format!("/target/{field}"), "{value}: {}", answer.body);
    }
    ensure!(newest(&api).await? == before, "a refused request became a scan");
    let logs = dunlin_tests::cloud::local_cloud(&["logs", "intake"])?;
    ensure!(!logs.contains("hunter2"), "a password from a URL is in the logs");
    Ok(())
}

/// Names that Postgres cannot hold, keys of other objects, ids of other kinds: answered, never with a 500.
#[tokio::test]
async fn odd_questions_about_a_scan_are_answered() -> Result<()> {
    let api = Api::demo().await?;
    let id = api.scan(api.upload("asked about", &[("app.py", &weak_python(1))]).await?, Some(&["ruff"])).await?;
    let view: ScanView = api.ended(&id).await?;
    ensure!(view.status == "complete", "{view:#?}");
    for (question, status) in [
        ("findings?rule=%00", 400),
        ("findings?path=%00a", 400),
        ("findings?engine=%ff", 200),
        ("findings?path=%25_%27%3B--", 200),
        ("findings?limit=0", 400),
        ("findings?limit=99999999999", 400),
        ("findings?limit=1&limit=2", 400),
        ("findings?cursor=AAAA", 400),
        ("findings?cursor=%00", 400),
        ("findings?nonsense=1", 400),
        ("report?format=..%2F..%2Fetc", 400),
        ("report?format=sarif%00", 400),
    ] {
        let answer = api.get(&format!("/v1/scans/{id}/{question}")).await?;
        ensure!(answer.status == status, "{question}: {} {}", answer.status, answer.body);
    }
    for path in ["/v1/scans/..%5C..%5Cdemo", "/v1/scans/%00", "/v1/repositories/%27%20or%201=1", "/v1/scans/x/report"] {
        let answer = api.get(path).await?;
        ensure!(answer.status == 404, "{path}: {} {}", answer.status, answer.body);
    }
    let upper = api.get(&format!("/v1/scans/{}", id.to_uppercase())).await?;
    ensure!(upper.status == 404, "an id has one spelling: {}", upper.body);
    Ok(())
}
