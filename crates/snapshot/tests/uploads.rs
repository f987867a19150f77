//! Uploads, honest and hostile, as real archives.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, like the test")]

use dunlin_core::manifest::SkipReason;
use dunlin_snapshot::{Limits, Packed, SnapshotError, repack_upload};
use std::io::{Read, Write};
use tar::{EntryType, Header};

fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    header
}

/// A tar written byte by byte: the library would refuse most of these names.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, name: &[u8], kind: EntryType, mode: u32, data: &[u8]) -> Self {
        let mut header = header(kind, data.len() as u64, mode);
        assert!(name.len() <= 100);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
    fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(name.as_bytes(), EntryType::Regular, 0o644, data)
    }
    fn link(self, name: &str, kind: EntryType, target: &str) -> Self {
        let at = self.0.len();
        let mut tar = self.entry(name.as_bytes(), kind, 0o777, b"");
        let mut header = Header::new_ustar();
        header.as_mut_bytes().copy_from_slice(&tar.0[at..at + 512]);
        header.set_link_name_literal(target).unwrap();
        header.set_cksum();
        tar.0[at..at + 512].copy_from_slice(header.as_bytes());
        tar
    }
    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// A pax record, with its own length in front.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [format!(" {key}=").as_bytes(), value, b"\n"].concat();
    let length = (1..).find(|digits| (rest.len() + digits).to_string().len() == *digits).unwrap() + rest.len();
    [length.to_string().as_bytes(), &rest].concat()
}

