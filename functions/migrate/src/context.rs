use dunlin_cloud::{Aws, database::DatabaseAuth};
use dunlin_database::DatabaseSettings;
use dunlin_runtime::{ConfigError, Env};
use dunlin_store::{ApplicationRole, DatabaseConfig};
use std::time::Duration;

/// A migration may rewrite a table; what ends it is the function's own timeout of 300 s.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(240);

pub struct Context {
    pub database: DatabaseConfig,
    /// `DATABASE_APP_USER`: the role to make and to give rights to. None where there is only one user.
    pub application: Option<ApplicationRole>,
}

impl Context {
    pub async fn from_env() -> Result<Self, ConfigError> {
        let mut env = Env::process();
        let settings = DatabaseSettings::read(&mut env);
        let name: Option<String> = env.optional("DATABASE_APP_USER");
        let settings = env.finish(settings)?;
        let application = name
            .filter(|name| *name != settings.user)
            .map(|name| ApplicationRole { name, iam: settings.auth == DatabaseAuth::Iam });
        let database = settings.config(Aws::from_env(false).await, "migrate");
        Ok(Self { database: DatabaseConfig { statement_timeout: STATEMENT_TIMEOUT, ..database }, application })
    }
}
