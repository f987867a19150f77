//! Signing in to the Cognito user pool, by its plain HTTPS interface: three calls need no AWS SDK.

use crate::{config::Session, http, text};
use dunlin_contracts::api::AuthDiscovery;
use reqwest::{Client, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("the user pool cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("user name or password is wrong")]
    WrongPassword,
    #[error("the session cannot be renewed any more")]
    RefreshRefused,
    #[error("the account is not confirmed yet; follow the message that you were sent")]
    NotConfirmed,
    #[error("the password must be reset by an administrator before you can sign in")]
    ResetRequired,
    #[error("too many attempts; wait a few minutes")]
    TooMany,
    #[error("the new password does not fulfil the rules: {0}")]
    PasswordRules(String),
    #[error("the server names a user pool client that does not exist or does not allow passwords: {0}")]
    Client(String),
    #[error("the account asks for {0}, which this command cannot answer")]
    Challenge(String),
    #[error("the user pool answered with status {status}: {message}")]
    Other { status: u16, message: String },
    #[error("the user pool gave an answer without a token")]
    NoToken,
}

impl AuthError {
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TooMany => true,
            Self::Other { status, .. } => *status >= 500,
            _ => false,
        }
    }
}

/// What the pool says to a password.
pub enum SignIn {
    Done(Session),
    /// An administrator made the account: the first sign-in sets a password.
    NewPasswordRequired {
        state: String,
    },
}

pub struct UserPool<'a> {
    http: &'a Client,
    endpoint: &'a str,
    client_id: &'a str,
}

impl<'a> UserPool<'a> {
    pub fn discovered(http: &'a Client, auth: &'a AuthDiscovery) -> Self {
        Self { http, endpoint: &auth.endpoint, client_id: &auth.client_id }
    }

    pub fn of_session(http: &'a Client, session: &'a Session) -> Self {
        Self { http, endpoint: &session.auth_endpoint, client_id: &session.client_id }
    }

    pub async fn sign_in(&self, username: &str, password: &str, now: OffsetDateTime) -> Result<SignIn, AuthError> {
        let answer = self
            .call(
                "InitiateAuth",
                json!({"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": self.client_id,
                       "AuthParameters": {"USERNAME": username, "PASSWORD": password}}),
            )
            .await?;
        match (answer.challenge_name.as_deref(), answer.session) {
            (Some("NEW_PASSWORD_REQUIRED"), Some(state)) => Ok(SignIn::NewPasswordRequired { state }),
            (Some(""), _) | (None, _) => self.session(answer.result, None, now).map(SignIn::Done),
            (Some(other), _) => Err(AuthError::Challenge(challenge_in_words(other))),
        }
    }

    pub async fn set_first_password(
        &self,
        username: &str,
        new_password: &str,
        state: &str,
        now: OffsetDateTime,
    ) -> Result<Session, AuthError> {
        let answer = self
            .call(
                "RespondToAuthChallenge",
                json!({"ChallengeName": "NEW_PASSWORD_REQUIRED", "ClientId": self.client_id, "Session": state,
                       "ChallengeResponses": {"USERNAME": username, "NEW_PASSWORD": new_password}}),
            )
            .await?;
        match answer.challenge_name.as_deref() {
            Some("") | None => self.session(answer.result, None, now),
            Some(other) => Err(AuthError::Challenge(challenge_in_words(other))),
        }
    }

    pub async fn refresh(&self, refresh_token: &str, now: OffsetDateTime) -> Result<Session, AuthError> {
        let answer = self
            .call(
                "InitiateAuth",
                json!({"AuthFlow": "REFRESH_TOKEN_AUTH", "ClientId": self.client_id,
                       "AuthParameters": {"REFRESH_TOKEN": refresh_token}}),
            )
            .await
            .map_err(
                |error| if matches!(error, AuthError::WrongPassword) { AuthError::RefreshRefused } else { error },
            )?;
        self.session(answer.result, Some(refresh_token), now)
    }

