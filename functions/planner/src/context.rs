use dunlin_cloud::{Aws, ObjectStore};
use dunlin_runtime::{ConfigError, Env};
use std::sync::Arc;

/// What the planner works with, built once per environment.
pub struct Context {
    pub objects: Arc<dyn ObjectStore>,
    pub settings: Settings,
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// Beginning of the names of the runner functions; the engine's name follows.
    pub runner_function_prefix: String,
    /// Beginning of the names of the Batch job definitions; the engine's name follows.
    pub job_definition_prefix: String,
    /// A job that is estimated to take this long, or longer, goes to Batch. A Fargate task takes 30 to 60 s to start, so less
    /// than that makes no sense.
    pub lambda_threshold_seconds: u32,
}

impl Context {
    pub async fn from_env() -> Result<Self, ConfigError> {
        let mut env = Env::process();
        let bucket = env.required::<String>("DATA_BUCKET");
        let runner = env.required::<String>("RUNNER_FUNCTION_PREFIX");
        let definition = env.required::<String>("JOB_DEFINITION_PREFIX");
        let lambda_threshold_seconds = env.optional("LAMBDA_THRESHOLD_SECONDS").unwrap_or(120);
        let path_style = env.optional("S3_FORCE_PATH_STYLE").unwrap_or(false);
        let (bucket, runner_function_prefix, job_definition_prefix) =
            env.finish((|| Some((bucket?, runner?, definition?)))())?;
        Ok(Self {
            objects: Arc::new(Aws::from_env(path_style).await.objects(bucket)),
            settings: Settings { runner_function_prefix, job_definition_prefix, lambda_threshold_seconds },
        })
    }
}
