//! The files of an earlier commit, read from git's objects: nothing is checked out, and no hook or filter runs.

use crate::{
    cache::{Stamp, Stats},
    copy::Folder,
    error::Error,
};
use dunlin_core::manifest::SkipReason;
use dunlin_snapshot::{Checked, Limits, Listed, Listing, check_path, is_lfs_pointer};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    process::{Command, Stdio},
};
use tokio_util::sync::CancellationToken;

/// Starts git in a folder, undisturbed by whoever started us, and running no program that the repository names.
pub type Git = fn(&Path) -> Command;

/// The folder as it was in a commit.
pub struct Base {
    pub listed: Listed,
    /// Path -> object and whether it is executable.
    objects: HashMap<String, (String, bool)>,
}

struct Blob {
    object: String,
    executable: bool,
}

impl Base {
    /// `stats` knows digests by object id, and knows those of this commit afterwards. Answers also how many objects were read.
    pub fn look(
        root: &Path,
        git: Git,
        reference: &str,
        stats: &mut Stats,
        stop: &CancellationToken,
    ) -> Result<(Self, usize), Error> {
        let fail = |why: String| Error::Since { reference: reference.to_owned(), why };
        let commit = commit(root, git, reference).map_err(fail)?;
        let (mut listing, blobs) = (Listing::new(Limits::default()), tree(root, git, &commit).map_err(fail)?);
        let mut files: BTreeMap<String, Blob> = BTreeMap::new();
        for (path, entry) in blobs {
            match (check_path(&path)?, entry) {
                (Checked::Keep(path), Ok(blob)) => {
                    files.insert(path, blob);
                }
                (Checked::Keep(path), Err(reason)) => listing.skip(path.as_bytes(), reason),
                (Checked::Skip(reason), _) => listing.skip(&path, reason),
                (Checked::Root, _) => {}
            }
        }
        let unknown: HashSet<&str> =
            files.values().map(|blob| blob.object.as_str()).filter(|object| stats.find(object).is_none()).collect();
        // Pointers of Git LFS are not kept: their digest does not tell what they are.
        let (mut read, mut pointers) = (Vec::new(), HashMap::new());
        each_blob(root, git, unknown.into_iter(), stop, |object, bytes| {
            if is_lfs_pointer(bytes) {
                pointers.insert(object.to_owned(), bytes.len() as u64);
            } else {
                read.push((object.to_owned(), bytes.len() as u64, Sha256::digest(bytes).into()));
            }
            Ok(())
        })
        .map_err(|error| fail(error.to_string()))?;
        let count = read.len();
        for (object, size, sha256) in read {
            stats.keep(&object, Stamp::of_object(size), sha256);
        }
        let (mut objects, mut used) = (HashMap::new(), Stats::default());
        for (path, blob) in files {
            if let Some(size) = pointers.get(&blob.object) {
                listing.admit(&path, *size, true)?;
                continue;
            }
            let Some(entry) = stats.find(&blob.object) else {
                return Err(fail(format!("the object of {path} is missing")));
            };
            used.keep(&blob.object, entry.stamp, entry.sha256);
            if listing.admit(&path, entry.stamp.size(), false)? {
                listing.add(&path, blob.executable, entry.stamp.size(), hex::encode(entry.sha256));
                objects.insert(path, (blob.object, blob.executable));
            }
        }
        *stats = used;
        Ok((Self { listed: listing.finish(), objects }, count))
    }

    /// Writes the files that `wanted` chooses.
    pub fn copy(
        &self,
        root: &Path,
        git: Git,
        into: &Path,
        stop: &CancellationToken,
        wanted: impl Fn(&str) -> bool,
    ) -> io::Result<()> {
        let mut places: HashMap<&str, Vec<(&str, bool)>> = HashMap::new();
        for file in self.listed.files.iter().filter(|file| wanted(&file.path)) {
            if let Some((object, executable)) = self.objects.get(&file.path) {
                places.entry(object).or_default().push((&file.path, *executable));
            }
        }
        let folder = Folder::new(into);
        folder.prepare(places.values().flatten().map(|(path, _)| *path))?;
        each_blob(root, git, places.keys().copied(), stop, |object, bytes| {
            let places = places.get(object).into_iter().flatten();
            places.into_iter().try_for_each(|(path, executable)| folder.write(path, *executable, bytes))
        })
    }
}

