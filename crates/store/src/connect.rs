use crate::{
    config::{DatabaseConfig, Password, Tls},
    error::{Cause, StoreError, is_transient},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinHandle, time::Instant};
use tokio_postgres::{Client, NoTls, config::SslMode, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

const RDS_CA: &[u8] = include_bytes!("../certs/rds-ca.pem");

/// Waiting for somebody else's row lock longer than this is given up and tried again later.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);
/// A machine that went away without a word is noticed after about twice this, and what it held is free again.
const SILENCE: Duration = Duration::from_secs(60);

/// One connection, for one invocation.
pub struct Store {
    pub(crate) client: Client,
    connection: JoinHandle<()>,
}

impl Store {
    /// Connects, and keeps trying while the server is starting or resuming, until `connect_timeout` has passed.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let deadline = Instant::now() + config.connect_timeout;
        let mut pause = Duration::from_millis(100);
        let mut refused = false;
        loop {
            let attempt = tokio::time::timeout_at(deadline, Self::connect_once(config)).await;
            let error = match attempt {
                Ok(Ok(store)) => return Ok(store),
                Ok(Err(error @ StoreError::Unavailable { .. })) => error,
                // A secret is rotated in two steps, and a busy server throttles IAM: the next password may be right.
                Ok(Err(StoreError::Refused(cause))) if matches!(config.password, Password::Provider(_)) => {
                    let what = "the password was refused".to_owned();
                    let error = StoreError::Unavailable { what, source: Some(cause) };
                    if refused {
                        return Err(error);
                    }
                    refused = true;
                    error
                }
                Ok(Err(error)) => return Err(error),
                Err(_elapsed) => {
                    let what = format!("no answer within {} s", config.connect_timeout.as_secs());
                    return Err(StoreError::Unavailable { what, source: None });
                }
            };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    async fn connect_once(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let password = match &config.password {
            Password::None => None,
            Password::Static(secret) => Some(secret.clone()),
            Password::Provider(provider) => Some(provider.password().await.map_err(StoreError::Password)?),
        };
        let mut pg = tokio_postgres::Config::new();
        if config.host.starts_with('/') {
            pg.host_path(&config.host);
        } else {
            pg.host(&config.host);
        }
        pg.port(config.port).dbname(&config.name).user(&config.user).application_name(&config.application).options(
            format!(
                "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={} -c timezone=UTC \
                 -c client_connection_check_interval={} -c tcp_keepalives_idle={silence} -c tcp_keepalives_interval=10 \
                 -c tcp_keepalives_count=6 -c tcp_user_timeout={}",
                config.statement_timeout.as_millis(),
                LOCK_TIMEOUT.as_millis(),
                config.idle_in_transaction.as_millis(),
                config.client_check.as_millis(),
                2 * SILENCE.as_millis(),
                silence = SILENCE.as_secs(),
            ),
        );
        if let Some(password) = password {
            pg.password(password.expose());
        }
        match config.tls {
            Tls::Off => {
                let (client, connection) = pg.ssl_mode(SslMode::Disable).connect(NoTls).await.map_err(sort)?;
                Ok(Self { client, connection: tokio::spawn(drive(connection)) })
            }
            Tls::Rds => {
                let tls = MakeRustlsConnect::new(tls_config().map_err(StoreError::NotTrusted)?);
                let (client, connection) = pg.ssl_mode(SslMode::Require).connect(tls).await.map_err(sort)?;
                Ok(Self { client, connection: tokio::spawn(drive(connection)) })
            }
        }
    }

    /// Says goodbye to the server and waits until it is said: a frozen function must hold no connection.
    pub async fn close(self) {
        drop(self.client);
        // The task ends with the client; it has nothing to report that a caller could act on.
        let _ = self.connection.await;
    }
}

async fn drive<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // Every statement in flight gets the same error; here it is only worth a line for whoever debugs.
    if let Err(error) = connection.await {
        tracing::debug!(error.message = %error, "the connection to the database ended");
    }
}

fn tls_config() -> Result<ClientConfig, Cause> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(RDS_CA) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Sorts what can go wrong before the first statement.
fn sort(error: tokio_postgres::Error) -> StoreError {
    if let Some(code) = error.code() {
        if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) {
            return StoreError::Refused(Box::new(error));
        }
    } else if is_tls_failure(&error) {
        return StoreError::NotTrusted(error.into_source().unwrap_or_else(|| "no tls".into()));
    } else if !is_transient(&error) && error.to_string().contains("authentication") {
        // The server asks for a password and none was given.
        return StoreError::Refused(Box::new(error));
    }
    error.into()
}

/// The driver keeps its kinds to itself: a certificate that was refused is a rustls error inside an i/o error, and a
/// server that speaks no TLS is a plain sentence.
fn is_tls_failure(error: &tokio_postgres::Error) -> bool {
    let Some(cause) = std::error::Error::source(error) else { return false };
    match cause.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        None => error.to_string().contains("TLS"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_certificate_is_read() {
        let count = RDS_CA.windows(11).filter(|w| w == b"-----BEGIN ").count();
        assert_eq!(CertificateDer::pem_slice_iter(RDS_CA).filter_map(Result::ok).count(), count);
        assert!(count > 50, "the bundle has only {count} certificates");
        tls_config().unwrap();
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_tried_until_the_timeout_and_then_unavailable() {
        let config = DatabaseConfig {
            connect_timeout: Duration::from_millis(400),
            // Nobody listens in a folder that does not exist.
            ..DatabaseConfig::new("/nonexistent/socket", 5432, "d", "u")
        };
        let started = Instant::now();
        let error = Store::connect(&config).await.err().unwrap();
        assert!(error.is_retryable(), "{error:?}");
        assert!(started.elapsed() >= Duration::from_millis(100), "gave up at once");
    }
}
