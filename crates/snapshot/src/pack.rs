use crate::{Limits, SnapshotError, archive, language, path::shown};
use dunlin_core::manifest::{SkipReason, Skipped, SnapshotFile, SnapshotManifest};
use sha2::{Digest, Sha256};
use std::{
    collections::HashSet,
    io::{self, Read, Write},
};
use time::OffsetDateTime;

/// At most this many skipped paths are named in a manifest.
const SKIPPED_NAMED: usize = 1000;
const LEVEL: i32 = 3;

/// What [`Packer::finish`] leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// In order of path.
    pub files: Vec<SnapshotFile>,
    pub bytes: u64,
    pub archive_sha256: String,
    pub archive_bytes: u64,
    /// SHA-256 over (path, executable, sha256) of every file in order: the same files are the same digest, however and in
    /// whatever order they came.
    pub tree_digest: String,
    pub skipped: Vec<Skipped>,
    pub skipped_total: u64,
}

impl Packed {
    pub fn manifest(&self, revision: &str, committed_at: OffsetDateTime) -> SnapshotManifest {
        SnapshotManifest {
            version: 1,
            revision: revision.to_owned(),
            committed_at,
            archive_sha256: self.archive_sha256.clone(),
            archive_bytes: self.archive_bytes,
            files: self.files.len() as u64,
            bytes: self.bytes,
            skipped: self.skipped.clone(),
            skipped_total: self.skipped_total,
        }
    }
}

/// Writes a `tar.zst` that depends on nothing but the files: no times, no owners, mode 0644 or 0755, order of path.
pub struct Packer<W: Write> {
    tar: tar::Builder<zstd::Encoder<'static, Hashing<W>>>,
    limits: Limits,
    files: Vec<SnapshotFile>,
    bytes: u64,
    tree: Sha256,
    /// Lower-case forms of what was kept.
    folded: HashSet<String>,
    /// Every path that was kept, to notice one that is also a folder.
    kept: HashSet<String>,
    skipped: Vec<Skipped>,
    skipped_total: u64,
}

impl<W: Write> Packer<W> {
    pub fn new(out: W, limits: Limits) -> Result<Self, SnapshotError> {
        let mut encoder = zstd::Encoder::new(Hashing::new(out), LEVEL).map_err(SnapshotError::Write)?;
        encoder.include_checksum(true).map_err(SnapshotError::Write)?;
        Ok(Self {
            tar: tar::Builder::new(encoder),
            limits,
            files: Vec::new(),
            bytes: 0,
            tree: Sha256::new(),
            folded: HashSet::new(),
            kept: HashSet::new(),
            skipped: Vec::new(),
            skipped_total: 0,
        })
    }

    /// Notes a path that is left out.
    pub fn skip(&mut self, path: &[u8], reason: SkipReason) {
        self.skipped_total += 1;
        if self.skipped.len() < SKIPPED_NAMED {
            self.skipped.push(Skipped { path: shown(path), reason });
        }
    }

    /// Adds a file of exactly `size` bytes. `path` is clean (see [`crate::check_path`]) and greater than the one before it.
    pub fn add(&mut self, path: &str, executable: bool, size: u64, mut data: impl Read) -> Result<(), SnapshotError> {
        if size > self.limits.file_bytes {
            self.skip(path.as_bytes(), SkipReason::TooLarge);
            return Ok(());
        }
        self.check_place(path)?;
        if !self.folded.insert(path.to_lowercase()) {
            self.skip(path.as_bytes(), SkipReason::CaseCollision);
            return Ok(());
        }
        let mut start = Vec::new();
        if size < LFS_POINTER_BYTES {
            (&mut data).take(LFS_POINTER_BYTES).read_to_end(&mut start).map_err(SnapshotError::Write)?;
            if start.len() as u64 == size && is_lfs_pointer(&start) {
                self.skip(path.as_bytes(), SkipReason::LfsPointer);
                return Ok(());
            }
        }
        let data = start.as_slice().chain(data);
        if self.files.len() as u64 >= self.limits.files {
            return Err(SnapshotError::TooManyFiles { limit: self.limits.files });
        }
        self.bytes += size;
        if self.bytes > self.limits.total_bytes {
            return Err(SnapshotError::TooManyBytes { limit: self.limits.total_bytes });
        }

        let mut header = archive::file_header(size, executable);
        let mut source = Exactly { inner: data, left: size, hash: Sha256::new() };
        if let Err(error) = self.tar.append_data(&mut header, path, &mut source) {
            return Err(match error.kind() {
                io::ErrorKind::UnexpectedEof => SnapshotError::Changed { path: path.to_owned() },
                _ => SnapshotError::Write(error),
            });
        }
        let sha256 = source.finish().map_err(|()| SnapshotError::Changed { path: path.to_owned() })?;
        self.tree.update((path.len() as u64).to_be_bytes());
        self.tree.update(path.as_bytes());
        self.tree.update([u8::from(executable)]);
        self.tree.update(sha256.as_bytes());
        self.kept.insert(path.to_owned());
        let language = language(path).map(str::to_owned);
        self.files.push(SnapshotFile { path: path.to_owned(), size, sha256, language });
        Ok(())
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

    /// Ends the archive and gives back where it was written to.
    pub fn finish(self) -> Result<(Packed, W), SnapshotError> {
        let encoder = self.tar.into_inner().map_err(SnapshotError::Write)?;
        let hashing = encoder.finish().map_err(SnapshotError::Write)?;
        let packed = Packed {
            files: self.files,
            bytes: self.bytes,
            archive_sha256: hex::encode(hashing.hash.finalize()),
            archive_bytes: hashing.bytes,
            tree_digest: hex::encode(self.tree.finalize()),
            skipped: self.skipped,
            skipped_total: self.skipped_total,
        };
        Ok((packed, hashing.inner))
    }
}

/// Pointer files are shorter (Git LFS specification, "The Pointer").
const LFS_POINTER_BYTES: u64 = 1024;

/// The first line is the version, the last ones are the digest and the size.
fn is_lfs_pointer(data: &[u8]) -> bool {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let of_lfs = |version: &str| {
        ["https://git-lfs.github.com/spec/", "https://hawser.github.com/spec/"].iter().any(|v| version.starts_with(v))
    };
    text.strip_prefix("version ").is_some_and(of_lfs) && text.lines().any(|line| line.starts_with("oid sha256:"))
}

/// Hashes and counts what is written.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hash.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Gives exactly as many bytes as the header says, or fails: a tar with a wrong size would be read wrongly from there on.
struct Exactly<R> {
    inner: R,
    left: u64,
    hash: Sha256,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buf.is_empty() {
            return Ok(0);
        }
        let most = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.inner.read(&mut buf[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.hash.update(&buf[..n]);
        self.left -= n as u64;
        Ok(n)
    }
}

impl<R: Read> Exactly<R> {
    /// The digest, unless the source has more to give.
    fn finish(mut self) -> Result<String, ()> {
        match self.inner.read(&mut [0]) {
            Ok(0) => Ok(hex::encode(self.hash.finalize())),
            _ => Err(()),
        }
    }
}
