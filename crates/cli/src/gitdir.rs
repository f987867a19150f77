//! What git's own files say of a repository, without starting git: starting it takes longer than a scan whose results are known.
//! Whatever is not in the usual place in the usual form is left to git.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Of a work tree.
#[derive(Debug, PartialEq, Eq)]
pub struct GitDir {
    /// The folder of this work tree, and the one that all work trees of the repository share.
    own: PathBuf,
    common: PathBuf,
    /// From the work tree's root to the folder that was asked about, with a slash at its end; empty for the root itself.
    pub prefix: String,
}

/// `None` means: ask git.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// None on a commit that is no branch's.
    pub branch: Option<String>,
    /// None before the first commit.
    pub commit: Option<String>,
}

impl GitDir {
    /// The repository that `folder` (without symbolic links) is in.
    pub fn find(folder: &Path) -> Option<Self> {
        let top = folder.ancestors().find(|above| above.join(".git").symlink_metadata().is_ok())?;
        let named = top.join(".git");
        let own = if named.is_dir() {
            named
        } else {
            let text = fs::read_to_string(&named).ok()?;
            top.join(text.strip_prefix("gitdir:")?.trim()).canonicalize().ok()?
        };
        let common = match fs::read_to_string(own.join("commondir")) {
            Ok(text) => own.join(text.trim()).canonicalize().ok()?,
            Err(_) => own.clone(),
        };
        let prefix = folder.strip_prefix(top).ok()?.to_str()?;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Some(Self { own, common, prefix })
    }

    pub fn head(&self) -> Option<Head> {
        // References are kept in another way there.
        if self.common.join("reftable").exists() {
            return None;
        }
        let text = fs::read_to_string(self.own.join("HEAD")).ok()?;
        let text = text.trim_end();
        match text.strip_prefix("ref: ") {
            None => Some(Head { branch: None, commit: Some(object_id(text)?) }),
            Some(name) => {
                let branch = name.strip_prefix("refs/heads/")?.to_owned();
                Some(Head { branch: Some(branch), commit: self.commit_of(name)? })
            }
        }
    }

    /// The inner `None`: there is no such reference yet.
    fn commit_of(&self, name: &str) -> Option<Option<String>> {
        if let Ok(text) = fs::read_to_string(self.common.join(name)) {
            return Some(Some(object_id(text.trim_end())?));
        }
        let packed = fs::read_to_string(self.common.join("packed-refs")).unwrap_or_default();
        let line = packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' '));
        match line {
            Some(id) => Some(Some(object_id(id)?)),
            None => Some(None),
        }
    }

    /// The address of the remote `origin`, when the repository's own configuration is plain and has one.
    pub fn origin(&self) -> Option<String> {
        let text = fs::read_to_string(self.common.join("config")).ok()?;
        let (mut in_origin, mut found) = (false, None);
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[') {
                let section = section.split_once(']')?.0;
                let name = section.split([' ', '\t', '.', '"']).next()?.to_ascii_lowercase();
                // Other files, and other settings for this work tree.
                if name == "include" || name == "includeif" {
                    return None;
                }
                in_origin = section
                    .split_once(char::is_whitespace)
                    .is_some_and(|(kind, name)| kind.eq_ignore_ascii_case("remote") && name.trim() == "\"origin\"");
            } else if let Some((name, value)) = line.split_once('=') {
                let name = name.trim().to_ascii_lowercase();
                if name == "worktreeconfig" {
                    return None;
                }
                if in_origin && name == "url" {
                    // Quotes, escapes, comments: git knows how to read them.
                    if value.contains(['"', '\\', '#', ';']) {
                        return None;
                    }
                    found = Some(value.trim().to_owned());
                }
            }
        }
        found.filter(|url| !url.is_empty())
    }
}

fn object_id(text: &str) -> Option<String> {
    let plain = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn git(root: &Path, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(root).args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(args);
        let output = git.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn repository() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("a");
        fs::create_dir_all(root.join("deep/er")).unwrap();
        git(dir.path(), &["init", "-q", "-b", "trunk", "a"]);
        (dir, root)
    }

    /// Both agree on everything that is not left to git.
    fn check(folder: &Path) -> Head {
        let found = GitDir::find(folder).unwrap();
        assert_eq!(found.prefix, git(folder, &["rev-parse", "--show-prefix"]));
        let head = found.head().unwrap();
        if let Some(branch) = &head.branch {
            assert_eq!(*branch, git(folder, &["symbolic-ref", "--short", "HEAD"]));
        }
        if let Some(commit) = &head.commit {
            assert_eq!(*commit, git(folder, &["rev-parse", "HEAD"]));
        }
        head
    }

    #[test]
    fn it_says_what_git_says() {
        let (dir, root) = repository();
        let before = check(&root);
        assert_eq!((before.branch.as_deref(), before.commit), (Some("trunk"), None));
        assert_eq!(GitDir::find(&root).unwrap().origin(), None);
        git(&root, &["commit", "-q", "--allow-empty", "-m", "one"]);
        assert!(check(&root).commit.is_some() && check(&root.join("deep/er")).commit.is_some());
        git(&root, &["pack-refs", "--all"]);
        assert!(check(&root).commit.is_some());
        git(&root, &["branch", "feature/x"]);
        git(&root, &["worktree", "add", "-q", "../other", "feature/x"]);
        let other = dir.path().canonicalize().unwrap().join("other");
        assert_eq!(check(&other).branch.as_deref(), Some("feature/x"));
        git(&root, &["checkout", "-q", "--detach"]);
        assert_eq!(check(&root).branch, None);
        git(&root, &["remote", "add", "upstream", "https://example.com/up"]);
        git(&root, &["remote", "add", "origin", "git@example.com:a/b.git"]);
        assert_eq!(GitDir::find(&other).unwrap().origin().as_deref(), Some("git@example.com:a/b.git"));
        git(&root, &["config", "include.path", "more"]);
        assert_eq!(GitDir::find(&root).unwrap().origin(), None, "left to git");
    }

    #[test]
    fn outside_of_a_repository_there_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(GitDir::find(&dir.path().canonicalize().unwrap()), None);
    }
}
