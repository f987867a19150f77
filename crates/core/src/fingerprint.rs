//! What makes a finding the same finding in the next scan.
//!
//! A fingerprint is rule, path and the code at the place, and a number that tells equal ones in one file apart. White space,
//! line numbers and the engine's words are not in it: moved lines, another indentation and a reworded message change nothing.
//! The content key leaves the path out, and so finds a finding again in a renamed file ([`crate::matching`]).

use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// A place of more lines than this is named by its first line. Engines for infrastructure mark whole resources: with one
/// attribute changed, it is still the same resource.
pub const MAX_CODE_LINES: usize = 5;

/// Code with fewer characters than this (`}`, `else:`) is everywhere, so it cannot recognise a renamed file.
const DISTINCTIVE: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// 64 hexadecimal digits, unique among the findings of one engine in one snapshot.
    pub fingerprint: String,
    /// 64 hexadecimal digits.
    pub content_key: String,
}

/// Gives keys to the findings of one report. Ask in the order of lines: equal findings are numbered as they come.
#[derive(Debug, Default)]
pub struct Fingerprints {
    seen: HashMap<[u8; 32], u32>,
}

impl Fingerprints {
    pub fn keys(&mut self, rule: &str, path: &str, code: &str) -> Keys {
        let code = normalise(code);
        let occurrence =
            self.seen.entry(digest(&[b"seen", rule.as_bytes(), path.as_bytes(), code.as_bytes()])).or_default();
        let number = occurrence.to_be_bytes();
        *occurrence += 1;
        let tied_to = if code.chars().count() < DISTINCTIVE { path } else { "" };
        Keys {
            fingerprint: hex::encode(digest(&[b"place", rule.as_bytes(), path.as_bytes(), code.as_bytes(), &number])),
            content_key: hex::encode(digest(&[
                b"content",
                rule.as_bytes(),
                tied_to.as_bytes(),
                code.as_bytes(),
                &number,
            ])),
        }
    }
}

/// The code without any white space.
pub fn normalise(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The lines of a place that name it: all of them, or the first of many. `start` and `end` count from 1.
pub fn code_at<S: AsRef<str>>(lines: &[S], start: u32, end: u32) -> Vec<&str> {
    let first = start.max(1) as usize - 1;
    let count = (end.max(start) - start) as usize + 1;
    let count = if count > MAX_CODE_LINES { 1 } else { count };
    lines.iter().skip(first).take(count).map(AsRef::as_ref).collect()
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(rule: &str, path: &str, code: &str) -> Keys {
        Fingerprints::default().keys(rule, path, code)
    }

    #[test]
    fn white_space_changes_nothing() {
        let a = keys("ruff/S602", "a.py", "subprocess.run(command, shell=True)");
        assert_eq!(a, keys("ruff/S602", "a.py", "\tsubprocess.run( command,\r\n        shell = True )  \n"));
    }

    #[test]
    fn rule_path_and_code_each_change_the_fingerprint() {
        let a = keys("r/1", "a.py", "eval(given)");
        for other in
            [keys("r/2", "a.py", "eval(given)"), keys("r/1", "b.py", "eval(given)"), keys("r/1", "a.py", "eval(other)")]
        {
            assert_ne!(a.fingerprint, other.fingerprint);
        }
        assert_ne!(keys("ab", "c", "eval(given)").fingerprint, keys("a", "bc", "eval(given)").fingerprint);
    }

    #[test]
    fn the_content_key_survives_a_rename_and_the_fingerprint_does_not() {
        let (a, b) = (keys("r/1", "old.py", "eval(given)"), keys("r/1", "new/name.py", "eval(given)"));
        assert_eq!(a.content_key, b.content_key);
        assert_ne!(a.fingerprint, b.fingerprint);
    }

    #[test]
    fn code_that_says_nothing_never_recognises_a_renamed_file() {
        for code in ["", "}", "else:"] {
            assert_ne!(keys("r/1", "a.tf", code).content_key, keys("r/1", "b.tf", code).content_key, "{code:?}");
        }
    }

    #[test]
    fn equal_findings_of_one_file_are_numbered_and_stable() {
        let run = || {
            let mut fingerprints = Fingerprints::default();
            (0..3).map(|_| fingerprints.keys("r/1", "a.py", "eval(given)")).collect::<Vec<_>>()
        };
        let first = run();
        assert_eq!(first, run());
        assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2]);
        assert_eq!(first[0], keys("r/1", "a.py", "eval(given)"));
    }

    #[test]
    fn a_long_place_is_named_by_its_first_line() {
        let lines = ["resource {", " a = 1", " b = 2", " c = 3", " d = 4", " e = 5", "}"];
        assert_eq!(code_at(&lines, 1, 7), ["resource {"]);
        assert_eq!(code_at(&lines, 2, 4), [" a = 1", " b = 2", " c = 3"]);
        assert_eq!(code_at(&lines, 7, 7), ["}"]);
        assert!(code_at(&lines, 90, 91).is_empty());
    }
}
