//! How a function proves to Postgres who it is.

use crate::{Aws, CloudError, Kind, Secrets};
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

/// `DATABASE_AUTH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseAuth {
    /// IAM database authentication: a token made here, no call to anybody, so it works in a subnet without a way out.
    Iam,
    /// A secret whose JSON has `password`.
    Secret(String),
}

impl FromStr for DatabaseAuth {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s.split_once(':') {
            None if s == "iam" => Ok(Self::Iam),
            Some(("secret", name)) if !name.is_empty() => Ok(Self::Secret(name.to_owned())),
            _ => Err("neither \"iam\" nor \"secret:<arn>\"".to_owned()),
        }
    }
}

/// A password for `user` that is good for the next connection.
///
/// An IAM token lasts 15 minutes and is a presigned request, signed for `rds-db:connect` (Amazon RDS User Guide,
/// "Connecting to your DB instance using IAM authentication").
pub async fn password(aws: &Aws, auth: &DatabaseAuth, host: &str, port: u16, user: &str) -> Result<String, CloudError> {
    match auth {
        DatabaseAuth::Iam => iam_token(aws, host, port, user).await,
        DatabaseAuth::Secret(name) => secret_password(&aws.secrets(), name).await,
    }
}

async fn secret_password(secrets: &dyn Secrets, name: &str) -> Result<String, CloudError> {
    const CALL: &str = "secretsmanager:GetSecretValue";
    let text = secrets
        .get(name)
        .await?
        .ok_or_else(|| CloudError::new(CALL, Kind::NotFound, "the database secret does not exist"))?;
    // The parser's own message would quote the secret.
    let value: serde_json::Value = serde_json::from_str(&text)
        .map_err(|_| CloudError::new(CALL, Kind::Rejected, "the database secret is not json"))?;
    match value.get("password").and_then(serde_json::Value::as_str) {
        Some(password) => Ok(password.to_owned()),
        None => Err(CloudError::new(CALL, Kind::Rejected, "the database secret has no \"password\"")),
    }
}

async fn iam_token(aws: &Aws, host: &str, port: u16, user: &str) -> Result<String, CloudError> {
    const CALL: &str = "rds-db:connect";
    let rejected = |e: &dyn std::fmt::Display| CloudError::new(CALL, Kind::Rejected, e);
    let config = aws.sdk_config();
    let region = config.region().ok_or_else(|| rejected(&"no region is set"))?.as_ref().to_owned();
    let identity = config
        .credentials_provider()
        .ok_or_else(|| rejected(&"no credentials are set"))?
        .provide_credentials()
        .await
        .map_err(|e| CloudError::new(CALL, Kind::Unavailable, e))?
        .into();
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(Duration::from_secs(900));
    settings.signature_location = SignatureLocation::QueryParams;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&region)
        .name("rds-db")
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .map_err(|e| rejected(&e))?;
    let mut url = url::Url::parse(&format!("https://{host}:{port}/")).map_err(|e| rejected(&e))?;
    url.query_pairs_mut().append_pair("Action", "connect").append_pair("DBUser", user);
    let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(&[]))
        .map_err(|e| rejected(&e))?;
    let (instructions, _signature) = sign(request, &params.into()).map_err(|e| rejected(&e))?.into_parts();
    for (name, value) in instructions.params() {
        url.query_pairs_mut().append_pair(name, value);
    }
    Ok(url.to_string().trim_start_matches("https://").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemorySecrets;

    #[test]
    fn auth_is_iam_or_a_secret() {
        assert_eq!("iam".parse(), Ok(DatabaseAuth::Iam));
        assert_eq!("secret:arn:aws:x".parse(), Ok(DatabaseAuth::Secret("arn:aws:x".into())));
        assert!("password".parse::<DatabaseAuth>().is_err());
        assert!("secret:".parse::<DatabaseAuth>().is_err());
    }

    #[tokio::test]
    async fn an_error_about_the_secret_does_not_quote_it() {
        let secrets = MemorySecrets::default();
        secrets.put("db", "hunter2 is not json").await.unwrap();
        let error = secret_password(&secrets, "db").await.unwrap_err().to_string();
        assert!(error.contains("not json") && !error.contains("hunter2"), "{error}");
        secrets.put("db", r#"{"password":"hunter2"}"#).await.unwrap();
        assert_eq!(secret_password(&secrets, "db").await.unwrap(), "hunter2");
    }
}
