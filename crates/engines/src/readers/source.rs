//! The code around a place: for the fingerprint as it is, for people with secrets masked.

use dunlin_core::{
    fingerprint::code_at,
    mask::{mask, mask_known, mask_literals, preview},
};
use std::{fs, path::Path};

/// Longer files are not read: their findings have a place and no snippet.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
const MAX_SNIPPET_CHARS: usize = 400;
/// Of one line of a snippet.
const MAX_LINE_CHARS: usize = 130;
/// What is masked before a line is cut, so that a secret is seen whole.
const WINDOW_CHARS: usize = 2_000;

/// Of one file; each is looked for in each snippet of it.
const MAX_KNOWN_SECRETS: usize = 200;

/// A stretch of the source that is a secret. Lines and columns count from 1; the end column is the first one after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marked {
    pub start: u32,
    pub end: u32,
    pub start_column: u32,
    pub end_column: Option<u32>,
}

/// Keeps the file that was asked for last: findings come ordered by path.
pub(crate) struct Sources<'a> {
    root: &'a Path,
    current: Option<(String, SourceFile)>,
}

#[derive(Default)]
pub(crate) struct SourceFile {
    lines: Vec<String>,
    marks: Vec<Marked>,
    secrets: Vec<String>,
}

impl<'a> Sources<'a> {
    pub fn new(root: &'a Path) -> Self {
        Self { root, current: None }
    }

    pub fn file(&mut self, path: &str, marks: &[Marked]) -> &SourceFile {
        if self.current.as_ref().is_none_or(|(known, _)| known != path) {
            let lines = lines_of(&self.root.join(path)).unwrap_or_default();
            self.current = Some((path.to_owned(), SourceFile::new(lines, marks)));
        }
        match &self.current {
            Some((_, file)) => file,
            None => unreachable!("set above"),
        }
    }
}

/// `None` for what is not a plain file of a sane size. Never follows a link: the source is untrusted.
fn lines_of(path: &Path) -> Option<Vec<String>> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect())
}

impl SourceFile {
    fn line(&self, number: u32) -> Option<&str> {
        self.lines.get(usize::try_from(number).ok()?.checked_sub(1)?).map(String::as_str)
    }

    /// What names the place in a fingerprint.
    pub fn code(&self, start: Option<u32>, end: Option<u32>) -> String {
        let (Some(start), Some(end)) = (start, end) else { return String::new() };
        code_at(&self.lines, start, end).join("\n")
    }

    fn new(lines: Vec<String>, marks: &[Marked]) -> Self {
        let mut file = Self { lines, marks: marks.to_vec(), secrets: Vec::new() };
        let stretch = |mark: &Marked| {
            let line = file.line(mark.start)?;
            let (from, to) = mark.bytes(mark.start, line)?;
            Some(line[from..to].trim_matches(|c: char| !c.is_alphanumeric()).to_owned())
        };
        let mut secrets: Vec<String> = marks.iter().filter_map(stretch).filter(|secret| secret.len() >= 6).collect();
        secrets.sort();
        secrets.dedup();
        secrets.truncate(MAX_KNOWN_SECRETS);
        file.secrets = secrets;
        file
    }

    /// The text of the marked stretches. The same secret may stand again where the engine did not mark it.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// One line before the place, up to three of it, one after; masked, and cut around the column.
    pub fn snippet(&self, start: Option<u32>, end: Option<u32>, column: Option<u32>, secret: bool) -> Option<String> {
        let (start, end) = (start?, end?);
        self.line(start)?;
        let last = end.min(start.saturating_add(2)).saturating_add(1);
        let mut shown = Vec::new();
        for number in start.saturating_sub(1).max(1)..=last {
            let Some(line) = self.line(number) else { break };
            let around = if number == start { column.unwrap_or(1) as usize - 1 } else { 0 };
            let hidden = self.hide(number, line);
            let window = window(&hidden, around, WINDOW_CHARS);
            let window = mask_known(&window, self.secrets.iter().map(String::as_str));
            shown.push((window, around.min(WINDOW_CHARS / 2)));
        }
        // Masked together: a private key is longer than a line.
        let text = shown.iter().map(|(line, _)| line.as_str()).collect::<Vec<_>>().join("\n");
        let masked = if secret { mask_literals(&text) } else { mask(&text) };
        let cut: Vec<String> = if masked.lines().count() == shown.len() {
            masked.lines().zip(&shown).map(|(line, (_, around))| window_marked(line, *around)).collect()
        } else {
            masked.lines().map(|line| window_marked(line, 0)).collect()
        };
        let text = super::words::clean(&cut.join("\n")).trim_end().chars().take(MAX_SNIPPET_CHARS).collect::<String>();
        (!text.trim().is_empty()).then_some(text)
    }

    /// The line with every marked stretch masked.
    fn hide(&self, number: u32, line: &str) -> String {
        let mut ranges: Vec<_> = self.marks.iter().filter_map(|mark| mark.bytes(number, line)).collect();
        ranges.sort_unstable();
        let (mut hidden, mut at) = (String::new(), 0);
        for (from, to) in ranges {
            if to <= at {
                continue;
            }
            // Overlapping stretches: nothing of the second may be kept.
            let kept = if from >= at { preview(&line[from..to]) } else { "****".to_owned() };
            hidden.push_str(&line[at..from.max(at)]);
            hidden.push_str(&kept);
            at = to;
        }
        hidden.push_str(&line[at..]);
        hidden
    }
}

impl Marked {
    /// The marked bytes of line `number`. Engines count columns in bytes or in characters, and some are one off after the
    /// first line: the stretch covers each of these readings.
    fn bytes(&self, number: u32, line: &str) -> Option<(usize, usize)> {
        if number < self.start || number > self.end {
            return None;
        }
        let floor = |mut n: usize| {
            n = n.min(line.len());
            while !line.is_char_boundary(n) {
                n -= 1;
            }
            n
        };
        let ceil = |mut n: usize| {
            n = n.min(line.len());
            while !line.is_char_boundary(n) {
                n += 1;
            }
            n
        };
        let characters = |n: usize| line.char_indices().nth(n).map_or(line.len(), |(at, _)| at);
        let from = if number == self.start {
            let n = (self.start_column.max(1) as usize - 1).saturating_sub(1);
            floor(n.min(characters(n)))
        } else {
            0
        };
        let to = match self.end_column {
            Some(column) if number == self.end => {
                let n = column as usize;
                ceil(n.max(characters(n)))
            }
            _ => line.len(),
        };
        (from < to).then_some((from, to))
    }
}

/// `length` characters of `line` around the character `at`.
fn window(line: &str, at: usize, length: usize) -> String {
    line.chars().skip(at.saturating_sub(length / 2)).take(length).collect()
}

/// [`window`] with dots where something was cut.
fn window_marked(line: &str, at: usize) -> String {
    let total = line.chars().count();
    if total <= MAX_LINE_CHARS {
        return line.to_owned();
    }
    let before = at.saturating_sub(30).min(total - MAX_LINE_CHARS);
    let kept: String = line.chars().skip(before).take(MAX_LINE_CHARS).collect();
    let (head, tail) = (if before > 0 { "…" } else { "" }, if before + MAX_LINE_CHARS < total { "…" } else { "" });
    format!("{head}{kept}{tail}")
}
