use dunlin_cloud::{Aws, ObjectStore, Patience};
use dunlin_contracts::api::AuthDiscovery;
use dunlin_database::DatabaseSettings;
use dunlin_runtime::{ConfigError, Env};
use dunlin_store::DatabaseConfig;
use std::{sync::Arc, time::Duration};

/// The gateway gives up after 30 s; a caller is better told to come back than left waiting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// What is left after that, less a little for the answer. The server gives up then too, instead of working for nobody.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(7);

/// What the API works with, built once per environment.
pub struct Context {
    pub objects: Arc<dyn ObjectStore>,
    pub database: DatabaseConfig,
    pub auth: AuthDiscovery,
}

impl Context {
    pub async fn from_env() -> Result<Self, ConfigError> {
        let mut env = Env::process();
        let bucket = env.required::<String>("DATA_BUCKET");
        let database = DatabaseSettings::read(&mut env);
        let endpoint = env.required::<String>("AUTH_ENDPOINT");
        let client_id = env.required::<String>("AUTH_CLIENT_ID");
        let issuer = env.required::<String>("AUTH_ISSUER");
        let path_style = env.optional("S3_FORCE_PATH_STYLE").unwrap_or(false);
        let built = (|| {
            let auth = AuthDiscovery { endpoint: endpoint?, client_id: client_id?, issuer: issuer? };
            Some((bucket?, database?, auth))
        })();
        let (bucket, database, auth) = env.finish(built)?;
        let aws = Aws::with_patience(path_style, Patience::SHORT).await;
        let objects = Arc::new(aws.objects(bucket));
        let database = DatabaseConfig {
            connect_timeout: CONNECT_TIMEOUT,
            statement_timeout: STATEMENT_TIMEOUT,
            ..database.config(aws, "api")
        };
        Ok(Self { objects, database, auth })
    }
}
