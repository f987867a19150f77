//! The HTTP API as a client sees it. Every answer is held against the OpenAPI document.

use crate::{cloud::value, wait};
use anyhow::{Context, Result, bail, ensure};
use dunlin_contracts::{
    api::{FindingView, Page, ScanAccepted, ScanView, UploadTarget},
    openapi::{ROUTES, document_json},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

pub struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    document: Value,
    /// Makes repositories of this client different from those of earlier runs on the same stack.
    run: uuid::Uuid,
}

pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: Value,
}

impl Api {
    pub fn anonymous() -> Result<Self> {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self {
            http,
            base: value("DUNLIN_API_URL")?,
            token: None,
            document: serde_json::from_str(&document_json())?,
            run: uuid::Uuid::now_v7(),
        })
    }

    /// Signed in as the demo user.
    pub async fn demo() -> Result<Self> {
        Self::user("DEMO").await
    }

    /// Signed in as the user of another organisation.
    pub async fn other() -> Result<Self> {
        Self::user("OTHER").await
    }

    async fn user(which: &str) -> Result<Self> {
        let mut api = Self::anonymous()?;
        let body = json!({
            "AuthFlow": "USER_PASSWORD_AUTH",
            "ClientId": value("USER_POOL_CLIENT_ID")?,
            "AuthParameters": {
                "USERNAME": value(&format!("{which}_USER"))?, "PASSWORD": value(&format!("{which}_PASSWORD"))?,
            },
        });
        let answer: Value = api
            .http
            .post(value("AUTH_ENDPOINT")?)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "AWSCognitoIdentityProviderService.InitiateAuth")
            .body(body.to_string())
            .send()
            .await?
            .json()
            .await?;
        let token =
            answer["AuthenticationResult"]["IdToken"].as_str().with_context(|| format!("no token: {answer}"))?;
        api.token = Some(token.to_owned());
        Ok(api)
    }

    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None, &[]).await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let body = body.map(|body| body.to_string().into_bytes());
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.send_bytes(method, path, body, &headers).await
    }

    /// The same with a body that need not be JSON.
    pub async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let location = response.headers().get("location").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let bytes = response.bytes().await?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
        let answer = Answer { status, location, body };
        // What the gateway itself refuses (401) has the gateway's own body.
        if status != 401 {
            self.check_against_document(method.as_str(), path, &answer)?;
        }
        Ok(answer)
    }

    /// The status must be documented for the route, and the body must fit its schema.
    fn check_against_document(&self, method: &str, path: &str, answer: &Answer) -> Result<()> {
        let plain = path.split('?').next().unwrap_or(path);
        let Some(route) = ROUTES.iter().find(|r| r.method == method && matches(r.path, plain)) else { return Ok(()) };
        let responses = &self.document["paths"][route.path][method.to_lowercase()]["responses"];
        let documented = &responses[answer.status.to_string()];
        ensure!(
            documented.is_object(),
            "{method} {path} answered {}, which is not documented: {}",
            answer.status,
            answer.body
        );
        let Some(content) = documented["content"].as_object().and_then(|c| c.values().next()) else { return Ok(()) };
        let schema = json!({ "$ref": "#/root", "root": content["schema"], "components": self.document["components"] });
        let validator =
            jsonschema::validator_for(&schema).map_err(|e| anyhow::anyhow!("{method} {}: {e}", route.path))?;
        let faults: Vec<String> =
            validator.iter_errors(&answer.body).map(|e| format!("{}: {e}", e.instance_path())).collect();
        ensure!(faults.is_empty(), "{method} {path} does not fit the document: {}", faults.join("; "));
        Ok(())
    }

    /// Asks for a scan and answers its id.
    pub async fn scan(&self, target: Value, engines: Option<&[&str]>) -> Result<String> {
        let mut body = json!({ "target": target });
        if let Some(engines) = engines {
            body["engines"] = json!(engines);
        }
        let answer = self.send(Method::POST, "/v1/scans", Some(body), &[]).await?;
        ensure!(answer.status == 202, "the scan was not accepted: {} {}", answer.status, answer.body);
        let accepted: ScanAccepted = serde_json::from_value(answer.body)?;
        ensure!(answer.location == Some(format!("/v1/scans/{}", accepted.id)));
        Ok(accepted.id.to_string())
    }

    /// Uploads these files as an archive and answers a target for [`Api::scan`].
    pub async fn upload(&self, repository: &str, files: &[(&str, &str)]) -> Result<Value> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, content.as_bytes())?;
        }
        self.upload_bytes(repository, zstd::encode_all(tar.into_inner()?.as_slice(), 1)?).await
    }

    pub async fn upload_bytes(&self, repository: &str, archive: Vec<u8>) -> Result<Value> {
        use sha2::{Digest, Sha256};
        let sha256: String = Sha256::digest(&archive).iter().map(|b| format!("{b:02x}")).collect();
        let body = json!({ "bytes": archive.len(), "sha256": sha256 });
        let answer = self.send(Method::POST, "/v1/uploads", Some(body), &[]).await?;
        ensure!(answer.status == 201, "no upload: {} {}", answer.status, answer.body);
        let slot: UploadTarget = serde_json::from_value(answer.body)?;
        let mut put = self.http.put(&slot.url);
        for (name, value) in &slot.headers {
            put = put.header(name, value);
        }
        let stored = put.body(archive).send().await?;
        ensure!(stored.status() == StatusCode::OK, "the upload was refused: {}", stored.text().await?);
        Ok(json!({ "type": "upload", "upload_id": slot.upload_id, "repository": format!("{repository} {}", self.run) }))
    }

    pub async fn read(&self, scan: &str) -> Result<ScanView> {
        let answer = self.get(&format!("/v1/scans/{scan}")).await?;
        ensure!(answer.status == 200, "the scan cannot be read: {} {}", answer.status, answer.body);
        Ok(serde_json::from_value(answer.body)?)
    }

    /// Waits until `done` holds. A database that is waking up is waited for too.
    pub async fn wait_for(
        &self,
        scan: &str,
        what: &str,
        limit: u64,
        done: impl Fn(&ScanView) -> bool,
    ) -> Result<ScanView> {
        let path = format!("/v1/scans/{scan}");
        let mut last = String::new();
        let waited = wait::until(what, Duration::from_secs(limit), async || {
            let answer = self.get(&path).await?;
            match answer.status {
                200 => {
                    last = answer.body.to_string();
                    let view: ScanView = serde_json::from_value(answer.body)?;
                    Ok(done(&view).then_some(view))
                }
                503 => Ok(None),
                status => bail!("the scan cannot be read: {status} {}", answer.body),
            }
        })
        .await;
        waited.with_context(|| format!("scan {scan}, as it was read last: {last}"))
    }

    /// Waits until the scan has ended, however.
    pub async fn ended(&self, scan: &str) -> Result<ScanView> {
        let ends = ["complete", "partial", "failed", "cancelled"];
        self.wait_for(scan, "the scan's end", 240, |view| ends.contains(&view.status.as_str())).await
    }

    /// All findings, over all pages.
    pub async fn findings(&self, scan: &str) -> Result<Vec<FindingView>> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let answer = self.get(&format!("/v1/scans/{scan}/findings?limit=200{cursor}")).await?;
            ensure!(answer.status == 200, "no findings: {} {}", answer.status, answer.body);
            let page: Page<FindingView> = serde_json::from_value(answer.body)?;
            all.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(all),
            }
        }
    }

    pub async fn findings_by_engine(&self, scan: &str) -> Result<BTreeMap<String, usize>> {
        let mut counts = BTreeMap::new();
        for finding in self.findings(scan).await? {
            *counts.entry(finding.engine).or_default() += 1;
        }
        Ok(counts)
    }

    /// The report's bytes, by way of the redirect.
    pub async fn report(&self, scan: &str, format: &str) -> Result<Vec<u8>> {
        let answer = self.get(&format!("/v1/scans/{scan}/report?format={format}")).await?;
        ensure!(answer.status == 303, "no report: {} {}", answer.status, answer.body);
        let report = self.http.get(answer.location.context("no location")?).send().await?;
        ensure!(report.status() == StatusCode::OK, "the report cannot be read: {}", report.status());
        Ok(report.bytes().await?.to_vec())
    }
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len() && template.iter().zip(&path).all(|(t, p)| t.starts_with('{') || t == p)
}
