//! The scan's own folder, and the folders of scans that were killed.

use crate::{
    error::Error,
    scan::{BASE_JOBS, Parts, Request},
    tree::CopyError,
};
use dunlin_core::selection::{BadPattern, Selector};
use rustix::fs::{FlockOperation, flock};
use std::{
    env,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
};

const PREFIX: &str = "dunlin-scan-";
const LOCK: &str = "lock";

/// The scan's own folder: copies of the source, and what jobs leave. It vanishes with this.
pub struct Scratch {
    pub folder: PathBuf,
    pub source: PathBuf,
    pub source_before: PathBuf,
    /// Where jobs make their own folders.
    pub jobs: PathBuf,
    /// Numbers of the jobs that run.
    pub missing: Vec<u32>,
    /// Locked as long as the scan lives.
    _lock: File,
}

impl Scratch {
    /// Copies what the jobs with the numbers `missing` read. The inner error is the path of a file that is not what it was.
    pub fn make(request: &Request, parts: &Parts, missing: &[u32]) -> Result<Result<Self, String>, Error> {
        let open = |mode| fs::Permissions::from_mode(mode);
        let (folder, lock) = locked_folder().map_err(Error::Scratch)?;
        let scratch = Self {
            source: folder.join("source"),
            source_before: folder.join("before"),
            jobs: folder.join("jobs"),
            missing: missing.to_vec(),
            folder,
            _lock: lock,
        };
        for inner in [&scratch.source, &scratch.source_before, &scratch.jobs] {
            fs::create_dir(inner).map_err(Error::Scratch)?;
        }
        // Where root scans, engines are another user: they pass through to their own folder, whose name they know, and see
        // nothing of the rest.
        fs::set_permissions(&scratch.source, open(0o700)).map_err(Error::Scratch)?;
        fs::set_permissions(&scratch.source_before, open(0o700)).map_err(Error::Scratch)?;
        fs::set_permissions(&scratch.jobs, open(0o755)).map_err(Error::Scratch)?;
        fs::set_permissions(&scratch.folder, open(0o711)).map_err(Error::Scratch)?;

        let selectors = |base: bool| -> Result<Vec<Selector>, BadPattern> {
            let jobs = parts.jobs().filter(|(number, _)| missing.contains(number) && (*number >= BASE_JOBS) == base);
            jobs.map(|(_, job)| job.selection.compile()).collect()
        };
        let now = selectors(false)?;
        let copied = parts.tree.copy(&request.root, &scratch.source, |path| now.iter().any(|s| s.selects(path)));
        match copied {
            Err(CopyError::Changed(path)) => return Ok(Err(path)),
            Err(CopyError::Write(error)) => return Err(Error::Scratch(error)),
            Ok(()) => {}
        }
        if let Some((base, _)) = &parts.base {
            let before = selectors(true)?;
            base.copy(&request.root, request.git, &scratch.source_before, |path| {
                before.iter().any(|s| s.selects(path))
            })
            .map_err(Error::Scratch)?;
        }
        Ok(Ok(scratch))
    }

    pub fn files_of(&self, number: u32) -> (PathBuf, PathBuf) {
        (self.folder.join(format!("result-{number}")), self.folder.join(format!("report-{number}")))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is removed by a later scan.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder for the scan alone. It gets its name when it is locked: nobody takes it for abandoned before.
fn locked_folder() -> io::Result<(PathBuf, File)> {
    let new = tempfile::Builder::new().prefix("dunlin-new-").tempdir()?;
    let lock = File::create_new(new.path().join(LOCK))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    let new = new.keep().canonicalize()?;
    let name = new.file_name().unwrap_or_default().to_string_lossy().replace("dunlin-new-", PREFIX);
    let folder = new.with_file_name(name);
    fs::rename(new, &folder)?;
    Ok((folder, lock))
}

/// Removes what scans left behind that were killed: their locks are gone with them.
pub fn clear_abandoned() {
    let user = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && entry.metadata().is_ok_and(|about| about.is_dir() && about.uid() == user);
        if !ours {
            continue;
        }
        let lock = File::open(entry.path().join(LOCK));
        if lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
