//! Fakes with state, for unit tests: they keep what was written and can be told to fail.

use crate::{
    BatchJobs, CloudError, Completion, Kind, ObjectInfo, ObjectReader, ObjectStore, PutOutcome, Queue, Secrets,
    StartOutcome, UploadSlot, WorkflowState, Workflows,
};
use async_trait::async_trait;
use bytes::Bytes;
use dunlin_contracts::plan::PresignedPut;
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher},
    path::Path,
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes with the content.
fn etag(body: &[u8]) -> String {
    let mut hash = DefaultHasher::new();
    hash.write(body);
    format!("{:016x}", hash.finish())
}

fn info(body: &Bytes) -> ObjectInfo {
    ObjectInfo { bytes: body.len() as u64, etag: etag(body) }
}

/// Objects in a map.
#[derive(Default)]
pub struct MemoryObjects {
    objects: Mutex<BTreeMap<String, Bytes>>,
    /// Parts by the id of their upload.
    uploads: Mutex<BTreeMap<String, BTreeMap<u32, Bytes>>>,
    begun: AtomicUsize,
    /// Calls to refuse: any key that begins with this prefix answers [`Kind::Unavailable`].
    unavailable: Mutex<Option<String>>,
    /// Keys whose streams break off in the middle, and how many of them.
    broken: Mutex<Option<(String, usize)>>,
    /// Keys that answer [`Kind::Denied`].
    denied: Mutex<Option<String>>,
}

impl MemoryObjects {
    pub fn make_unavailable(&self, prefix: Option<&str>) {
        *lock(&self.unavailable) = prefix.map(str::to_owned);
    }
    pub fn break_streams(&self, prefix: Option<&str>) {
        *lock(&self.broken) = prefix.map(|prefix| (prefix.to_owned(), usize::MAX));
    }
    pub fn break_next_streams(&self, prefix: &str, streams: usize) {
        *lock(&self.broken) = Some((prefix.to_owned(), streams));
    }
    pub fn deny(&self, prefix: Option<&str>) {
        *lock(&self.denied) = prefix.map(str::to_owned);
    }
    pub fn keys(&self) -> Vec<String> {
        lock(&self.objects).keys().cloned().collect()
    }
    pub fn remove(&self, key: &str) {
        lock(&self.objects).remove(key);
    }
    /// What a client's PUT of a part does; answers with the part's ETag.
    pub fn send_part(&self, upload_id: &str, part: u32, body: impl Into<Bytes>) -> String {
        let body = body.into();
        let etag = etag(&body);
        lock(&self.uploads).entry(upload_id.to_owned()).or_default().insert(part, body);
        etag
    }
    /// Ids of uploads that are neither complete nor given up.
    pub fn uploads(&self) -> Vec<String> {
        lock(&self.uploads).keys().cloned().collect()
    }
    fn check(&self, call: &'static str, key: &str) -> Result<(), CloudError> {
        let is = |prefix: &Mutex<Option<String>>| lock(prefix).as_deref().is_some_and(|prefix| key.starts_with(prefix));
        if is(&self.unavailable) {
            return Err(CloudError::new(call, Kind::Unavailable, "made unavailable"));
        }
        if is(&self.denied) {
            return Err(CloudError::new(call, Kind::Denied, "denied"));
        }
        Ok(())
    }
    fn reader(&self, key: &str, body: Bytes) -> ObjectReader {
        let breaks = match &mut *lock(&self.broken) {
            Some((prefix, left)) if key.starts_with(prefix.as_str()) && *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        };
        if breaks {
            Box::new(std::io::Cursor::new(body.slice(..body.len() / 2)).chain(Broken))
        } else {
            Box::new(std::io::Cursor::new(body))
        }
    }
}

/// The rest of a stream whose connection was lost.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(std::io::Error::other("connection reset by peer")))
    }
}

