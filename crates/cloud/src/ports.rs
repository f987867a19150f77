use crate::CloudError;
use async_trait::async_trait;
use bytes::Bytes;
use dunlin_contracts::plan::PresignedPut;
use std::{path::Path, time::Duration};
use tokio::io::AsyncRead;

/// A stream of an object's bytes.
pub type ObjectReader = Box<dyn AsyncRead + Send + Unpin>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    pub bytes: u64,
    /// Without quotes. Another content has another one.
    pub etag: String,
}

/// Answer of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    Created,
    /// Somebody was first; nothing was written.
    Exists,
}

/// What came of putting the parts of an upload together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// The object is there, by this call or by one before it.
    Completed,
    /// The parts are not those that were sent, or are too small: what S3 says about them.
    BadParts(String),
    /// S3 knows neither the upload nor the object: it was given up, or nobody ended it in time.
    Gone,
}

/// Where a client may send an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSlot {
    pub url: String,
    pub headers: Vec<(String, String)>,
}

/// The data bucket. Keys are made by [`dunlin_core::keys`].
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// The whole object, or none. For small objects.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, CloudError>;
    async fn get_stream(&self, key: &str) -> Result<Option<(ObjectInfo, ObjectReader)>, CloudError>;
    /// `length` bytes from `offset`, or what there is of them, of the object with this ETag (without quotes). Another object under
    /// the key is [`Kind::Changed`](crate::Kind::Changed), none is [`Kind::NotFound`](crate::Kind::NotFound).
    async fn get_range(&self, key: &str, etag: &str, offset: u64, length: u64) -> Result<ObjectReader, CloudError>;
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, CloudError>;
    async fn put(&self, key: &str, body: Bytes, content_type: &str) -> Result<(), CloudError>;
    /// Writes only when the key is free.
    async fn put_new(&self, key: &str, body: Bytes, content_type: &str) -> Result<PutOutcome, CloudError>;
    async fn put_file(&self, key: &str, path: &Path, content_type: &str) -> Result<(), CloudError>;
    async fn presign_get(&self, key: &str, valid: Duration) -> Result<String, CloudError>;
    /// A PUT for one writer; with `only_new`, S3 answers 412 when the key is taken.
    async fn presign_put(&self, key: &str, only_new: bool, valid: Duration) -> Result<PresignedPut, CloudError>;
    /// A PUT for a caller's upload: exactly `bytes` long, with exactly this SHA-256 (hexadecimal).
    async fn presign_upload(
        &self,
        key: &str,
        bytes: u64,
        sha256: &str,
        valid: Duration,
    ) -> Result<UploadSlot, CloudError>;
    /// A PUT of exactly `bytes` for whoever comes first: S3 answers 412 when the key is taken.
    async fn presign_new(&self, key: &str, bytes: u64, valid: Duration) -> Result<UploadSlot, CloudError>;
    /// Begins an upload in parts; answers with its id.
    async fn create_multipart(&self, key: &str) -> Result<String, CloudError>;
    /// A PUT for one part, numbered from 1: exactly `bytes` long. Sent twice, the second one counts.
    async fn presign_part(
        &self,
        key: &str,
        upload_id: &str,
        part: u32,
        bytes: u64,
        valid: Duration,
    ) -> Result<UploadSlot, CloudError>;
    /// Makes one object of parts 1, 2, 3... with these ETags (without quotes).
    async fn complete_multipart(&self, key: &str, upload_id: &str, etags: &[String]) -> Result<Completion, CloudError>;
    /// Giving up what is not there is no error.
    async fn abort_multipart(&self, key: &str, upload_id: &str) -> Result<(), CloudError>;
}

/// One queue.
#[async_trait]
pub trait Queue: Send + Sync {
    /// `group` makes the queue fair: one group's backlog does not delay another's (SQS, "Amazon SQS fair queues").
    async fn send(&self, body: &str, group: &str, trace_id: &str) -> Result<(), CloudError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartOutcome {
    Started,
    /// An execution of that name exists: the message was delivered before.
    AlreadyExists,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkflowState {
    Running,
    Ended,
}

/// Executions of the scan state machine, by name.
#[async_trait]
pub trait Workflows: Send + Sync {
    async fn start(&self, name: &str, input: &str) -> Result<StartOutcome, CloudError>;
    /// None: no execution has that name (yet).
    async fn state(&self, name: &str) -> Result<Option<WorkflowState>, CloudError>;
    /// Stopping what has ended or never was is no error.
    async fn stop(&self, name: &str, cause: &str) -> Result<(), CloudError>;
}

/// Batch jobs, by the beginning of their names.
#[async_trait]
pub trait BatchJobs: Send + Sync {
    /// Terminates every job that has not ended and whose name begins with `prefix`; says how many there were.
    async fn terminate_all(&self, prefix: &str, reason: &str) -> Result<usize, CloudError>;
}

#[async_trait]
pub trait Secrets: Send + Sync {
    async fn get(&self, name: &str) -> Result<Option<String>, CloudError>;
    async fn put(&self, name: &str, value: &str) -> Result<(), CloudError>;
    /// Deleting what is not there is no error.
    async fn delete(&self, name: &str) -> Result<(), CloudError>;
}