fn commit(root: &Path, git: Git, reference: &str) -> Result<String, String> {
    let wanted = format!("{reference}^{{commit}}");
    let output = git(root).args(["rev-parse", "--verify", "-q", "--end-of-options", &wanted]).output();
    let output = output.map_err(|error| format!("git could not be started: {error}"))?;
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !id.is_empty() { Ok(id) } else { Err("there is no such commit here".to_owned()) }
}

type Entry = (Vec<u8>, Result<Blob, SkipReason>);

/// The files below the folder; git restricts and shortens the paths itself.
fn tree(root: &Path, git: Git, commit: &str) -> Result<Vec<Entry>, String> {
    let output = git(root).args(["ls-tree", "-r", "-z", commit]).output();
    let output = output.map_err(|error| format!("git could not be started: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let entries = output.stdout.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| parse(entry).ok_or_else(|| "git lists a tree in a way that is not known here".to_owned()))
        .collect()
}

/// `<mode> <type> <object>\t<path>`.
fn parse(entry: &[u8]) -> Option<Entry> {
    let tab = entry.iter().position(|byte| *byte == b'\t')?;
    let mut words = std::str::from_utf8(&entry[..tab]).ok()?.split(' ');
    let (mode, _kind, object) = (words.next()?, words.next()?, words.next()?.to_owned());
    let what = match mode {
        "120000" => Err(SkipReason::Symlink),
        "160000" => Err(SkipReason::Submodule),
        mode => Ok(Blob { object, executable: mode == "100755" }),
    };
    Some((entry[tab + 1..].to_vec(), what))
}

/// Calls `with` for every object, in git's raw bytes.
fn each_blob<'a>(
    root: &Path,
    git: Git,
    objects: impl Iterator<Item = &'a str>,
    stop: &CancellationToken,
    mut with: impl FnMut(&str, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let asked: Vec<&str> = objects.collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut child = git(root)
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let missing = || io::Error::other("no pipe to git");
    let mut input = child.stdin.take().ok_or_else(missing)?;
    let mut output = BufReader::with_capacity(64 << 10, child.stdout.take().ok_or_else(missing)?);
    let limit = Limits::default().file_bytes;
    let outcome = std::thread::scope(|scope| {
        let questions = scope.spawn(|| {
            let text = asked.join("\n") + "\n";
            let written = input.write_all(text.as_bytes());
            drop(input);
            written
        });
        let mut read = || -> io::Result<()> {
            let mut header = String::new();
            for _ in &asked {
                if stop.is_cancelled() {
                    return Err(io::Error::other("the scan was stopped"));
                }
                header.clear();
                output.read_line(&mut header)?;
                let mut words = header.trim_end().split(' ');
                let (object, kind, size) =
                    (words.next(), words.next(), words.next().and_then(|n| n.parse::<u64>().ok()));
                // Whoever scans has it fetched: git does that by whatever program the repository names.
                if let (Some(object), Some("missing")) = (object, kind) {
                    return Err(io::Error::other(format!(
                        "this clone is without the object {object}; fetch it first: git fetch --refetch --no-filter"
                    )));
                }
                let (Some(object), Some("blob"), Some(size)) = (object, kind, size) else {
                    return Err(io::Error::other(format!("git does not give the object: {}", header.trim_end())));
                };
                // What is longer is left out by its size; its bytes are not needed, and neither is room for them.
                let mut bytes = Vec::new();
                (&mut output).take(size.min(limit + 1)).read_to_end(&mut bytes)?;
                io::copy(&mut (&mut output).take(size - bytes.len() as u64 + 1), &mut io::sink())?;
                with(object, &bytes)?;
            }
            Ok(())
        };
        let read = read();
        // git ends when nobody reads it any more.
        drop(output);
        let written = questions.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.and(written)
    });
    let status = child.wait()?;
    outcome?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("git ended with {status}"))) }
}
