use crate::{AwsBatchJobs, S3Objects, SecretsManager, SqsQueue, StepFunctions};
use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use std::time::Duration;

/// The one place where AWS is configured: region, credentials and endpoint come from the environment, as Lambda sets it.
#[derive(Clone)]
pub struct Aws {
    config: SdkConfig,
    path_style: bool,
}

impl Aws {
    /// `path_style`: buckets in the path and not in the host, for an emulator.
    pub async fn from_env(path_style: bool) -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(4))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(3))
                    .operation_attempt_timeout(Duration::from_secs(60))
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
