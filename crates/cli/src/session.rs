//! The session: hands out a token that is still good, renewing and storing it when it is not.

use crate::{
    cognito::{AuthError, UserPool},
    config::{Config, ConfigFile, Session},
    error::ClientError,
};
use reqwest::Client;
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

/// A token that ends sooner is renewed first: requests take time, and clocks differ.
const MARGIN: Duration = Duration::seconds(60);

pub struct Keeper {
    file: ConfigFile,
    http: Client,
    config: Mutex<Config>,
}

impl Keeper {
    pub fn open(file: ConfigFile, http: Client) -> Result<(String, Self), ClientError> {
        let config = file.read()?.ok_or(ClientError::SignedOut)?;
        if config.session.is_none() {
            return Err(ClientError::SignedOut);
        }
        Ok((config.endpoint.clone(), Self { file, http, config: Mutex::new(config) }))
    }

    /// A token for the next request.
    pub async fn token(&self) -> Result<String, ClientError> {
        let mut config = self.config.lock().await;
        let session = config.session.clone().ok_or(ClientError::SignedOut)?;
        let now = OffsetDateTime::now_utc();
        if now + MARGIN < session.expires_at {
            return Ok(session.id_token);
        }
        match self.renew(&mut config, &session).await {
            // Not renewed, but not over either: the user pool may be back before it is.
            Err(ClientError::Auth(error)) if error.is_transient() && now < session.expires_at => Ok(session.id_token),
            renewed => renewed,
        }
    }

    /// A token for a request that was refused with `refused`.
    pub async fn token_after_refusal(&self, refused: &str) -> Result<String, ClientError> {
        let mut config = self.config.lock().await;
        let session = config.session.clone().ok_or(ClientError::SignedOut)?;
        if session.id_token != refused {
            return Ok(session.id_token);
        }
        self.renew(&mut config, &session).await
    }

    async fn renew(&self, config: &mut Config, session: &Session) -> Result<String, ClientError> {
        let refresh_token = session.refresh_token.as_deref().ok_or(ClientError::SessionEnded)?;
        let pool = UserPool::of_session(&self.http, session);
        let renewed = match pool.refresh(refresh_token, OffsetDateTime::now_utc()).await {
            Err(AuthError::RefreshRefused) => return Err(ClientError::SessionEnded),
            other => other?,
        };
        let token = renewed.id_token.clone();
        config.session = Some(renewed);
        self.file.write(config)?;
        Ok(token)
    }
}
