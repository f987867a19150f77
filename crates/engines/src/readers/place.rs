//! From the many ways in which engines write a path to one: relative to the root, with `/`.

use super::{RawPlace, ReadContext};
use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

/// What results about the repository as a whole have for a path.
pub(crate) const WHOLE: &str = ".";

/// Finds the files of one report.
pub(crate) struct Places<'a> {
    context: &'a ReadContext<'a>,
    real_root: PathBuf,
    /// The last answer: results come file by file, and each answer asks the file system.
    last: Option<Answer>,
}

struct Answer {
    uri: Option<Rc<str>>,
    base: Option<Rc<str>>,
    path: Option<String>,
}

impl<'a> Places<'a> {
    pub fn new(context: &'a ReadContext<'a>) -> Self {
        let real_root = context.root.canonicalize().unwrap_or_else(|_| context.root.to_owned());
        Self { context, real_root, last: None }
    }

    /// The selected file that the place is in; `None` when it is in no selected file.
    pub fn path(&mut self, place: &RawPlace) -> Option<String> {
        if let Some(last) = &self.last
            && (&last.uri, &last.base) == (&place.uri, &place.base)
        {
            return last.path.clone();
        }
        let path = path(place, self.context, &self.real_root);
        self.last = Some(Answer { uri: place.uri.clone(), base: place.base.clone(), path: path.clone() });
        path
    }
}

fn path(place: &RawPlace, context: &ReadContext<'_>, real_root: &Path) -> Option<String> {
    let Some(uri) = place.uri.as_deref() else { return Some(WHOLE.to_owned()) };
    let roots = [context.root, real_root];
    let joined = match &place.base {
        Some(base) if !is_absolute(uri) => format!("{}/{uri}", base.trim_end_matches('/')),
        _ => uri.to_owned(),
    };
    // Some engines percent-encode and some say they do and do not: the spelling which is a selected file is right.
    let spellings =
        if place.encoded || has_scheme(&joined) { vec![decode(&joined), Some(joined)] } else { vec![Some(joined)] };
    spellings.into_iter().flatten().find_map(|spelling| {
        let path = relative(&spelling, &roots)?;
        if (context.selected)(&path) {
            return Some(path);
        }
        below_an_ancestor(&path, &roots).filter(|path| (context.selected)(path))
    })
}

/// An engine that looks for the repository it is in may find one further up, and count paths from there.
fn below_an_ancestor(path: &str, roots: &[&Path]) -> Option<String> {
    roots.iter().find_map(|root| {
        let root = normal(root.to_str()?)?;
        let ends = root.match_indices('/').map(|(at, _)| &root[at + 1..]).chain([root.as_str()]);
        ends.filter(|end| !end.is_empty()).find_map(|end| path.strip_prefix(end)?.strip_prefix('/').map(str::to_owned))
    })
}

fn has_scheme(uri: &str) -> bool {
    uri.starts_with("file:")
}

fn is_absolute(uri: &str) -> bool {
    uri.starts_with('/') || has_scheme(uri)
}

fn relative(uri: &str, roots: &[&Path]) -> Option<String> {
    let path = match uri.strip_prefix("file:") {
        // `file:///a`, `file://host/a` and `file:/a` are all `/a`.
        Some(rest) => match rest.strip_prefix("//") {
            Some(rest) => &rest[rest.find('/')?..],
            None => rest,
        },
        None => uri,
    };
    if path.contains('\0') {
        return None;
    }
    if path.starts_with('/') {
        let clean = normal(path)?;
        return roots.iter().find_map(|root| {
            let root = normal(root.to_str()?)?;
            let inside = clean.strip_prefix(&root)?;
            if root.is_empty() { Some(inside.to_owned()) } else { inside.strip_prefix('/').map(str::to_owned) }
        });
    }
    normal(path).filter(|path| !path.is_empty())
}

/// Without `.`, `..` and empty parts; `None` when it climbs out.
fn normal(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// `%20` and so on; `None` when the result is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok()).filter(|_| *first == b'%');
        match digits.filter(|two| !two.starts_with('+')).and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(uri: &str, base: Option<&str>) -> Option<String> {
        let files = ["a.py", "src/b c.py", "src/100%25.py", "src/ünï.py", ".github/workflows/ci.yml"];
        let selected = |path: &str| files.contains(&path);
        let context = ReadContext { root: Path::new("/work/src-7"), selected: &selected };
        let place =
            RawPlace { uri: Some(uri.into()), base: base.map(Into::into), encoded: true, ..RawPlace::default() };
        Places::new(&context).path(&place)
    }

    #[test]
    fn every_spelling_of_a_selected_file_is_its_path() {
        for (uri, base, path) in [
            ("a.py", None, "a.py"),
            ("./a.py", None, "a.py"),
            ("src/../a.py", None, "a.py"),
            ("/work/src-7/a.py", None, "a.py"),
            ("file:///work/src-7/a.py", None, "a.py"),
            ("src-7/.github/workflows/ci.yml", None, ".github/workflows/ci.yml"),
            ("work/src-7/a.py", None, "a.py"),
            ("file:/work/src-7/a.py", None, "a.py"),
            ("file://localhost/work/src-7/src/b%20c.py", None, "src/b c.py"),
            ("src/b%20c.py", None, "src/b c.py"),
            ("src/b c.py", None, "src/b c.py"),
            ("src/100%25.py", None, "src/100%25.py"),
            ("src/100%2525.py", None, "src/100%25.py"),
            ("src/%C3%BCn%C3%AF.py", None, "src/ünï.py"),
            ("b%20c.py", Some("file:///work/src-7/src/"), "src/b c.py"),
            ("a.py", Some("file:///work/src-7/"), "a.py"),
            (".github/workflows/ci.yml", None, ".github/workflows/ci.yml"),
        ] {
            assert_eq!(find(uri, base).as_deref(), Some(path), "{uri}");
        }
    }

    #[test]
    fn nothing_outside_of_the_selected_files_is_a_path() {
        for uri in [
            "../a.py",
            "../../etc/passwd",
            "..%2f..%2fetc%2fpasswd",
            "/etc/passwd",
            "file:///etc/passwd",
            "/work/src-77/a.py",
            "file:///work/src-7/../a.py",
            "not-selected.py",
            "",
            "file://",
            "a.py\0.txt",
            "https://example.com/a.py",
        ] {
            assert_eq!(find(uri, None), None, "{uri:?}");
        }
    }
}
