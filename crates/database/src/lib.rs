//! How a function reaches the database: from its environment to a [`DatabaseConfig`]. The store knows no AWS and the AWS crate
//! no SQL, so what both need to know of each other is here.

use async_trait::async_trait;
use dunlin_cloud::{
    Aws,
    database::{DatabaseAuth, password},
};
use dunlin_runtime::Env;
use dunlin_store::{Cause, DatabaseConfig, Password, PasswordProvider, Secret, Tls};
use std::{net::IpAddr, sync::Arc};

/// `DATABASE_HOST`, `DATABASE_PORT`, `DATABASE_NAME`, `DATABASE_USER`, `DATABASE_AUTH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    pub host: String,
    pub port: u16,
    pub name: String,
    pub user: String,
    pub auth: DatabaseAuth,
}

impl DatabaseSettings {
    /// None when something is missing; `env` remembers what.
    pub fn read(env: &mut Env) -> Option<Self> {
        let (host, port) = (env.required("DATABASE_HOST"), env.required("DATABASE_PORT"));
        let (name, user, auth) =
            (env.required("DATABASE_NAME"), env.required("DATABASE_USER"), env.required("DATABASE_AUTH"));
        Some(Self { host: host?, port: port?, name: name?, user: user?, auth: auth? })
    }

    /// `application` is shown by the server as the owner of the connection.
    pub fn config(self, aws: Aws, application: &str) -> DatabaseConfig {
        let tls = self.tls();
        DatabaseConfig {
            application: format!("dunlin-{application}"),
            tls,
            password: Password::Provider(Arc::new(FromAws { aws, settings: self.clone() })),
            ..DatabaseConfig::new(self.host, self.port, self.name, self.user)
        }
    }

    /// Plain text only goes to this machine; a token or a password never crosses a network without TLS.
    fn tls(&self) -> Tls {
        let here = self.host.starts_with('/')
            || self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if here && self.auth != DatabaseAuth::Iam { Tls::Off } else { Tls::Rds }
    }
}

struct FromAws {
    aws: Aws,
    settings: DatabaseSettings,
}

#[async_trait]
impl PasswordProvider for FromAws {
    async fn password(&self) -> Result<Secret, Cause> {
        let DatabaseSettings { host, port, user, auth, .. } = &self.settings;
        Ok(Secret::new(password(&self.aws, auth, host, *port, user).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(host: &str, auth: &str) -> DatabaseSettings {
        let pairs = [
            ("DATABASE_HOST", host),
            ("DATABASE_PORT", "5432"),
            ("DATABASE_NAME", "dunlin"),
            ("DATABASE_USER", "dunlin_app"),
            ("DATABASE_AUTH", auth),
        ];
        let mut env = Env::from_map(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        DatabaseSettings::read(&mut env).unwrap()
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_plain_text() {
        for here in ["127.0.0.1", "::1", "localhost", "/tmp/socket"] {
            assert_eq!(settings(here, "secret:arn").tls(), Tls::Off, "{here}");
            assert_eq!(settings(here, "iam").tls(), Tls::Rds, "{here}");
        }
        for far in ["db.eu-central-1.rds.amazonaws.com", "10.0.0.5", "localhost.example.com"] {
            assert_eq!(settings(far, "secret:arn").tls(), Tls::Rds, "{far}");
        }
    }

    #[test]
    fn every_missing_variable_is_named() {
        let mut env = Env::from_map([("DATABASE_PORT".to_owned(), "many".to_owned())].into());
        let read = DatabaseSettings::read(&mut env);
        let problems = env.finish(read).unwrap_err().problems.join("\n");
        for name in ["DATABASE_HOST", "DATABASE_PORT", "DATABASE_NAME", "DATABASE_USER", "DATABASE_AUTH"] {
            assert!(problems.contains(name), "{name} is not named in {problems}");
        }
    }
}
