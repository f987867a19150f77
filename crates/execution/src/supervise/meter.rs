//! What the engine uses at this moment: memory of all its processes, and the disk.

use super::tree::{self, Process};
use rustix::{fs::statvfs, io::Errno, param::page_size};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Room that must stay free on the disk, whoever fills it.
const FREE_BYTES: u64 = 64 << 20;

/// What `processes` use together, in bytes.
pub fn memory(processes: &[Process]) -> u64 {
    let resident = |process: &Process| process.resident_pages.saturating_mul(page_size() as u64);
    // Forked processes share pages, and counting those in each would find several times what is there.
    if processes.len() > 1 {
        let shares: io::Result<u64> = processes.iter().map(|process| proportional(process.pid)).sum();
        if let Ok(shares) = shares {
            return shares;
        }
    }
    let sum = processes.iter().map(resident).sum();
    // What the whole container has is never less than what the engine has.
    if processes.len() > 1 { container().map_or(sum, |all| all.min(sum)) } else { sum }
}

/// The most resident memory that one process has had since it became its present program (`VmHWM`), in bytes. The kernel
/// keeps it between two looks. `None` when the process has ended.
pub fn high_water(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(value.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Memory of this container that belongs to no file, in bytes, as control groups count it (cgroups(7), versions 2 and 1).
/// Outside of a container it is the machine's.
fn container() -> Option<u64> {
    [("/sys/fs/cgroup/memory.stat", "anon "), ("/sys/fs/cgroup/memory/memory.stat", "total_rss ")].iter().find_map(
        |(file, key)| {
            let text = fs::read_to_string(file).ok()?;
            text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
        },
    )
}

/// The process's share of the memory it maps (`Pss`), in bytes. The kernel tells it to the process's own user
/// and to those who may trace it; root in a container may not.
fn proportional(pid: i32) -> io::Result<u64> {
    let text = match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
        // It has just ended.
        Err(_) => return Ok(0),
        Ok(text) => text,
    };
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    let kibibytes = line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
    Ok(kibibytes.unwrap_or(0) * 1024)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskLimits {
    pub bytes: u64,
    pub entries: u64,
}

/// Why the engine has used too much of the disk, if so.
pub fn disk(folders: &[PathBuf], limits: DiskLimits) -> Option<String> {
    let mut used = Used::default();
    for folder in folders {
        used.walk(folder, limits);
    }
    if let Some(why) = used.unseen {
        return Some(why.to_owned());
    }
    used.bytes += deleted_but_open();
    if used.bytes > limits.bytes {
        return Some(format!("it wrote more than {} bytes", limits.bytes));
    }
    if used.entries > limits.entries {
        return Some(format!("it made more than {} files", limits.entries));
    }
    let free = statvfs(folders.first()?).map(|about| about.f_bavail * about.f_frsize).ok()?;
    (free < FREE_BYTES).then(|| format!("the disk has only {free} bytes left"))
}

#[derive(Default)]
struct Used {
    bytes: u64,
    entries: u64,
    /// Why something of it was not seen, which nobody makes who means well.
    unseen: Option<&'static str>,
}

impl Used {
    fn walk(&mut self, folder: &Path, limits: DiskLimits) {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) => {
                    self.unseen = self.unseen.or(match Errno::from_io_error(&error) {
                        Some(Errno::NAMETOOLONG) => Some("it made folders below folders, more than a path can name"),
                        Some(Errno::ACCESS) => Some("it made a folder that nobody may look into"),
                        // Gone in between.
                        _ => None,
                    });
                    continue;
                }
            };
            for entry in entries.flatten() {
                self.entries += 1;
                // Enough is known; a walk over millions of files would take longer than it takes to make them.
                if self.entries > limits.entries {
                    return;
                }
                // Of the entry itself: links are not followed.
                let Ok(about) = entry.metadata() else { continue };
                self.bytes += about.blocks() * 512;
                if about.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
    }
}

/// Files without a name still fill the disk while a process holds them open.
fn deleted_but_open() -> u64 {
    let mut bytes = 0;
    for process in tree::descendants() {
        let Ok(open) = fs::read_dir(format!("/proc/{}/fd", process.pid)) else { continue };
        for file in open.flatten() {
            bytes += deleted_size(&file.path()).unwrap_or(0);
        }
    }
    bytes
}

fn deleted_size(descriptor: &Path) -> io::Result<u64> {
    let about = fs::metadata(descriptor)?;
    Ok(if about.is_file() && about.nlink() == 0 { about.blocks() * 512 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: DiskLimits = DiskLimits { bytes: 1 << 30, entries: 1000 };

    #[test]
    fn bytes_and_files_are_bounded_and_links_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let folders = [dir.path().to_owned()];
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/file"), vec![1; 300_000]).unwrap();
        std::os::unix::fs::symlink("/usr", dir.path().join("sub/link")).unwrap();
        assert_eq!(disk(&folders, WIDE), None);
        let problem = disk(&folders, DiskLimits { bytes: 200_000, ..WIDE }).unwrap();
        assert_eq!(problem, "it wrote more than 200000 bytes");
        let problem = disk(&folders, DiskLimits { entries: 2, ..WIDE }).unwrap();
        assert_eq!(problem, "it made more than 2 files");
    }

    #[test]
    fn folders_that_no_path_reaches_are_no_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let name = "d".repeat(250);
        let mut folder = fs::File::open(&root).unwrap();
        for _ in 0..20 {
            rustix::fs::mkdirat(&folder, name.as_str(), rustix::fs::Mode::RWXU).unwrap();
            let flags = rustix::fs::OFlags::DIRECTORY;
            folder = rustix::fs::openat(&folder, name.as_str(), flags, rustix::fs::Mode::empty()).unwrap().into();
        }
        let problem = disk(std::slice::from_ref(&root), WIDE).unwrap();
        assert_eq!(problem, "it made folders below folders, more than a path can name");
        crate::remove_tree(&root).unwrap();
    }

    #[test]
    fn the_kernel_keeps_the_most_memory_of_a_process_as_long_as_it_lives() {
        let before = high_water("self").unwrap();
        drop(std::hint::black_box(vec![1_u8; 64 << 20]));
        let after = high_water("self").unwrap();
        assert!(after >= 64 << 20 && after >= before, "{before} {after}");

        let mut child = std::process::Command::new("true").spawn().unwrap();
        let name = child.id().to_string();
        rustix::process::waitid(
            rustix::process::WaitId::Pid(rustix::process::Pid::from_child(&child)),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )
        .unwrap();
        assert_eq!(high_water(&name), None, "it has ended, and nobody has asked how");
        child.wait().unwrap();
    }

    #[test]
    fn a_file_with_a_name_is_not_counted_as_deleted() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, &vec![1; 100_000]).unwrap();
        assert_eq!(deleted_size(file.path()).unwrap(), 0);
        let unnamed = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut &unnamed, &vec![1; 100_000]).unwrap();
        let descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&unnamed));
        assert!(deleted_size(Path::new(&descriptor)).unwrap() >= 100_000);
    }
}