/// The header of a GNU tar with a size in base 256, as it writes files of 8 GiB and more.
fn of_size(size: u64, kind: EntryType) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path("a").unwrap();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    let field = &mut header.as_mut_bytes()[124..136];
    field[0] = 0x80;
    field[4..].copy_from_slice(&size.to_be_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn repack_with(archive: &[u8], limits: Limits) -> Result<Packed, SnapshotError> {
    let mut spool = tempfile::tempfile().unwrap();
    repack_upload(archive, &mut spool, Vec::new(), limits).map(|(packed, _)| packed)
}

fn repack(archive: &[u8]) -> Result<Packed, SnapshotError> {
    repack_with(archive, Limits::default())
}

fn paths(packed: &Packed) -> Vec<&str> {
    packed.files.iter().map(|f| f.path.as_str()).collect()
}

fn honest() -> Vec<u8> {
    Tar::default()
        .entry(b"./", EntryType::Directory, 0o755, b"")
        .file("./z.py", b"print(1)\n")
        .entry(b"./bin/run", EntryType::Regular, 0o755, b"#!/bin/sh\n")
        .file("./a/b.js", b"1\n")
        .end()
}

#[test]
fn the_same_files_are_one_snapshot_in_every_format_and_order() {
    let other_order = Tar::default()
        .file("a/b.js", b"1\n")
        .file("z.py", b"print(1)\n")
        .entry(b"bin/run", EntryType::Regular, 0o700, b"#!/bin/sh\n")
        .end();
    let plain = repack(&honest()).unwrap();
    assert_eq!(paths(&plain), ["a/b.js", "bin/run", "z.py"]);
    assert_eq!((plain.bytes, plain.skipped_total), (21, 0));
    assert_eq!(plain.files[2].language.as_deref(), Some("Python"));
    for same in [gzip(&honest()), zstd::encode_all(honest().as_slice(), 3).unwrap(), other_order] {
        assert_eq!(repack(&same).unwrap(), plain);
    }
    let changed = Tar::default().file("a/b.js", b"2\n").file("z.py", b"print(1)\n").end();
    assert_ne!(repack(&changed).unwrap().tree_digest, plain.tree_digest);
}

#[test]
fn names_that_leave_the_folder_refuse_the_archive() {
    for name in ["../evil", "a/../../evil", "/etc/passwd", "//etc/passwd", ".."] {
        for kind in [EntryType::Regular, EntryType::Symlink, EntryType::Directory] {
            let archive = Tar::default().file("ok", b"x").entry(name.as_bytes(), kind, 0o644, b"").end();
            let error = repack(&archive).unwrap_err();
            assert!(
                matches!(&error, SnapshotError::UnsafePath { path, .. } if path == name),
                "{name} {kind:?}: {error:?}"
            );
        }
    }
}

#[test]
fn a_long_name_that_leaves_the_folder_is_refused_too() {
    let name = format!("{}/../../../evil", "d".repeat(120));
    let archive = Tar::default()
        .entry(b"././@LongLink", EntryType::GNULongName, 0o644, format!("{name}\0").as_bytes())
        .file("short", b"")
        .end();
    assert!(matches!(repack(&archive), Err(SnapshotError::UnsafePath { .. })));
    let record = "path=../evil\n";
    let archive = Tar::default()
        .entry(b"pax", EntryType::XHeader, 0o644, format!("{} {record}", record.len() + 3).as_bytes())
        .file("short", b"")
        .end();
    assert!(matches!(repack(&archive), Err(SnapshotError::UnsafePath { .. })));
}

#[test]
fn links_and_devices_are_left_out_and_named() {
    let archive = Tar::default()
        .file("a.py", b"1")
        .link("out", EntryType::Symlink, "/etc/passwd")
        .link("loop", EntryType::Symlink, "loop")
        .link("hard", EntryType::Link, "a.py")
        .entry(b"dev", EntryType::Char, 0o666, b"")
        .entry(b"disk", EntryType::Block, 0o666, b"")
        .entry(b"pipe", EntryType::Fifo, 0o666, b"")
        .file(".git/config", b"[core]")
        .file("sub/.GIT/hooks/post-checkout", b"#!/bin/sh")
        .entry(b"caf\xe9.py", EntryType::Regular, 0o644, b"1")
        // Written through the link, were it there.
        .file("out2/x", b"1")
        .end();
    let packed = repack(&archive).unwrap();
    assert_eq!(paths(&packed), ["a.py", "out2/x"]);
    let skipped: Vec<_> = packed.skipped.iter().map(|s| (s.path.as_str(), s.reason)).collect();
    assert_eq!(
        skipped,
        [
            ("out", SkipReason::Symlink),
            ("loop", SkipReason::Symlink),
            ("hard", SkipReason::HardLink),
            ("dev", SkipReason::SpecialFile),
            ("disk", SkipReason::SpecialFile),
            ("pipe", SkipReason::SpecialFile),
            (".git/config", SkipReason::GitInternals),
            ("sub/.GIT/hooks/post-checkout", SkipReason::GitInternals),
            ("caf\u{fffd}.py", SkipReason::NotUtf8),
        ]
    );
    assert_eq!(packed.skipped_total, 9);
}

#[test]
fn a_file_in_place_of_a_folder_and_a_name_twice_are_refused() {
    let through = Tar::default().file("a", b"1").file("a/b", b"2").end();
    assert!(matches!(repack(&through), Err(SnapshotError::FileAndFolder { path }) if path == "a"));
    let between = Tar::default().file("a", b"1").file("a.txt", b"").file("a/b/c", b"2").end();
    assert!(matches!(repack(&between), Err(SnapshotError::FileAndFolder { path }) if path == "a"));
    let twice = Tar::default().file("a", b"1").file("./a", b"2").end();
    assert!(matches!(repack(&twice), Err(SnapshotError::Duplicate { path }) if path == "a"));
}

#[test]
fn names_with_line_ends_survive_and_the_first_of_two_that_differ_in_case_is_kept() {
    let packed = repack(&Tar::default().file("a\nb.py", b"1").file("Readme", b"1").file("README", b"2").end()).unwrap();
    assert_eq!(paths(&packed), ["README", "a\nb.py"]);
    assert_eq!(packed.skipped[0].reason, SkipReason::CaseCollision);
    let record = "path=x\ny.py\n";
    let pax = Tar::default()
        .entry(b"pax", EntryType::XHeader, 0o644, format!("{} {record}", record.len() + 3).as_bytes())
        .file("short", b"")
        .end();
    assert_eq!(paths(&repack(&pax).unwrap()), ["x\ny.py"]);
}

#[test]
fn an_archive_that_is_cut_anywhere_is_an_error() {
    let whole = honest();
    // Cut between entries as well: without its end mark an archive may have lost files.
    for length in [0, 1, 511, 512, 700, 1536, 2048, whole.len() - 1024] {
        assert!(repack(&whole[..length]).is_err(), "cut at {length}");
    }
    let zipped = gzip(&whole);
    for length in [2, 20, zipped.len() / 2, zipped.len() - 1] {
        let error = repack(&zipped[..length]).unwrap_err();
        assert!(matches!(error, SnapshotError::Truncated), "gzip cut at {length}: {error:?}");
    }
    let zstd = zstd::encode_all(whole.as_slice(), 3).unwrap();
    for length in [4, 20, zstd.len() / 2, zstd.len() - 1] {
        let error = repack(&zstd[..length]).unwrap_err();
        assert!(matches!(error, SnapshotError::Truncated), "zstd cut at {length}: {error:?}");
    }
}

#[test]
fn damage_is_noticed() {
    let mut header_changed = honest();
    header_changed[512 + 3] ^= 1;
    assert!(matches!(repack(&header_changed), Err(SnapshotError::Damaged { .. })));

    let mut crc = gzip(&honest());
    let at = crc.len() - 6;
    crc[at] ^= 1;
    assert!(matches!(repack(&crc), Err(SnapshotError::Damaged { .. })));

    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&honest()).unwrap();
    let mut checksum = encoder.finish().unwrap();
    *checksum.last_mut().unwrap() ^= 1;
    assert!(matches!(repack(&checksum), Err(SnapshotError::Damaged { .. })));

    let mut trailing = honest();
    trailing.extend_from_slice(&honest());
    assert!(matches!(repack(&trailing), Err(SnapshotError::Damaged { .. })));

    let record = "size=4\n";
    let lies = Tar::default()
        .entry(b"pax", EntryType::XHeader, 0o644, format!("{} {record}", record.len() + 3).as_bytes())
        .file("a", b"1")
        .end();
    assert!(matches!(repack(&lies), Err(SnapshotError::Damaged { .. })));
}

