//! The folder to scan: which files of it belong to the repository, and what the repository is called.

use crate::gitdir::GitDir;
use anyhow::{Context, bail, ensure};
use dunlin_core::repository::RepositoryName;
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use url::Url;

/// Which files are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// What git tracks, as it is in the working tree.
    Tracked,
    /// Also what git does not track and does not ignore.
    Untracked,
    /// Every file but git's own; the folder need not be a work tree.
    All,
}

#[derive(Debug, PartialEq, Eq)]
pub struct WorkTree {
    /// The folder that was given, without symbolic links.
    pub root: PathBuf,
    /// Relative to the root, in order.
    pub files: Vec<PathBuf>,
    /// What to call the repository.
    pub name: String,
    pub branch: Option<String>,
    /// The commit that the working tree is based on.
    pub commit: Option<String>,
}

pub fn inspect(path: &Path, choice: Choice) -> anyhow::Result<WorkTree> {
    let root = path.canonicalize().with_context(|| format!("{} cannot be opened", path.display()))?;
    ensure!(root.is_dir(), "{} is a file; give the folder that it is in", path.display());
    let found = GitDir::find(&root);
    let prefix = match &found {
        // git itself says later whether it takes the folder for a work tree.
        Some(found) if choice != Choice::All => Some(found.prefix.clone()),
        _ => prefix_in_work_tree(&root, choice)?,
    };
    let files = match choice {
        Choice::All => walk(&root)?,
        Choice::Tracked => tracked(&root, &["--cached"])?,
        Choice::Untracked => tracked(&root, &["--cached", "--others", "--exclude-standard"])?,
    };
    if files.is_empty() {
        match choice {
            Choice::Tracked => {
                bail!("git tracks no file in {}; add some, or use --untracked or --all-files", root.display())
            }
            _ => bail!("there is no file in {}", root.display()),
        }
    }
    let mut tree = WorkTree { name: folder_name(&root), root, files, branch: None, commit: None };
    if let Some(prefix) = prefix {
        (tree.branch, tree.commit) = match found.as_ref().and_then(GitDir::head) {
            Some(head) => (head.branch, head.commit),
            None => (
                line_of(&tree.root, &["symbolic-ref", "--short", "-q", "HEAD"]),
                line_of(&tree.root, &["rev-parse", "--verify", "-q", "HEAD^{commit}"]),
            ),
        };
        let origin = found.as_ref().and_then(GitDir::origin);
        let origin = origin.or_else(|| line_of(&tree.root, &["config", "--get", "remote.origin.url"]));
        if let Some(origin) = origin.as_deref().and_then(repository_of) {
            // A folder of a repository is a repository of its own here: else its scans would close the findings of the rest.
            tree.name = if prefix.is_empty() { origin } else { format!("{origin}/{}", prefix.trim_end_matches('/')) };
        }
    }
    Ok(tree)
}

/// The folder below the work tree's root, empty for the root itself; `None` outside of a work tree when all files are wanted.
fn prefix_in_work_tree(root: &Path, choice: Choice) -> anyhow::Result<Option<String>> {
    let found = git(root).args(["rev-parse", "--is-inside-work-tree", "--show-prefix"]).output();
    let output = match (found, choice) {
        (Ok(output), _) => output,
        (Err(_), Choice::All) => return Ok(None),
        (Err(error), _) => return Err(error).context("git could not be started; install it, or use --all-files"),
    };
    let answer = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && answer.starts_with("true\n") {
        return Ok(Some(answer["true\n".len()..].trim_end_matches('\n').to_owned()));
    }
    if choice == Choice::All {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().lines().next().unwrap_or("it is not a work tree");
    bail!(
        "{} cannot be read as a git work tree ({said}); use --all-files to send every file of the folder",
        root.display()
    )
}

/// git in the folder, undisturbed by a hook that runs us, and running no program that the repository's configuration names.
pub fn git(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["-c", "core.fsmonitor=false"]);
    // Of a partial clone, git fetches missing objects by a program that the repository may name. Versions before 2.45 do not
    // know the first; the second is no setting (`protocol.allow`), which the repository's own for one protocol would override.
    git.env("GIT_NO_LAZY_FETCH", "1").env("GIT_ALLOW_PROTOCOL", "none");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(name);
    }
    git
}

fn line_of(root: &Path, args: &[&str]) -> Option<String> {
    let output = git(root).args(args).output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

fn tracked(root: &Path, which: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let output = git(root).args(["ls-files", "-z"]).args(which).output().context("git could not be started")?;
    ensure!(
        output.status.success(),
        "git could not list the files of {} ({}); use --all-files to take every file of the folder",
        root.display(),
        String::from_utf8_lossy(&output.stderr).trim().lines().next().unwrap_or("it says nothing")
    );
    // A path in conflict is listed once for each side.
    let paths: BTreeSet<PathBuf> = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .map(|path| PathBuf::from(os_string(path)))
        .collect();
    Ok(paths.into_iter().collect())
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

fn walk(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let full = root.join(&folder);
        for entry in fs::read_dir(&full).with_context(|| format!("{} cannot be listed", full.display()))? {
            let entry = entry.with_context(|| format!("{} cannot be listed", full.display()))?;
            if entry.file_name() == ".git" {
                continue;
            }
            let path = folder.join(entry.file_name());
            // Of the entry itself: a link to a folder is a link.
            let kind = entry.file_type().with_context(|| format!("{} cannot be read", path.display()))?;
            if kind.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

fn folder_name(root: &Path) -> String {
    root.file_name().unwrap_or(OsStr::new("root")).to_string_lossy().into_owned()
}

/// `host/path` of a remote's address; `None` for a remote that is a folder.
fn repository_of(remote: &str) -> Option<String> {
    let url = match Url::parse(remote) {
        Ok(url) if url.host_str().is_some_and(|host| !host.is_empty()) => url,
        _ => Url::parse(&scp_like(remote)?).ok()?,
    };
    // Through HTTPS, whose rules lower the host's letters; the port of SSH says nothing about the repository.
    let host = url.host_str()?;
    let port = url.port().filter(|_| url.scheme() != "ssh").map(|port| format!(":{port}")).unwrap_or_default();
    let plain = Url::parse(&format!("https://{host}{port}{}", url.path())).ok()?;
    Some(RepositoryName::from_url(&plain).as_str().to_owned())
}

/// `git@host:owner/name` as a URL. A colon after a slash, or after one letter (a drive), belongs to a path.
pub fn scp_like(text: &str) -> Option<String> {
    let (host, path) = text.split_once(':')?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let is_host = host.len() > 1 && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    (is_host && !path.is_empty() && !path.starts_with("//"))
        .then(|| format!("ssh://{host}/{}", path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_one_name_whatever_the_remote_looks_like() {
        let same = [
            "https://github.com/psf/requests.git",
            "https://token:x@GitHub.com/psf/requests",
            "git@github.com:psf/requests.git",
            "github.com:psf/requests",
            "ssh://git@github.com/psf/requests.git",
            "ssh://git@GitHub.com:2222/psf/requests.git",
            "git://github.com/psf/requests/",
        ];
        for remote in same {
            assert_eq!(repository_of(remote).as_deref(), Some("github.com/psf/requests"), "{remote}");
        }
        assert_eq!(repository_of("https://git.example.com:8443/a/b").as_deref(), Some("git.example.com:8443/a/b"));
        for folder in ["/srv/git/a.git", "../a", "file:///srv/git/a.git", "C:/git/a", "./a:b"] {
            assert_eq!(repository_of(folder), None, "{folder}");
        }
    }
}
