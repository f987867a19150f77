//! Packing, and unpacking what a job may see.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, like the test")]

use dunlin_core::{
    manifest::{SkipReason, SnapshotFile},
    selection::{InputDigest, Selection, Selector, Shard},
};
use dunlin_snapshot::{Limits, Packed, Packer, SnapshotError, pack_working_tree, unpack_selected};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

fn pack(files: &[(&str, bool, &[u8])]) -> (Packed, Vec<u8>) {
    let mut packer = Packer::new(Vec::new(), Limits::default()).unwrap();
    for (path, executable, data) in files {
        packer.add(path, *executable, data.len() as u64, *data).unwrap();
    }
    packer.finish().unwrap()
}

fn select(include: &[&str]) -> Selector {
    let include = include.iter().map(|s| (*s).to_owned()).collect();
    Selection { include, exclude: vec![], shard: Shard::WHOLE }.compile().unwrap()
}

fn sample() -> (Packed, Vec<u8>) {
    pack(&[("a.py", false, b"a\n"), ("lib/b.js", false, b"b\n"), ("lib/c.py", true, b"c\n"), ("z\nz.py", false, b"")])
}

fn unpack(
    archive: &[u8],
    sha256: &str,
    selector: &Selector,
    dest: &Path,
) -> Result<dunlin_snapshot::Unpacked, SnapshotError> {
    unpack_selected(archive, sha256, selector, dest, &Limits::default())
}

fn all_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found
}

#[test]
fn a_snapshot_is_the_same_bytes_each_time_and_an_ordinary_tar() {
    let (packed, archive) = sample();
    assert_eq!(sample().1, archive);
    assert_eq!(packed.archive_sha256, hex::encode(Sha256::digest(&archive)));
    assert_eq!(packed.archive_bytes, archive.len() as u64);

    let mut tar = tar::Archive::new(zstd::Decoder::new(archive.as_slice()).unwrap());
    let seen: Vec<_> = tar
        .entries()
        .unwrap()
        .map(|e| {
            let e = e.unwrap();
            let h = e.header();
            assert_eq!((h.mtime().unwrap(), h.uid().unwrap(), h.gid().unwrap()), (0, 0, 0));
            (e.path().unwrap().to_str().unwrap().to_owned(), h.mode().unwrap())
        })
        .collect();
    let expected = [("a.py", 0o644), ("lib/b.js", 0o644), ("lib/c.py", 0o755), ("z\nz.py", 0o644)];
    assert_eq!(seen, expected.map(|(p, m)| (p.to_owned(), m)));
}

#[test]
fn long_names_pack_and_unpack() {
    let long = format!("{}/{}/file.py", "d".repeat(200), "e".repeat(200));
    let (packed, archive) = pack(&[(long.as_str(), false, b"x")]);
    let dest = tempfile::tempdir().unwrap();
    unpack(&archive, &packed.archive_sha256, &select(&["**"]), dest.path()).unwrap();
    assert_eq!(fs::read(dest.path().join(long)).unwrap(), b"x");
}

#[test]
fn only_selected_files_are_written_read_only_and_their_digest_is_told() {
    let (packed, archive) = sample();
    let dest = tempfile::tempdir().unwrap();
    let done = unpack(&archive, &packed.archive_sha256, &select(&["**/*.py"]), dest.path()).unwrap();

    let mut digest = InputDigest::default();
    let python: Vec<&SnapshotFile> = packed.files.iter().filter(|f| f.path.ends_with(".py")).collect();
    python.iter().for_each(|f| digest.add(&f.path, &f.sha256));
    assert_eq!((done.files, done.bytes, done.input_digest), (3, 4, digest.finish()));

    let mut files = all_files(dest.path());
    files.sort();
    assert_eq!(files, ["a.py", "lib/c.py", "z\nz.py"].map(|p| dest.path().join(p)));
    let mode = |path: &str| fs::metadata(dest.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("a.py") & 0o222, mode("lib/c.py") & 0o222), (0, 0), "files must be read-only");
    assert_eq!((mode("a.py") & 0o100, mode("lib/c.py") & 0o100), (0, 0o100));
}

