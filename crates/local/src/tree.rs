//! The files of a folder as they are now, by the rules of snapshots.

use crate::{
    cache::{Stamp, Stats},
    copy::{Folder, in_parallel},
    error::Error,
};
use dunlin_core::{
    manifest::{SkipReason, SnapshotFile},
    owner_config,
};
use dunlin_snapshot::{
    Found, Limits, Listed, Listing, SnapshotError, clean_paths, is_executable, is_lfs_pointer, look_at, read_file,
};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::SystemTime,
};
use tokio_util::sync::CancellationToken;

/// Files that are listed and not scanned.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Tracked, but not in the folder.
    pub missing: u64,
    /// In the folder, but behind a link that leads elsewhere.
    pub behind_links: u64,
}

/// What is scanned.
#[derive(Debug)]
pub struct Tree {
    pub listed: Listed,
    pub left: Left,
    executable: HashSet<String>,
}

/// Whether the digest may be kept.
enum Known {
    Before(Stamp),
    Now(Stamp, SystemTime),
    /// It changed while it was read, or is a pointer of Git LFS, which its digest does not tell.
    Never,
}

/// One path after the file system was asked.
enum Seen {
    Gone,
    BehindLink,
    Skip(SkipReason),
    File { executable: bool, size: u64, sha256: [u8; 32], lfs_pointer: bool, known: Known },
}

impl Tree {
    /// `paths` are relative to `root`, which has no symbolic link in it. `stats` saves reading what has not changed, and
    /// holds what is known now afterwards. Answers also how many files were read.
    pub fn look(
        root: &Path,
        paths: &[PathBuf],
        stats: &mut Stats,
        stop: &CancellationToken,
    ) -> Result<(Self, u64), Error> {
        let limits = Limits::default();
        let mut listing = Listing::new(limits);
        let clean = clean_paths(paths.iter().cloned(), |path, reason| listing.skip(path, reason))?;
        let inside = folders_inside(root, &clean);
        let known = &*stats;
        let all = in_parallel(&clean, |path| {
            if stop.is_cancelled() { Err(Error::Stopped) } else { see(root, path, &inside, known, &limits) }
        });

        let (mut left, mut executables, mut now) = (Left::default(), HashSet::new(), Stats::default());
        let mut read = 0;
        for (path, seen) in clean.iter().zip(all) {
            match seen? {
                Seen::Gone => left.missing += 1,
                Seen::BehindLink => left.behind_links += 1,
                Seen::Skip(reason) => listing.skip(path.as_bytes(), reason),
                Seen::File { executable, size, sha256, lfs_pointer, known } => {
                    read += u64::from(!matches!(known, Known::Before(_)));
                    match known {
                        Known::Before(stamp) => now.keep(path, stamp, sha256),
                        Known::Now(stamp, read_at) => now.note(path, stamp, read_at, sha256),
                        Known::Never => {}
                    }
                    if listing.admit(path, size, lfs_pointer)? {
                        listing.add(path, executable, size, hex::encode(sha256));
                        if executable {
                            executables.insert(path.clone());
                        }
                    }
                }
            }
        }
        *stats = now;
        Ok((Self { listed: listing.finish(), left, executable: executables }, read))
    }

    /// The text of `.dunlin.toml`, when it is among the files.
    pub fn owner_config(&self, root: &Path) -> Result<Option<String>, Error> {
        if !self.listed.files.iter().any(|file| file.path == owner_config::PATH) {
            return Ok(None);
        }
        let path = root.join(owner_config::PATH);
        let mut bytes = std::fs::read(&path).map_err(|source| Error::Unreadable { path, source })?;
        // One byte more than allowed, so that a file that is too long is seen to be.
        bytes.truncate(owner_config::MAX_BYTES + 1);
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Copies the files that `wanted` chooses. Each is what was looked at, or the whole copy is refused with its path.
    pub fn copy(
        &self,
        root: &Path,
        into: &Path,
        stop: &CancellationToken,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), CopyError> {
        let files: Vec<&SnapshotFile> = self.listed.files.iter().filter(|file| wanted(&file.path)).collect();
        let folder = Folder::new(into);
        folder.prepare(files.iter().map(|file| file.path.as_str())).map_err(CopyError::Write)?;
        let limits = Limits::default();
        let one = |file: &&SnapshotFile| -> Result<(), CopyError> {
            if stop.is_cancelled() {
                return Err(CopyError::Stopped);
            }
            let changed = || CopyError::Changed(file.path.clone());
            let Ok(Found::File(about)) = look_at(root, &file.path, &limits) else { return Err(changed()) };
            let bytes = read_file(root, &file.path, &about, &limits).map_err(|_| changed())?;
            if hex::encode(Sha256::digest(&bytes)) != file.sha256 {
                return Err(changed());
            }
            folder.write(&file.path, self.executable.contains(&file.path), &bytes).map_err(CopyError::Write)
        };
        in_parallel(&files, one).into_iter().collect()
    }
}

#[derive(Debug)]
pub enum CopyError {
    /// The file is not what it was.
    Changed(String),
    Stopped,
    Write(std::io::Error),
}

fn see(root: &Path, path: &str, inside: &HashMap<String, bool>, known: &Stats, limits: &Limits) -> Result<Seen, Error> {
    let unreadable = |source| Error::Unreadable { path: root.join(path), source };
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let about = match look_at(root, path, limits) {
        Ok(Found::Gone) => return Ok(Seen::Gone),
        _ if !inside.get(folder).copied().unwrap_or(false) => return Ok(Seen::BehindLink),
        Ok(Found::Skip(reason)) => return Ok(Seen::Skip(reason)),
        Ok(Found::File(about)) => about,
        Err(SnapshotError::Read(source)) => return Err(unreadable(source)),
        Err(error) => return Err(error.into()),
    };
    let stamp = Stamp::of(&about);
    let executable = is_executable(&about);
    if let Some(sha256) = known.get(path, &stamp) {
        return Ok(Seen::File {
            executable,
            size: about.len(),
            sha256,
            lfs_pointer: false,
            known: Known::Before(stamp),
        });
    }
    let read_at = SystemTime::now();
    let bytes = match read_file(root, path, &about, limits) {
        Err(SnapshotError::Read(source)) => return Err(unreadable(source)),
        other => other?,
    };
    let unchanged = std::fs::symlink_metadata(root.join(path)).is_ok_and(|now| Stamp::of(&now) == stamp);
    let lfs_pointer = is_lfs_pointer(&bytes);
    let known = if unchanged && !lfs_pointer { Known::Now(stamp, read_at) } else { Known::Never };
    Ok(Seen::File { executable, size: bytes.len() as u64, sha256: Sha256::digest(&bytes).into(), lfs_pointer, known })
}

/// Which folders of `paths` are really below `root`. git refuses paths "beyond a symbolic link" as well: they may lead to
/// files that nobody meant to scan.
fn folders_inside(root: &Path, paths: &[String]) -> HashMap<String, bool> {
    let mut inside = HashMap::from([(String::new(), true)]);
    for path in paths {
        let Some((folder, _)) = path.rsplit_once('/') else { continue };
        if !inside.contains_key(folder) {
            let full = root.join(folder);
            inside.insert(folder.to_owned(), full.canonicalize().is_ok_and(|real| real == full));
        }
    }
    inside
}
