//! The Dunlin API: one method per route, problems as errors.

use crate::{config::ConfigFile, error::ClientError, http, session::Keeper};
use anyhow::Context;
use dunlin_contracts::{
    api::{
        CredentialPut, FindingView, Health, Page, RepositoryView, ScanAccepted, ScanRequest, ScanView, UploadRequest,
        UploadTarget, WebhookCreated, WebhookPut,
    },
    prices::{PriceBatchAccepted, PriceBatchComplete, PriceBatchRequest, PriceBatchView, Rates},
    problem::Problem,
};
use reqwest::{Client, Method, Response, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::Duration;
use url::Url;
use uuid::Uuid;

/// Waits between attempts of a call that may be repeated.
const PAUSES: [Duration; 3] = [Duration::from_millis(300), Duration::from_millis(900), Duration::from_millis(2700)];
/// The most that the server puts on a page.
const PAGE: usize = 200;

pub struct Api {
    http: Client,
    base: Url,
    session: Keeper,
}

/// A request that can be sent again after the token was renewed.
struct Call<'a> {
    method: Method,
    segments: &'a [&'a str],
    query: &'a [(&'a str, String)],
    idempotency_key: Option<&'a str>,
    body: Option<Value>,
}

impl<'a> Call<'a> {
    fn get(segments: &'a [&'a str]) -> Self {
        Self { method: Method::GET, segments, query: &[], idempotency_key: None, body: None }
    }
    fn with_body(method: Method, segments: &'a [&'a str], body: &impl Serialize) -> anyhow::Result<Self> {
        let body = serde_json::to_value(body).context("the request could not be written")?;
        Ok(Self { method, body: Some(body), ..Self::get(segments) })
    }
}

impl Api {
    pub fn open(config: ConfigFile) -> anyhow::Result<Self> {
        let http = http::api_client()?;
        let (endpoint, session) = Keeper::open(config, http.clone())?;
        let base =
            http::endpoint(&endpoint).context("the address in the configuration cannot be used; run `dunlin login`")?;
        Ok(Self { http, base, session })
    }

    /// Address of something, for people.
    pub fn link(&self, segments: &[&str], query: &[(&str, String)]) -> Url {
        http::address(&self.base, segments, query)
    }

    /// The key makes a repeated request the same scan, so it may be repeated.
    pub async fn start_scan(&self, request: &ScanRequest, idempotency_key: &str) -> anyhow::Result<ScanAccepted> {
        let call = Call {
            idempotency_key: Some(idempotency_key),
            ..Call::with_body(Method::POST, &["v1", "scans"], request)?
        };
        Ok(self.json(&call).await?)
    }

    pub async fn start_upload(&self, request: &UploadRequest) -> anyhow::Result<UploadTarget> {
        Ok(self.json(&Call::with_body(Method::POST, &["v1", "uploads"], request)?).await?)
    }

    pub async fn scan(&self, id: Uuid) -> Result<ScanView, ClientError> {
        self.json(&Call::get(&["v1", "scans", &id.to_string()])).await
    }

    /// The state once, without trying again: for those who ask again anyway.
    pub async fn scan_once(&self, id: Uuid) -> Result<ScanView, ClientError> {
        let response = self.send(&Call::get(&["v1", "scans", &id.to_string()])).await?;
        read(response).await
    }

    pub async fn cancel(&self, id: Uuid) -> Result<ScanAccepted, ClientError> {
        self.json(&Call { method: Method::DELETE, ..Call::get(&["v1", "scans", &id.to_string()]) }).await
    }

    /// The newest `limit` scans.
    pub async fn scans(&self, filters: &[(&str, String)], limit: usize) -> Result<Vec<ScanView>, ClientError> {
        self.pages(&["v1", "scans"], filters, limit).await
    }

    /// Every repository of the organisation.
    pub async fn repositories(&self) -> Result<Vec<RepositoryView>, ClientError> {
        self.pages(&["v1", "repositories"], &[], usize::MAX).await
    }