#[test]
fn another_archive_than_the_expected_one_is_refused() {
    let (packed, archive) = sample();
    let other = pack(&[("a.py", false, b"other")]).1;
    let fresh = || tempfile::tempdir().unwrap();
    let all = select(&["**"]);
    assert!(matches!(unpack(&other, &packed.archive_sha256, &all, fresh().path()), Err(SnapshotError::Digest)));
    assert!(matches!(
        unpack(&archive[..archive.len() - 9], &packed.archive_sha256, &all, fresh().path()),
        Err(SnapshotError::Digest)
    ));
    assert!(matches!(unpack(b"rubbish", &packed.archive_sha256, &all, fresh().path()), Err(SnapshotError::Digest)));
    let mut longer = archive;
    longer.push(0);
    assert!(matches!(unpack(&longer, &packed.archive_sha256, &all, fresh().path()), Err(SnapshotError::Digest)));
}

#[test]
fn a_source_that_fails_is_not_a_wrong_archive() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("connection reset"))
        }
    }
    let (packed, archive) = sample();
    let dest = tempfile::tempdir().unwrap();
    let cut = archive[..40].chain(Fails);
    let error =
        unpack_selected(cut, &packed.archive_sha256, &select(&["**"]), dest.path(), &Limits::default()).unwrap_err();
    assert!(matches!(error, SnapshotError::Read(_)), "{error:?}");
}

/// Archives with the right digest that no packer of ours makes: the guard does not rest on who wrote the archive.
#[test]
fn a_forged_snapshot_writes_nothing_outside() {
    let forged = |build: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        zstd::encode_all(builder.into_inner().unwrap().as_slice(), 1).unwrap()
    };
    let raw = |builder: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, link: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        if let Some(target) = link {
            header.set_link_name_literal(target).unwrap();
        }
        header.set_size(if kind.is_file() { 1 } else { 0 });
        header.set_cksum();
        builder.append(&header, if kind.is_file() { &b"x"[..] } else { &b""[..] }).unwrap();
    };
    use tar::EntryType::{Fifo, Link, Regular, Symlink};
    let outer = tempfile::tempdir().unwrap();
    let cases: [(&str, Vec<u8>); 8] = [
        ("climbing", forged(&|b| raw(b, "../evil", Regular, None))),
        ("absolute", forged(&|b| raw(b, "/tmp/evil-of-dunlin", Regular, None))),
        (
            "a link and a file through it",
            forged(&|b| {
                raw(b, "l", Symlink, Some(".."));
                raw(b, "l/evil", Regular, None);
            }),
        ),
        ("hard link", forged(&|b| raw(b, "h", Link, Some("/etc/passwd")))),
        ("pipe", forged(&|b| raw(b, "p", Fifo, None))),
        ("twice", forged(&|b| (0..2).for_each(|_| raw(b, "a", Regular, None)))),
        ("out of order", forged(&|b| ["b", "a"].iter().for_each(|n| raw(b, n, Regular, None)))),
        ("not clean", forged(&|b| raw(b, "./a", Regular, None))),
    ];
    for (name, archive) in cases {
        let dest = outer.path().join("dest");
        fs::create_dir(&dest).unwrap();
        let digest = hex::encode(Sha256::digest(&archive));
        assert!(unpack(&archive, &digest, &select(&["**"]), &dest).is_err(), "{name} was unpacked");
        fs::remove_dir_all(&dest).unwrap();
        assert_eq!(all_files(outer.path()), Vec::<PathBuf>::new(), "{name} wrote outside");
    }
    assert!(!Path::new("/tmp/evil-of-dunlin").exists());
}

#[test]
fn limits_hold_for_snapshots_as_well() {
    let (packed, archive) = sample();
    let run = |limits| {
        let dest = tempfile::tempdir().unwrap();
        unpack_selected(archive.as_slice(), &packed.archive_sha256, &select(&["none"]), dest.path(), &limits)
    };
    assert!(matches!(run(Limits { files: 3, ..Limits::default() }), Err(SnapshotError::TooManyFiles { limit: 3 })));
    assert!(matches!(
        run(Limits { total_bytes: 5, ..Limits::default() }),
        Err(SnapshotError::TooManyBytes { limit: 5 })
    ));
    assert_eq!(run(Limits { files: 4, total_bytes: 6, ..Limits::default() }).unwrap().files, 0);
}

/// Removes the folder when it is asked for the second time.
struct Removing<'a> {
    archive: &'a [u8],
    asked: u32,
    folder: &'a Path,
}

impl Read for Removing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.asked += 1;
        if self.asked == 2 {
            fs::remove_dir_all(self.folder)?;
        }
        self.archive.read(buffer)
    }
}

