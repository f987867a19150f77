use crate::{Checked, Limits, Packed, Packer, SnapshotError, check_path};
use dunlin_core::manifest::SkipReason;
use rustix::fs::OFlags;
use std::{
    fs::{self, Metadata},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// A path of a working tree, looked at.
#[derive(Debug)]
pub enum Found {
    /// It was listed and is not there.
    Gone,
    Skip(SkipReason),
    File(Metadata),
}

/// Packs files of a working tree for an upload. `paths` are relative to `root`, as `git ls-files -z` prints them; what is
/// listed and gone is passed over, links and submodules are skipped and said to be.
pub fn pack_working_tree<W: Write>(
    root: &Path,
    paths: impl IntoIterator<Item = PathBuf>,
    out: W,
    limits: Limits,
) -> Result<(Packed, W), SnapshotError> {
    let mut packer = Packer::new(out, limits)?;
    let kept = clean_paths(paths, |path, reason| packer.skip(path, reason))?;
    for path in kept {
        match look_at(root, &path, &limits)? {
            Found::Gone => {}
            Found::Skip(reason) => packer.skip(path.as_bytes(), reason),
            Found::File(metadata) => {
                let bytes = read_file(root, &path, &metadata, &limits)?;
                packer.add(&path, is_executable(&metadata), bytes.len() as u64, bytes.as_slice())?;
            }
        }
    }
    packer.finish()
}

/// The paths that may be in a snapshot, in order.
pub fn clean_paths(
    paths: impl IntoIterator<Item = PathBuf>,
    mut skip: impl FnMut(&[u8], SkipReason),
) -> Result<Vec<String>, SnapshotError> {
    let mut kept = Vec::new();
    for path in paths {
        let raw = path.as_os_str().as_bytes();
        match check_path(raw)? {
            Checked::Root => {}
            Checked::Skip(reason) => skip(raw, reason),
            Checked::Keep(path) => kept.push(path),
        }
    }
    kept.sort();
    // A merge conflict lists a path three times.
    kept.dedup();
    Ok(kept)
}

pub fn look_at(root: &Path, path: &str, limits: &Limits) -> Result<Found, SnapshotError> {
    let metadata = match fs::symlink_metadata(root.join(path)) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Found::Gone),
        Err(e) => return Err(SnapshotError::Read(e)),
    };
    let kind = metadata.file_type();
    Ok(match () {
        () if kind.is_symlink() => Found::Skip(SkipReason::Symlink),
        () if kind.is_dir() => Found::Skip(SkipReason::Submodule),
        () if !kind.is_file() => Found::Skip(SkipReason::SpecialFile),
        () if metadata.len() > limits.file_bytes => Found::Skip(SkipReason::TooLarge),
        () => Found::File(metadata),
    })
}

pub fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

/// The whole file, or one byte more than the limit. Read before anything is done with it: an editor may write to it meanwhile.
pub fn read_file(root: &Path, path: &str, metadata: &Metadata, limits: &Limits) -> Result<Vec<u8>, SnapshotError> {
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(root.join(path))
        .and_then(|file| file.take(limits.file_bytes + 1).read_to_end(&mut bytes))
        .map_err(SnapshotError::Read)?;
    Ok(bytes)
}
