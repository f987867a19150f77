use dunlin_cloud::{Aws, ObjectStore};
use dunlin_database::DatabaseSettings;
use dunlin_ingest::Limits;
use dunlin_runtime::{ConfigError, Env};
use dunlin_store::DatabaseConfig;
use std::sync::Arc;

/// What the inspector works with, built once per environment. Connections are made per invocation.
pub struct Context {
    pub objects: Arc<dyn ObjectStore>,
    pub database: DatabaseConfig,
    pub limits: Limits,
}

impl Context {
    pub async fn from_env() -> Result<Self, ConfigError> {
        let mut env = Env::process();
        let bucket = env.required::<String>("DATA_BUCKET");
        let database = DatabaseSettings::read(&mut env);
        let lambda_mib = env.optional::<u64>("LAMBDA_PACKED_MIB").unwrap_or(128);
        let at_once_kib = env.optional::<u64>("AT_ONCE_KIB").unwrap_or(1024);
        let path_style = env.optional("S3_FORCE_PATH_STYLE").unwrap_or(false);
        let (bucket, database) = env.finish((|| Some((bucket?, database?)))())?;
        let aws = Aws::from_env(path_style).await;
        let objects = Arc::new(aws.objects(bucket));
        let limits = Limits { lambda_bytes: lambda_mib << 20, at_once_bytes: at_once_kib << 10 };
        Ok(Self { objects, database: database.config(aws, "inspector"), limits })
    }
}
