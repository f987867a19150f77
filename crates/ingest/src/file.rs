//! The batch's file, as it was announced and not as somebody has made it since.

use crate::Error;
use dunlin_cloud::ObjectStore;
use dunlin_contracts::prices::PriceBatchMessage;
use tokio::io::{AsyncRead, AsyncReadExt};

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
