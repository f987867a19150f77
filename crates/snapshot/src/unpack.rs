use crate::{
    Checked, Limits, SnapshotError,
    archive::{self, EntryKind},
    check_path,
};
use dunlin_core::selection::{InputDigest, Selector};
use sha2::{Digest, Sha256};
use std::{
    collections::HashSet,
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// 8 MiB; our own archives are written with less.
const WINDOW_LOG: u32 = 23;

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    pub files: u64,
    pub bytes: u64,
    /// [`InputDigest`] of the files, to compare with the plan's.
    pub input_digest: String,
}

/// Unpacks the selected files of a snapshot into `dest`, which must be an empty folder that nobody else writes to. Files are
/// read-only afterwards (0444, or 0555 when executable). When `dest` is removed meanwhile, that is an error, and it stays away.
///
/// `archive` is read to its end and compared with `sha256` (hexadecimal): after an error, `dest` is to be thrown away.
pub fn unpack_selected(
    archive: impl Read,
    sha256: &str,
    selector: &Selector,
    dest: &Path,
    limits: &Limits,
) -> Result<Unpacked, SnapshotError> {
    if fs::read_dir(dest).map_err(SnapshotError::Write)?.next().is_some() {
        return Err(SnapshotError::NotEmpty);
    }
    let mut hashing = Hashing { inner: archive, hash: Sha256::new(), failed: None };
    let result = unpack_entries(&mut hashing, selector, dest, limits);
    if !matches!(&result, Err(SnapshotError::Write(_))) && hashing.failed.is_none() {
        let _ = io::copy(&mut hashing, &mut io::sink());
    }
    // A source that fails is not a wrong archive, and a wrong archive explains every error that is left.
    if let Some((kind, what)) = hashing.failed {
        return Err(SnapshotError::Read(io::Error::new(kind, what)));
    }
    if matches!(&result, Err(SnapshotError::Write(_))) {
        return result;
    }
    if hex::encode(hashing.hash.finalize()) != sha256 {
        return Err(SnapshotError::Digest);
    }
    result
}

fn unpack_entries(
    archive: impl Read,
    selector: &Selector,
    dest: &Path,
    limits: &Limits,
) -> Result<Unpacked, SnapshotError> {
    let mut decoder = zstd::Decoder::new(archive).map_err(SnapshotError::from_read)?;
    decoder.window_log_max(WINDOW_LOG).map_err(SnapshotError::from_read)?;
    let mut reader = archive::Reader::new(decoder);
    let mut folders = HashSet::new();
    let mut digest = InputDigest::default();
    let (mut entries, mut total, mut unpacked) = (0, 0, 0);
    let mut last: Option<String> = None;

    while let Some(entry) = reader.next()? {
        let EntryKind::File { executable } = entry.kind else {
            return Err(archive::damaged(&format!("{:?} is not a file", entry.shown())));
        };
        let path = match check_path(&entry.path)? {
            Checked::Keep(path) if path.as_bytes() == entry.path => path,
            _ => return Err(archive::damaged(&format!("{:?} is not a clean path", entry.shown()))),
        };
        if last.as_ref().is_some_and(|last| *last >= path) {
            return Err(archive::damaged(&format!("{path:?} is out of order")));
        }
        entries += 1;
        total += entry.size;
        if entries > limits.files {
            return Err(SnapshotError::TooManyFiles { limit: limits.files });
        }
        if total > limits.total_bytes {
            return Err(SnapshotError::TooManyBytes { limit: limits.total_bytes });
        }
        if selector.selects(&path) {
            let sha256 = write_file(dest, &path, executable, reader.body(), &mut folders)?;
            digest.add(&path, &sha256);
            unpacked += entry.size;
        }
        last = Some(path);
    }
    reader.drain()?;
    Ok(Unpacked { files: digest.files(), bytes: unpacked, input_digest: digest.finish() })
}

fn write_file(
    dest: &Path,
    path: &str,
    executable: bool,
    mut body: impl Read,
    folders: &mut HashSet<String>,
) -> Result<String, SnapshotError> {
    if let Some((folder, _)) = path.rsplit_once('/')
        && !folders.contains(folder)
    {
        create_folders(dest, folder, folders).map_err(SnapshotError::Write)?;
    }
    // A new file each time: nothing in `dest` is a link, and nothing is written twice.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(if executable { 0o555 } else { 0o444 })
        .open(dest.join(path))
        .map_err(SnapshotError::Write)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match body.read(&mut buffer).map_err(SnapshotError::from_read)? {
            0 => break,
            n => {
                hash.update(&buffer[..n]);
                file.write_all(&buffer[..n]).map_err(SnapshotError::Write)?;
            }
        }
    }
    Ok(hex::encode(hash.finalize()))
}

/// Only below `dest` (`create_dir_all` would make that too). `made` are there already.
fn create_folders(dest: &Path, folder: &str, made: &mut HashSet<String>) -> io::Result<()> {
    let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
    for above in ends.map(|end| &folder[..end]) {
        if !made.contains(above) {
            fs::create_dir(dest.join(above))?;
            made.insert(above.to_owned());
        }
    }
    Ok(())
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
    /// The source's own failure: decompressors report it as if the archive were damaged.
    failed: Option<(io::ErrorKind, String)>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buf) {
            Ok(n) => {
                self.hash.update(&buf[..n]);
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => {
                self.failed = Some((e.kind(), e.to_string()));
                Err(e)
            }
        }
    }
}
