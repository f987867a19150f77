use crate::error::Cause;
use async_trait::async_trait;
use std::{fmt, sync::Arc, time::Duration};

/// Text that is in no log: its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Makes a password for the next connection: an IAM token lasts 15 minutes, a secret may have been rotated.
#[async_trait]
pub trait PasswordProvider: Send + Sync {
    async fn password(&self) -> Result<Secret, Cause>;
}

#[derive(Clone)]
pub enum Password {
    /// The server trusts whoever connects: a private server for tests.
    None,
    Static(Secret),
    Provider(Arc<dyn PasswordProvider>),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Static(_) => "Static(..)",
            Self::Provider(_) => "Provider(..)",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Plain text: the local server only.
    Off,
    /// Required, and the certificate must be signed by Amazon RDS. A token or password is never sent without it.
    Rds,
}

/// How to reach the database, for one connection per invocation.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// A name, an address, or the folder of a Unix socket.
    pub host: String,
    pub port: u16,
    pub name: String,
    pub user: String,
    pub password: Password,
    pub tls: Tls,
    /// Shown by the server as the connection's owner: the function's name.
    pub application: String,
    /// For all tries together. A paused Aurora takes 15 to 30 s to resume.
    pub connect_timeout: Duration,
    pub statement_timeout: Duration,
    /// How often the server looks whether the client of a running statement is still there; zero: only when it has an answer.
    pub client_check: Duration,
    /// A function that stopped in the middle of a transaction must not hold its locks for ever. Not for transactions that wait for a file.
    pub idle_in_transaction: Duration,
}

impl DatabaseConfig {
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(35);
    pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
    pub const CLIENT_CHECK: Duration = Duration::from_secs(10);
    pub const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(300);

    pub fn new(host: impl Into<String>, port: u16, name: impl Into<String>, user: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            name: name.into(),
            user: user.into(),
            password: Password::None,
            tls: Tls::Off,
            application: "dunlin".to_owned(),
            connect_timeout: Self::CONNECT_TIMEOUT,
            statement_timeout: Self::STATEMENT_TIMEOUT,
            client_check: Self::CLIENT_CHECK,
            idle_in_transaction: Self::IDLE_IN_TRANSACTION,
        }
    }
}
