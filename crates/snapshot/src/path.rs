use crate::SnapshotError;
use dunlin_core::manifest::SkipReason;

/// Linux's limits (`NAME_MAX`, and `PATH_MAX` less room for the folder that is unpacked into).
const MAX_COMPONENT: usize = 255;
const MAX_PATH: usize = 3500;
/// Folders below each other. Nobody works with as many; who walks them, or removes them, holds each of them open.
const MAX_FOLDERS: usize = 256;

/// What to do with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// Relative, `/` between components, none of them empty, `.` or `..`.
    Keep(String),
    Skip(SkipReason),
    /// The root itself, as in `./`.
    Root,
}

/// Reads a path as an archive or a git tree has it. `.` and empty components vanish; climbing out and absolute paths are
/// errors, since nobody honest writes them.
pub fn check_path(raw: &[u8]) -> Result<Checked, SnapshotError> {
    let refuse = |why| SnapshotError::UnsafePath { path: shown(raw), why };
    if raw.first() == Some(&b'/') {
        return Err(refuse("it is absolute"));
    }
    if raw.contains(&0) {
        return Err(refuse("it contains a zero byte"));
    }
    let parts: Vec<&[u8]> = raw.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
    if parts.contains(&b"..".as_slice()) {
        return Err(refuse("it climbs out of its folder"));
    }
    if parts.iter().any(|p| p.len() > MAX_COMPONENT) || raw.len() > MAX_PATH {
        return Err(refuse("it is too long"));
    }
    if parts.is_empty() {
        return Ok(Checked::Root);
    }
    if parts.iter().any(|p| p.eq_ignore_ascii_case(b".git")) {
        return Ok(Checked::Skip(SkipReason::GitInternals));
    }
    if parts.len() > MAX_FOLDERS + 1 {
        return Ok(Checked::Skip(SkipReason::TooDeep));
    }
    match String::from_utf8(parts.join(&b'/')) {
        Ok(path) => Ok(Checked::Keep(path)),
        Err(_) => Ok(Checked::Skip(SkipReason::NotUtf8)),
    }
}

/// For people: not UTF-8 replaced, and cut.
pub(crate) fn shown(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_paths_are_kept_and_cleaned() {
        for (raw, kept) in
            [("a", "a"), ("./a/b", "a/b"), ("a//b/./c", "a/b/c"), ("a\nb", "a\nb"), ("c:\\x", "c:\\x"), ("...", "...")]
        {
            assert_eq!(check_path(raw.as_bytes()).unwrap(), Checked::Keep(kept.into()), "{raw:?}");
        }
        for root in ["", ".", "./", "././"] {
            assert_eq!(check_path(root.as_bytes()).unwrap(), Checked::Root, "{root:?}");
        }
    }

    #[test]
    fn paths_that_leave_are_errors() {
        let long = "a".repeat(256);
        for raw in ["/a", "//a", "..", "../a", "a/../../b", "a/..", "./../a", "a\0b", long.as_str()] {
            assert!(matches!(check_path(raw.as_bytes()), Err(SnapshotError::UnsafePath { .. })), "{raw:?}");
        }
    }

    #[test]
    fn more_folders_than_anybody_works_with_are_skipped() {
        let path = |folders: usize| format!("{}file", "d/".repeat(folders));
        assert_eq!(check_path(path(256).as_bytes()).unwrap(), Checked::Keep(path(256)));
        assert_eq!(check_path(path(257).as_bytes()).unwrap(), Checked::Skip(SkipReason::TooDeep));
    }

    #[test]
    fn git_internals_and_other_encodings_are_skipped() {
        for raw in [".git/config", "a/.git/hooks/post-checkout", ".GIT/config", "sub/.Git"] {
            assert_eq!(check_path(raw.as_bytes()).unwrap(), Checked::Skip(SkipReason::GitInternals), "{raw:?}");
        }
        assert_eq!(check_path(b".gitignore").unwrap(), Checked::Keep(".gitignore".into()));
        assert_eq!(check_path(b"caf\xe9").unwrap(), Checked::Skip(SkipReason::NotUtf8));
    }
}
