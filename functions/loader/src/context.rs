use dunlin_cloud::{Aws, ObjectStore};
use dunlin_database::DatabaseSettings;
use dunlin_runtime::{ConfigError, Env};
use dunlin_store::DatabaseConfig;
use std::{sync::Arc, time::Duration};

/// What the loader works with, built once per environment. Connections are made per range.
pub struct Context {
    pub objects: Arc<dyn ObjectStore>,
    pub database: DatabaseConfig,
}

impl Context {
    /// One statement copies a range, and may take `statement_timeout`.
    pub async fn read(mut env: Env, statement_timeout: Duration) -> Result<Self, ConfigError> {
        let bucket = env.required::<String>("DATA_BUCKET");
        let database = DatabaseSettings::read(&mut env);
        let path_style = env.optional("S3_FORCE_PATH_STYLE").unwrap_or(false);
        let (bucket, database) = env.finish((|| Some((bucket?, database?)))())?;
        let aws = Aws::from_env(path_style).await;
        let objects = Arc::new(aws.objects(bucket));
        let database = DatabaseConfig { statement_timeout, ..database.config(aws, "loader") };
        Ok(Self { objects, database })
    }
}
