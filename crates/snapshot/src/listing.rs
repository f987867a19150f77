//! Which files are in a snapshot: the rules that packing an archive and scanning in place share.

use crate::{Limits, SnapshotError, language, path::shown};
use dunlin_core::manifest::{SkipReason, Skipped, SnapshotFile};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// At most this many skipped paths are named in a manifest, those of files that hide code before all others.
const SKIPPED_NAMED: usize = 1000;

/// What [`Listing::finish`] leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// In order of path.
    pub files: Vec<SnapshotFile>,
    pub bytes: u64,
    /// SHA-256 over (path, executable, sha256) of every file in order: the same files are the same digest, however and in
    /// whatever order they came.
    pub tree_digest: String,
    pub skipped: Vec<Skipped>,
    pub skipped_total: u64,
}

pub struct Listing {
    limits: Limits,
    files: Vec<SnapshotFile>,
    bytes: u64,
    path_bytes: u64,
    tree: Sha256,
    /// Lower-case forms of what was kept.
    folded: HashSet<String>,
    /// Every path that was kept, to notice one that is also a folder.
    kept: HashSet<String>,
    skipped: Vec<Skipped>,
    skipped_total: u64,
}

impl Listing {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            files: Vec::new(),
            bytes: 0,
            path_bytes: 0,
            tree: Sha256::new(),
            folded: HashSet::new(),
            kept: HashSet::new(),
            skipped: Vec::new(),
            skipped_total: 0,
        }
    }

    /// Notes a path that is left out.
    pub fn skip(&mut self, path: &[u8], reason: SkipReason) {
        self.skipped_total += 1;
        if self.skipped.len() == SKIPPED_NAMED {
            // Whether findings are closed hangs on these, and on no other.
            if !reason.hides_code() {
                return;
            }
            let Some(other) = self.skipped.iter().rposition(|named| !named.reason.hides_code()) else { return };
            self.skipped.remove(other);
        }
        self.skipped.push(Skipped { path: shown(path), reason });
    }

    /// Whether a file of `size` bytes gets in; when not, it is noted as skipped. `path` is clean (see [`crate::check_path`])
    /// and greater than the one before it; `lfs_pointer` is what [`is_lfs_pointer`] says. What gets in is then added.
    pub fn admit(&mut self, path: &str, size: u64, lfs_pointer: bool) -> Result<bool, SnapshotError> {
        if size > self.limits.file_bytes {
            self.skip(path.as_bytes(), SkipReason::TooLarge);
            return Ok(false);
        }
        // Also of those that are left out for their case: their lower-case forms are kept.
        self.path_bytes += path.len() as u64;
        if self.path_bytes > self.limits.path_bytes {
            return Err(SnapshotError::TooManyPathBytes { limit: self.limits.path_bytes });
        }
        self.check_place(path)?;
        if !self.folded.insert(path.to_lowercase()) {
            self.skip(path.as_bytes(), SkipReason::CaseCollision);
            return Ok(false);
        }
        if lfs_pointer {
            self.skip(path.as_bytes(), SkipReason::LfsPointer);
            return Ok(false);
        }
        if self.files.len() as u64 >= self.limits.files {
            return Err(SnapshotError::TooManyFiles { limit: self.limits.files });
        }
        self.bytes += size;
        if self.bytes > self.limits.total_bytes {
            return Err(SnapshotError::TooManyBytes { limit: self.limits.total_bytes });
        }
        Ok(true)
    }

    /// Adds a file that [`Listing::admit`] let in. `sha256` is hexadecimal.
    pub fn add(&mut self, path: &str, executable: bool, size: u64, sha256: String) {
        self.tree.update((path.len() as u64).to_be_bytes());
        self.tree.update(path.as_bytes());
        self.tree.update([u8::from(executable)]);
        self.tree.update(sha256.as_bytes());
        self.kept.insert(path.to_owned());
        let language = language(path).map(str::to_owned);
        self.files.push(SnapshotFile { path: path.to_owned(), size, sha256, language });
    }

    /// Honest sources cannot name a path twice, or as a file and a folder; a forged tree or archive can.
    fn check_place(&self, path: &str) -> Result<(), SnapshotError> {
        if self.kept.contains(path) {
            return Err(SnapshotError::Duplicate { path: path.to_owned() });
        }
        let parent = path.match_indices('/').map(|(at, _)| &path[..at]).find(|parent| self.kept.contains(*parent));
        if let Some(parent) = parent {
            return Err(SnapshotError::FileAndFolder { path: parent.to_owned() });
        }
        if self.files.last().is_some_and(|last| last.path.as_str() > path) {
            return Err(SnapshotError::UnsafePath { path: path.to_owned(), why: "it is out of order" });
        }
        Ok(())
    }

    pub fn finish(self) -> Listed {
        Listed {
            files: self.files,
            bytes: self.bytes,
            tree_digest: hex::encode(self.tree.finalize()),
            skipped: self.skipped,
            skipped_total: self.skipped_total,
        }
    }
}

/// Pointer files are shorter (Git LFS specification, "The Pointer").
pub(crate) const LFS_POINTER_BYTES: u64 = 1024;

/// The first line is the version, the last ones are the digest and the size.
pub fn is_lfs_pointer(data: &[u8]) -> bool {
    if data.len() as u64 >= LFS_POINTER_BYTES {
        return false;
    }
    let text = std::str::from_utf8(data).unwrap_or_default();
    let of_lfs = |version: &str| {
        ["https://git-lfs.github.com/spec/", "https://hawser.github.com/spec/"].iter().any(|v| version.starts_with(v))
    };
    text.strip_prefix("version ").is_some_and(of_lfs) && text.lines().any(|line| line.starts_with("oid sha256:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hide_code_are_named_before_all_others() {
        let mut listing = Listing::new(Limits::default());
        for n in 0..SKIPPED_NAMED {
            listing.skip(format!("links/{n}").as_bytes(), SkipReason::Symlink);
        }
        listing.skip(b"large.sql", SkipReason::TooLarge);
        listing.skip(b"one-more-link", SkipReason::Symlink);
        let listed = listing.finish();
        assert_eq!((listed.skipped.len(), listed.skipped_total), (SKIPPED_NAMED, SKIPPED_NAMED as u64 + 2));
        assert_eq!(listed.skipped.last().map(|path| path.path.as_str()), Some("large.sql"));

        let mut listing = Listing::new(Limits::default());
        for n in 0..=SKIPPED_NAMED {
            listing.skip(format!("{n}.sql").as_bytes(), SkipReason::TooLarge);
        }
        let listed = listing.finish();
        assert!(listed.skipped.iter().all(|path| path.reason.hides_code()));
        assert_eq!((listed.skipped.len(), listed.skipped_total), (SKIPPED_NAMED, SKIPPED_NAMED as u64 + 1));
    }
}
