//! The scan's own folder, and the folders of scans that were killed.

use crate::{
    error::Error,
    machine::Room,
    scan::{BASE_JOBS, Parts, Request},
    tree::CopyError,
};
use dunlin_core::selection::{BadPattern, Selector};
use dunlin_execution::remove_tree;
use rustix::fs::{FlockOperation, flock, statfs, statvfs};
use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tokio_util::sync::CancellationToken;

const PREFIX: &str = "dunlin-scan-";
const LOCK: &str = "lock";
/// Where the system has a folder in memory, which every user may write to.
const MEMORY: &str = "/dev/shm";
/// Where a system whose folder for temporary files is in memory has one on the disk (file-hierarchy(7)).
const DISK: &str = "/var/tmp";
/// Of the memory that is available, and of the room that the folder has: this part may go to copies of the source.
const SHARE: u64 = 8;
/// statfs(2).
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// What a file takes in memory at least, its entry included.
const PAGE: u64 = 5 << 10;

/// The scan's own folder: copies of the source, and what jobs leave. It vanishes with this.
///
/// The copies are many small files that live for seconds. Where memory is plentiful, they are made there; what engines write
/// never is.
pub struct Scratch {
    pub folder: PathBuf,
    pub source: PathBuf,
    pub source_before: PathBuf,
    /// Where jobs make their own folders.
    pub jobs: PathBuf,
    /// Where they make their copies of the source, when that is elsewhere.
    pub copies: Option<PathBuf>,
    /// Numbers of the jobs that run.
    pub missing: Vec<u32>,
    /// Removed at the end, the one with everything else last. Locked as long as the scan lives.
    locked: Vec<Locked>,
}

impl Scratch {
    /// Copies what the jobs with the numbers `missing` read. The inner error is the path of a file that is not what it was.
    pub fn make(
        request: &Request,
        parts: &Parts,
        missing: &[u32],
        stop: &CancellationToken,
    ) -> Result<Result<Self, String>, Error> {
        let of_jobs = parts.jobs().filter(|(number, _)| missing.contains(number));
        // Each job's copy, and all of it once more.
        let bytes: u64 = of_jobs.map(|(_, job)| (job.bytes + job.files * PAGE) * 2).sum();
        let better = on_the_disk(env::var_os("TMPDIR"), is_in_memory).and_then(|below| Locked::make(below).ok());
        let disk = better.map_or_else(|| Locked::make(&env::temp_dir()), Ok).map_err(Error::Scratch)?;
        let folder = disk.folder.clone();
        // No right to write there, no room after all: the disk has both.
        let memory = memory_folder(bytes, env::var_os("TMPDIR")).and_then(|below| Locked::make(below).ok());
        let copies = memory.as_ref().map(|memory| memory.folder.clone());
        let below = copies.as_ref().unwrap_or(&folder);
        let scratch = Self {
            source: below.join("source"),
            source_before: below.join("before"),
            jobs: folder.join("jobs"),
            copies: copies.as_ref().map(|copies| copies.join("jobs")),
            missing: missing.to_vec(),
            folder,
            locked: memory.into_iter().chain([disk]).collect(),
        };
        scratch.folders().map_err(Error::Scratch)?;

        let selectors = |base: bool| -> Result<Vec<Selector>, BadPattern> {
            let jobs = parts.jobs().filter(|(number, _)| missing.contains(number) && (*number >= BASE_JOBS) == base);
            jobs.map(|(_, job)| job.selection.compile()).collect()
        };
        let now = selectors(false)?;
        let copied = parts.tree.copy(&request.root, &scratch.source, stop, |path| now.iter().any(|s| s.selects(path)));
        match copied {
            Err(CopyError::Changed(path)) => return Ok(Err(path)),
            Err(CopyError::Stopped) => return Err(Error::Stopped),
            Err(CopyError::Write(error)) => return Err(Error::Scratch(error)),
            Ok(()) => {}
        }
        if let Some((base, _)) = &parts.base {
            let before = selectors(true)?;
            base.copy(&request.root, request.git, &scratch.source_before, stop, |path| {
                before.iter().any(|s| s.selects(path))
            })
            .map_err(Error::Scratch)?;
        }
        Ok(Ok(scratch))
    }

