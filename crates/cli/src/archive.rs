//! Packs the files of a working tree. The same content gives the same bytes: no times, no owners, paths in order.

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};
use tar::{EntryType, Header};

/// The API's limit for an upload.
const MAX_BYTES: u64 = 1 << 30;

/// A `tar.zst` in a temporary file that goes when this does.
#[derive(Debug)]
pub struct Archive {
    pub file: File,
    pub bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
    pub files: u64,
    /// Sum of the sizes of what was packed.
    pub content_bytes: u64,
    /// Tracked, but not in the working tree (deleted, or left out by a sparse checkout).
    pub missing: u64,
    /// Submodules, sockets and the like, and paths that lead through a link out of the folder.
    pub left_out: u64,
}

pub fn pack(root: &Path, paths: &[PathBuf]) -> anyhow::Result<Archive> {
    let mut packer = Packer {
        root,
        parents: HashMap::new(),
        tar: tar::Builder::new(
            zstd::Encoder::new(Hashed::default_in_temp()?, 3).context("the packer could not start")?,
        ),
        files: 0,
        content_bytes: 0,
        missing: 0,
        left_out: 0,
    };
    for path in paths {
        packer.add(path).with_context(|| format!("{} cannot be packed", path.display()))?;
    }
    ensure!(packer.files > 0, "none of the {} files can be read", paths.len());
    packer.finish()
}

struct Packer<'a> {
    root: &'a Path,
    /// Whether a folder is really below the root.
    parents: HashMap<PathBuf, bool>,
    tar: tar::Builder<zstd::Encoder<'static, Hashed>>,
    files: u64,
    content_bytes: u64,
    missing: u64,
    left_out: u64,
}

impl Packer<'_> {
    fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        let full = self.root.join(path);
        let about = match fs::symlink_metadata(&full) {
            Ok(about) => about,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.missing += 1;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        // git refuses paths "beyond a symbolic link" as well: they may lead to files that nobody meant to send.
        if !self.stays_inside(&full) {
            self.left_out += 1;
            return Ok(());
        }
        if about.is_symlink() {
            let mut header = header(EntryType::Symlink, 0, 0o777);
            self.tar.append_link(&mut header, path, fs::read_link(&full)?)?;
            self.files += 1;
        } else if about.is_file() {
            self.add_file(path, &full, &about)?;
        } else {
            self.left_out += 1;
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, full: &Path, about: &Metadata) -> anyhow::Result<()> {
        let size = about.len();
        let mut header = header(EntryType::Regular, size, if is_executable(about) { 0o755 } else { 0o644 });
        let mut content = Counted { inner: File::open(full)?.take(size), read: 0 };
        self.tar.append_data(&mut header, path, &mut content)?;
        ensure!(content.read == size, "it became shorter while it was read; try again");
        self.files += 1;
        self.content_bytes += size;
        Ok(())
    }

    fn stays_inside(&mut self, full: &Path) -> bool {
        let Some(parent) = full.parent() else { return false };
        if let Some(known) = self.parents.get(parent) {
            return *known;
        }
        let inside = parent.canonicalize().is_ok_and(|real| real == parent);
        self.parents.insert(parent.to_owned(), inside);
        inside
    }

    fn finish(self) -> anyhow::Result<Archive> {
        let written =
            self.tar.into_inner().and_then(zstd::Encoder::finish).context("the archive could not be finished")?;
        ensure!(
            written.bytes <= MAX_BYTES,
            "the archive has {}, and at most {} can be sent; scan the repository by its address instead",
            crate::text::bytes(written.bytes),
            crate::text::bytes(MAX_BYTES)
        );
        let mut file = written.file;
        file.rewind().context("the archive could not be read back")?;
        Ok(Archive {
            file,
            bytes: written.bytes,
            sha256: hex::encode(written.hash.finalize()),
            files: self.files,
            content_bytes: self.content_bytes,
            missing: self.missing,
            left_out: self.left_out,
        })
    }
}

fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header
}

#[cfg(unix)]
fn is_executable(about: &Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    false
}

struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}

/// A file whose content is hashed and counted on the way in.
struct Hashed {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Hashed {
    fn default_in_temp() -> anyhow::Result<Self> {
        let file = tempfile::tempfile().context("a temporary file for the archive could not be made")?;
        Ok(Self { file, hash: Sha256::new(), bytes: 0 })
    }
}

impl Write for Hashed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        (temp, root)
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    fn content(archive: Archive) -> BTreeMap<String, String> {
        let mut tar = tar::Archive::new(zstd::Decoder::new(archive.file).unwrap());
        let mut found = BTreeMap::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            if let Some(target) = entry.link_name().unwrap() {
                text = format!("-> {}", target.display());
            }
            found.insert(entry.path().unwrap().display().to_string(), text);
        }
        found
    }

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        let long = format!("{}/file.txt", "a-folder-with-a-long-name/".repeat(8));
        let files = [("a.txt", "one"), ("src/b.txt", "two"), (long.as_str(), "three")];
        let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
        let (_a, first) = folder(&files);
        let (_b, second) = folder(&files);
        let (first, second) = (pack(&first, &paths(&names)).unwrap(), pack(&second, &paths(&names)).unwrap());
        assert_eq!((&first.sha256, first.bytes), (&second.sha256, second.bytes));
        assert_eq!((first.files, first.content_bytes), (3, 11));
        let mut bytes = Vec::new();
        (&second.file).read_to_end(&mut bytes).unwrap();
        assert_eq!(hex::encode(Sha256::digest(&bytes)), first.sha256);
        assert_eq!(content(first)[&long.replace("//", "/")], "three");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_packed_as_links_and_never_followed() {
        let (_secret, outside) = folder(&[("passwd", "secret")]);
        let (_temp, root) = folder(&[("a.txt", "one")]);
        std::os::unix::fs::symlink(outside.join("passwd"), root.join("link")).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("folder")).unwrap();
        let archive = pack(&root, &paths(&["a.txt", "folder/passwd", "gone.txt", "link"])).unwrap();
        assert_eq!((archive.files, archive.missing, archive.left_out), (2, 1, 1));
        let found = content(archive);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a.txt", "link"]);
        assert!(found["link"].starts_with("-> "), "{found:?}");
    }

    #[test]
    fn nothing_to_send_is_an_error() {
        let (_temp, root) = folder(&[]);
        assert!(pack(&root, &paths(&["gone.txt"])).unwrap_err().to_string().contains("none of the 1 files"));
    }
}