#[async_trait]
impl ObjectStore for MemoryObjects {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, CloudError> {
        self.check("s3:GetObject", key)?;
        Ok(lock(&self.objects).get(key).cloned())
    }
    async fn get_stream(&self, key: &str) -> Result<Option<(ObjectInfo, ObjectReader)>, CloudError> {
        Ok(self.get(key).await?.map(|body| (info(&body), self.reader(key, body))))
    }
    async fn get_range(&self, key: &str, expected: &str, offset: u64, length: u64) -> Result<ObjectReader, CloudError> {
        const CALL: &str = "s3:GetObject";
        let Some(body) = self.get(key).await? else {
            return Err(CloudError::new(CALL, Kind::NotFound, "404 NoSuchKey"));
        };
        if etag(&body) != expected {
            return Err(CloudError::new(CALL, Kind::Changed, "412 PreconditionFailed"));
        }
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(body.len());
        if length > 0 && at(offset) == body.len() {
            return Err(CloudError::new(CALL, Kind::Rejected, "416 InvalidRange"));
        }
        Ok(self.reader(key, body.slice(at(offset)..at(offset.saturating_add(length)))))
    }
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, CloudError> {
        self.check("s3:HeadObject", key)?;
        Ok(lock(&self.objects).get(key).map(info))
    }
    async fn put(&self, key: &str, body: Bytes, _content_type: &str) -> Result<(), CloudError> {
        self.check("s3:PutObject", key)?;
        lock(&self.objects).insert(key.to_owned(), body);
        Ok(())
    }
    async fn put_new(&self, key: &str, body: Bytes, _content_type: &str) -> Result<PutOutcome, CloudError> {
        self.check("s3:PutObject", key)?;
        let mut objects = lock(&self.objects);
        if objects.contains_key(key) {
            return Ok(PutOutcome::Exists);
        }
        objects.insert(key.to_owned(), body);
        Ok(PutOutcome::Created)
    }
    async fn put_file(&self, key: &str, path: &Path, content_type: &str) -> Result<(), CloudError> {
        let body = tokio::fs::read(path).await.map_err(|e| CloudError::new("s3:PutObject", Kind::Rejected, e))?;
        self.put(key, body.into(), content_type).await
    }
    async fn presign_get(&self, key: &str, _valid: Duration) -> Result<String, CloudError> {
        Ok(format!("memory://get/{key}"))
    }
    async fn presign_put(&self, key: &str, only_new: bool, _valid: Duration) -> Result<PresignedPut, CloudError> {
        let headers = if only_new { vec![("if-none-match".to_owned(), "*".to_owned())] } else { Vec::new() };
        Ok(PresignedPut { url: format!("memory://put/{key}"), headers })
    }
    async fn presign_upload(&self, key: &str, bytes: u64, sha256: &str, _: Duration) -> Result<UploadSlot, CloudError> {
        Ok(UploadSlot {
            url: format!("memory://put/{key}"),
            headers: vec![
                ("content-length".into(), bytes.to_string()),
                ("x-amz-checksum-sha256".into(), sha256.into()),
            ],
        })
    }
    async fn presign_new(&self, key: &str, bytes: u64, _valid: Duration) -> Result<UploadSlot, CloudError> {
        Ok(UploadSlot {
            url: format!("memory://put/{key}"),
            headers: vec![("content-length".into(), bytes.to_string()), ("if-none-match".into(), "*".into())],
        })
    }
    async fn create_multipart(&self, key: &str) -> Result<String, CloudError> {
        self.check("s3:CreateMultipartUpload", key)?;
        let id = format!("upload-{}", self.begun.fetch_add(1, Ordering::SeqCst));
        lock(&self.uploads).insert(id.clone(), BTreeMap::new());
        Ok(id)
    }
    async fn presign_part(
        &self,
        key: &str,
        upload_id: &str,
        part: u32,
        bytes: u64,
        _valid: Duration,
    ) -> Result<UploadSlot, CloudError> {
        Ok(UploadSlot {
            url: format!("memory://put/{key}?uploadId={upload_id}&partNumber={part}"),
            headers: vec![("content-length".into(), bytes.to_string())],
        })
    }
    async fn complete_multipart(&self, key: &str, upload_id: &str, etags: &[String]) -> Result<Completion, CloudError> {
        self.check("s3:CompleteMultipartUpload", key)?;
        let mut uploads = lock(&self.uploads);
        let Some(parts) = uploads.get(upload_id) else {
            let there = lock(&self.objects).contains_key(key);
            return Ok(if there { Completion::Completed } else { Completion::Gone });
        };
        let mut whole = Vec::new();
        for (number, expected) in (1..).zip(etags) {
            match parts.get(&number).filter(|body| etag(body) == *expected) {
                Some(body) => whole.extend_from_slice(body),
                None => return Ok(Completion::BadParts(format!("InvalidPart: part {number}"))),
            }
        }
        uploads.remove(upload_id);
        lock(&self.objects).insert(key.to_owned(), whole.into());
        Ok(Completion::Completed)
    }
    async fn abort_multipart(&self, key: &str, upload_id: &str) -> Result<(), CloudError> {
        self.check("s3:AbortMultipartUpload", key)?;
        lock(&self.uploads).remove(upload_id);
        Ok(())
    }
}

