use dunlin_cloud::{Aws, ObjectStore};
use dunlin_database::DatabaseSettings;
use dunlin_runtime::{ConfigError, Env};
use dunlin_store::DatabaseConfig;
use std::sync::Arc;

/// What the loader works with, built once per environment. Connections are made per range.
pub struct Context {
    pub objects: Arc<dyn ObjectStore>,
    pub database: DatabaseConfig,
}

impl Context {
    pub async fn read(mut env: Env) -> Result<Self, ConfigError> {
        let bucket = env.required::<String>("DATA_BUCKET");
        let database = DatabaseSettings::read(&mut env);
        let path_style = env.optional("S3_FORCE_PATH_STYLE").unwrap_or(false);
        let (bucket, database) = env.finish((|| Some((bucket?, database?)))())?;
        let aws = Aws::from_env(path_style).await;
        Ok(Self { objects: Arc::new(aws.objects(bucket)), database: database.config(aws, "loader") })
    }
}
