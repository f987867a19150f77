//! A file on its way to the storage: in one piece, or in parts, several at once. A part that is lost on the way is sent again, to a new
//! address when the old one is not good any more.

use crate::{
    api::Api,
    error::ClientError,
    transfer::{self, PAUSES},
};
use anyhow::{Context, bail, ensure};
use dunlin_contracts::prices::{PriceBatchAccepted, PriceBatchComplete, PriceBatchRequest, UploadPart};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, StatusCode, header};
use std::{
    fs::{self, Metadata},
    io::SeekFrom,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt},
    sync::RwLock,
};
use uuid::Uuid;

/// One connection seldom fills a line, and many share it no better than a few.
const AT_ONCE: usize = 4;

/// A file as it was when it was looked at.
pub struct Source {
    path: PathBuf,
    seen: Metadata,
}

impl Source {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let name = crate::text::clean(&path.to_string_lossy()).into_owned();
        let seen = fs::metadata(path).with_context(|| format!("{name} cannot be read"))?;
        ensure!(seen.is_file(), "{name} is not a file");
        ensure!(seen.len() > 0, "{name} is empty");
        Ok(Self { path: path.to_owned(), seen })
    }

    pub fn bytes(&self) -> u64 {
        self.seen.len()
    }

    /// The parts of a file that somebody writes to at the same time belong to different files.
    fn still_the_same(&self) -> bool {
        let now = fs::metadata(&self.path).ok();
        now.is_some_and(|now| now.len() == self.seen.len() && now.modified().ok() == self.seen.modified().ok())
    }
}

/// A batch that was accepted, and the words that it was asked for with.
pub struct Upload<'a> {
    api: &'a Api,
    http: Client,
    request: &'a PriceBatchRequest,
    key: String,
    places: RwLock<PriceBatchAccepted>,
    id: Uuid,
}

impl<'a> Upload<'a> {
    pub async fn begin(api: &'a Api, http: Client, request: &'a PriceBatchRequest) -> anyhow::Result<Self> {
        // Made up, so that a request whose answer was lost can be repeated without making a second batch.
        let key = Uuid::now_v7().to_string();
        let accepted = api.start_price_batch(request, &key).await.context("the batch was not accepted")?;
        ensure!(!accepted.parts.is_empty(), "the server gives no place to send the file to");
        Ok(Self { api, http, request, key, id: accepted.id, places: RwLock::new(accepted) })
    }

    pub fn id(&self) -> Uuid {
        self.id
    }

    pub async fn parts(&self) -> usize {
        self.places.read().await.parts.len()
    }

    /// Sends all of it. `sent` is told the bytes that are on their way; it may hear of fewer when a part begins anew.
    pub async fn send(
        &self,
        source: &Source,
        sent: impl Fn(u64) + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let (count, complete) = {
            let places = self.places.read().await;
            (places.parts.len(), places.complete)
        };
        let moved: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
        let part = |index: usize| {
            let (moved, sent) = (Arc::clone(&moved), sent.clone());
            self.send_part(source, index, move |bytes| {
                moved[index].store(bytes, Ordering::Relaxed);
                sent(moved.iter().map(|part| part.load(Ordering::Relaxed)).sum());
            })
        };
        let etags: Vec<String> = stream::iter((0..count).map(part)).buffered(AT_ONCE).try_collect().await?;
        ensure!(
            source.still_the_same(),
            "the file has changed while it was sent; what is in batch {} is not one version of it",
            self.id
        );
        if complete {
            let parts = PriceBatchComplete { etags };
            self.api.complete_price_batch(self.id, &parts).await.context("the parts could not be put together")?;
        }
        Ok(())
    }

    /// One part, until it is there; answers with its ETag.
    async fn send_part(
        &self,
        source: &Source,
        index: usize,
        sent: impl Fn(u64) + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<String> {
        for attempt in 0.. {
            let part = self.places.read().await.parts.get(index).cloned().context("the server has lost a part")?;
            let failure = match self.put(source, &part, sent.clone()).await? {
                Ok(etag) => return Ok(etag),
                // An attempt before arrived and only its answer was lost: a file of one piece is written once.
                Err(error) if attempt > 0 && transfer::status_of(&error) == Some(StatusCode::PRECONDITION_FAILED) => {
                    return Ok(String::new());
                }
                Err(error) => error,
            };
            match PAUSES.get(attempt) {
                Some(_) if has_expired(&failure) => self.renew(index, &part.url).await?,
                Some(pause) if failure.is_transient() => tokio::time::sleep(*pause).await,
                _ => return Err(anyhow::Error::new(failure).context("the file could not be sent")),
            }
        }
        bail!("the file could not be sent")
    }

    /// Gets new addresses, unless somebody was faster.
    async fn renew(&self, index: usize, refused: &str) -> anyhow::Result<()> {
        let mut places = self.places.write().await;
        if places.parts.get(index).is_some_and(|part| part.url != refused) {
            return Ok(());
        }
        let again = self.api.start_price_batch(self.request, &self.key).await.context("the batch was not accepted")?;
        ensure!(
            again.id == self.id && again.parts.len() == places.parts.len(),
            "the server takes the same request for another batch"
        );
        *places = again;
        Ok(())
    }

    async fn put(
        &self,
        source: &Source,
        part: &UploadPart,
        sent: impl Fn(u64) + Send + Sync + 'static,
    ) -> anyhow::Result<Result<String, ClientError>> {
        let unreadable = || format!("{} cannot be read", crate::text::clean(&source.path.to_string_lossy()));
        let mut file = tokio::fs::File::open(&source.path).await.with_context(unreadable)?;
        file.seek(SeekFrom::Start(part.offset)).await.with_context(unreadable)?;
        let url = transfer::upload_address(&part.url)?;
        let headers = transfer::headers(&part.headers, part.bytes)?;
        let answer = transfer::put_stream(&self.http, file.take(part.bytes), &url, headers, sent).await;
        Ok(answer.map(|response| {
            let etag = response.headers().get(header::ETAG).and_then(|value| value.to_str().ok());
            etag.unwrap_or_default().to_owned()
        }))
    }
}

/// A large file may take longer than its addresses are good for. S3 says 403 of an address whose time is over, and 400 of one whose
/// signer's time is (Amazon S3 API reference, "Error responses").
fn has_expired(error: &ClientError) -> bool {
    match error {
        ClientError::Unknown { status, excerpt, .. } => {
            *status == StatusCode::FORBIDDEN || excerpt.contains("ExpiredToken")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_somebody_writes_to_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "one").unwrap();
        let source = Source::open(&path).unwrap();
        assert!(source.bytes() == 3 && source.still_the_same());
        // As long as before, and a second later.
        fs::write(&path, "two").unwrap();
        let later = source.seen.modified().unwrap() + std::time::Duration::from_secs(1);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(!source.still_the_same());
        fs::remove_file(&path).unwrap();
        assert!(!source.still_the_same());
    }
}
