use crate::{CloudError, Completion, Kind, ObjectInfo, ObjectReader, ObjectStore, PutOutcome, UploadSlot};
use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::timeout::TimeoutConfig,
    error::{ProvideErrorMetadata, SdkError},
    presigning::{PresignedRequest, PresigningConfig},
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use dunlin_contracts::plan::PresignedPut;
use std::{path::Path, time::Duration};

/// Between the tries of a conditional write that met another one: 50, 100, 200 and 400 ms.
const CONFLICT_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_CONFLICT_PAUSE: Duration = Duration::from_millis(400);

/// S3 may take this long to put parts together, however short the patience is elsewhere.
const COMPLETION_PATIENCE: Duration = Duration::from_secs(20);

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

fn upload_slot(request: &PresignedRequest) -> UploadSlot {
    let put = presigned_put(request);
    UploadSlot { url: put.url, headers: put.headers }
}

fn length(call: &'static str, bytes: u64) -> Result<i64, CloudError> {
    i64::try_from(bytes).map_err(|e| CloudError::new(call, Kind::Rejected, e))
}

fn info(bytes: Option<i64>, etag: Option<&str>) -> ObjectInfo {
    ObjectInfo {
        bytes: bytes.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        etag: etag.unwrap_or_default().trim_matches('"').to_owned(),
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
                let info = info(object.content_length(), object.e_tag());
                Ok(Some((info, Box::new(object.body.into_async_read()))))
            }
            Err(SdkError::ServiceError(e)) if e.err().is_no_such_key() => Ok(None),
            Err(e) => Err(CloudError::from_sdk("s3:GetObject", e)),
        }
    }

    async fn get_range(&self, key: &str, etag: &str, offset: u64, length: u64) -> Result<ObjectReader, CloudError> {
        // HTTP has no way to ask for nothing.
        let Some(last) = offset.checked_add(length).filter(|_| length > 0).map(|end| end - 1) else {
            return Ok(Box::new(tokio::io::empty()));
        };
        self.client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .if_match(format!("\"{etag}\""))
            .range(format!("bytes={offset}-{last}"))
            .send()
            .await
            .map(|object| -> ObjectReader { Box::new(object.body.into_async_read()) })
            .map_err(|e| CloudError::from_sdk("s3:GetObject", e))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, CloudError> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(head) => Ok(Some(info(head.content_length(), head.e_tag()))),
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
        let digest = decode_hex(sha256)
            .ok_or_else(|| CloudError::new("s3:PutObject", Kind::Rejected, "sha256 is not hexadecimal"))?;
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_length(length("s3:PutObject", bytes)?)
            .checksum_sha256(aws_smithy_types::base64::encode(digest))
            .presigned(presigning(valid)?)
            .await
            .map_err(|e| CloudError::from_sdk("s3:PutObject", e))?;
        Ok(upload_slot(&request))
    }

    async fn presign_new(&self, key: &str, bytes: u64, valid: Duration) -> Result<UploadSlot, CloudError> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_length(length("s3:PutObject", bytes)?)
            .if_none_match("*")
            .presigned(presigning(valid)?)
            .await
            .map(|request| upload_slot(&request))
            .map_err(|e| CloudError::from_sdk("s3:PutObject", e))
    }

    async fn create_multipart(&self, key: &str) -> Result<String, CloudError> {
        const CALL: &str = "s3:CreateMultipartUpload";
        let answer = self.client.create_multipart_upload().bucket(&self.bucket).key(key).send().await;
        let upload = answer.map_err(|e| CloudError::from_sdk(CALL, e))?;
        upload.upload_id.ok_or_else(|| CloudError::new(CALL, Kind::Rejected, "the answer names no upload"))
    }

    async fn presign_part(
        &self,
        key: &str,
        upload_id: &str,
        part: u32,
        bytes: u64,
        valid: Duration,
    ) -> Result<UploadSlot, CloudError> {
        const CALL: &str = "s3:UploadPart";
        let number = i32::try_from(part).map_err(|e| CloudError::new(CALL, Kind::Rejected, e))?;
        self.client
            .upload_part()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload_id)
            .part_number(number)
            .content_length(length(CALL, bytes)?)
            .presigned(presigning(valid)?)
            .await
            .map(|request| upload_slot(&request))
            .map_err(|e| CloudError::from_sdk(CALL, e))
    }

    async fn complete_multipart(&self, key: &str, upload_id: &str, etags: &[String]) -> Result<Completion, CloudError> {
        const CALL: &str = "s3:CompleteMultipartUpload";
        let part =
            |(number, etag): (i32, &String)| CompletedPart::builder().part_number(number).e_tag(etag.as_str()).build();
        let parts = (1..).zip(etags).map(part).collect();
        let patient = TimeoutConfig::builder().operation_attempt_timeout(COMPLETION_PATIENCE).build();
        let answer = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload_id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .customize()
            .config_override(aws_sdk_s3::Config::builder().timeout_config(patient))
            .send()
            .await;
        let error = match answer {
            Ok(_) => return Ok(Completion::Completed),
            Err(error) => error,
        };
        let code = error.as_service_error().and_then(|e| e.code()).unwrap_or_default();
        match code {
            "InvalidPart" | "InvalidPartOrder" | "EntityTooSmall" => {
                let said = error.as_service_error().and_then(|e| e.message()).unwrap_or("S3 does not say why");
                Ok(Completion::BadParts(format!("{code}: {said}")))
            }
            // An upload that was put together is no upload any more.
            "NoSuchUpload" => {
                Ok(if self.head(key).await?.is_some() { Completion::Completed } else { Completion::Gone })
            }
            _ => Err(CloudError::from_sdk(CALL, error)),
        }
    }

    async fn abort_multipart(&self, key: &str, upload_id: &str) -> Result<(), CloudError> {
        match self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload_id).send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(e)) if e.err().is_no_such_upload() => Ok(()),
            Err(e) => Err(CloudError::from_sdk("s3:AbortMultipartUpload", e)),
        }
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
    use crate::test_server::{ETAG, Server};
    use tokio::io::AsyncReadExt;

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

    fn error(code: &str) -> String {
        format!("<Error><Code>{code}</Code><Message>m</Message></Error>")
    }

    #[tokio::test]
    async fn a_range_is_asked_of_one_version_of_the_object() {
        let server = Server::answering(&[(206, "body")]).await;
        let mut text = String::new();
        objects(&server).get_range("k", "e-2", 1000, 4).await.unwrap().read_to_string(&mut text).await.unwrap();
        let head = &server.heads()[0];
        assert_eq!(text, "body");
        assert!(head.contains("range: bytes=1000-1003\r\n") && head.contains("if-match: \"e-2\"\r\n"), "{head}");
        for (status, code, kind) in [
            (412, "PreconditionFailed", Kind::Changed),
            (404, "NoSuchKey", Kind::NotFound),
            (503, "SlowDown", Kind::Unavailable),
            (416, "InvalidRange", Kind::Rejected),
        ] {
            let server = Server::answering(&[(status, &error(code))]).await;
            let failed = objects(&server).get_range("k", "e", 0, 1).await.err().unwrap();
            assert_eq!(failed.kind, kind, "{code}");
        }
        let server = Server::answering(&[]).await;
        assert_eq!(objects(&server).get_range("k", "e", 7, 0).await.unwrap().read(&mut [0; 9]).await.unwrap(), 0);
        assert_eq!(server.requests(), 0, "nothing is asked for in vain");
    }

    #[tokio::test]
    async fn a_head_tells_the_etag_without_its_quotes() {
        let server = Server::answering(&[(200, "12345")]).await;
        let info = objects(&server).head("k").await.unwrap().unwrap();
        assert_eq!(info, ObjectInfo { bytes: 5, etag: ETAG.to_owned() });
    }

    #[tokio::test]
    async fn places_for_parts_and_new_objects_are_bound_to_their_length() {
        let server = Server::answering(&[]).await;
        let objects = objects(&server);
        let hour = Duration::from_secs(3600);
        let header = |slot: &UploadSlot, name: &str| {
            slot.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        let new = objects.presign_new("k", 17, hour).await.unwrap();
        assert_eq!(header(&new, "content-length").as_deref(), Some("17"));
        assert_eq!(header(&new, "if-none-match").as_deref(), Some("*"));
        assert!(new.url.contains("X-Amz-SignedHeaders=content-length%3Bhost%3Bif-none-match"), "{}", new.url);
        let part = objects.presign_part("k", "u/1", 3, 18, hour).await.unwrap();
        assert_eq!(header(&part, "content-length").as_deref(), Some("18"));
        assert!(part.url.contains("partNumber=3") && part.url.contains("uploadId=u%2F1"), "{}", part.url);
        assert!(part.url.contains("X-Amz-SignedHeaders=content-length%3Bhost"), "{}", part.url);
    }

    #[tokio::test]
    async fn what_is_wrong_with_parts_is_the_callers_fault_and_what_is_there_is_complete() {
        let done = "<CompleteMultipartUploadResult><Key>k</Key></CompleteMultipartUploadResult>";
        let gone = error("NoSuchUpload");
        let complete = async |answers: &[(u16, &str)]| {
            let server = Server::answering(answers).await;
            objects(&server).complete_multipart("k", "u", &["a".into(), "b".into()]).await
        };
        assert_eq!(complete(&[(200, done)]).await.unwrap(), Completion::Completed);
        assert_eq!(complete(&[(404, &gone), (200, "")]).await.unwrap(), Completion::Completed);
        assert_eq!(complete(&[(404, &gone), (404, "")]).await.unwrap(), Completion::Gone);
        for code in ["InvalidPart", "InvalidPartOrder", "EntityTooSmall"] {
            assert_eq!(
                complete(&[(400, &error(code))]).await.unwrap(),
                Completion::BadParts(format!("{code}: m")),
                "{code}"
            );
        }
        // S3 sends its 200 before it has put the parts together.
        let late = complete(&[(200, &error("InternalError"))]).await.unwrap_err();
        assert_eq!(late.kind, Kind::Unavailable, "{late}");
        assert_eq!(complete(&[(403, &error("AccessDenied"))]).await.unwrap_err().kind, Kind::Denied);
    }

    #[tokio::test]
    async fn an_upload_in_parts_is_begun_and_given_up() {
        let begun = "<InitiateMultipartUploadResult><UploadId>u-1</UploadId></InitiateMultipartUploadResult>";
        let server = Server::answering(&[(200, begun), (204, ""), (404, &error("NoSuchUpload"))]).await;
        let objects = objects(&server);
        assert_eq!(objects.create_multipart("k").await.unwrap(), "u-1");
        objects.abort_multipart("k", "u-1").await.unwrap();
        objects.abort_multipart("k", "u-1").await.unwrap();
        assert_eq!(server.requests(), 3);
    }
}
