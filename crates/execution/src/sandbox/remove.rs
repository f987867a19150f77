//! Removes what an engine has made, whatever that is: folders deeper than a path can be long or files can be open at once, and
//! folders without rights. Nobody else writes there any more.

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, chmodat, openat, renameat_with, unlinkat},
    io::Errno,
};
use std::{
    ffi::{CStr, CString},
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

/// As many folders below each other are held open. What is deeper is moved up first.
const DEPTH: u32 = 48;

/// Removes the folder and all below it, without following links. What is gone already is fine.
pub fn remove_tree(root: &Path) -> io::Result<()> {
    let removed = match empty(root, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Somebody took away the rights on a folder, which stops a runner that is not root.
        Err(_) => empty(root, true),
        Ok(()) => Ok(()),
    };
    removed.and_then(|()| fs::remove_dir(root))
}

fn empty(root: &Path, open_up: bool) -> io::Result<()> {
    let folder = open(CWD, root, open_up)?;
    let root = Dir::read_from(&folder)?;
    let mut removal = Removal { root: root.fd()?, open_up, moved: 0 };
    loop {
        let before = removal.moved;
        removal.empty(Dir::read_from(&folder)?, 0)?;
        if removal.moved == before {
            return Ok(());
        }
    }
}

struct Removal<'a> {
    root: BorrowedFd<'a>,
    open_up: bool,
    /// Folders that were moved up.
    moved: u64,
}

impl Removal<'_> {
    fn empty(&mut self, mut folder: Dir, depth: u32) -> io::Result<()> {
        let mut names: Vec<CString> = Vec::new();
        while let Some(entry) = folder.read() {
            let entry = entry?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                names.push(entry.file_name().to_owned());
            }
        }
        let folder = folder.fd()?;
        for name in &names {
            match unlinkat(folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) if depth < DEPTH => {
                    let inner = Dir::new(open(folder, name, self.open_up)?)?;
                    self.empty(inner, depth + 1)?;
                    unlinkat(folder, name, AtFlags::REMOVEDIR)?;
                }
                Err(Errno::ISDIR) => self.move_up(folder, name)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn move_up(&mut self, folder: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        if self.open_up {
            chmodat(folder, name, Mode::RWXU, AtFlags::empty())?;
        }
        loop {
            self.moved += 1;
            // The engine may have taken any name.
            let place = format!("removed-{}", self.moved);
            match renameat_with(folder, name, self.root, place, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                other => return Ok(other?),
            }
        }
    }
}

fn open(
    above: impl AsFd + Copy,
    name: impl rustix::path::Arg + Copy,
    open_up: bool,
) -> rustix::io::Result<rustix::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if open_up {
        // Of a folder that was one a moment ago: a link would be followed.
        chmodat(above, name, Mode::RWXU, AtFlags::empty())?;
    }
    openat(above, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkdirat;
    use std::os::{fd::OwnedFd, unix::fs::symlink};

    #[test]
    fn what_is_deeper_than_any_path_is_removed_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("kept");
        fs::write(&kept, "").unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let name = "d".repeat(200);
        let mut folder: OwnedFd = open(CWD, root.as_path(), false).unwrap();
        for _ in 0..5000 {
            mkdirat(&folder, name.as_str(), Mode::RWXU).unwrap();
            folder = open(&folder, name.as_str(), false).unwrap();
        }
        // Names that are taken.
        for name in ["removed-1", "removed-2"] {
            fs::write(root.join(name), "").unwrap();
        }
        symlink(&kept, root.join("link")).unwrap();
        symlink(dir.path(), root.join("link to a folder")).unwrap();
        remove_tree(&root).unwrap();
        assert!(!root.exists() && kept.exists());
        remove_tree(&root).unwrap();
    }
}
