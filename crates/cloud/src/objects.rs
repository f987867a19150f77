use crate::{CloudError, Kind, ObjectInfo, ObjectReader, ObjectStore, PutOutcome, UploadSlot};
use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    presigning::{PresignedRequest, PresigningConfig},
    primitives::ByteStream,
};
use bytes::Bytes;
use dunlin_contracts::plan::PresignedPut;
use std::{path::Path, time::Duration};

/// Between the tries of a conditional write that met another one: 50, 100, 200 and 400 ms.
const CONFLICT_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_CONFLICT_PAUSE: Duration = Duration::from_millis(400);

/// [`ObjectStore`] on one S3 bucket.
#[derive(Clone)]
pub struct S3Objects {
    client: Client,
    bucket: String,
}

impl S3Objects {
    pub(crate) fn new(client: Client, bucket: String) -> Self {
        Self { client, bucket }
    }
}

fn presigning(valid: Duration) -> Result<PresigningConfig, CloudError> {
    PresigningConfig::expires_in(valid).map_err(|e| CloudError::new("s3:Presign", Kind::Rejected, e))
}

fn presigned_put(request: &PresignedRequest) -> PresignedPut {
    PresignedPut {
        url: request.uri().to_owned(),
        headers: request.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

#[async_trait]
impl ObjectStore for S3Objects {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, CloudError> {
        let answer = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let object = match answer {
            Ok(object) => object,
            Err(SdkError::ServiceError(e)) if e.err().is_no_such_key() => return Ok(None),
            Err(e) => return Err(CloudError::from_sdk("s3:GetObject", e)),
        };
        let body = object.body.collect().await.map_err(|e| CloudError::new("s3:GetObject", Kind::Unavailable, e))?;
        Ok(Some(body.into_bytes()))
    }

    async fn get_stream(&self, key: &str) -> Result<Option<(ObjectInfo, ObjectReader)>, CloudError> {
        match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(object) => {
                let bytes = object.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
                Ok(Some((ObjectInfo { bytes }, Box::new(object.body.into_async_read()))))
            }
            Err(SdkError::ServiceError(e)) if e.err().is_no_such_key() => Ok(None),
            Err(e) => Err(CloudError::from_sdk("s3:GetObject", e)),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, CloudError> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(head) => {
                Ok(Some(ObjectInfo { bytes: head.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0) }))
            }
            Err(SdkError::ServiceError(e)) if e.err().is_not_found() => Ok(None),
            Err(e) => Err(CloudError::from_sdk("s3:HeadObject", e)),
        }
    }

    async fn put(&self, key: &str, body: Bytes, content_type: &str) -> Result<(), CloudError> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .body(ByteStream::from(body))
            .send()
            .await
            .map(drop)
            .map_err(|e| CloudError::from_sdk("s3:PutObject", e))
    }

    async fn put_new(&self, key: &str, body: Bytes, content_type: &str) -> Result<PutOutcome, CloudError> {
        let mut pause = CONFLICT_PAUSE;
        loop {
            let answer = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .content_type(content_type)
                .if_none_match("*")
                .body(ByteStream::from(body.clone()))
                .send()
                .await;
            match answer {
                Ok(_) => return Ok(PutOutcome::Created),
                Err(SdkError::ServiceError(e)) if e.err().code() == Some("PreconditionFailed") => {
                    return Ok(PutOutcome::Exists);
                }
                // Two writes at once, and this one lost. The other one may still fail, so nothing is known of the key: S3
                // asks to try again (Amazon S3 User Guide, "How to prevent object overwrites with conditional writes").
                Err(SdkError::ServiceError(e))
                    if e.err().code() == Some("ConditionalRequestConflict") && pause <= LONGEST_CONFLICT_PAUSE =>
                {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(e) => return Err(CloudError::from_sdk("s3:PutObject", e)),
            }
        }
    }

    async fn put_file(&self, key: &str, path: &Path, content_type: &str) -> Result<(), CloudError> {
        let body = ByteStream::from_path(path).await.map_err(|e| CloudError::new("s3:PutObject", Kind::Rejected, e))?;
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .body(body)
            .send()
            .await
            .map(drop)
            .map_err(|e| CloudError::from_sdk("s3:PutObject", e))
    }

    async fn presign_get(&self, key: &str, valid: Duration) -> Result<String, CloudError> {
        self.client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .presigned(presigning(valid)?)
            .await
            .map(|request| request.uri().to_owned())
            .map_err(|e| CloudError::from_sdk("s3:GetObject", e))
    }

    async fn presign_put(&self, key: &str, only_new: bool, valid: Duration) -> Result<PresignedPut, CloudError> {
        let mut request = self.client.put_object().bucket(&self.bucket).key(key);
        if only_new {
            request = request.if_none_match("*");
        }
        let request =
            request.presigned(presigning(valid)?).await.map_err(|e| CloudError::from_sdk("s3:PutObject", e))?;
        Ok(presigned_put(&request))
    }

    async fn presign_upload(
        &self,
        key: &str,
        bytes: u64,
        sha256: &str,
        valid: Duration,
    ) -> Result<UploadSlot, CloudError> {
        let length = i64::try_from(bytes).map_err(|e| CloudError::new("s3:PutObject", Kind::Rejected, e))?;
        let digest = decode_hex(sha256)
            .ok_or_else(|| CloudError::new("s3:PutObject", Kind::Rejected, "sha256 is not hexadecimal"))?;
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_length(length)
            .checksum_sha256(aws_smithy_types::base64::encode(digest))
            .presigned(presigning(valid)?)
            .await
            .map_err(|e| CloudError::from_sdk("s3:PutObject", e))?;
        let put = presigned_put(&request);
        Ok(UploadSlot { url: put.url, headers: put.headers })
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..32).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::Server;

    const CONFLICT: (u16, &str) = (409, "<Error><Code>ConditionalRequestConflict</Code><Message>m</Message></Error>");

    fn objects(server: &Server) -> S3Objects {
        S3Objects::new(Client::from_conf(server.configure(aws_sdk_s3::Config::builder()).build()), "b".into())
    }

    #[tokio::test]
    async fn a_conflict_of_two_conditional_writes_is_tried_again_and_not_taken_for_an_object() {
        let server = Server::answering(&[CONFLICT, CONFLICT, (200, "")]).await;
        let put = objects(&server).put_new("k", "x".into(), "text/plain").await.unwrap();
        assert_eq!((put, server.requests()), (PutOutcome::Created, 3));
        let taken = (412, "<Error><Code>PreconditionFailed</Code><Message>m</Message></Error>");
        let server = Server::answering(&[CONFLICT, taken]).await;
        assert_eq!(objects(&server).put_new("k", "x".into(), "text/plain").await.unwrap(), PutOutcome::Exists);
        let server = Server::answering(&[CONFLICT; 9]).await;
        assert!(objects(&server).put_new("k", "x".into(), "text/plain").await.unwrap_err().is_retryable());
        assert_eq!(server.requests(), 5);
    }

    #[tokio::test]
    async fn answers_are_sorted_into_another_time_and_never() {
        let timeout = "<Error><Code>RequestTimeout</Code><Message>m</Message></Error>";
        let denied = "<Error><Code>AccessDenied</Code><Message>m</Message></Error>";
        for (answer, kind) in [
            ((400, timeout), Kind::Unavailable),
            ((503, ""), Kind::Unavailable),
            ((403, denied), Kind::Denied),
            ((400, "<Error><Code>InvalidArgument</Code></Error>"), Kind::Rejected),
        ] {
            let server = Server::answering(&[answer]).await;
            assert_eq!(objects(&server).put("k", "x".into(), "text/plain").await.unwrap_err().kind, kind, "{answer:?}");
        }
    }
}
