use dunlin_cloud::{Aws, ObjectStore, Secrets};
use dunlin_egress::{AddressPolicy, Egress, Timeouts};
use dunlin_runtime::Env;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// What the function works with, built once per environment.
pub struct Context {
    pub objects: Arc<dyn ObjectStore>,
    pub secrets: Arc<dyn Secrets>,
    /// The only way out.
    pub egress: Egress,
    /// `dunlin/<env>`.
    pub secrets_prefix: String,
    pub limits: Limits,
    /// Where packs and archives wait; everything in it is gone when the scan's snapshot is made.
    pub scratch: PathBuf,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub snapshot: dunlin_snapshot::Limits,
    /// Bytes that a git server may send for one scan.
    pub fetched_bytes: u64,
    /// Bytes that it may send before that: an older server lists all of its references, and they wait in memory.
    pub references_bytes: u64,
    /// Bytes of an upload.
    pub upload_bytes: u64,
    /// One object of a pack in memory. Above the size of files that are kept, because a server that cannot leave large files
    /// out sends them whole.
    pub object_bytes: usize,
    /// For talking to the git server, all of it.
    pub fetch_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            snapshot: dunlin_snapshot::Limits::default(),
            fetched_bytes: 1 << 30,
            references_bytes: 64 << 20,
            upload_bytes: 1 << 30,
            object_bytes: 640 << 20,
            fetch_time: Duration::from_secs(600),
        }
    }
}

impl Context {
    pub async fn from_env() -> Result<Self, lambda_runtime::Error> {
        let mut env = Env::process();
        let bucket = env.required::<String>("DATA_BUCKET");
        let prefix = env.required::<String>("SECRETS_PREFIX");
        let policy = env.optional::<AddressPolicy>("EGRESS_ALLOW").unwrap_or_default();
        let path_style = env.optional("S3_FORCE_PATH_STYLE").unwrap_or(false);
        let (bucket, secrets_prefix) = env.finish((|| Some((bucket?, prefix?)))())?;
        let aws = Aws::from_env(path_style).await;
        Ok(Self {
            objects: Arc::new(aws.objects(bucket)),
            secrets: Arc::new(aws.secrets()),
            egress: Egress::new(policy, Timeouts::default())?,
            secrets_prefix,
            limits: Limits::default(),
            scratch: std::env::temp_dir(),
        })
    }
}
