use crate::{Limits, Listed, Listing, SnapshotError, archive};
use dunlin_core::manifest::{SkipReason, Skipped, SnapshotFile, SnapshotManifest};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use time::OffsetDateTime;

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
            packed_at: OffsetDateTime::now_utc(),
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
    listing: Listing,
}

impl<W: Write> Packer<W> {
    pub fn new(out: W, limits: Limits) -> Result<Self, SnapshotError> {
        let mut encoder = zstd::Encoder::new(Hashing::new(out), LEVEL).map_err(SnapshotError::Write)?;
        encoder.include_checksum(true).map_err(SnapshotError::Write)?;
        Ok(Self { tar: tar::Builder::new(encoder), listing: Listing::new(limits) })
    }

    /// Notes a path that is left out.
    pub fn skip(&mut self, path: &[u8], reason: SkipReason) {
        self.listing.skip(path, reason);
    }

    /// Adds a file of exactly `size` bytes. `path` is clean (see [`crate::check_path`]) and greater than the one before it.
    pub fn add(&mut self, path: &str, executable: bool, size: u64, data: impl Read) -> Result<(), SnapshotError> {
        if !self.listing.admit(path, size)? {
            return Ok(());
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
        self.listing.add(path, executable, size, sha256);
        Ok(())
    }

    /// Ends the archive and gives back where it was written to.
    pub fn finish(self) -> Result<(Packed, W), SnapshotError> {
        let encoder = self.tar.into_inner().map_err(SnapshotError::Write)?;
        let hashing = encoder.finish().map_err(SnapshotError::Write)?;
        let Listed { files, bytes, tree_digest, skipped, skipped_total } = self.listing.finish();
        let packed = Packed {
            files,
            bytes,
            archive_sha256: hex::encode(hashing.hash.finalize()),
            archive_bytes: hashing.bytes,
            tree_digest,
            skipped,
            skipped_total,
        };
        Ok((packed, hashing.inner))
    }
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
