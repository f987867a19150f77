//! A bucket in a folder: several processes see the same objects.

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_cloud::{CloudError, Completion, Kind, ObjectInfo, ObjectReader, ObjectStore, PutOutcome, UploadSlot};
use dunlin_contracts::plan::PresignedPut;
use std::{
    fs,
    io::{self, Cursor, ErrorKind, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, ReadBuf};

pub struct FileObjects {
    pub folder: PathBuf,
    /// A range gives this many bytes and then nothing any more, and does not end either.
    pub stalls_after: Option<usize>,
}

struct Never;

impl AsyncRead for Never {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl FileObjects {
    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(key.replace('/', "|"))
    }

    fn read(&self, key: &str) -> Option<Bytes> {
        there(key, fs::read(self.path(key))).map(Bytes::from)
    }

    fn info(&self, key: &str) -> Option<ObjectInfo> {
        let status = there(key, fs::metadata(self.path(key)))?;
        Some(ObjectInfo {
            bytes: status.len(),
            etag: format!("{}-{}-{}", status.ino(), status.mtime(), status.mtime_nsec()),
        })
    }

    /// All of it at once, as in S3: whoever dies in the middle leaves nothing under the key.
    fn write(&self, key: &str, body: &[u8]) {
        let new = self.folder.join(format!("new-{}", std::process::id()));
        fs::write(&new, body).unwrap();
        fs::rename(new, self.path(key)).unwrap();
    }
}

fn there<T>(key: &str, result: io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{key}: {error}");
            None
        }
    }
}

fn not_here<T>(call: &'static str) -> Result<T, CloudError> {
    Err(CloudError::new(call, Kind::Rejected, "not in a folder"))
}

#[async_trait]
impl ObjectStore for FileObjects {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, CloudError> {
        Ok(self.read(key))
    }
    async fn get_stream(&self, key: &str) -> Result<Option<(ObjectInfo, ObjectReader)>, CloudError> {
        let body = self.read(key).zip(self.info(key));
        Ok(body.map(|(body, info)| (info, Box::new(Cursor::new(body)) as ObjectReader)))
    }
    async fn get_range(&self, key: &str, etag: &str, offset: u64, length: u64) -> Result<ObjectReader, CloudError> {
        const CALL: &str = "s3:GetObject";
        let info = self.info(key).ok_or_else(|| CloudError::new(CALL, Kind::NotFound, "404 NoSuchKey"))?;
        if info.etag != etag {
            return Err(CloudError::new(CALL, Kind::Changed, "412 PreconditionFailed"));
        }
        let mut file = tokio::fs::File::open(self.path(key)).await.unwrap();
        file.set_max_buf_size(256 * 1024);
        file.seek(SeekFrom::Start(offset)).await.unwrap();
        Ok(match self.stalls_after {
            Some(bytes) => Box::new(file.take(length.min(bytes as u64)).chain(Never)),
            None => Box::new(file.take(length)),
        })
    }
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, CloudError> {
        Ok(self.info(key))
    }
    async fn put(&self, key: &str, body: Bytes, _: &str) -> Result<(), CloudError> {
        self.write(key, &body);
        Ok(())
    }
    async fn put_new(&self, _: &str, _: Bytes, _: &str) -> Result<PutOutcome, CloudError> {
        not_here("s3:PutObject")
    }
    async fn put_file(&self, key: &str, path: &Path, _: &str) -> Result<(), CloudError> {
        self.write(key, &fs::read(path).unwrap());
        Ok(())
    }
    async fn presign_get(&self, _: &str, _: Duration) -> Result<String, CloudError> {
        not_here("presign")
    }
    async fn presign_put(&self, _: &str, _: bool, _: Duration) -> Result<PresignedPut, CloudError> {
        not_here("presign")
    }
    async fn presign_upload(&self, _: &str, _: u64, _: &str, _: Duration) -> Result<UploadSlot, CloudError> {
        not_here("presign")
    }
    async fn presign_new(&self, _: &str, _: u64, _: Duration) -> Result<UploadSlot, CloudError> {
        not_here("presign")
    }
    async fn create_multipart(&self, _: &str) -> Result<String, CloudError> {
        not_here("s3:CreateMultipartUpload")
    }
    async fn presign_part(&self, _: &str, _: &str, _: u32, _: u64, _: Duration) -> Result<UploadSlot, CloudError> {
        not_here("presign")
    }
    async fn complete_multipart(&self, _: &str, _: &str, _: &[String]) -> Result<Completion, CloudError> {
        not_here("s3:CompleteMultipartUpload")
    }
    async fn abort_multipart(&self, _: &str, _: &str) -> Result<(), CloudError> {
        not_here("s3:AbortMultipartUpload")
    }
}
