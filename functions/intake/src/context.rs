use dunlin_cloud::{Aws, BatchJobs, ObjectStore, Patience, Queue, Secrets, Workflows};
use dunlin_egress::AddressPolicy;
use dunlin_runtime::{ConfigError, Env};
use std::sync::Arc;

/// What intake works with, built once per environment.
pub struct Context {
    pub objects: Arc<dyn ObjectStore>,
    pub scans: Arc<dyn Queue>,
    pub workflows: Arc<dyn Workflows>,
    pub batch_jobs: Arc<dyn BatchJobs>,
    pub secrets: Arc<dyn Secrets>,
    pub secrets_prefix: String,
    /// Hosts that may be scanned although they are not public. Empty in AWS.
    pub egress_allow: AddressPolicy,
}

impl Context {
    pub async fn from_env() -> Result<Self, ConfigError> {
        let mut env = Env::process();
        let bucket = env.required::<String>("DATA_BUCKET");
        let queue = env.required::<String>("SCANS_QUEUE_URL");
        let machine = env.required::<String>("STATE_MACHINE_ARN");
        let prefix = env.required::<String>("SECRETS_PREFIX");
        let path_style = env.optional("S3_FORCE_PATH_STYLE").unwrap_or(false);
        let batch_queues = env.list("BATCH_QUEUES");
        let egress_allow = env.optional("EGRESS_ALLOW").unwrap_or_default();
        let (bucket, queue, machine, secrets_prefix) = env.finish((|| Some((bucket?, queue?, machine?, prefix?)))())?;
        let aws = Aws::with_patience(path_style, Patience::SHORT).await;
        Ok(Self {
            objects: Arc::new(aws.objects(bucket)),
            scans: Arc::new(aws.queue(queue)),
            workflows: Arc::new(aws.workflows(machine)),
            batch_jobs: Arc::new(aws.batch_jobs(batch_queues)),
            secrets: Arc::new(aws.secrets()),
            secrets_prefix,
            egress_allow,
        })
    }
}