    /// After this the refresh token is worth nothing.
    pub async fn revoke(&self, refresh_token: &str) -> Result<(), AuthError> {
        self.call("RevokeToken", json!({"Token": refresh_token, "ClientId": self.client_id})).await.map(|_| ())
    }

    /// `kept` is the refresh token that goes on when the answer brings no new one.
    fn session(&self, result: Option<Tokens>, kept: Option<&str>, now: OffsetDateTime) -> Result<Session, AuthError> {
        let tokens = result.ok_or(AuthError::NoToken)?;
        Ok(Session {
            auth_endpoint: self.endpoint.to_owned(),
            client_id: self.client_id.to_owned(),
            id_token: tokens.id_token.ok_or(AuthError::NoToken)?,
            refresh_token: tokens.refresh_token.or_else(|| kept.map(str::to_owned)),
            expires_at: now + Duration::seconds(tokens.expires_in.unwrap_or(3600)),
        })
    }

    async fn call(&self, action: &str, body: Value) -> Result<Answer, AuthError> {
        let endpoint = http::endpoint(self.endpoint)
            .map_err(|error| AuthError::Client(format!("its address is not usable, {error}")))?;
        let response = self
            .http
            .post(endpoint)
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AWSCognitoIdentityProviderService.{action}"))
            .body(body.to_string())
            .send()
            .await
            .map_err(|error| AuthError::Unreachable(error.without_url()))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| AuthError::Unreachable(error.without_url()))?;
        if !status.is_success() {
            let failure: Failure = serde_json::from_slice(&body).unwrap_or_default();
            return Err(failure.into_error(status.as_u16(), &String::from_utf8_lossy(&body)));
        }
        // RevokeToken answers with nothing at all.
        if body.is_empty() {
            return Ok(Answer::default());
        }
        // The text of a parser's error quotes what it read, so it is left out: tokens are in there.
        serde_json::from_slice(&body).map_err(|_| AuthError::NoToken)
    }
}

fn challenge_in_words(name: &str) -> String {
    match name {
        "NEW_PASSWORD_REQUIRED" => "a new password".to_owned(),
        "SMS_MFA" | "SOFTWARE_TOKEN_MFA" | "EMAIL_OTP" | "MFA_SETUP" | "SELECT_MFA_TYPE" => {
            format!("a second factor ({name})")
        }
        other => text::excerpt(other, 60),
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default, rename = "AuthenticationResult")]
    result: Option<Tokens>,
    #[serde(default)]
    challenge_name: Option<String>,
    #[serde(default)]
    session: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tokens {
    #[serde(default)]
    id_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<i64>,
}

#[derive(Default, Deserialize)]
struct Failure {
    #[serde(default, rename = "__type")]
    kind: String,
    #[serde(default, alias = "Message")]
    message: String,
}

impl Failure {
    fn into_error(self, status: u16, body: &str) -> AuthError {
        // Some servers write `com.amazonaws...#NotAuthorizedException`.
        let kind = self.kind.rsplit('#').next().unwrap_or_default();
        let message = text::excerpt(&self.message, 200);
        match kind {
            // The user pool's own message tells "disabled" and "attempts exceeded" apart from a wrong password.
            "NotAuthorizedException" if message.contains("attempts") => AuthError::TooMany,
            "NotAuthorizedException" if message.contains("disabled") => AuthError::Other { status, message },
            "NotAuthorizedException" | "UserNotFoundException" => AuthError::WrongPassword,
            "UserNotConfirmedException" => AuthError::NotConfirmed,
            "PasswordResetRequiredException" => AuthError::ResetRequired,
            "TooManyRequestsException" | "LimitExceededException" | "TooManyFailedAttemptsException" => {
                AuthError::TooMany
            }
            "InvalidPasswordException" => AuthError::PasswordRules(message),
            "ResourceNotFoundException" | "InvalidParameterException" => AuthError::Client(message),
            "" => AuthError::Other { status, message: text::excerpt(body, 200) },
            other => AuthError::Other { status, message: format!("{}, {message}", text::excerpt(other, 60)) },
        }
    }
}
