//! The batch's file, as it was announced and not as somebody has made it since.

use crate::Error;
use bytes::Bytes;
use dunlin_cloud::{CloudError, ObjectStore};
use dunlin_contracts::prices::PriceBatchMessage;
use dunlin_prices::ReadAt;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    runtime::Handle,
    time::sleep,
};

const CHUNK: usize = 256 * 1024;
/// How often one piece may break off.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Bytes as they come, in pieces. A file is read for as long as its rows take, so a connection that is lost on the way is made anew
/// where it ended.
pub struct Chunks<'a> {
    objects: &'a dyn ObjectStore,
    batch: &'a PriceBatchMessage,
    /// What was not read yet.
    offset: u64,
    left: u64,
    reader: Option<Box<dyn AsyncRead + Send + Unpin>>,
    buffer: Vec<u8>,
}

impl<'a> Chunks<'a> {
    pub fn new(objects: &'a dyn ObjectStore, batch: &'a PriceBatchMessage, offset: u64, length: u64) -> Self {
        Self { objects, batch, offset, left: length, reader: None, buffer: Vec::with_capacity(CHUNK) }
    }

    /// The next piece; none at the end.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.buffer.clear();
        let (mut tries, mut pause) = (1, FIRST_PAUSE);
        // Small reads would mean small work: a piece is filled first.
        while self.buffer.len() < CHUNK && self.left > 0 {
            let mut reader = match self.reader.take() {
                Some(reader) => reader,
                None => self.objects.get_range(&self.batch.key, &self.batch.etag, self.offset, self.left).await?,
            };
            let room = (CHUNK - self.buffer.len()) as u64;
            match (&mut reader).take(room).read_buf(&mut self.buffer).await {
                Ok(read) if read > 0 => {
                    self.offset += read as u64;
                    self.left = self.left.saturating_sub(read as u64);
                    self.reader = Some(reader);
                }
                broken => {
                    let error = broken.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    if tries == TRIES {
                        return Err(Error::StorageStream(error));
                    }
                    tracing::warn!(%error, offset = self.offset, "the file broke off and is read on");
                    sleep(pause).await;
                    (tries, pause) = (tries + 1, pause * 2);
                }
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
