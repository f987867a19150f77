use crate::{
    Checked, Limits, Packed, Packer, SnapshotError,
    archive::{self, EntryKind},
    check_path,
};
use dunlin_core::manifest::SkipReason;
use std::{
    cell::Cell,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    rc::Rc,
};

/// zstd's own default limit: 128 MiB.
const WINDOW_LOG: u32 = 27;

/// Reads an uploaded archive (tar, tar.gz or tar.zst, told by its first bytes) and packs it anew into `out`.
///
/// `spool` is an empty scratch file: contents wait there, one after the other, until all names are known and sorted. No name
/// of the archive touches the file system.
pub fn repack_upload<W: Write>(
    archive: impl Read,
    spool: &mut File,
    out: W,
    limits: Limits,
) -> Result<(Packed, W), SnapshotError> {
    let mut packer = Packer::new(out, limits)?;
    let mut kept = spool_entries(archive, spool, &mut packer, &limits)?;
    kept.sort_by(|a, b| a.path.cmp(&b.path));
    for file in kept {
        spool.seek(SeekFrom::Start(file.offset)).map_err(SnapshotError::Write)?;
        let data = BufReader::new((&mut *spool).take(file.size));
        packer.add(&file.path, file.executable, file.size, data)?;
    }
    packer.finish()
}

struct Spooled {
    path: String,
    executable: bool,
    offset: u64,
    size: u64,
}

fn spool_entries<W: Write>(
    archive: impl Read,
    spool: &mut File,
    packer: &mut Packer<W>,
    limits: &Limits,
) -> Result<Vec<Spooled>, SnapshotError> {
    let mut reader = archive::Reader::new(open(archive, limits)?);
    let mut out = BufWriter::new(spool);
    let mut kept = Vec::new();
    let (mut offset, mut entries, mut path_bytes) = (0, 0, 0);
    while let Some(entry) = reader.next()? {
        entries += 1;
        if entries > limits.entries {
            return Err(SnapshotError::TooManyFiles { limit: limits.entries });
        }
        // A link or folder with a path that climbs out makes the whole archive suspect, so names come first.
        let path = match check_path(&entry.path)? {
            Checked::Root => continue,
            Checked::Skip(reason) => {
                if entry.kind != EntryKind::Folder {
                    packer.skip(&entry.path, reason);
                }
                continue;
            }
            Checked::Keep(path) => path,
        };
        let executable = match entry.kind {
            EntryKind::File { executable } => executable,
            EntryKind::Folder => continue,
            EntryKind::Symlink => {
                packer.skip(&entry.path, SkipReason::Symlink);
                continue;
            }
            EntryKind::HardLink => {
                packer.skip(&entry.path, SkipReason::HardLink);
                continue;
            }
            EntryKind::Special => {
                packer.skip(&entry.path, SkipReason::SpecialFile);
                continue;
            }
        };
        if entry.size > limits.file_bytes {
            packer.skip(&entry.path, SkipReason::TooLarge);
            continue;
        }
        if kept.len() as u64 >= limits.files {
            return Err(SnapshotError::TooManyFiles { limit: limits.files });
        }
        path_bytes += path.len() as u64;
        if path_bytes > limits.path_bytes {
            return Err(SnapshotError::TooManyPathBytes { limit: limits.path_bytes });
        }
        if offset + entry.size > limits.total_bytes {
            return Err(SnapshotError::TooManyBytes { limit: limits.total_bytes });
        }
        copy(reader.body(), &mut out)?;
        kept.push(Spooled { path, executable, offset, size: entry.size });
        offset += entry.size;
    }
    if !reader.drain()? {
        return Err(archive::damaged("something follows its end"));
    }
    out.flush().map_err(SnapshotError::Write)?;
    Ok(kept)
}

/// Tells a failing archive from a failing disk.
fn copy(mut from: impl Read, to: &mut impl Write) -> Result<(), SnapshotError> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer).map_err(SnapshotError::from_read)? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n]).map_err(SnapshotError::Write)?,
        }
    }
}

/// Puts the right decompressor over the archive, and the guard against bombs over that.
fn open<'a>(archive: impl Read + 'a, limits: &Limits) -> Result<Box<dyn Read + 'a>, SnapshotError> {
    let read = Rc::new(Cell::new(0));
    let mut counted = Counted { inner: archive, bytes: Rc::clone(&read) };
    let mut start = Vec::new();
    (&mut counted).take(512).read_to_end(&mut start).map_err(SnapshotError::from_read)?;
    let format = Format::of(&start)?;
    let whole = io::Cursor::new(start).chain(counted);
    let plain: Box<dyn Read + 'a> = match format {
        Format::Tar => Box::new(BufReader::new(whole)),
        Format::Gzip => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        Format::Zstd => {
            let mut decoder = zstd::Decoder::new(whole).map_err(SnapshotError::from_read)?;
            decoder.window_log_max(WINDOW_LOG).map_err(SnapshotError::from_read)?;
            Box::new(decoder)
        }
    };
    // Headers, padding and files that are skipped count as well: they cost the same to decompress.
    let most = limits.total_bytes.saturating_mul(2);
    Ok(Box::new(Expansion { inner: plain, compressed: read, bytes: 0, most, limits: *limits }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tar,
    Gzip,
    Zstd,
}

impl Format {
    fn of(start: &[u8]) -> Result<Self, SnapshotError> {
        let unsupported = |format| Err(SnapshotError::Unsupported { format });
        match start {
            [] => unsupported("empty"),
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Self::Zstd),
            [b'P', b'K', 3 | 5 | 7, ..] => unsupported("a zip file"),
            [b'B', b'Z', b'h', ..] => unsupported("compressed with bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => unsupported("compressed with xz"),
            [b'7', b'z', 0xbc, 0xaf, ..] => unsupported("a 7z file"),
            [b'R', b'a', b'r', b'!', ..] => unsupported("a rar file"),
            _ if start.get(257..262) == Some(b"ustar") => Ok(Self::Tar),
            // An empty tar is zeros only.
            _ if start.len() == 512 && start.iter().all(|b| *b == 0) => Ok(Self::Tar),
            _ => unsupported("of an unknown kind"),
        }
    }
}

struct Counted<R> {
    inner: R,
    bytes: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.bytes.set(self.bytes.get() + n as u64);
        Ok(n)
    }
}

struct Expansion<R> {
    inner: R,
    compressed: Rc<Cell<u64>>,
    bytes: u64,
    most: u64,
    limits: Limits,
}

impl<R: Read> Read for Expansion<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.bytes += n as u64;
        if self.bytes > self.most {
            return Err(SnapshotError::TooManyBytes { limit: self.limits.total_bytes }.into_io());
        }
        let allowed = self.compressed.get().saturating_mul(self.limits.ratio).max(self.limits.ratio_free_bytes);
        if self.bytes > allowed {
            return Err(SnapshotError::Ratio { limit: self.limits.ratio }.into_io());
        }
        Ok(n)
    }
}