#[test]
fn a_folder_that_is_removed_meanwhile_stays_away() {
    // Digests do not compress: the archive is larger than what is read of it at once.
    let noise: Vec<u8> = (0..40_000_u32).flat_map(|n| Sha256::digest(n.to_le_bytes())).collect();
    let paths: Vec<String> = (10..20).map(|n| format!("{n}/deep/er/file")).collect();
    let files: Vec<_> = paths.iter().map(|path| (path.as_str(), false, noise.as_slice())).collect();
    let (packed, archive) = pack(&files);
    let outer = tempfile::tempdir().unwrap();
    let dest = outer.path().join("dest");
    fs::create_dir(&dest).unwrap();
    let removing = Removing { archive: &archive, asked: 0, folder: &dest };
    let ended = unpack_selected(removing, &packed.archive_sha256, &select(&["**"]), &dest, &Limits::default());
    assert!(matches!(ended, Err(SnapshotError::Write(_))), "{ended:?}");
    assert!(!dest.exists());
}

#[test]
fn a_folder_with_something_in_it_is_refused() {
    let (packed, archive) = sample();
    let dest = tempfile::tempdir().unwrap();
    symlink("/etc", dest.path().join("lib")).unwrap();
    assert!(matches!(
        unpack(&archive, &packed.archive_sha256, &select(&["**"]), dest.path()),
        Err(SnapshotError::NotEmpty)
    ));
}

#[test]
fn a_window_that_needs_much_memory_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&[0; 4096]).unwrap();
    let archive = encoder.finish().unwrap();
    let dest = tempfile::tempdir().unwrap();
    let digest = hex::encode(Sha256::digest(&archive));
    assert!(matches!(unpack(&archive, &digest, &select(&["**"]), dest.path()), Err(SnapshotError::Damaged { .. })));
}

#[test]
fn a_packer_takes_exactly_what_was_announced() {
    let add = |path: &str, size, data: &[u8]| {
        let mut packer = Packer::new(Vec::new(), Limits::default()).unwrap();
        packer.add("m", false, 0, io::empty()).unwrap();
        packer.add(path, false, size, data)
    };
    assert!(matches!(add("n", 3, b"ab"), Err(SnapshotError::Changed { .. })));
    assert!(matches!(add("n", 1, b"ab"), Err(SnapshotError::Changed { .. })));
    assert!(matches!(add("a", 0, b""), Err(SnapshotError::UnsafePath { .. })), "order is what the list promises");
    assert!(matches!(add("m", 0, b""), Err(SnapshotError::Duplicate { .. })));
    assert!(matches!(add("m/x", 0, b""), Err(SnapshotError::FileAndFolder { .. })));
}

#[test]
fn a_working_tree_packs_what_is_listed_and_there() {
    let tree = tempfile::tempdir().unwrap();
    let at = |path: &str| tree.path().join(path);
    fs::create_dir_all(at("src")).unwrap();
    fs::create_dir_all(at("submodule")).unwrap();
    fs::write(at("src/b.py"), "b").unwrap();
    fs::write(at("a.sh"), "a").unwrap();
    fs::write(at("untracked.env"), "SECRET").unwrap();
    fs::set_permissions(at("a.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/etc/passwd", at("link")).unwrap();
    let listed = ["src/b.py", "a.sh", "link", "submodule", "deleted.py", "src/b.py"].map(PathBuf::from);
    let (packed, archive) = pack_working_tree(tree.path(), listed, Vec::new(), Limits::default()).unwrap();
    assert_eq!(packed.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["a.sh", "src/b.py"]);
    let skipped: Vec<_> = packed.skipped.iter().map(|s| (s.path.as_str(), s.reason)).collect();
    assert_eq!(skipped, [("link", SkipReason::Symlink), ("submodule", SkipReason::Submodule)]);

    // What the command line sends is what the server packs again.
    let mut spool = tempfile::tempfile().unwrap();
    let again =
        dunlin_snapshot::repack_upload(archive.as_slice(), &mut spool, Vec::new(), Limits::default()).unwrap().0;
    assert_eq!((again.tree_digest, again.files), (packed.tree_digest, packed.files));
    assert!(matches!(
        pack_working_tree(tree.path(), [PathBuf::from("../x")], Vec::new(), Limits::default()),
        Err(SnapshotError::UnsafePath { .. })
    ));
}
