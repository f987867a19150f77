//! Reads of a snapshot what a plan needs: the manifest, the list of files, and the owner's `.dunlin.toml`.

use crate::error::Error;
use dunlin_cloud::{CloudError, Kind, ObjectReader, ObjectStore};
use dunlin_core::{
    keys,
    manifest::{SnapshotFile, SnapshotManifest},
    owner_config,
};
use std::io::Read;
use tokio_util::io::SyncIoBridge;

pub async fn manifest(objects: &dyn ObjectStore, prefix: &str) -> Result<SnapshotManifest, Error> {
    let key = keys::snapshot_manifest(prefix);
    let bytes = objects.get(&key).await?.ok_or_else(|| Error::SnapshotUnreadable(format!("there is no {key}")))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::SnapshotUnreadable(format!("{key}: {e}")))
}

/// All files, ordered by path.
pub async fn files(objects: &dyn ObjectStore, prefix: &str) -> Result<Vec<SnapshotFile>, Error> {
    let key = keys::snapshot_files(prefix);
    read(objects, &key, |source| {
        let lines = dunlin_snapshot::read_files_list(source, dunlin_snapshot::Limits::default().files)?;
        Ok(lines.collect::<Result<_, _>>()?)
    })
    .await
}

/// The text of `.dunlin.toml`. The archive is ordered by path, and dots come before letters: only its beginning is read.
pub async fn owner_config(
    objects: &dyn ObjectStore,
    prefix: &str,
    manifest: &SnapshotManifest,
) -> Result<String, Error> {
    let key = keys::snapshot_archive(prefix, &manifest.archive_sha256);
    let found = read(objects, &key, |source| {
        let mut archive = tar::Archive::new(zstd::Decoder::new(source)?);
        for entry in archive.entries()? {
            let entry = entry?;
            if *entry.path_bytes() == *owner_config::PATH.as_bytes() {
                // One byte more than allowed, so that a file that is too long is seen to be.
                let mut text = Vec::new();
                entry.take(owner_config::MAX_BYTES as u64 + 1).read_to_end(&mut text)?;
                return Ok(Some(String::from_utf8_lossy(&text).into_owned()));
            }
        }
        Ok(None)
    })
    .await?;
    found.ok_or_else(|| Error::SnapshotUnreadable(format!("{key} lacks {}, which its list has", owner_config::PATH)))
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Reads an object on a thread of its own: decompression is no work for the reactor. An object that is not what it should be will be
/// the same the next time; a stream that broke off is storage's fault, whatever the reader made of it.
async fn read<T, F>(objects: &dyn ObjectStore, key: &str, read: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce(&mut Source) -> Result<T, Cause> + Send + 'static,
{
    let Some((_, reader)) = objects.get_stream(key).await? else {
        return Err(Error::SnapshotUnreadable(format!("there is no {key}")));
    };
    let mut source = Source { inner: SyncIoBridge::new(reader), failed: None };
    let unreadable = |what: &dyn std::fmt::Display| Error::SnapshotUnreadable(format!("{key}: {what}"));
    let (result, failed) = tokio::task::spawn_blocking(move || (read(&mut source), source.failed))
        .await
        .map_err(|panicked| unreadable(&panicked))?;
    match failed {
        Some(what) => Err(Error::Storage(CloudError::new("s3:GetObject", Kind::Unavailable, what))),
        None => result.map_err(|what| unreadable(&what)),
    }
}

/// Remembers an error of the stream itself, which decompressors and archives pass on as their own.
struct Source {
    inner: SyncIoBridge<ObjectReader>,
    failed: Option<String>,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer);
        if let Err(error) = &read
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            self.failed = Some(error.to_string());
        }
        read
    }
}
