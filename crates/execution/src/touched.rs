//! Whether the engine opened any of its files. "No findings" of an engine that read nothing is not a clean result, and its
//! exit code does not tell.
//!
//! The file system notes when a file was last read. The times are set far back before the run; what is recent afterwards was
//! read. A file system that keeps no such notes (`noatime`) is recognised by a probe, and then nothing is claimed.

use std::{
    fs::{self, File, FileTimes},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

pub struct Watched {
    root: PathBuf,
    mark: SystemTime,
}

impl Watched {
    /// Sets the times of every file below `root`. `None` when this file system does not note reading.
    pub fn begin(root: &Path, probe: &Path) -> io::Result<Option<Self>> {
        let mark = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        let watched = Self { root: root.to_owned(), mark };
        fs::write(probe, "probe")?;
        watched.mark(probe)?;
        File::open(probe)?.read_exact(&mut [0; 5])?;
        if !watched.was_read(probe) {
            return Ok(None);
        }
        each_file(root, &mut |file| watched.mark(file).map(|()| true))?;
        Ok(Some(watched))
    }

    /// Whether there was something to read and no file was read since. An empty file says all by its size.
    pub fn nothing_read(&self) -> io::Result<bool> {
        let (mut any, mut something) = (false, false);
        each_file(&self.root, &mut |file| {
            something |= fs::metadata(file)?.len() > 0;
            any |= self.was_read(file);
            Ok(!any)
        })?;
        Ok(something && !any)
    }

    fn mark(&self, file: &Path) -> io::Result<()> {
        // The time of change stays later than the time of reading: with `relatime` only that is noted.
        File::open(file)?.set_times(FileTimes::new().set_accessed(self.mark))
    }

    fn was_read(&self, file: &Path) -> bool {
        fs::metadata(file).and_then(|about| about.accessed()).is_ok_and(|time| time > self.mark)
    }
}

/// Calls `with` for each file until it answers false.
fn each_file(root: &Path, with: &mut impl FnMut(&Path) -> io::Result<bool>) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if !with(&entry.path())? {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_one_file_is_seen_and_looking_at_names_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("source");
        fs::create_dir_all(root.join("deep")).unwrap();
        fs::write(root.join("a"), "aa").unwrap();
        fs::write(root.join("deep/b"), "bb").unwrap();
        let Some(watched) = Watched::begin(&root, &dir.path().join("probe")).unwrap() else {
            eprintln!("this file system does not note reading; nothing to test");
            return;
        };
        fs::read_dir(&root).unwrap().for_each(|entry| drop(entry.unwrap().metadata()));
        assert!(watched.nothing_read().unwrap());
        fs::read(root.join("deep/b")).unwrap();
        assert!(!watched.nothing_read().unwrap());
        fs::remove_dir_all(root.join("deep")).unwrap();
        fs::write(root.join("a"), "").unwrap();
        assert!(!Watched::begin(&root, &dir.path().join("probe")).unwrap().unwrap().nothing_read().unwrap());
    }
}