#[test]
fn what_is_not_a_tar_is_named() {
    let error = |bytes: &[u8]| repack(bytes).unwrap_err().to_string();
    assert_eq!(error(b"PK\x03\x04rest"), "the archive is a zip file; only tar, tar.gz and tar.zst can be read");
    assert!(error(b"BZh91AY").contains("bzip2"));
    assert!(error(b"").contains("empty"));
    assert!(error(b"<html>not found</html>").contains("unknown kind"));
    assert!(repack(&gzip(b"no tar in here")).is_err());
}

#[test]
fn bombs_are_stopped_by_ratio_size_and_count() {
    let small = Limits {
        files: 3,
        total_bytes: 4 << 20,
        path_bytes: 1 << 10,
        file_bytes: 1 << 20,
        entries: 10,
        ratio: 50,
        ratio_free_bytes: 1 << 16,
    };
    // 100 MiB of zeros in some 100 KiB, or in a few: stopped long before the end.
    let zeros = || std::io::repeat(0).take(100 << 20);
    let mut big = header(EntryType::Regular, 100 << 20, 0o644);
    big.set_path("zeros").unwrap();
    big.set_cksum();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(big.as_bytes()).unwrap();
    std::io::copy(&mut zeros(), &mut gz).unwrap();
    let error = repack_with(&gz.finish().unwrap(), small).unwrap_err();
    assert!(matches!(error, SnapshotError::Ratio { limit: 50 } | SnapshotError::TooManyBytes { .. }), "{error:?}");
    let zst = zstd::encode_all((&big.as_bytes()[..]).chain(zeros()), 3).unwrap();
    let error = repack_with(&zst, small).unwrap_err();
    assert!(matches!(error, SnapshotError::Ratio { limit: 50 }), "{error:?}");

    let many = (0..4).fold(Tar::default(), |tar, n| tar.file(&format!("f{n}"), b"")).end();
    assert!(matches!(repack_with(&many, small), Err(SnapshotError::TooManyFiles { limit: 3 })));
    let folders = (0..11)
        .fold(Tar::default(), |tar, n| tar.entry(format!("d{n}").as_bytes(), EntryType::Directory, 0o755, b""))
        .end();
    assert!(matches!(repack_with(&folders, small), Err(SnapshotError::TooManyFiles { limit: 10 })));

    let named = |n: usize| Tar::default().file(&"a".repeat(n), b"").file(&"b".repeat(n), b"").end();
    let short = Limits { path_bytes: 20, ..small };
    assert_eq!(paths(&repack_with(&named(10), short).unwrap()).len(), 2);
    assert!(matches!(repack_with(&named(11), short), Err(SnapshotError::TooManyPathBytes { limit: 20 })));

    let few = Limits { total_bytes: 1000, ..small };
    let sum = Tar::default().file("a", &[1; 600]).file("b", &[1; 600]).end();
    assert!(matches!(repack_with(&sum, few), Err(SnapshotError::TooManyBytes { limit: 1000 })));
    let one = Limits { file_bytes: 100, ..small };
    let packed = repack_with(&Tar::default().file("a", &[1; 101]).file("b", &[1; 100]).end(), one).unwrap();
    assert_eq!((paths(&packed), packed.skipped[0].reason), (vec!["b"], SkipReason::TooLarge));
}

