//! Which files of a snapshot a job reads. The planner hashes exactly this set into the result key and the runner unpacks
//! exactly this set, so an engine cannot read a file that its key does not cover.

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

#[derive(Debug, thiserror::Error)]
#[error("pattern {pattern:?} is not a glob")]
pub struct BadPattern {
    pub pattern: String,
    #[source]
    pub source: globset::Error,
}

/// One of `count` parts of the selected files, numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shard {
    pub index: u32,
    pub count: u32,
}

impl Shard {
    pub const WHOLE: Self = Self { index: 0, count: 1 };
}

/// Patterns are globs over the path from the repository's root; `**` crosses folders, `*` does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// A file is read when one of these matches.
    pub include: Vec<String>,
    /// ... and none of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    pub shard: Shard,
}

/// A [`Selection`] ready to be asked.
pub struct Selector {
    include: GlobSet,
    exclude: GlobSet,
    shard: Shard,
}

impl Selection {
    pub fn compile(&self) -> Result<Selector, BadPattern> {
        Ok(Selector { include: globs(&self.include)?, exclude: globs(&self.exclude)?, shard: self.shard })
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, BadPattern> {
    let bad = |pattern: &str, source| BadPattern { pattern: pattern.to_owned(), source };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(glob(pattern).map_err(|e| bad(pattern, e))?);
    }
    set.build().map_err(|e| bad("", e))
}

/// The one dialect of patterns, in engine manifests and in `.dunlin.toml` alike.
pub fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    globset::GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build()
}

impl Selector {
    pub fn selects(&self, path: &str) -> bool {
        self.include.is_match(path) && !self.exclude.is_match(path) && self.in_shard(path)
    }

    fn in_shard(&self, path: &str) -> bool {
        if self.shard.count <= 1 {
            return true;
        }
        let digest = Sha256::digest(path.as_bytes());
        let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        number % self.shard.count == self.shard.index
    }
}

/// Digest of a set of files: feed paths in order with their hexadecimal SHA-256.
#[derive(Default)]
pub struct InputDigest {
    hash: Sha256,
    files: u64,
}

impl InputDigest {
    pub fn add(&mut self, path: &str, sha256_hex: &str) {
        self.hash.update((path.len() as u64).to_be_bytes());
        self.hash.update(path.as_bytes());
        self.hash.update(sha256_hex.as_bytes());
        self.files += 1;
    }
    pub fn files(&self) -> u64 {
        self.files
    }
    /// Hexadecimal.
    pub fn finish(self) -> String {
        hex::encode(self.hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(include: &[&str], exclude: &[&str], shard: Shard) -> Selector {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Selection { include: own(include), exclude: own(exclude), shard }.compile().unwrap()
    }

    #[test]
    fn stars_stay_in_their_folder_and_double_stars_do_not() {
        let s = selector(&["**/*.py", ".github/workflows/*.yml"], &["vendor/**"], Shard::WHOLE);
        assert!(s.selects("a.py") && s.selects("deep/er/a.py") && s.selects(".github/workflows/ci.yml"));
        assert!(!s.selects(".github/workflows/old/ci.yml") && !s.selects("vendor/a.py") && !s.selects("a.pyc"));
    }

    #[test]
    fn shards_are_a_partition() {
        let shards: Vec<_> = (0..3).map(|index| selector(&["**"], &[], Shard { index, count: 3 })).collect();
        let mut sizes = [0; 3];
        for n in 0..3000 {
            let path = format!("src/file{n}.rs");
            let owners: Vec<_> = (0..3).filter(|i| shards[*i].selects(&path)).collect();
            assert_eq!(owners.len(), 1, "{path} belongs to {owners:?}");
            sizes[owners[0]] += 1;
        }
        assert!(sizes.iter().all(|n| (800..1200).contains(n)), "uneven: {sizes:?}");
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let bad = Selection { include: vec!["a[".into()], exclude: vec![], shard: Shard::WHOLE }.compile();
        assert_eq!(bad.err().unwrap().pattern, "a[");
    }
}