    /// Every finding of a scan.
    pub async fn findings(&self, id: Uuid) -> Result<Vec<FindingView>, ClientError> {
        self.pages(&["v1", "scans", &id.to_string(), "findings"], &[], usize::MAX).await
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        filters: &[(&str, String)],
        limit: usize,
    ) -> Result<Vec<T>, ClientError> {
        let mut items = Vec::new();
        let mut cursor = None;
        loop {
            let mut query = filters.to_vec();
            query.push(("limit", PAGE.min(limit - items.len()).to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.json(&Call { query: &query, ..Call::get(segments) }).await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() || items.len() >= limit {
                items.truncate(limit);
                return Ok(items);
            }
        }
    }

    /// Where the report can be fetched, without a token, for a short time.
    pub async fn report_address(&self, id: Uuid, format: &str) -> anyhow::Result<Url> {
        let id = id.to_string();
        let segments = ["v1", "scans", &id, "report"];
        let query = [("format", format.to_owned())];
        let response = self.send_patiently(&Call { query: &query, ..Call::get(&segments) }).await?;
        let asked = response.url().clone();
        let location =
            response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match (response.status(), location) {
            (StatusCode::SEE_OTHER, Some(location)) => {
                asked.join(&location).context("the server points to a report at an address that is not one")
            }
            (status, _) => {
                let body = response.text().await.unwrap_or_default();
                Err(ClientError::unknown(&asked, status, &body).into())
            }
        }
    }

    pub async fn put_credential(&self, name: &str, credential: &CredentialPut) -> anyhow::Result<()> {
        self.send_patiently(&Call::with_body(Method::PUT, &["v1", "credentials", name], credential)?).await?;
        Ok(())
    }

    pub async fn delete_credential(&self, name: &str) -> Result<(), ClientError> {
        let segments = ["v1", "credentials", name];
        self.send_patiently(&Call { method: Method::DELETE, ..Call::get(&segments) }).await.map(|_| ())
    }

    /// Not repeated: each answer holds another key, and the last one counts.
    pub async fn put_webhook(&self, webhook: &WebhookPut) -> anyhow::Result<WebhookCreated> {
        let response = self.send(&Call::with_body(Method::PUT, &["v1", "webhook"], webhook)?).await?;
        Ok(read(response).await?)
    }

    pub async fn delete_webhook(&self) -> Result<(), ClientError> {
        self.send_patiently(&Call { method: Method::DELETE, ..Call::get(&["v1", "webhook"]) }).await.map(|_| ())
    }

    /// The key makes a repeated request the same batch, with addresses that are good again.
    pub async fn start_price_batch(
        &self,
        request: &PriceBatchRequest,
        idempotency_key: &str,
    ) -> anyhow::Result<PriceBatchAccepted> {
        let call = Call {
            idempotency_key: Some(idempotency_key),
            ..Call::with_body(Method::POST, &["v1", "price-batches"], request)?
        };
        Ok(self.json(&call).await?)
    }

    pub async fn complete_price_batch(&self, id: Uuid, parts: &PriceBatchComplete) -> anyhow::Result<()> {
        let id = id.to_string();
        let segments = ["v1", "price-batches", &id, "complete"];
        self.send_patiently(&Call::with_body(Method::POST, &segments, parts)?).await?;
        Ok(())
    }

    pub async fn price_batch(&self, id: Uuid) -> Result<PriceBatchView, ClientError> {
        self.json(&Call::get(&["v1", "price-batches", &id.to_string()])).await
    }

    /// The state once, without trying again: for those who ask again anyway.
    pub async fn price_batch_once(&self, id: Uuid) -> Result<PriceBatchView, ClientError> {
        let response = self.send(&Call::get(&["v1", "price-batches", &id.to_string()])).await?;
        read(response).await
    }

    /// The newest `limit` batches.
    pub async fn price_batches(
        &self,
        filters: &[(&str, String)],
        limit: usize,
    ) -> Result<Vec<PriceBatchView>, ClientError> {
        self.pages(&["v1", "price-batches"], filters, limit).await
    }

    pub async fn withdraw_price_batch(&self, id: Uuid) -> Result<PriceBatchView, ClientError> {
        let id = id.to_string();
        let segments = ["v1", "price-batches", &id, "withdraw"];
        self.json(&Call { method: Method::POST, ..Call::get(&segments) }).await
    }

    pub async fn rates(&self, query: &[(&str, String)]) -> Result<Rates, ClientError> {
        self.json(&Call { query, ..Call::get(&["v1", "rates"]) }).await
    }

    async fn json<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, ClientError> {
        read(self.send_patiently(call).await?).await
    }

    async fn send_patiently(&self, call: &Call<'_>) -> Result<Response, ClientError> {
        for pause in PAUSES {
            match self.send(call).await {
                Err(error) if error.is_transient() => tokio::time::sleep(pause).await,
                other => return other,
            }
        }
        self.send(call).await
    }

    /// One request; a refused token is renewed once.
    async fn send(&self, call: &Call<'_>) -> Result<Response, ClientError> {
        let token = self.session.token().await?;
        let response = self.request(call, &token).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return successful(response).await;
        }
        let token = self.session.token_after_refusal(&token).await?;
        let response = self.request(call, &token).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            Err(ClientError::Refused)
        } else {
            successful(response).await
        }
    }

    async fn request(&self, call: &Call<'_>, token: &str) -> Result<Response, ClientError> {
        let url = http::address(&self.base, call.segments, call.query);
        let mut request = self.http.request(call.method.clone(), url.clone()).bearer_auth(token);
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        request.send().await.map_err(|error| ClientError::unreachable(&url, error))
    }
}

/// `GET /v1/health`, which needs no session.
pub async fn health(http: &Client, base: &Url) -> Result<Health, ClientError> {
    let url = http::address(base, &["v1", "health"], &[]);
    let response = http.get(url.clone()).send().await.map_err(|error| ClientError::unreachable(&url, error))?;
    read(successful(response).await?).await
}

/// Success or the one redirect of the API; else the problem that the server describes.
async fn successful(response: Response) -> Result<Response, ClientError> {
    let status = response.status();
    if status.is_success() || status == StatusCode::SEE_OTHER {
        return Ok(response);
    }
    let url = response.url().clone();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == Problem::CONTENT_TYPE));
    let body = response.bytes().await.map_err(|error| ClientError::unreachable(&url, error))?;
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if is_problem => Err(ClientError::Problem(Box::new(problem))),
        _ => Err(ClientError::unknown(&url, status, &String::from_utf8_lossy(&body))),
    }
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let (url, status) = (response.url().clone(), response.status());
    let body = response.bytes().await.map_err(|error| ClientError::unreachable(&url, error))?;
    serde_json::from_slice(&body).map_err(|source| ClientError::Unreadable {
        host: crate::error::host(&url),
        status,
        source,
    })
}
