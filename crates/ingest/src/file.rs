//! The batch's file, as it was announced and not as somebody has made it since.

use crate::Error;
use bytes::Bytes;
use dunlin_cloud::{CloudError, ObjectStore};
use dunlin_contracts::prices::PriceBatchMessage;
use dunlin_prices::{ChunkReader, Length};
use std::{
    io::{self, BufReader, Read},
    sync::Arc,
};
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

    fn open(&self, offset: u64, length: u64) -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
        self.runtime
            .block_on(self.objects.get_range(&self.key, &self.etag, offset, length))
            .map_err(|error: CloudError| io::Error::other(error))
    }
}

impl Length for Pieces {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Pieces {
    type T = BufReader<Blocking>;

    fn get_read(&self, start: u64) -> dunlin_prices::ParquetResult<Self::T> {
        let reader = self.open(start, self.bytes.saturating_sub(start))?;
        Ok(BufReader::new(Blocking { reader, runtime: self.runtime.clone() }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> dunlin_prices::ParquetResult<Bytes> {
        let reader = self.open(start, length as u64)?;
        let mut bytes = Vec::with_capacity(length);
        Blocking { reader, runtime: self.runtime.clone() }.take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(bytes.into())
    }
}

/// Reads with a thread that waits.
pub struct Blocking {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    runtime: Handle,
}

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(self.reader.read(buffer))
    }
}
