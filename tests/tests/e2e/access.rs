//! Who may do what: people by their organisation, functions by their roles.

use crate::weak_python;
use anyhow::{Context, Result, ensure};
use dunlin_contracts::openapi::ROUTES;
use dunlin_tests::{
    api::Api,
    cloud::{Cloud, value},
};
use reqwest::Method;
use serde_json::json;

/// Every route of the table with an id in its path, and every list.
#[tokio::test]
async fn what_belongs_to_another_organisation_is_not_there() -> Result<()> {
    let (demo, other) = (Api::demo().await?, Api::other().await?);
    let id = demo.scan(demo.upload("secret plans", &[("app.py", &weak_python(1))]).await?, Some(&["ruff"])).await?;
    let view = demo.ended(&id).await?;
    let asked = json!({ "kind": "prices", "bytes": 10, "name": "secret prices" });
    let batch = demo.send(Method::POST, "/v1/price-batches", Some(asked), &[]).await?;
    let batch = batch.body["id"].as_str().context("no batch")?.to_owned();
    let mut tried = 0;
    for route in ROUTES.iter().filter(|r| r.path.contains("{id}")) {
        let their = match route.path {
            path if path.contains("repositories") => view.repository_id.to_string(),
            path if path.contains("price-batches") => batch.clone(),
            _ => id.clone(),
        };
        let path = route.path.replace("{id}", &their);
        // A body that would be right, where one is needed.
        let body = path.ends_with("/complete").then(|| json!({ "etags": ["\"b1946ac92492d2347c6235b4d2611184\""] }));
        let answer = other.send(route.method.parse::<Method>()?, &path, body, &[]).await?;
        ensure!(answer.status == 404, "{} {path} answered {} {}", route.method, answer.status, answer.body);
        tried += 1;
    }
    ensure!(tried == 8, "{tried} routes have an id");
    for route in ROUTES.iter().filter(|r| r.method == "GET" && r.token && !r.path.contains('{')) {
        let list = other.get(route.path).await?.body.to_string();
        let theirs = [&id, &view.repository, &batch];
        ensure!(!theirs.iter().any(|their| list.contains(their.as_str())), "{} shows it: {list}", route.path);
    }
    // Nor can its upload be scanned: the key is made from the token.
    let target = demo.upload("secret plans", &[("app.py", &weak_python(1))]).await?;
    let stolen = other.ended(&other.scan(target, None).await?).await?;
    ensure!(stolen.status == "failed", "{stolen:#?}");
    Ok(())
}

#[tokio::test]
async fn every_route_but_two_needs_a_token() -> Result<()> {
    let (nobody, forged) = (Api::anonymous()?, Api::anonymous()?.with_token("eyJhbGciOiJub25lIn0.e30."));
    for route in ROUTES {
        let path = route.path.replace("{id}", &uuid::Uuid::now_v7().to_string()).replace("{name}", "x");
        for api in [&nobody, &forged] {
            let answer = api.send(route.method.parse::<Method>()?, &path, Some(json!({})), &[]).await?;
            if route.token {
                ensure!(answer.status == 401, "{} {path} answered {}", route.method, answer.status);
            }
        }
        if !route.token {
            ensure!(nobody.get(&path).await?.status == 200, "{path}");
        }
    }
    Ok(())
}

/// The suite is worth something only while the emulator enforces IAM.
#[tokio::test]
async fn permissions_are_enforced() -> Result<()> {
    let cloud = Cloud::connect().await?;
    let unsigned =
        reqwest::get(format!("{}/{}?list-type=2", value("AWS_ENDPOINT_URL")?, value("DATA_BUCKET")?)).await?;
    ensure!(unsigned.status() == 403, "a request without a signature answered {}", unsigned.status());
    // The role of a function that sees no bucket.
    let role = format!("arn:aws:iam::000000000000:role/dunlin-{}-dispatcher", value("DUNLIN_ENV")?);
    let credentials = assume(&cloud, &role).await?;
    let config = aws_sdk_s3::config::Builder::from(&cloud.config)
        .credentials_provider(credentials)
        .force_path_style(true)
        .build();
    let denied = aws_sdk_s3::Client::from_conf(config).list_objects_v2().bucket(value("DATA_BUCKET")?).send().await;
    let code = denied.err().and_then(|e| e.raw_response().map(|r| r.status().as_u16())).context("it was allowed")?;
    ensure!(code == 403, "answered {code}");
    Ok(())
}

/// Credentials of a function's role, as Lambda gets them: through a function that is allowed to be assumed by us only locally,
/// so the emulator is asked directly.
async fn assume(cloud: &Cloud, role: &str) -> Result<aws_sdk_s3::config::Credentials> {
    let provider = aws_config::sts::AssumeRoleProvider::builder(role)
        .session_name("end-to-end")
        .configure(&cloud.config)
        .build()
        .await;
    use aws_sdk_s3::config::ProvideCredentials;
    Ok(provider.provide_credentials().await?)
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_field_that_is_wrong() -> Result<()> {
    let api = Api::demo().await?;
    for (body, field) in [
        (json!({ "target": { "type": "git", "url": "http://169.254.169.254/latest" } }), "/target/url"),
        (json!({ "target": { "type": "git", "url": "https://user:pw@github.com/a/b" } }), "/target/url"),
        (
            json!({ "target": { "type": "git", "url": "https://github.com/a/b", "branch": "--upload-pack=id" } }),
            "/target/branch",
        ),
        (json!({ "target": { "type": "git", "url": "https://github.com/a/b" }, "engines": ["nessus"] }), "/engines/0"),
        (json!({ "target": { "type": "git", "url": "https://github.com/a/b" }, "color": 1 }), "/color"),
    ] {
        let answer = api.send(Method::POST, "/v1/scans", Some(body.clone()), &[]).await?;
        ensure!(
            answer.status == 400 && answer.body["errors"][0]["field"] == field,
            "{body}: {} {}",
            answer.status,
            answer.body
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_idempotency_key_is_one_scan() -> Result<()> {
    let api = Api::demo().await?;
    let target = api.upload("idempotent", &[("app.py", &weak_python(1))]).await?;
    let body = json!({ "target": target, "engines": ["ruff"] });
    let key = uuid::Uuid::now_v7().to_string();
    let headers = [("idempotency-key", key.as_str())];
    let first = api.send(Method::POST, "/v1/scans", Some(body.clone()), &headers).await?;
    let second = api.send(Method::POST, "/v1/scans", Some(body), &headers).await?;
    ensure!(first.status == 202 && first.body == second.body, "{} {}", first.body, second.body);
    let other = json!({ "target": { "type": "git", "url": "https://github.com/a/b" } });
    ensure!(api.send(Method::POST, "/v1/scans", Some(other), &headers).await?.status == 422);
    let view = api.ended(first.body["id"].as_str().context("no id")?).await?;
    ensure!(view.status == "complete", "{view:#?}");
    Ok(())
}
