//! Results of jobs, under the same keys as in the cloud.

use dunlin_core::ResultKey;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Length of the digest that a kept result begins with.
const DIGEST: usize = 32;
/// What was not used for so long is removed.
const MAX_AGE: Duration = Duration::from_secs(60 * 24 * 3600);
/// What was begun so long ago and is not done is nobody's.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub bytes: u64,
    pub age: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 1 << 30, age: MAX_AGE }
    }
}

/// What [`Results::get`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// The result file, as the job wrote it.
    Result(Vec<u8>),
    Nothing,
    /// It was there and is damaged; it has been removed.
    Damaged,
}

pub struct Results {
    folder: PathBuf,
    new: PathBuf,
}

impl Results {
    pub(super) fn new(root: &Path) -> Self {
        Self { folder: root.join("results"), new: root.join("new") }
    }

    fn place(&self, key: &ResultKey, kind: &str) -> PathBuf {
        let name = key.as_str();
        self.folder.join(&name[..2]).join(format!("{name}.{kind}"))
    }

    /// Reads a result and notes that it was used.
    pub fn get(&self, key: &ResultKey) -> io::Result<Kept> {
        let path = self.place(key, "result");
        let mut bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::Nothing),
            other => other?,
        };
        let sound = bytes.len() > DIGEST && Sha256::digest(&bytes[DIGEST..]).as_slice() == &bytes[..DIGEST];
        if !sound {
            // Gone already is fine: another scan saw it too.
            let _ = fs::remove_file(&path);
            return Ok(Kept::Damaged);
        }
        // Whether the note succeeds decides only how long the result stays.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: omit, last_modification: now };
        let _ = utimensat(CWD, &path, &times, AtFlags::empty());
        bytes.drain(..DIGEST);
        Ok(Kept::Result(bytes))
    }

    /// Keeps a result and its evidence. Of two scans that bring the same one, either may win: they are equal.
    pub fn put(&self, key: &ResultKey, result: &[u8], report: &Path) -> io::Result<()> {
        let place = self.place(key, "result");
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        // The report first: a result whose evidence is missing would stay.
        let mut evidence = tempfile::NamedTempFile::new_in(&self.new)?;
        io::copy(&mut File::open(report)?, &mut evidence)?;
        evidence.persist(self.place(key, "report")).map_err(|error| error.error)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.new)?;
        file.write_all(&Sha256::digest(result))?;
        file.write_all(result)?;
        file.persist(place).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes what is too old, then what was used least recently, until the rest is within `bounds`.
    pub fn prune(&self, bounds: Bounds, now: SystemTime) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        let mut bytes = 0;
        for folder in fs::read_dir(&self.folder)?.flatten() {
            for entry in fs::read_dir(folder.path())?.flatten() {
                let path = entry.path();
                if path.extension().is_none_or(|kind| kind != "result") {
                    continue;
                }
                // Gone in between is fine: another scan prunes too.
                let Ok(about) = entry.metadata() else { continue };
                let evidence = fs::metadata(path.with_extension("report")).map_or(0, |about| about.len());
                let size = about.len() + evidence;
                bytes += size;
                kept.push((about.modified()?, size, path));
            }
        }
        kept.sort();
        for (used, size, path) in kept {
            let too_old = now.duration_since(used).is_ok_and(|age| age > bounds.age);
            if !too_old && bytes <= bounds.bytes {
                break;
            }
            for file in [&path, &path.with_extension("report")] {
                match fs::remove_file(file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            bytes = bytes.saturating_sub(size);
        }
        // What is known of trees that nobody scans any more.
        for folder in ["files", "history"] {
            remove_older(&self.folder.with_file_name(folder), bounds.age, now)?;
        }
        // What a scan that was killed had begun to write.
        remove_older(&self.new, ABANDONED, now)
    }
}

fn remove_older(folder: &Path, limit: Duration, now: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let written = entry.metadata().and_then(|about| about.modified());
        if written.is_ok_and(|written| now.duration_since(written).is_ok_and(|age| age > limit)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// A result that a job has just written.
pub fn read_new(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;

    fn world() -> (tempfile::TempDir, Results, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let results = Cache::open(&dir.path().join("cache")).unwrap().results();
        let report = dir.path().join("report");
        fs::write(&report, "evidence").unwrap();
        (dir, results, report)
    }

    fn key(n: u8) -> ResultKey {
        ResultKey::of_parts([&[n][..]])
    }

    fn set_used(results: &Results, n: u8, ago: Duration) {
        let file = File::options().write(true).open(results.place(&key(n), "result")).unwrap();
        file.set_modified(SystemTime::now() - ago).unwrap();
    }

    #[test]
    fn what_was_put_comes_back() {
        let (_dir, results, report) = world();
        assert_eq!(results.get(&key(1)).unwrap(), Kept::Nothing);
        results.put(&key(1), b"result", &report).unwrap();
        results.put(&key(1), b"result", &report).unwrap();
        assert_eq!(results.get(&key(1)).unwrap(), Kept::Result(b"result".to_vec()));
        assert_eq!(fs::read(results.place(&key(1), "report")).unwrap(), b"evidence");
    }

    #[test]
    fn a_damaged_result_is_told_once_and_then_gone() {
        let (_dir, results, report) = world();
        for damage in [&b""[..], b"short", &[7; 100]] {
            results.put(&key(1), b"result", &report).unwrap();
            fs::write(results.place(&key(1), "result"), damage).unwrap();
            assert_eq!(results.get(&key(1)).unwrap(), Kept::Damaged);
            assert_eq!(results.get(&key(1)).unwrap(), Kept::Nothing);
        }
        results.put(&key(1), b"result", &report).unwrap();
        let mut bytes = fs::read(results.place(&key(1), "result")).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(results.place(&key(1), "result"), bytes).unwrap();
        assert_eq!(results.get(&key(1)).unwrap(), Kept::Damaged);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let (_dir, results, report) = world();
        for n in 0..4 {
            results.put(&key(n), &[n; 1000], &report).unwrap();
            set_used(&results, n, Duration::from_secs(100 - u64::from(n)));
        }
        // Used again: now the newest.
        results.get(&key(0)).unwrap();
        let each = (DIGEST + 1000 + "evidence".len()) as u64;
        results.prune(Bounds { bytes: 2 * each, age: MAX_AGE }, SystemTime::now()).unwrap();
        let left: Vec<bool> = (0..4).map(|n| results.get(&key(n)).unwrap() != Kept::Nothing).collect();
        assert_eq!(left, [true, false, false, true]);
        assert!(!results.place(&key(1), "report").exists(), "the evidence goes with its result");
    }

    #[test]
    fn what_is_too_old_goes_whatever_the_room() {
        let (_dir, results, report) = world();
        results.put(&key(1), b"old", &report).unwrap();
        results.put(&key(2), b"new", &report).unwrap();
        set_used(&results, 1, Duration::from_secs(1000));
        let abandoned = results.new.join("x");
        fs::write(&abandoned, "x").unwrap();
        File::options().write(true).open(&abandoned).unwrap().set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
        results.prune(Bounds { bytes: u64::MAX, age: Duration::from_secs(500) }, SystemTime::now()).unwrap();
        assert_eq!(results.get(&key(1)).unwrap(), Kept::Nothing);
        assert_eq!(results.get(&key(2)).unwrap(), Kept::Result(b"new".to_vec()));
        assert!(!abandoned.exists());
    }
}
