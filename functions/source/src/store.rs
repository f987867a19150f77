//! Snapshots in S3. The manifest is written last and never twice: with it a snapshot exists, without it it does not.

use crate::{Context, Error};
use bytes::Bytes;
use dunlin_cloud::PutOutcome;
use dunlin_contracts::steps::{ScanMessage, SnapshotRef};
use dunlin_core::{keys, manifest::SnapshotManifest};
use dunlin_snapshot::{Packed, write_files_list};
use std::path::Path;
use time::{Duration, OffsetDateTime};

/// S3 deletes a snapshot after [`keys::SNAPSHOT_DAYS`], its archive perhaps a day before its manifest; and a scan that begins to
/// use it needs it for some hours.
const REUSED_FOR: Duration = Duration::days(keys::SNAPSHOT_DAYS - 2);

/// Where one revision's snapshot is, and on which line of history the scan sees it.
pub(crate) struct Place {
    pub(crate) prefix: String,
    pub(crate) revision: String,
    pub(crate) track: String,
    pub(crate) resolved_at: OffsetDateTime,
}

impl Place {
    pub(crate) fn new(scan: &ScanMessage, revision: String, track: String, resolved_at: OffsetDateTime) -> Self {
        let prefix = keys::snapshot_prefix(&scan.tenant, scan.repository_id, &revision);
        Self { prefix, revision, track, resolved_at }
    }

    /// The snapshot that is there already, and will be there when the last job asks for it.
    pub(crate) async fn existing(&self, context: &Context) -> Result<Option<SnapshotRef>, Error> {
        let Some(body) = context.objects.get(&keys::snapshot_manifest(&self.prefix)).await? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_slice::<SnapshotManifest>(&body) else {
            tracing::warn!(
                snapshot.prefix = self.prefix,
                "the snapshot's manifest is not readable here: it is made anew"
            );
            return Ok(None);
        };
        let age = OffsetDateTime::now_utc() - manifest.packed_at;
        Ok((age < REUSED_FOR).then(|| self.reference(&manifest, true)))
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
        objects
            .put_file(&keys::snapshot_archive(&self.prefix, &manifest.archive_sha256), archive, "application/zstd")
            .await?;
        objects.put(&keys::snapshot_files(&self.prefix), Bytes::from(list), "application/zstd").await?;
        let key = keys::snapshot_manifest(&self.prefix);
        let text = Bytes::from(text);
        if objects.put_new(&key, text.clone(), "application/json").await? == PutOutcome::Exists {
            if let Some(existing) = self.existing(context).await? {
                return Ok(existing);
            }
            // Too old to be reused, or deleted just now: this one takes its place.
            objects.put(&key, text, "application/json").await?;
        }
        Ok(self.reference(&manifest, false))
    }

    fn reference(&self, manifest: &SnapshotManifest, reused: bool) -> SnapshotRef {
        SnapshotRef {
            prefix: self.prefix.clone(),
            revision: self.revision.clone(),
            track: self.track.clone(),
            committed_at: manifest.committed_at,
            resolved_at: self.resolved_at,
            files: manifest.files,
            bytes: manifest.bytes,
            reused,
        }
    }
}
