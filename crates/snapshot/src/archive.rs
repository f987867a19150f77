//! Tar, read block by block. An own reader, because it must see three things that the usual ones hide: where the archive
//! ends (a cut one is damaged, not short), the raw bytes of names, and the length of extension records before they are in
//! memory.

use crate::{SnapshotError, path::shown};
use std::io::{self, Read};

const BLOCK: u64 = 512;
/// A name, link target or extension record that is longer belongs to nobody honest.
const MAX_EXTENSION: u64 = 64 << 10;

/// A terabyte. A header has room for 16 exabytes, and sums of sizes must not overflow.
const MAX_SIZE: u64 = 1 << 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File {
        executable: bool,
    },
    Folder,
    Symlink,
    HardLink,
    /// Devices, pipes, sparse files and whatever else there may be.
    Special,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    pub(crate) size: u64,
}

/// The header of a file in a snapshot.
pub(crate) fn file_header(size: u64, executable: bool) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

pub(crate) struct Reader<R> {
    inner: R,
    /// Bytes of the current entry that were not read, with its padding.
    left: u64,
    padding: u64,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, left: 0, padding: 0 }
    }

    /// The next entry, or none at the archive's end mark. What was not read of the entry before is passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, SnapshotError> {
        let mut long_path: Option<Vec<u8>> = None;
        loop {
            self.pass_over(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);

            let mut block = [0; BLOCK as usize];
            self.inner.read_exact(&mut block).map_err(SnapshotError::from_read)?;
            if block.iter().all(|b| *b == 0) {
                return Ok(None);
            }
            let header = tar::Header::from_byte_slice(&block);
            check_sum(&block, header)?;
            let size = header.entry_size().map_err(|_| damaged("a size is not a number"))?;
            if size > MAX_SIZE {
                return Err(damaged("a file is larger than any disk"));
            }
            self.left = size;
            self.padding = (BLOCK - size % BLOCK) % BLOCK;

            let kind = header.entry_type();
            if kind.is_gnu_longname() {
                let mut name = self.extension()?;
                while name.last() == Some(&0) {
                    name.pop();
                }
                long_path = Some(name);
                continue;
            }
            if kind.is_gnu_longlink() {
                self.extension()?;
                continue;
            }
            if kind.is_pax_global_extensions() {
                // Git writes the commit's id there. A name for all that follows is for readers that differ from each other.
                if pax_path(&self.extension()?)?.is_some() {
                    return Err(damaged("a global header gives every file one name"));
                }
                continue;
            }
            if kind.is_pax_local_extensions() {
                let record = self.extension()?;
                long_path = pax_path(&record)?.or(long_path);
                continue;
            }
            if kind.is_gnu_sparse() {
                return Err(damaged("it has sparse files"));
            }

            let path = long_path.unwrap_or_else(|| header.path_bytes().into_owned());
            let kind = match kind {
                // Before there was a type for folders, they were files whose name ends in a slash.
                k if (k.is_file() || k.is_contiguous()) && path.last() == Some(&b'/') => EntryKind::Folder,
                k if k.is_file() || k.is_contiguous() => {
                    EntryKind::File { executable: header.mode().is_ok_and(|mode| mode & 0o100 != 0) }
                }
                k if k.is_dir() => EntryKind::Folder,
                k if k.is_symlink() => EntryKind::Symlink,
                k if k.is_hard_link() => EntryKind::HardLink,
                _ => EntryKind::Special,
            };
            return Ok(Some(Entry { path, kind, size }));
        }
    }

    /// The bytes of the current entry.
    pub(crate) fn body(&mut self) -> Body<'_, R> {
        Body { reader: self }
    }

    /// Reads on to the end of the stream, so that the checksums at its end are verified. `Ok(false)`: something other than
    /// padding follows the archive.
    pub(crate) fn drain(mut self) -> Result<bool, SnapshotError> {
        let mut buffer = vec![0; 64 << 10];
        let mut only_padding = true;
        loop {
            match self.inner.read(&mut buffer).map_err(SnapshotError::from_read)? {
                0 => return Ok(only_padding),
                n => only_padding &= buffer[..n].iter().all(|b| *b == 0),
            }
        }
    }

    fn extension(&mut self) -> Result<Vec<u8>, SnapshotError> {
        if self.left > MAX_EXTENSION {
            return Err(damaged("a name is too long"));
        }
        let mut bytes = Vec::new();
        self.body().read_to_end(&mut bytes).map_err(SnapshotError::from_read)?;
        Ok(bytes)
    }

    fn pass_over(&mut self, bytes: u64) -> Result<(), SnapshotError> {
        let passed = io::copy(&mut (&mut self.inner).take(bytes), &mut io::sink()).map_err(SnapshotError::from_read)?;
        if passed == bytes { Ok(()) } else { Err(SnapshotError::Truncated) }
    }
}

/// Fails when the archive ends before the entry does.
pub(crate) struct Body<'a, R> {
    reader: &'a mut Reader<R>,
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(usize::try_from(self.reader.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let n = self.reader.inner.read(&mut buf[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.reader.left -= n as u64;
        Ok(n)
    }
}

pub(crate) fn damaged(what: &str) -> SnapshotError {
    SnapshotError::Damaged { what: what.to_owned() }
}

/// The sum of all bytes, those of the checksum itself counted as spaces (POSIX.1-2024, ustar).
fn check_sum(block: &[u8; BLOCK as usize], header: &tar::Header) -> Result<(), SnapshotError> {
    let sum: u32 = block[..148].iter().chain(&[b' '; 8]).chain(&block[156..]).map(|b| u32::from(*b)).sum();
    match header.cksum() {
        Ok(expected) if expected == sum => Ok(()),
        _ => Err(damaged("a header has a wrong checksum")),
    }
}

/// The `path` of an extended header. Records are `<length> <key>=<value>\n`, and the length counts all of it, so that a
/// value may hold line ends.
fn pax_path(mut rest: &[u8]) -> Result<Option<Vec<u8>>, SnapshotError> {
    let bad = || damaged("an extended header cannot be read");
    let mut path = None;
    while !rest.is_empty() {
        let space = rest.iter().position(|b| *b == b' ').ok_or_else(bad)?;
        let length: usize = std::str::from_utf8(&rest[..space]).ok().and_then(|n| n.parse().ok()).ok_or_else(bad)?;
        let record = rest.get(space + 1..length).ok_or_else(bad)?;
        let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => path = Some(value.to_vec()),
            // Only files of 8 GiB and more need it, and a size that contradicts the header hides entries from some readers.
            b"size" => return Err(damaged("a file is larger than 8 GiB, or pretends to be")),
            key if key.starts_with(b"GNU.sparse.") => return Err(damaged("it has sparse files")),
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(path)
}

/// For errors.
impl Entry {
    pub(crate) fn shown(&self) -> String {
        shown(&self.path)
    }
}
