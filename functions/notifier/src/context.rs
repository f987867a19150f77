use crate::channels::{Channel, webhook::Webhook};
use dunlin_cloud::{Aws, ObjectStore};
use dunlin_egress::{AddressPolicy, Egress, Timeouts};
use dunlin_runtime::{ConfigError, Env};
use std::sync::Arc;

/// What the notifier works with, built once per environment.
pub struct Context {
    pub objects: Arc<dyn ObjectStore>,
    /// Every channel there is. A new one is a file in `channels/` and a line here.
    pub channels: Vec<Box<dyn Channel>>,
}

impl Context {
    pub async fn from_env() -> Result<Self, anyhow::Error> {
        let mut env = Env::process();
        let bucket = env.required::<String>("DATA_BUCKET");
        let prefix = env.required::<String>("SECRETS_PREFIX");
        let policy = env.optional::<AddressPolicy>("EGRESS_ALLOW").unwrap_or_default();
        let path_style = env.optional("S3_FORCE_PATH_STYLE").unwrap_or(false);
        let built = (|| Some((bucket?, prefix?)))();
        let (bucket, secrets_prefix): (String, String) = env.finish(built).map_err(|e: ConfigError| e)?;
        let aws = Aws::from_env(path_style).await;
        let egress = Egress::new(policy, Timeouts::default())?;
        let webhook = Webhook { secrets: Arc::new(aws.secrets()), secrets_prefix, egress };
        Ok(Self { objects: Arc::new(aws.objects(bucket)), channels: vec![Box::new(webhook)] })
    }
}
