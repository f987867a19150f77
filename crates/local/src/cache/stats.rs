//! Digests of files that have not changed since they were read, by what the file system says of them. As git's index does it:
//! a file is the same when size, times and inode are, and when it was old enough to be told apart from a later change.

use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const MAGIC: &[u8; 16] = b"dunlin files 1\n\0";

/// A file may change again within one tick of the file system's clock and keep its times. Ticks of the kernel are 10 ms at
/// most.
const TICK: Duration = Duration::from_millis(50);
/// Of file systems that keep whole seconds, FAT's two included.
const COARSE_TICK: Duration = Duration::from_millis(2_100);

/// What the file system says of a file. The time of change cannot be set by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    size: u64,
    inode: u64,
    /// Nanoseconds since 1970.
    modified: i64,
    changed: i64,
    mode: u32,
}

impl Stamp {
    pub fn of(about: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            size: about.size(),
            inode: about.ino() ^ about.dev().rotate_left(32),
            modified: nanoseconds(about.mtime(), about.mtime_nsec()),
            changed: nanoseconds(about.ctime(), about.ctime_nsec()),
            mode: about.mode(),
        }
    }

    /// Of an object of git, which never changes.
    pub fn of_object(size: u64) -> Self {
        Self { size, inode: 0, modified: 0, changed: 0, mode: 0 }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether a change after `read_at` would have other times.
    fn is_settled(&self, read_at: SystemTime) -> bool {
        let coarse = self.changed % 1_000_000_000 == 0;
        let tick = if coarse { COARSE_TICK } else { TICK };
        let read_at = read_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let latest = i64::try_from(read_at.saturating_sub(tick).as_nanos()).unwrap_or(0);
        self.changed < latest && self.modified < latest
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub stamp: Stamp,
    pub sha256: [u8; 32],
}

/// Digests by path.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stats(HashMap<String, Entry>);

impl Stats {
    /// What `file` holds; nothing when it cannot be used, for then every file is read again.
    pub fn load(file: &Path) -> Self {
        std::fs::read(file).ok().and_then(|bytes| Self::decode(&bytes)).unwrap_or_default()
    }

    pub fn get(&self, path: &str, stamp: &Stamp) -> Option<[u8; 32]> {
        self.0.get(path).filter(|entry| entry.stamp == *stamp).map(|entry| entry.sha256)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What is kept under a name that always means the same.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }

    /// Notes a file that had `stamp` when it was read at `read_at`, unless a later change could go unseen.
    pub fn note(&mut self, path: &str, stamp: Stamp, read_at: SystemTime, sha256: [u8; 32]) {
        if stamp.is_settled(read_at) {
            self.0.insert(path.to_owned(), Entry { stamp, sha256 });
        }
    }

    /// Takes over what [`Stats::get`] of an earlier scan said.
    pub fn keep(&mut self, path: &str, stamp: Stamp, sha256: [u8; 32]) {
        self.0.insert(path.to_owned(), Entry { stamp, sha256 });
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.0.len() * 120);
        for (path, Entry { stamp, sha256 }) in &self.0 {
            let Ok(length) = u16::try_from(path.len()) else { continue };
            body.extend_from_slice(&length.to_le_bytes());
            body.extend_from_slice(path.as_bytes());
            body.extend_from_slice(&stamp.size.to_le_bytes());
            body.extend_from_slice(&stamp.inode.to_le_bytes());
            body.extend_from_slice(&stamp.modified.to_le_bytes());
            body.extend_from_slice(&stamp.changed.to_le_bytes());
            body.extend_from_slice(&stamp.mode.to_le_bytes());
            body.extend_from_slice(sha256);
        }
        let mut all = MAGIC.to_vec();
        all.extend_from_slice(&Sha256::digest(&body));
        all.extend_from_slice(&body);
        all
    }

    /// A wrong digest here would be a wrong result later, so all of it is checked.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (digest, mut body) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
        if Sha256::digest(body).as_slice() != digest {
            return None;
        }
        let mut all = HashMap::with_capacity(body.len() / 110);
        while !body.is_empty() {
            let (length, rest) = body.split_first_chunk()?;
            let (path, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            let (size, rest) = rest.split_first_chunk()?;
            let (inode, rest) = rest.split_first_chunk()?;
            let (modified, rest) = rest.split_first_chunk()?;
            let (changed, rest) = rest.split_first_chunk()?;
            let (mode, rest) = rest.split_first_chunk()?;
            let (sha256, rest) = rest.split_first_chunk::<32>()?;
            let stamp = Stamp {
                size: u64::from_le_bytes(*size),
                inode: u64::from_le_bytes(*inode),
                modified: i64::from_le_bytes(*modified),
                changed: i64::from_le_bytes(*changed),
                mode: u32::from_le_bytes(*mode),
            };
            all.insert(String::from_utf8(path.to_vec()).ok()?, Entry { stamp, sha256: *sha256 });
            body = rest;
        }
        Some(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn stamp(changed: i64) -> Stamp {
        Stamp { size: 5, inode: 7, modified: changed, changed, mode: 0o100_644 }
    }

    fn at(nanoseconds: i64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(nanoseconds.unsigned_abs())
    }

    #[test]
    fn what_is_kept_comes_back_and_damage_is_noticed() {
        let mut stats = Stats::default();
        stats.note("a/ü\n.py", stamp(100 * SECOND + 1), at(200 * SECOND), [9; 32]);
        stats.note("b", stamp(101 * SECOND + 1), at(200 * SECOND), [8; 32]);
        let bytes = stats.encode();
        assert_eq!(Stats::decode(&bytes).unwrap(), stats);
        for n in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[n] ^= 1;
            assert_eq!(Stats::decode(&damaged), None, "byte {n}");
            assert_eq!(Stats::decode(&bytes[..n]), None, "cut at {n}");
        }
    }

    #[test]
    fn any_difference_is_another_file() {
        let mut stats = Stats::default();
        let known = stamp(100 * SECOND + 1);
        stats.note("a", known, at(200 * SECOND), [9; 32]);
        assert_eq!(stats.get("a", &known), Some([9; 32]));
        for other in [
            Stamp { size: 6, ..known },
            Stamp { inode: 8, ..known },
            Stamp { modified: 3, ..known },
            Stamp { changed: 3, ..known },
            Stamp { mode: 0o100_755, ..known },
        ] {
            assert_eq!(stats.get("a", &other), None);
        }
        assert_eq!(stats.get("b", &known), None);
    }

    #[test]
    fn a_file_that_was_just_written_is_read_again_next_time() {
        let noted = |changed: i64, read_at: i64| {
            let mut stats = Stats::default();
            stats.note("a", stamp(changed), at(read_at), [9; 32]);
            stats.get("a", &stamp(changed)).is_some()
        };
        let fine = 100 * SECOND + 5;
        assert!(!noted(fine, fine));
        assert!(!noted(fine, fine + 40_000_000));
        assert!(noted(fine, fine + 60_000_000));
        assert!(!noted(fine, fine - SECOND), "from the future");
        assert!(!noted(100 * SECOND, 102 * SECOND), "a clock of whole seconds");
        assert!(noted(100 * SECOND, 103 * SECOND));
    }
}
