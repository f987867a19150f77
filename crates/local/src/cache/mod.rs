//! What is kept between scans, in the user's cache folder: results of jobs, digests of files, and how long engines took. All of
//! it can be deleted at any time; two scans may use it at once.

mod history;
mod results;
mod stats;

pub use history::{History, Past};
pub use results::{Bounds, Kept, Results, read_new};
pub use stats::{Entry, Stamp, Stats};

use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{self, Write},
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
};

/// Raise it when what is kept is written in another way.
const LAYOUT: &str = "v1";

#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `folder` is made when it is not there, for its owner only: results quote the source.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let root = folder.join(LAYOUT);
        for folder in [&root, &root.join("results"), &root.join("files"), &root.join("history"), &root.join("new")] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        Ok(Self { root })
    }

    pub fn results(&self) -> Results {
        Results::new(&self.root)
    }

    /// Where the digests of the files below `tree` are kept.
    pub fn stats_of(&self, tree: &Path) -> PathBuf {
        self.root.join("files").join(name_of(tree))
    }

    /// Where it is kept how long engines took on `tree`.
    pub fn history_of(&self, tree: &Path) -> PathBuf {
        self.root.join("history").join(name_of(tree))
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(self.root.join("new"))?;
        file.write_all(bytes)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

fn name_of(path: &Path) -> String {
    hex::encode(Sha256::digest(path.as_os_str().as_bytes()))
}