/// Messages in a list.
#[derive(Default)]
pub struct MemoryQueue {
    sent: Mutex<Vec<String>>,
}

impl MemoryQueue {
    pub fn sent(&self) -> Vec<String> {
        lock(&self.sent).clone()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn send(&self, body: &str, _group: &str, _trace_id: &str) -> Result<(), CloudError> {
        lock(&self.sent).push(body.to_owned());
        Ok(())
    }
}

/// Executions by name.
#[derive(Default)]
pub struct MemoryWorkflows {
    executions: Mutex<BTreeMap<String, (WorkflowState, String)>>,
    unavailable: Mutex<bool>,
}

impl MemoryWorkflows {
    pub fn executions(&self) -> Vec<(String, WorkflowState)> {
        lock(&self.executions).iter().map(|(name, (state, _))| (name.clone(), *state)).collect()
    }
    pub fn end(&self, name: &str) {
        if let Some(entry) = lock(&self.executions).get_mut(name) {
            entry.0 = WorkflowState::Ended;
        }
    }
    pub fn make_unavailable(&self, unavailable: bool) {
        *lock(&self.unavailable) = unavailable;
    }
}

#[async_trait]
impl Workflows for MemoryWorkflows {
    async fn start(&self, name: &str, input: &str) -> Result<StartOutcome, CloudError> {
        if *lock(&self.unavailable) {
            return Err(CloudError::new("states:StartExecution", Kind::Unavailable, "made unavailable"));
        }
        let mut executions = lock(&self.executions);
        if executions.contains_key(name) {
            return Ok(StartOutcome::AlreadyExists);
        }
        executions.insert(name.to_owned(), (WorkflowState::Running, input.to_owned()));
        Ok(StartOutcome::Started)
    }
    async fn state(&self, name: &str) -> Result<Option<WorkflowState>, CloudError> {
        Ok(lock(&self.executions).get(name).map(|(state, _)| *state))
    }
    async fn stop(&self, name: &str, _cause: &str) -> Result<(), CloudError> {
        self.end(name);
        Ok(())
    }
}

/// Names of Batch jobs that run.
#[derive(Default)]
pub struct MemoryBatchJobs {
    running: Mutex<Vec<String>>,
}

impl MemoryBatchJobs {
    pub fn run(&self, name: &str) {
        lock(&self.running).push(name.to_owned());
    }
    pub fn running(&self) -> Vec<String> {
        lock(&self.running).clone()
    }
}

#[async_trait]
impl BatchJobs for MemoryBatchJobs {
    async fn terminate_all(&self, prefix: &str, _reason: &str) -> Result<usize, CloudError> {
        let mut running = lock(&self.running);
        let before = running.len();
        running.retain(|name| !name.starts_with(prefix));
        Ok(before - running.len())
    }
}

/// Secrets in a map.
#[derive(Default)]
pub struct MemorySecrets {
    secrets: Mutex<BTreeMap<String, String>>,
    denied: AtomicBool,
}

impl MemorySecrets {
    /// As with a role that lacks the permission.
    pub fn deny(&self) {
        self.denied.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Secrets for MemorySecrets {
    async fn get(&self, name: &str) -> Result<Option<String>, CloudError> {
        if self.denied.load(Ordering::Relaxed) {
            return Err(CloudError::new("GetSecretValue", Kind::Denied, "denied"));
        }
        Ok(lock(&self.secrets).get(name).cloned())
    }
    async fn put(&self, name: &str, value: &str) -> Result<(), CloudError> {
        lock(&self.secrets).insert(name.to_owned(), value.to_owned());
        Ok(())
    }
    async fn delete(&self, name: &str) -> Result<(), CloudError> {
        lock(&self.secrets).remove(name);
        Ok(())
    }
}
