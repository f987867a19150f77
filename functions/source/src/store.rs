//! Snapshots in S3. The manifest is written last and never twice: with it a snapshot exists, without it it does not.

use crate::{Context, Error};
use bytes::Bytes;
use dunlin_cloud::PutOutcome;
use dunlin_contracts::steps::{ScanMessage, SnapshotRef};
use dunlin_core::{keys, manifest::SnapshotManifest};
use dunlin_snapshot::{Packed, write_files_list};
use std::path::Path;
use time::OffsetDateTime;

/// Where one revision's snapshot is, and on which line of history the scan sees it.
pub(crate) struct Place {
    pub(crate) prefix: String,
    pub(crate) revision: String,
    pub(crate) track: String,
}

impl Place {
    pub(crate) fn new(scan: &ScanMessage, revision: String, track: String) -> Self {
        Self { prefix: keys::snapshot_prefix(&scan.tenant, scan.repository_id, &revision), revision, track }
    }

    /// The snapshot that is there already.
    pub(crate) async fn existing(&self, context: &Context) -> Result<Option<SnapshotRef>, Error> {
        let Some(body) = context.objects.get(&keys::snapshot_manifest(&self.prefix)).await? else { return Ok(None) };
        let manifest: SnapshotManifest = serde_json::from_slice(&body)
            .map_err(|_| Error::Unavailable("the stored snapshot of this revision is damaged".into()))?;
        Ok(Some(self.reference(&manifest, true)))
    }

    /// Writes the snapshot; when somebody else was first, theirs is the answer.
    pub(crate) async fn write(
        &self,
        context: &Context,
        packed: &Packed,
        archive: &Path,
        committed_at: OffsetDateTime,
    ) -> Result<SnapshotRef, Error> {
        let manifest = packed.manifest(&self.revision, committed_at);
        let list = write_files_list(&packed.files).map_err(Error::in_repository)?;
        let text = serde_json::to_vec(&manifest).map_err(|e| Error::BadInput(e.to_string()))?;
        let objects = &context.objects;
        objects.put_file(&keys::snapshot_archive(&self.prefix), archive, "application/zstd").await?;
        objects.put(&keys::snapshot_files(&self.prefix), Bytes::from(list), "application/zstd").await?;
        let key = keys::snapshot_manifest(&self.prefix);
        match objects.put_new(&key, Bytes::from(text), "application/json").await? {
            PutOutcome::Created => Ok(self.reference(&manifest, false)),
            PutOutcome::Exists => {
                let existing = self.existing(context).await?;
                existing.ok_or_else(|| Error::Unavailable("the snapshot was deleted while it was written".into()))
            }
        }
    }

    fn reference(&self, manifest: &SnapshotManifest, reused: bool) -> SnapshotRef {
        SnapshotRef {
            prefix: self.prefix.clone(),
            revision: self.revision.clone(),
            track: self.track.clone(),
            committed_at: manifest.committed_at,
            files: manifest.files,
            bytes: manifest.bytes,
            reused,
        }
    }
}
