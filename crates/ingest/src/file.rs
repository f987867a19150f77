//! The batch's file, as it was announced and not as somebody has made it since.

use crate::Error;
use bytes::Bytes;
use dunlin_cloud::{CloudError, ObjectStore};
use dunlin_contracts::prices::PriceBatchMessage;
use dunlin_prices::ReadAt;
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    runtime::Handle,
};

const CHUNK: usize = 256 * 1024;

/// Bytes as they come, in pieces.
pub struct Chunks {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    buffer: Vec<u8>,
}

impl Chunks {
    pub async fn open(
        objects: &dyn ObjectStore,
        batch: &PriceBatchMessage,
        offset: u64,
        length: u64,
    ) -> Result<Self, Error> {
        let reader: Box<dyn AsyncRead + Send + Unpin> = if length == 0 {
            Box::new(tokio::io::empty())
        } else {
            objects.get_range(&batch.key, &batch.etag, offset, length).await?
        };
        Ok(Self { reader, buffer: Vec::with_capacity(CHUNK) })
    }

    /// The next piece; none at the end.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.buffer.clear();
        // Small reads would mean small work: a piece is filled first.
        while self.buffer.len() < CHUNK {
            let room = (CHUNK - self.buffer.len()) as u64;
            let read = (&mut self.reader).take(room).read_buf(&mut self.buffer).await.map_err(Error::StorageStream)?;
            if read == 0 {
                break;
            }
        }
        Ok(if self.buffer.is_empty() { None } else { Some(&self.buffer) })
    }
}

/// The file for a reader that jumps about in it, as Parquet's does. Its calls block: not for a thread of the runtime.
#[derive(Clone)]
pub struct Pieces {
    objects: Arc<dyn ObjectStore>,
    runtime: Handle,
    key: String,
    etag: String,
    bytes: u64,
}

impl Pieces {
    pub fn of(objects: &Arc<dyn ObjectStore>, batch: &PriceBatchMessage) -> Self {
        Self {
            objects: objects.clone(),
            runtime: Handle::current(),
            key: batch.key.clone(),
            etag: batch.etag.clone(),
            bytes: batch.bytes,
        }
    }
}

impl ReadAt for Pieces {
    fn length(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.runtime.block_on(async {
            let range = self.objects.get_range(&self.key, &self.etag, offset, length as u64).await;
            let mut bytes = Vec::with_capacity(length);
            range.map_err(io::Error::other)?.take(length as u64).read_to_end(&mut bytes).await?;
            Ok(bytes.into())
        })
    }
}

/// What a reader of [`Pieces`] could not have.
pub fn not_had(error: io::Error) -> Error {
    match error.downcast::<CloudError>() {
        Ok(error) => error.into(),
        Err(error) => Error::StorageStream(error),
    }
}

/// Does `work`, which may wait for [`Pieces`], on a thread of its own.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|stopped| Error::StorageStream(io::Error::other(stopped)))
}