#[test]
fn an_extension_record_does_not_fill_the_memory() {
    let archive = Tar::default().entry(b"pax", EntryType::XHeader, 0o644, &vec![b'9'; 1 << 20]).file("a", b"1").end();
    assert!(matches!(repack(&archive), Err(SnapshotError::Damaged { .. })));
}

#[test]
fn a_nested_archive_is_a_file() {
    let inner = gzip(&Tar::default().file("../evil", b"x").end());
    assert_eq!(paths(&repack(&Tar::default().file("inner.tar.gz", &inner).end()).unwrap()), ["inner.tar.gz"]);
}

#[test]
fn a_size_that_no_disk_has_is_no_size() {
    for size in [u64::MAX, u64::MAX - 511, 1 << 63, (1 << 40) + 1] {
        for kind in [EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::XHeader] {
            let mut archive = of_size(size, kind);
            // Where a sum that overflows would go on reading.
            archive.extend(Tar::default().file("b", b"smuggled").end());
            let error = repack(&archive).unwrap_err();
            assert!(matches!(error, SnapshotError::Damaged { .. }), "{size} {kind:?}: {error:?}");
        }
    }
    let cut = repack(&of_size(1 << 40, EntryType::Regular)).unwrap_err();
    assert!(matches!(cut, SnapshotError::Truncated), "{cut:?}");
}

#[test]
fn names_of_more_than_4096_bytes_are_refused() {
    let (long, deep) = ("a".repeat(5000), "d/".repeat(2500) + "f");
    for name in [&long, &deep] {
        let gnu = Tar::default()
            .entry(b"././@LongLink", EntryType::GNULongName, 0o644, format!("{name}\0").as_bytes())
            .file("short", b"")
            .end();
        let pax = Tar::default()
            .entry(b"pax", EntryType::XHeader, 0o644, &record("path", name.as_bytes()))
            .file("x", b"")
            .end();
        for archive in [gnu, pax] {
            let error = repack(&archive).unwrap_err();
            assert!(matches!(error, SnapshotError::UnsafePath { why: "it is too long", .. }), "{error:?}");
            assert!(error.to_string().len() < 400, "the name itself is cut: {}", error.to_string().len());
        }
    }
}

#[test]
fn tricks_of_extended_headers_are_refused() {
    let header = |kind, data: &[u8]| {
        repack(&Tar::default().entry(b"pax", kind, 0o644, data).file("short", b"1").end()).map(|p| paths(&p).join(","))
    };
    use EntryType::{XGlobalHeader, XHeader};
    for (name, kind, data) in [
        ("one name for all that follows", XGlobalHeader, record("path", b"evil")),
        ("a size for all that follows", XGlobalHeader, record("size", b"0")),
        ("another size than the header's", XHeader, record("size", b"0")),
        ("a sparse file", XHeader, record("GNU.sparse.major", b"1")),
        ("a sparse file for all", XGlobalHeader, record("GNU.sparse.map", b"0,1")),
        ("a length that is too long", XHeader, b"99 path=a\n".to_vec()),
        ("a length that is too short", XHeader, b"4 path=a\n".to_vec()),
        ("a length of nothing", XHeader, b"0 path=a\n".to_vec()),
        ("a length beyond numbers", XHeader, b"99999999999999999999999 path=a\n".to_vec()),
        ("no length", XHeader, b"path=a\n".to_vec()),
        ("no line end", XHeader, b"9 path=ab".to_vec()),
        ("no equals sign", XHeader, b"7 path\n".to_vec()),
    ] {
        assert!(matches!(header(kind, &data), Err(SnapshotError::Damaged { .. })), "{name}: {:?}", header(kind, &data));
    }
    for climbing in [b"../evil".as_slice(), b"/etc/passwd", b"a\0b"] {
        assert!(matches!(header(XHeader, &record("path", climbing)), Err(SnapshotError::UnsafePath { .. })));
    }
    // The last of two is the one that counts, as POSIX says, and it is checked.
    let twice = [record("path", b"ok"), record("path", b"../evil")].concat();
    assert!(matches!(header(XHeader, &twice), Err(SnapshotError::UnsafePath { .. })));
    // Honest ones: what git writes, and a name that is not ASCII.
    assert_eq!(header(XGlobalHeader, &record("comment", &[b'a'; 40])).unwrap(), "short");
    assert_eq!(header(XHeader, &record("path", "größe".as_bytes())).unwrap(), "größe");
}

