//! What is in a snapshot, and what is in a job's result.

use crate::{ResultKey, job::JobOutcome};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// `manifest.json` of a snapshot; written after everything else of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotManifest {
    pub version: u32,
    /// Commit id, or tree digest of an upload; hexadecimal.
    pub revision: String,
    /// The committer's date; for an upload, when its first scan was accepted. For people: it orders nothing, since clocks of
    /// authors are wrong at times and rebased commits keep old dates.
    #[serde(with = "time::serde::rfc3339")]
    pub committed_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub packed_at: OffsetDateTime,
    /// Of the archive, hexadecimal; it is part of its key.
    pub archive_sha256: String,
    pub archive_bytes: u64,
    pub files: u64,
    /// Sum of the sizes of all files.
    pub bytes: u64,
    /// What was left out, with the reason; at most 1,000 entries, and `skipped_total` says how many there were.
    pub skipped: Vec<Skipped>,
    pub skipped_total: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Bytes that are not UTF-8 are replaced.
    pub path: String,
    pub reason: SkipReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    Symlink,
    Submodule,
    HardLink,
    SpecialFile,
    NotUtf8,
    TooLarge,
    /// Below more folders than are kept.
    TooDeep,
    CaseCollision,
    /// Inside a `.git` folder.
    GitInternals,
    /// Git LFS keeps the file elsewhere; here is only a note of where.
    LfsPointer,
}

impl SkipReason {
    /// There is code behind the path, and nobody has read it: what was found in it before is not gone.
    pub const fn hides_code(self) -> bool {
        match self {
            Self::TooLarge | Self::TooDeep | Self::CaseCollision | Self::LfsPointer => true,
            // Links, folders and devices are not scanned, and no finding names a path that is no text.
            Self::Symlink
            | Self::Submodule
            | Self::HardLink
            | Self::SpecialFile
            | Self::NotUtf8
            | Self::GitInternals => false,
        }
    }
}

/// A line of `files.ndjson.zst`, ordered by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    pub path: String,
    pub size: u64,
    /// Hexadecimal.
    pub sha256: String,
    /// By name, as in GitHub's linguist: `Python`, `JavaScript`, `HCL`, `YAML`, `Dockerfile` ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// First line of a job's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultManifest {
    pub version: u32,
    pub result_key: ResultKey,
    pub engine: String,
    pub engine_version: String,
    /// [`JobOutcome::Assessed`] or [`JobOutcome::PartlyAssessed`]: other outcomes are not stored.
    pub outcome: JobOutcome,
    /// Why files were left out, when they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Files the job was given.
    pub files: u64,
    pub findings: u64,
    pub exit_code: i32,
    pub duration_ms: u64,
    /// Of all the engine's processes together, the most that was seen.
    pub peak_memory_bytes: u64,
    /// Of the raw report before compression, hexadecimal.
    pub report_sha256: String,
    pub report_bytes: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
}

/// A line of `result.ndjson.zst`: one manifest, then the rules that were used, then the findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultLine {
    Manifest(ResultManifest),
    Rule(crate::finding::Rule),
    Finding(crate::finding::Finding),
}
