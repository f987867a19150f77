use crate::{AddressPolicy, Lookup, Refused, SystemLookup, resolver::CheckedResolver};
use reqwest::{Client, Request, Response, redirect::Policy};
use std::{error::Error, sync::Arc, time::Duration};
use url::Url;

/// How long a connection may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name, connection and TLS together.
    pub connect: Duration,
    /// Between two reads.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), idle: Duration::from_secs(60) }
    }
}

/// A request that had no answer. No text of it contains the URL: URLs of webhooks are secrets.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    #[error("the address is refused")]
    Refused(#[source] Refused),
    #[error("the server does not answer in time")]
    TimedOut,
    #[error("the server cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the request failed")]
    Failed(#[source] reqwest::Error),
}

impl From<Refused> for EgressError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<reqwest::Error> for EgressError {
    fn from(error: reqwest::Error) -> Self {
        if let Some(refused) = refusal(&error) {
            return Self::Refused(refused);
        }
        let error = error.without_url();
        match () {
            () if error.is_timeout() => Self::TimedOut,
            () if error.is_connect() => Self::Unreachable(error),
            () => Self::Failed(error),
        }
    }
}

/// The resolver's refusal comes back wrapped in the connector's errors.
fn refusal(error: &reqwest::Error) -> Option<Refused> {
    let mut below = error.source();
    while let Some(cause) = below {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return Some(refused.clone());
        }
        below = cause.source();
    }
    None
}

/// The only HTTP client that may be pointed at a URL somebody gave us.
#[derive(Clone)]
pub struct Egress {
    policy: Arc<AddressPolicy>,
    client: Client,
}

impl Egress {
    pub fn new(policy: AddressPolicy, timeouts: Timeouts) -> Result<Self, EgressError> {
        Self::with_lookup(policy, timeouts, Arc::new(SystemLookup))
    }

    pub fn with_lookup(
        policy: AddressPolicy,
        timeouts: Timeouts,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, EgressError> {
        let policy = Arc::new(policy);
        let client = Client::builder()
            // A proxy from the environment would resolve names by itself, behind our back.
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .dns_resolver(Arc::new(CheckedResolver { policy: Arc::clone(&policy), lookup }))
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.idle)
            .user_agent(concat!("dunlin/", env!("CARGO_PKG_VERSION"), " (+https://dunlin.dev)"))
            .build()?;
        Ok(Self { policy, client })
    }

    pub fn policy(&self) -> &AddressPolicy {
        &self.policy
    }

    /// One request, one hop: a redirect is an answer like any other, and its target is a new request.
    pub async fn send(&self, request: Request) -> Result<Response, EgressError> {
        self.policy.check_url(request.url())?;
        Ok(self.client.execute(request).await?)
    }
}

/// Where a redirect leads, resolved against the URL that answered. None when the answer is no redirect.
pub fn redirect_target(response: &Response) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(reqwest::header::LOCATION)?.to_str().ok()?;
    response.url().join(location).ok()
}
