//! Packs the files of a working tree for an upload, and says what is not in it.

use anyhow::{Context, ensure};
use dunlin_core::manifest::Skipped;
use dunlin_snapshot::{Limits, pack_working_tree};
use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

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
    /// Tracked, but not in the folder: deleted, or left out by a sparse checkout.
    pub missing: u64,
    /// In the folder, but behind a link that leads elsewhere.
    pub behind_links: u64,
    /// Links, submodules, files that are too large and the like: the first thousand, and how many there are.
    pub skipped: Vec<Skipped>,
    pub skipped_total: u64,
}

/// Packs `paths` below `root`, which has no symbolic link in it.
pub fn pack(root: &Path, paths: &[PathBuf]) -> anyhow::Result<Archive> {
    let chosen = choose(root, paths)?;
    let file = tempfile::tempfile().context("a temporary file for the archive could not be made")?;
    let (packed, file) =
        pack_working_tree(root, chosen.paths, file, Limits::default()).context("the files cannot be packed")?;
    ensure!(!packed.files.is_empty(), "none of the {} files can be scanned", paths.len());
    ensure!(
        packed.archive_bytes <= MAX_BYTES,
        "the archive has {}, and at most {} can be sent; scan the repository by its address instead",
        crate::text::bytes(packed.archive_bytes),
        crate::text::bytes(MAX_BYTES)
    );
    Ok(Archive {
        file,
        bytes: packed.archive_bytes,
        sha256: packed.archive_sha256,
        files: packed.files.len() as u64,
        missing: chosen.missing,
        behind_links: chosen.behind_links,
        skipped: packed.skipped,
        skipped_total: packed.skipped_total,
    })
}

#[derive(Default)]
struct Chosen {
    paths: Vec<PathBuf>,
    missing: u64,
    behind_links: u64,
}

/// Drops what is gone or leads out of the folder, and names the first file that cannot be read.
fn choose(root: &Path, paths: &[PathBuf]) -> anyhow::Result<Chosen> {
    let mut chosen = Chosen::default();
    let mut parents: HashMap<PathBuf, bool> = HashMap::new();
    for path in paths {
        let full = root.join(path);
        let about = match fs::symlink_metadata(&full) {
            Ok(about) => about,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                chosen.missing += 1;
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        let parent = full.parent().unwrap_or(root);
        // git refuses paths "beyond a symbolic link" as well: they may lead to files that nobody meant to send.
        let stays_inside =
            *parents.entry(parent.to_owned()).or_insert_with(|| parent.canonicalize().is_ok_and(|real| real == parent));
        if !stays_inside {
            chosen.behind_links += 1;
            continue;
        }
        if about.is_file() {
            File::open(&full).with_context(|| format!("{} cannot be read", path.display()))?;
        }
        chosen.paths.push(path.clone());
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::manifest::SkipReason;
    use sha2::{Digest, Sha256};
    use std::{
        collections::BTreeMap,
        io::{Read, Seek},
    };

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

    fn content(mut archive: Archive) -> BTreeMap<String, String> {
        archive.file.rewind().unwrap();
        let mut tar = tar::Archive::new(zstd::Decoder::new(archive.file).unwrap());
        let mut found = BTreeMap::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.insert(entry.path().unwrap().display().to_string(), text);
        }
        found
    }

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        let long = format!("{}file.txt", "a-folder-with-a-long-name/".repeat(8));
        let files = [("a.txt", "one"), ("src/b.txt", "two"), (long.as_str(), "three")];
        let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
        let (_a, first) = folder(&files);
        let (_b, second) = folder(&files);
        let (first, second) = (pack(&first, &paths(&names)).unwrap(), pack(&second, &paths(&names)).unwrap());
        assert_eq!((&first.sha256, first.bytes), (&second.sha256, second.bytes));
        assert_eq!(first.files, 3);
        let mut bytes = Vec::new();
        (&second.file).rewind().unwrap();
        (&second.file).read_to_end(&mut bytes).unwrap();
        assert_eq!(hex::encode(Sha256::digest(&bytes)), first.sha256);
        assert_eq!(content(first)[&long], "three");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_never_followed_and_all_that_is_missing_is_counted() {
        let (_secret, outside) = folder(&[("passwd", "secret")]);
        let (_temp, root) = folder(&[("a.txt", "one")]);
        std::os::unix::fs::symlink(outside.join("passwd"), root.join("link")).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("folder")).unwrap();
        let archive = pack(&root, &paths(&["a.txt", "folder/passwd", "gone.txt", "link"])).unwrap();
        assert_eq!((archive.files, archive.missing, archive.behind_links, archive.skipped_total), (1, 1, 1, 1));
        assert_eq!(archive.skipped, [Skipped { path: "link".into(), reason: SkipReason::Symlink }]);
        assert_eq!(content(archive), BTreeMap::from([("a.txt".to_owned(), "one".to_owned())]));
    }

    #[test]
    fn nothing_to_send_is_an_error() {
        let (_temp, root) = folder(&[]);
        assert!(pack(&root, &paths(&["gone.txt"])).unwrap_err().to_string().contains("none of the 1 files"));
    }
}
