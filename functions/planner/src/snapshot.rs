//! Reads of a snapshot what a plan needs: the manifest, the list of files, and the owner's `.dunlin.toml`.

use crate::error::Error;
use dunlin_cloud::{ObjectReader, ObjectStore};
use dunlin_core::{
    keys,
    manifest::{SnapshotFile, SnapshotManifest},
    owner_config,
};
use std::io::{BufRead, BufReader, Read};
use tokio_util::io::SyncIoBridge;

pub async fn manifest(objects: &dyn ObjectStore, prefix: &str) -> Result<SnapshotManifest, Error> {
    let key = keys::snapshot_manifest(prefix);
    let bytes = objects.get(&key).await?.ok_or_else(|| Error::SnapshotUnreadable(format!("there is no {key}")))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::SnapshotUnreadable(format!("{key}: {e}")))
}

/// All files, ordered by path.
pub async fn files(objects: &dyn ObjectStore, prefix: &str) -> Result<Vec<SnapshotFile>, Error> {
    let key = keys::snapshot_files(prefix);
    let reader = open(objects, &key).await?;
    blocking(reader, move |reader| {
        let lines = BufReader::new(zstd::Decoder::new(reader)?).lines();
        lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<std::io::Result<Vec<SnapshotFile>>>()
    })
    .await
    .map_err(|e| Error::SnapshotUnreadable(format!("{key}: {e}")))
}

/// The text of `.dunlin.toml`. The archive is ordered by path, and dots come before letters: only its beginning is read.
pub async fn owner_config(
    objects: &dyn ObjectStore,
    prefix: &str,
    manifest: &SnapshotManifest,
) -> Result<String, Error> {
    let key = keys::snapshot_archive(prefix, &manifest.archive_sha256);
    let reader = open(objects, &key).await?;
    let found = blocking(reader, |reader| {
        let mut archive = tar::Archive::new(zstd::Decoder::new(reader)?);
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
    .await
    .map_err(|e| Error::SnapshotUnreadable(format!("{key}: {e}")))?;
    found.ok_or_else(|| Error::SnapshotUnreadable(format!("{key} lacks {}, which its list has", owner_config::PATH)))
}

async fn open(objects: &dyn ObjectStore, key: &str) -> Result<ObjectReader, Error> {
    match objects.get_stream(key).await? {
        Some((_, reader)) => Ok(reader),
        None => Err(Error::SnapshotUnreadable(format!("there is no {key}"))),
    }
}

/// Decompression is work for a thread of its own, not for the reactor.
async fn blocking<T, F>(reader: ObjectReader, read: F) -> std::io::Result<T>
where
    T: Send + 'static,
    F: FnOnce(SyncIoBridge<ObjectReader>) -> std::io::Result<T> + Send + 'static,
{
    let bridge = SyncIoBridge::new(reader);
    tokio::task::spawn_blocking(move || read(bridge)).await.map_err(std::io::Error::other)?
}
