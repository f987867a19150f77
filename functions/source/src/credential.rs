use crate::{Context, Error};
use base64::{Engine, prelude::BASE64_STANDARD};
use dunlin_core::TenantId;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use url::Url;

/// `x-access-token` suits GitHub, and other hosts do not look at the name beside a token.
const DEFAULT_USER: &str = "x-access-token";

/// A token and the one host that may see it. It has no `Debug`, so that it cannot end in a log.
pub(crate) struct Credential {
    host: String,
    port: Option<u16>,
    header: HeaderValue,
}

#[derive(Deserialize)]
struct Stored {
    host: String,
    #[serde(default)]
    username: Option<String>,
    token: String,
}

impl Credential {
    /// Reads `<prefix>/tenants/<tenant>/git/<name>`.
    pub(crate) async fn load(context: &Context, tenant: &TenantId, name: &str) -> Result<Self, Error> {
        // The name is part of a path: anything else could reach another tenant's secrets.
        let plain = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let missing =
            || Error::AccessDenied(format!("there is no credential {:?}", name.chars().take(64).collect::<String>()));
        if !plain {
            return Err(missing());
        }
        let secret = format!("{}/tenants/{tenant}/git/{name}", context.secrets_prefix);
        let text = context.secrets.get(&secret).await?.ok_or_else(missing)?;
        Self::parse(&text)
            .ok_or_else(|| Error::AccessDenied(format!("the credential {name:?} is damaged; store it again")))
    }

    fn parse(text: &str) -> Option<Self> {
        let stored: Stored = serde_json::from_str(text).ok()?;
        // A port that cannot be anybody's default stands in, so that a given one is kept.
        let url = Url::parse(&format!("git://{}/", stored.host)).ok()?;
        let host = Url::parse(&format!("https://{}/", url.host_str()?)).ok()?.host_str()?.to_owned();
        let user = stored.username.as_deref().unwrap_or(DEFAULT_USER);
        let mut header =
            HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", stored.token))))
                .ok()?;
        header.set_sensitive(true);
        Some(Self { host, port: url.port(), header })
    }

    /// The header for `url`, when its host is the credential's own, port included.
    pub(crate) fn header_for(&self, url: &Url) -> Option<HeaderValue> {
        let same_port = match self.port {
            Some(port) => url.port_or_known_default() == Some(port),
            None => url.port().is_none(),
        };
        (url.host_str() == Some(&self.host) && same_port).then(|| self.header.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(host: &str, url: &str) -> bool {
        let credential = Credential::parse(&format!(r#"{{"host":"{host}","token":"t"}}"#)).unwrap();
        credential.header_for(&Url::parse(url).unwrap()).is_some()
    }

    #[test]
    fn only_the_very_host_sees_the_token() {
        assert!(sent("github.com", "https://github.com/a/b"));
        assert!(sent("GitHub.com", "https://github.com:443/a/b"));
        assert!(sent("git.test:8443", "https://git.test:8443/a"));
        assert!(sent("git.test:443", "https://git.test/a"));
        for (host, url) in [
            ("github.com", "https://evil.com/github.com"),
            ("github.com", "https://github.com.evil.com/"),
            ("github.com", "https://sub.github.com/"),
            ("sub.github.com", "https://github.com/"),
            ("github.com", "https://github.com:8443/"),
            ("git.test:8443", "https://git.test/"),
        ] {
            assert!(!sent(host, url), "the token for {host} would be sent to {url}");
        }
    }

    #[test]
    fn what_is_not_a_credential_is_refused_without_telling_it() {
        for text in ["", "{}", r#"{"host":"","token":"t"}"#, r#"{"host":"a b","token":"t"}"#, r#"{"host":"h"}"#] {
            assert!(Credential::parse(text).is_none(), "{text}");
        }
    }
}