    /// Where root scans, engines are another user: they pass through to their own folder, whose name they know, and see
    /// nothing of the rest.
    fn folders(&self) -> io::Result<()> {
        let private = [&self.source, &self.source_before].map(|folder| (folder, 0o700));
        let passed = [Some(&self.jobs), self.copies.as_ref()].into_iter().flatten().map(|folder| (folder, 0o755));
        for (folder, mode) in private.into_iter().chain(passed) {
            fs::create_dir(folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(mode))?;
        }
        self.locked.iter().try_for_each(|locked| fs::set_permissions(&locked.folder, fs::Permissions::from_mode(0o711)))
    }

    pub fn files_of(&self, number: u32) -> (PathBuf, PathBuf) {
        (self.folder.join(format!("result-{number}")), self.folder.join(format!("report-{number}")))
    }
}

/// A folder for the scan alone, which vanishes with this.
struct Locked {
    folder: PathBuf,
    _lock: File,
}

impl Locked {
    /// The folder gets its name when it is locked: nobody takes it for abandoned before.
    fn make(below: &Path) -> io::Result<Self> {
        let new = tempfile::Builder::new().prefix("dunlin-new-").tempdir_in(below)?;
        let lock = File::create_new(new.path().join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let new = new.keep().canonicalize()?;
        let name = new.file_name().unwrap_or_default().to_string_lossy().replace("dunlin-new-", PREFIX);
        let folder = new.with_file_name(name);
        fs::rename(new, &folder)?;
        Ok(Self { folder, _lock: lock })
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // What cannot be removed is removed by a later scan.
        let _ = remove_tree(&self.folder);
    }
}

/// The folder in memory, when it has room enough for `bytes` and nobody `named` a place for temporary files.
fn memory_folder(bytes: u64, named: Option<OsString>) -> Option<&'static Path> {
    if named.is_some_and(|named| !named.is_empty()) {
        return None;
    }
    let folder = Path::new(MEMORY);
    // Of a folder that is on a disk, nothing is gained.
    let in_memory = is_in_memory(folder);
    let room = statvfs(folder).map(|about| about.f_bavail.saturating_mul(about.f_frsize)).ok()?;
    let available = Room::of_this_machine().memory_bytes;
    (in_memory && bytes <= room.min(available) / SHARE).then_some(folder)
}

fn is_in_memory(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|about| about.f_type as u64 == TMPFS_MAGIC)
}

/// Where what engines write goes when the folder for temporary files is in memory and nobody `named` it.
fn on_the_disk(named: Option<OsString>, is_in_memory: impl Fn(&Path) -> bool) -> Option<&'static Path> {
    let named = named.is_some_and(|named| !named.is_empty());
    let disk = Path::new(DISK);
    (!named && is_in_memory(&env::temp_dir()) && disk.is_dir() && !is_in_memory(disk)).then_some(disk)
}

/// Removes what scans left behind that were killed: their locks are gone with them.
pub fn clear_abandoned() {
    let user = rustix::process::geteuid().as_raw();
    for entry in [env::temp_dir(), DISK.into(), MEMORY.into()]
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
    {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && entry.metadata().is_ok_and(|about| about.is_dir() && about.uid() == user);
        if !ours {
            continue;
        }
        let lock = File::open(entry.path().join(LOCK));
        if lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()) {
            let _ = remove_tree(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_or_another_place_is_not_in_memory() {
        assert_eq!(memory_folder(u64::MAX, None), None);
        // No bytes fit everywhere: only the name decides.
        assert_eq!(memory_folder(0, Some("/var/tmp".into())), None);
        assert_eq!(memory_folder(0, Some("".into())), memory_folder(0, None));
    }

    #[test]
    fn what_engines_write_is_on_the_disk_where_temporary_files_are_in_memory() {
        let usual = |folder: &Path| folder == env::temp_dir();
        assert_eq!(on_the_disk(None, usual), Some(Path::new(DISK)));
        assert_eq!(on_the_disk(None, |_| false), None);
        assert_eq!(on_the_disk(None, |_| true), None, "nothing is gained");
        assert_eq!(on_the_disk(Some("/run".into()), usual), None, "it is as it was asked for");
    }
}
