use crate::{Checked, Limits, Packed, Packer, SnapshotError, check_path};
use dunlin_core::manifest::SkipReason;
use rustix::fs::OFlags;
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// Packs files of a working tree for an upload. `paths` are relative to `root`, as `git ls-files -z` prints them; what is
/// listed and gone is passed over, links and submodules are skipped and said to be.
pub fn pack_working_tree<W: Write>(
    root: &Path,
    paths: impl IntoIterator<Item = PathBuf>,
    out: W,
    limits: Limits,
) -> Result<(Packed, W), SnapshotError> {
    let mut packer = Packer::new(out, limits)?;
    let mut kept = Vec::new();
    for path in paths {
        let raw = path.as_os_str().as_bytes();
        match check_path(raw)? {
            Checked::Root => {}
            Checked::Skip(reason) => packer.skip(raw, reason),
            Checked::Keep(path) => kept.push(path),
        }
    }
    kept.sort();
    // A merge conflict lists a path three times.
    kept.dedup();
    for path in kept {
        add(&mut packer, root, &path, &limits)?;
    }
    packer.finish()
}

fn add<W: Write>(packer: &mut Packer<W>, root: &Path, path: &str, limits: &Limits) -> Result<(), SnapshotError> {
    let place = root.join(path);
    let metadata = match fs::symlink_metadata(&place) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(e) => return Err(SnapshotError::Read(e)),
    };
    let kind = metadata.file_type();
    let skipped = match () {
        () if kind.is_symlink() => Some(SkipReason::Symlink),
        () if kind.is_dir() => Some(SkipReason::Submodule),
        () if !kind.is_file() => Some(SkipReason::SpecialFile),
        () if metadata.len() > limits.file_bytes => Some(SkipReason::TooLarge),
        () => None,
    };
    if let Some(reason) = skipped {
        packer.skip(path.as_bytes(), reason);
        return Ok(());
    }
    // Read whole before it is packed: an editor may write to it meanwhile.
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(&place)
        .and_then(|file| file.take(limits.file_bytes + 1).read_to_end(&mut bytes))
        .map_err(SnapshotError::Read)?;
    packer.add(path, metadata.permissions().mode() & 0o100 != 0, bytes.len() as u64, bytes.as_slice())
}