#[test]
fn sparse_files_are_refused() {
    let sparse = Tar::default().entry(b"holes", EntryType::GNUSparse, 0o644, b"").end();
    assert_eq!(repack(&sparse).unwrap_err().to_string(), "the archive is damaged: it has sparse files");
}

#[test]
fn a_bomb_in_a_bomb_stays_a_file() {
    let zeros = zstd::encode_all(vec![0; 1 << 28].as_slice(), 3).unwrap();
    assert!(zeros.len() < 1 << 20, "the premise");
    let packed = repack(&gzip(&Tar::default().file("inner.zst", &zeros).end())).unwrap();
    assert_eq!((paths(&packed), packed.bytes), (vec!["inner.zst"], zeros.len() as u64));
}

/// With the limits of the function: a few KiB that would be 2 GiB, and too many files of nothing.
#[test]
fn real_bombs_are_stopped_at_the_real_limits() {
    let mut big = header(EntryType::Regular, 2 << 30, 0o644);
    big.set_path("zeros").unwrap();
    big.set_cksum();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(big.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..2048).for_each(|_| encoder.write_all(&zeros).unwrap());
    let error = repack(&encoder.finish().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the archive expands to more than 200 times its size");

    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for n in 0..=200_000_u32 {
        // Names that do not pack well, else the ratio says it first.
        let name = format!("{:08x}{:08x}", n.wrapping_mul(2_654_435_761), n.wrapping_mul(0x9e37_79b1).rotate_left(13));
        encoder.write_all(&Tar::default().file(&name, b"").0).unwrap();
    }
    encoder.write_all(&[0; 1024]).unwrap();
    let error = repack(&encoder.finish().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "there are more than 200000 files");
}

#[test]
fn pointers_of_git_lfs_are_left_out_and_named() {
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "4d".repeat(32));
    let about = format!("# how it works\n{pointer}");
    let long = format!("{pointer}{}", "x".repeat(1100));
    let archive = Tar::default()
        .file("model.bin", pointer.as_bytes())
        .file("README.md", about.as_bytes())
        .file("long", long.as_bytes())
        .file("empty", b"")
        .file("version", b"version https://example.org/\n")
        .end();
    let packed = repack(&archive).unwrap();
    assert_eq!(paths(&packed), ["README.md", "empty", "long", "version"]);
    let skipped: Vec<_> = packed.skipped.iter().map(|s| (s.path.as_str(), s.reason)).collect();
    assert_eq!(skipped, [("model.bin", SkipReason::LfsPointer)]);
}

#[test]
fn what_a_name_says_does_not_matter() {
    // An archive is told by its first bytes: every one of these is called what it is, also inside of gzip and zstd.
    for (bytes, words) in [
        (&b"PK\x05\x06\0\0"[..], "a zip file"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z file"),
        (b"Rar!\x1a\x07", "a rar file"),
        (b"%PDF-1.7", "of an unknown kind"),
        (b"\x7fELF", "of an unknown kind"),
        (b"!<arch>\n", "of an unknown kind"),
    ] {
        assert!(repack(bytes).unwrap_err().to_string().contains(words), "{words}");
        assert!(repack(&gzip(bytes)).is_err(), "{words} in gzip");
    }
    let tar_in_twice = gzip(&gzip(&honest()));
    assert!(repack(&tar_in_twice).is_err());
    let garbage_after = [gzip(&honest()), b"garbage".to_vec()].concat();
    assert!(repack(&garbage_after).is_err());
    let garbage_after = [zstd::encode_all(honest().as_slice(), 1).unwrap(), b"garbage".to_vec()].concat();
    assert!(repack(&garbage_after).is_err());
}
