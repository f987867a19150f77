use crate::{AwsBatchJobs, S3Objects, SecretsManager, SqsQueue, StepFunctions};
use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use std::time::Duration;

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub attempts: u32,
    pub connect: Duration,
    /// For one attempt, up to the head of the answer.
    pub attempt: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: 4, connect: Duration::from_secs(3), attempt: Duration::from_secs(60) }
    }
}

impl Patience {
    /// Three attempts with the pauses between them end within seven seconds, or eight.
    pub const SHORT: Self = Self { attempts: 3, connect: Duration::from_secs(1), attempt: Duration::from_secs(2) };
}

/// The one place where AWS is configured: region, credentials and endpoint come from the environment, as Lambda sets it.
#[derive(Clone)]
pub struct Aws {
    config: SdkConfig,
    path_style: bool,
}

impl Aws {
    /// `path_style`: buckets in the path and not in the host, for an emulator.
    pub async fn from_env(path_style: bool) -> Self {
        Self::with_patience(path_style, Patience::default()).await
    }

    /// For a function that somebody waits for: [`Patience::SHORT`].
    pub async fn with_patience(path_style: bool, patience: Patience) -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(patience.attempts))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(patience.connect)
                    .operation_attempt_timeout(patience.attempt)
                    .build(),
            )
            .load()
            .await;
        Self { config, path_style }
    }

    pub fn sdk_config(&self) -> &SdkConfig {
        &self.config
    }

    pub fn objects(&self, bucket: impl Into<String>) -> S3Objects {
        let config = aws_sdk_s3::config::Builder::from(&self.config)
            .force_path_style(self.path_style)
            // Bodies are streamed and carry their own SHA-256 where it matters; a trailer checksum would need chunked signing.
            .request_checksum_calculation(aws_sdk_s3::config::RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(aws_sdk_s3::config::ResponseChecksumValidation::WhenRequired)
            .build();
        S3Objects::new(aws_sdk_s3::Client::from_conf(config), bucket.into())
    }

    pub fn queue(&self, url: impl Into<String>) -> SqsQueue {
        SqsQueue::new(aws_sdk_sqs::Client::new(&self.config), url.into())
    }

    pub fn workflows(&self, state_machine_arn: impl Into<String>) -> StepFunctions {
        StepFunctions::new(aws_sdk_sfn::Client::new(&self.config), state_machine_arn.into())
    }

    pub fn batch_jobs(&self, queues: Vec<String>) -> AwsBatchJobs {
        AwsBatchJobs::new(aws_sdk_batch::Client::new(&self.config), queues)
    }

    pub fn secrets(&self) -> SecretsManager {
        SecretsManager::new(aws_sdk_secretsmanager::Client::new(&self.config))
    }
}
