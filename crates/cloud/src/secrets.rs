use crate::{CloudError, Secrets};
use async_trait::async_trait;
use aws_sdk_secretsmanager::{Client, error::SdkError};

/// [`Secrets`] on AWS Secrets Manager.
#[derive(Clone)]
pub struct SecretsManager {
    client: Client,
}

impl SecretsManager {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl Secrets for SecretsManager {
    async fn get(&self, name: &str) -> Result<Option<String>, CloudError> {
        match self.client.get_secret_value().secret_id(name).send().await {
            Ok(answer) => Ok(answer.secret_string),
            Err(SdkError::ServiceError(e)) if e.err().is_resource_not_found_exception() => Ok(None),
            Err(e) => Err(CloudError::from_sdk("secretsmanager:GetSecretValue", e)),
        }
    }

    async fn put(&self, name: &str, value: &str) -> Result<(), CloudError> {
        match self.client.put_secret_value().secret_id(name).secret_string(value).send().await {
            Ok(_) => return Ok(()),
            Err(SdkError::ServiceError(e)) if e.err().is_resource_not_found_exception() => {}
            Err(e) => return Err(CloudError::from_sdk("secretsmanager:PutSecretValue", e)),
        }
        self.client
            .create_secret()
            .name(name)
            .secret_string(value)
            .send()
            .await
            .map(drop)
            .map_err(|e| CloudError::from_sdk("secretsmanager:CreateSecret", e))
    }

    async fn delete(&self, name: &str) -> Result<(), CloudError> {
        // No recovery window: who deletes a credential wants it gone, and the name free.
        match self.client.delete_secret().secret_id(name).force_delete_without_recovery(true).send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(e)) if e.err().is_resource_not_found_exception() => Ok(()),
            Err(e) => Err(CloudError::from_sdk("secretsmanager:DeleteSecret", e)),
        }
    }
}
