use dunlin_cloud::{Aws, Workflows};
use dunlin_runtime::{ConfigError, Env};
use std::sync::Arc;

pub struct Context {
    pub workflows: Arc<dyn Workflows>,
}

impl Context {
    pub async fn from_env() -> Result<Self, ConfigError> {
        let mut env = Env::process();
        let machine = env.required::<String>("STATE_MACHINE_ARN");
        let machine = env.finish(machine)?;
        Ok(Self { workflows: Arc::new(Aws::from_env(false).await.workflows(machine)) })
    }
}
