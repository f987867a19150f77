use dunlin_cloud::{Aws, Workflows};
use dunlin_runtime::{ConfigError, Env};
use std::sync::Arc;

pub struct Context {
    pub scans: Arc<dyn Workflows>,
    pub price_batches: Arc<dyn Workflows>,
}

impl Context {
    pub async fn from_env() -> Result<Self, ConfigError> {
        let mut env = Env::process();
        let scans = env.required::<String>("STATE_MACHINE_ARN");
        let price_batches = env.required::<String>("PRICE_STATE_MACHINE_ARN");
        let (scans, price_batches) = env.finish((|| Some((scans?, price_batches?)))())?;
        let aws = Aws::from_env(false).await;
        Ok(Self { scans: Arc::new(aws.workflows(scans)), price_batches: Arc::new(aws.workflows(price_batches)) })
    }
}
