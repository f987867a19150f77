use crate::{CloudError, Kind, Secrets};
use async_trait::async_trait;
use aws_sdk_secretsmanager::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use std::time::Duration;

/// Of a write that meets a deletion or another write: three seconds in all.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 500 });

/// [`Secrets`] on AWS Secrets Manager.
#[derive(Clone)]
pub struct SecretsManager {
    client: Client,
}

impl SecretsManager {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    async fn put_once(&self, name: &str, value: &str) -> Result<(), CloudError> {
        match self.client.put_secret_value().secret_id(name).secret_string(value).send().await {
            Ok(_) => return Ok(()),
            Err(SdkError::ServiceError(e)) if e.err().is_resource_not_found_exception() => {}
            Err(e) => return Err(sorted("secretsmanager:PutSecretValue", e)),
        }
        match self.client.create_secret().name(name).secret_string(value).send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(e)) if e.err().is_resource_exists_exception() => {
                // Somebody else made it in between. The next try writes over it: the last one counts, as ever.
                Err(CloudError::new("secretsmanager:CreateSecret", Kind::Unavailable, "it was made at the same time"))
            }
            Err(e) => Err(sorted("secretsmanager:CreateSecret", e)),
        }
    }
}

/// A forced deletion goes on after its answer (Secrets Manager API reference, DeleteSecret, "ForceDeleteWithoutRecovery"); until
/// it is through, the name cannot be written, which is nothing the caller did wrong.
fn sorted<E>(call: &'static str, error: SdkError<E, HttpResponse>) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let deleting = is_deleting(&error);
    let mut error = CloudError::from_sdk(call, error);
    if deleting {
        error.kind = Kind::Unavailable;
    }
    error
}

fn is_deleting<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.as_service_error().is_some_and(|error| {
        error.code() == Some("InvalidRequestException") && error.message().is_some_and(|text| text.contains("deletion"))
    })
}

#[async_trait]
impl Secrets for SecretsManager {
    async fn get(&self, name: &str) -> Result<Option<String>, CloudError> {
        match self.client.get_secret_value().secret_id(name).send().await {
            Ok(answer) => Ok(answer.secret_string),
            Err(SdkError::ServiceError(e)) if e.err().is_resource_not_found_exception() => Ok(None),
            Err(e) if is_deleting(&e) => Ok(None),
            Err(e) => Err(CloudError::from_sdk("secretsmanager:GetSecretValue", e)),
        }
    }

    async fn put(&self, name: &str, value: &str) -> Result<(), CloudError> {
        let mut attempt = 1;
        loop {
            match self.put_once(name, value).await {
                Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                    tracing::info!(%error, attempt, "the secret cannot be written yet, trying again");
                    tokio::time::sleep(PAUSE * attempt).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn delete(&self, name: &str) -> Result<(), CloudError> {
        // No recovery window: who deletes a credential wants it gone, and the name free.
        match self.client.delete_secret().secret_id(name).force_delete_without_recovery(true).send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(e)) if e.err().is_resource_not_found_exception() => Ok(()),
            Err(e) if is_deleting(&e) => Ok(()),
            Err(e) => Err(CloudError::from_sdk("secretsmanager:DeleteSecret", e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_secretsmanager::config::{BehaviorVersion, Config, Credentials, Region, retry::RetryConfig};
    use std::sync::{Arc, Mutex};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    const DELETING: &str = "You can't perform this operation on the secret because it was marked for deletion.";

    /// A service that gives these answers, one after the other; `Ok` is a success, `Err` a 400 with code and message.
    async fn service(
        answers: Vec<Result<(), (&'static str, &'static str)>>,
    ) -> (SecretsManager, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let called = Arc::new(Mutex::new(Vec::new()));
        let seen = called.clone();
        tokio::spawn(async move {
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                let target = answered(stream, answer).await;
                seen.lock().unwrap().push(target);
            }
        });
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(
                Credentials::builder().access_key_id("a").secret_access_key("b").provider_name("test").build(),
            )
            .retry_config(RetryConfig::disabled())
            .endpoint_url(format!("http://{address}"))
            .build();
        (SecretsManager::new(Client::from_conf(config)), called)
    }

    async fn answered(mut stream: TcpStream, answer: Result<(), (&str, &str)>) -> String {
        let (mut text, mut buffer) = (String::new(), [0; 4096]);
        let target = loop {
            let n = stream.read(&mut buffer).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
            if let Some(at) = text.find("x-amz-target: ")
                && text.ends_with('}')
            {
                let target = text[at..].lines().next().unwrap_or_default();
                break target.rsplit('.').next().unwrap_or_default().to_owned();
            }
        };
        let (status, body) = match answer {
            Ok(()) => ("200 OK", "{}".to_owned()),
            Err((code, message)) => ("400 Bad Request", format!(r#"{{"__type":"{code}","Message":"{message}"}}"#)),
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        target
    }

    const MISSING: (&str, &str) = ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.");

    #[tokio::test]
    async fn a_name_that_is_being_deleted_is_written_when_it_is_free() {
        let deleting = Err(("InvalidRequestException", DELETING));
        let (secrets, called) = service(vec![deleting, Err(MISSING), deleting, Err(MISSING), Ok(())]).await;
        secrets.put("tenants/x/git/y", "v").await.unwrap();
        let expected = ["PutSecretValue", "PutSecretValue", "CreateSecret", "PutSecretValue", "CreateSecret"];
        assert_eq!(*called.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn a_deletion_that_lasts_is_worth_another_try_later() {
        let (secrets, _) = service(vec![Err(("InvalidRequestException", DELETING)); 4]).await;
        assert_eq!(secrets.put("n", "v").await.unwrap_err().kind, Kind::Unavailable);
        let (secrets, _) = service(vec![Err(("InvalidRequestException", "another reason"))]).await;
        assert_eq!(secrets.put("n", "v").await.unwrap_err().kind, Kind::Rejected);
    }

    #[tokio::test]
    async fn of_two_first_writes_both_succeed() {
        let exists = Err(("ResourceExistsException", "A resource with the ID you requested already exists."));
        let (secrets, called) = service(vec![Err(MISSING), exists, Ok(())]).await;
        secrets.put("n", "v").await.unwrap();
        assert_eq!(*called.lock().unwrap(), ["PutSecretValue", "CreateSecret", "PutSecretValue"]);
    }

    #[tokio::test]
    async fn what_is_being_deleted_is_not_there() {
        let deleting = Err(("InvalidRequestException", DELETING));
        let (secrets, _) = service(vec![deleting, deleting]).await;
        assert_eq!(secrets.get("n").await.unwrap(), None);
        secrets.delete("n").await.unwrap();
    }
}
