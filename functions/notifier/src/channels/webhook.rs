//! The generic webhook: a CloudEvent (1.0, JSON format), signed as the Standard Webhooks specification says.

use super::{Channel, Failure, Sent};
use crate::notice::Notice;
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use dunlin_cloud::Secrets;
use dunlin_egress::{Egress, EgressError};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, Request, header};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use std::{sync::Arc, time::Duration};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(15);

pub struct Webhook {
    pub secrets: Arc<dyn Secrets>,
    pub secrets_prefix: String,
    pub egress: Egress,
}

/// `<prefix>/tenants/<tenant>/webhook/receiver`, as intake wrote it.
#[derive(Deserialize)]
struct Settings {
    url: String,
    signing_key: String,
}

#[async_trait]
impl Channel for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    async fn tell(&self, notice: &Notice) -> Result<Sent, Failure> {
        let name = format!("{}/tenants/{}/webhook/receiver", self.secrets_prefix, notice.tenant());
        let secret = self.secrets.get(&name).await.map_err(Failure::Ours)?;
        let Some(secret) = secret else { return Ok(Sent::NotConfigured) };
        // The parser's own message would quote the secret.
        let settings: Settings = serde_json::from_str(&secret)
            .map_err(|_| Failure::ForGood("the webhook's secret is not readable".into()))?;
        self.post(&settings, notice, OffsetDateTime::now_utc()).await
    }
}

impl Webhook {
    async fn post(&self, settings: &Settings, notice: &Notice, now: OffsetDateTime) -> Result<Sent, Failure> {
        let url = Url::parse(&settings.url).map_err(|_| Failure::ForGood("the webhook's URL is not valid".into()))?;
        let id = notice.message_id();
        let body = cloud_event(notice, now).to_string();
        let timestamp = now.unix_timestamp().to_string();
        let signature = sign(&settings.signing_key, &id, &timestamp, &body)?;
        let mut request = Request::new(Method::POST, url);
        *request.timeout_mut() = Some(TIMEOUT);
        let headers = request.headers_mut();
        for (name, value) in [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)] {
            let value = value.parse().map_err(|_| Failure::ForGood(format!("{name} is not a header value")))?;
            headers.insert(name, value);
        }
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/cloudevents+json; charset=utf-8"),
        );
        *request.body_mut() = Some(body.into());
        match self.egress.send(request).await {
            Ok(response) => verdict(response.status().as_u16()),
            Err(EgressError::Refused(refused)) => Err(Failure::ForGood(refused.to_string())),
            Err(_) => Err(Failure::Again("the receiver does not answer".into())),
        }
    }
}

/// Redirects are not followed: the signature was made for one receiver.
fn verdict(status: u16) -> Result<Sent, Failure> {
    let text = format!("the receiver answered {status}");
    match status {
        200..=299 => Ok(Sent::Delivered),
        408 | 425 | 429 | 500..=599 => Err(Failure::Again(text)),
        _ => Err(Failure::ForGood(text)),
    }
}

/// The body. Attributes as in CloudEvents 1.0; `data` is ours and versioned by `type`.
pub fn cloud_event(notice: &Notice, now: OffsetDateTime) -> Value {
    json!({
        "specversion": "1.0",
        "id": notice.message_id(),
        "source": format!("/organisations/{}", notice.tenant()),
        "type": notice.kind(),
        "subject": notice.subject(),
        "time": now.format(&Rfc3339).unwrap_or_default(),
        "datacontenttype": "application/json",
        "data": notice.data(),
    })
}

/// `v1,<base64 of HMAC-SHA256 over "id.timestamp.body">`; the key is what follows `whsec_`, in base64.
pub fn sign(signing_key: &str, id: &str, timestamp: &str, body: &str) -> Result<String, Failure> {
    let unusable = || Failure::ForGood("the signing key is not usable".into());
    let key = STANDARD.decode(signing_key.strip_prefix("whsec_").ok_or_else(unusable)?).map_err(|_| unusable())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| unusable())?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's reference implementations.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let signature = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_the_receiver_says_decides_whether_to_come_back() {
        assert!(matches!(verdict(204), Ok(Sent::Delivered)));
        for status in [408, 429, 500, 503] {
            assert!(matches!(verdict(status), Err(Failure::Again(_))), "{status}");
        }
        for status in [301, 400, 401, 404, 410] {
            assert!(matches!(verdict(status), Err(Failure::ForGood(_))), "{status}");
        }
    }
}
