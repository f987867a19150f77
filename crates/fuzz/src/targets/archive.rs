//! Archives: of strangers (uploads) and, in case storage lies, our own.

use dunlin_core::selection::{Selection, Selector, Shard};
use dunlin_snapshot::{Limits, Packer, SnapshotError, repack_upload, unpack_selected};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::LazyLock,
};
use tar::{EntryType, Header};

/// Small, so that every one of them is reached.
static LIMITS: LazyLock<Limits> = LazyLock::new(|| {
    let few = Limits { files: 20, total_bytes: 200_000, file_bytes: 50_000, entries: 40, ..Limits::default() };
    Limits { ratio: 50, ratio_free_bytes: 100_000, ..few }
});

static ALL: LazyLock<Selector> = LazyLock::new(|| {
    let selection = Selection { include: vec!["**".to_owned()], exclude: vec![], shard: Shard::WHOLE };
    selection.compile().expect("a pattern for everything")
});

fn entry(name: &str, kind: EntryType, target: &str, data: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_size(data.len() as u64);
    header.set_mode(0o755);
    header.set_mtime(0);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), data].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub fn seeds() -> Vec<Vec<u8>> {
    let end = vec![0; 1024];
    let plain = [
        entry("a/b.py", EntryType::Regular, "", b"print()\n"),
        entry("a/", EntryType::Directory, "", b""),
        entry("link", EntryType::Symlink, "/etc/passwd", b""),
        entry("a/link", EntryType::Link, "../../x", b""),
        entry("pipe", EntryType::Fifo, "", b""),
        entry("disk", EntryType::Block, "", b""),
        entry("z", EntryType::Regular, "", &[b'z'; 3000]),
        end.clone(),
    ]
    .concat();
    let long = [
        entry("././@LongLink", EntryType::GNULongName, "", &[b"long/".repeat(40), b"name\0".to_vec()].concat()),
        entry("short", EntryType::Regular, "", b"x"),
        entry("pax", EntryType::XHeader, "", b"18 path=other/name\n19 mtime=1234567890\n"),
        entry("short2", EntryType::Regular, "", b"y"),
        entry("global", EntryType::XGlobalHeader, "", b"20 comment=whatever\n"),
        end.clone(),
    ]
    .concat();
    let climbing =
        [entry("a", EntryType::Regular, "", b"x"), entry("../b", EntryType::Regular, "", b"y"), end].concat();
    let mut own = Packer::new(Vec::new(), *LIMITS).expect("memory can be written");
    for path in ["a.py", "b/c.sh", "b/d\ne"] {
        own.add(path, path.ends_with(".sh"), 4, b"code".as_slice()).expect("a file");
    }
    let (_, own) = own.finish().expect("an archive");
    let packed = |bytes: &[u8]| zstd::encode_all(bytes, 3).expect("memory can be compressed");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("memory can be compressed");
    let bomb = packed(&[entry("bomb", EntryType::Regular, "", &vec![0; 150_000]), vec![0; 1024]].concat());
    vec![
        packed(&plain),
        packed(&long),
        packed(&climbing),
        own,
        bomb,
        gzip.finish().expect("memory can be compressed"),
        plain,
        b"PK\x03\x04".to_vec(),
    ]
}

/// What comes out of an upload is a snapshot that can be unpacked, and nothing else happens.
pub fn run_upload(input: &[u8]) {
    let mut spool = tempfile::tempfile().expect("scratch space");
    let (packed, archive) = match repack_upload(input, &mut spool, Vec::new(), *LIMITS) {
        Ok(done) => done,
        Err(error) => return explained(&error),
    };
    assert!(packed.files.len() as u64 <= LIMITS.files);
    assert!(packed.files.iter().all(|file| file.size <= LIMITS.file_bytes));
    assert!(packed.files.iter().map(|file| file.size).sum::<u64>() <= LIMITS.total_bytes);
    assert_eq!(packed.archive_sha256, hex::encode(Sha256::digest(&archive)));
    let unpacked = unpack(&archive).expect("what was packed can be unpacked");
    assert_eq!(unpacked, packed.files.iter().map(|file| (file.path.clone(), file.size)).collect::<Vec<_>>());
}

pub fn run_unpack(input: &[u8]) {
    if let Err(error) = unpack(input) {
        explained(&error);
    }
}

fn explained(error: &SnapshotError) {
    let of_the_machine = matches!(error, SnapshotError::Read(_) | SnapshotError::Write(_));
    assert!(!of_the_machine, "memory cannot fail to be read, nor scratch space to be written: {error:?}");
    assert!(error.to_string().chars().count() < 1_000, "{error}");
}

/// Unpacks into a folder beside which nothing else may appear. Answers paths and sizes, in order.
fn unpack(archive: &[u8]) -> Result<Vec<(String, u64)>, SnapshotError> {
    let cage = tempfile::tempdir().expect("scratch space");
    let into = cage.path().join("deep/into");
    fs::create_dir_all(&into).expect("scratch space");
    let sha256 = hex::encode(Sha256::digest(archive));
    let unpacked = unpack_selected(archive, &sha256, &ALL, &into, &LIMITS);
    let mut found = Vec::new();
    let beside: Vec<_> = fs::read_dir(cage.path())
        .expect("the cage")
        .chain(fs::read_dir(cage.path().join("deep")).expect("the cage"))
        .map(|entry| entry.expect("the cage").file_name())
        .collect();
    assert_eq!(beside, ["deep", "into"], "something was written outside");
    look(&into, "", &mut found);
    found.sort();
    let bytes: u64 = found.iter().map(|(_, size)| size).sum();
    assert!(found.len() as u64 <= LIMITS.files && bytes <= LIMITS.total_bytes, "{} files, {bytes} bytes", found.len());
    let unpacked = unpacked?;
    assert_eq!((unpacked.files, unpacked.bytes), (found.len() as u64, bytes));
    Ok(found)
}

/// Plain read-only files and folders, and nothing else.
fn look(folder: &Path, below: &str, found: &mut Vec<(String, u64)>) {
    for entry in fs::read_dir(folder).expect("what was unpacked") {
        let entry = entry.expect("what was unpacked");
        let name = entry.file_name().into_string().expect("a name in utf-8");
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let about = fs::symlink_metadata(entry.path()).expect("what was unpacked");
        if about.is_dir() {
            look(&entry.path(), &path, found);
        } else {
            assert!(about.is_file(), "{path:?} is no plain file");
            assert!(matches!(about.permissions().mode() & 0o7777, 0o444 | 0o555), "{:o}", about.permissions().mode());
            assert!(File::open(entry.path()).is_ok());
            assert!(!path.split('/').any(|part| part.eq_ignore_ascii_case(".git")), "{path:?}");
            found.push((path, about.len()));
        }
    }
}
