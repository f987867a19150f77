//! The code around a place: for the fingerprint as it is, for people with secrets masked.

use dunlin_core::{
    fingerprint::{MAX_CODE_LINES, code_at, normalise},
    mask::{mask, mask_known, mask_literals, preview},
};
use sha2::{Digest, Sha256};
use std::{cell::RefCell, fs, ops::Range, path::Path};

/// Longer files are not read: their findings have a place and no snippet.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
const MAX_SNIPPET_CHARS: usize = 400;
/// Of one line of a snippet.
const MAX_LINE_CHARS: usize = 130;
/// What is masked before a line is cut, so that a secret is seen whole.
const WINDOW_CHARS: usize = 2_000;

/// Of one file; each is looked for in each snippet of it.
const MAX_KNOWN_SECRETS: usize = 200;
/// On one line; where more overlap, the whole line is a secret.
const MAX_MARKS: usize = 500;
/// Longer code (a bundle is one line of megabytes) is in a fingerprint by its own hash, and only a stretch of it is shown.
/// Each finding of such a file would go through all of it otherwise.
const LONG_CODE: usize = 64 << 10;
/// What is looked at of a long line, on both sides of the place.
const LONG_WINDOW: usize = 4 * WINDOW_CHARS;

/// A stretch of the source that is a secret. Lines and columns count from 1; the end column is the first one after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marked {
    pub start: u32,
    pub end: u32,
    pub start_column: u32,
    pub end_column: Option<u32>,
}

impl Marked {
    const fn key(&self) -> (u32, u32, u32, Option<u32>) {
        (self.start, self.end, self.start_column, self.end_column)
    }
}

/// Keeps the file that was asked for last: findings come ordered by path.
pub(crate) struct Sources<'a> {
    root: &'a Path,
    current: Option<(String, SourceFile)>,
}

#[derive(Default)]
pub(crate) struct SourceFile {
    text: String,
    /// Where each line begins, and the end of the last one.
    starts: Vec<u32>,
    /// Ordered by their first line.
    marks: Vec<Marked>,
    /// For each mark, the last line that it or one before it reaches.
    reach: Vec<u32>,
    secrets: Vec<String>,
    /// The last answer of [`Self::code`]: findings come ordered by place.
    code: RefCell<Option<((u32, u32), String)>>,
}

impl<'a> Sources<'a> {
    pub fn new(root: &'a Path) -> Self {
        Self { root, current: None }
    }

    pub fn file(&mut self, path: &str, marks: &[Marked]) -> &SourceFile {
        if self.current.as_ref().is_none_or(|(known, _)| known != path) {
            let text = text_of(&self.root.join(path)).unwrap_or_default();
            self.current = Some((path.to_owned(), SourceFile::new(text, marks)));
        }
        match &self.current {
            Some((_, file)) => file,
            None => unreachable!("set above"),
        }
    }
}

/// `None` for what is not a plain file of a sane size. Never follows a link: the source is untrusted.
fn text_of(path: &Path) -> Option<String> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return None;
    }
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
}

impl SourceFile {
    fn new(text: String, marks: &[Marked]) -> Self {
        let mut starts = vec![0];
        // A file of 16 MiB has at most three times that in characters that stand for what is no character.
        starts.extend(text.match_indices('\n').filter_map(|(at, _)| u32::try_from(at + 1).ok()));
        starts.push(u32::try_from(text.len() + 1).unwrap_or(u32::MAX));
        let mut marks = marks.to_vec();
        marks.sort_unstable_by_key(Marked::key);
        marks.dedup_by_key(|mark| mark.key());
        let reach = marks.iter().scan(0, |last: &mut u32, mark| {
            *last = mark.end.max(*last);
            Some(*last)
        });
        let reach = reach.collect();
        let mut file = Self { text, starts, marks, reach, ..Self::default() };
        let stretch = |mark: &Marked| {
            let line = file.line(mark.start)?;
            let range = mark.bytes(mark.start, line)?;
            let secret = line[range].trim_matches(|c: char| !c.is_alphanumeric());
            (6..=LONG_WINDOW).contains(&secret.len()).then(|| secret.to_owned())
        };
        let mut secrets: Vec<String> = file.marks.iter().take(4 * MAX_KNOWN_SECRETS).filter_map(stretch).collect();
        secrets.sort();
        secrets.dedup();
        secrets.truncate(MAX_KNOWN_SECRETS);
        file.secrets = secrets;
        file
    }

    fn line(&self, number: u32) -> Option<&str> {
        let number = usize::try_from(number).ok()?;
        let from = *self.starts.get(number.checked_sub(1)?)? as usize;
        let to = *self.starts.get(number)? as usize - 1;
        Some(self.text.get(from..to)?.trim_end_matches('\r'))
    }

    /// What names the place in a fingerprint.
    pub fn code(&self, start: Option<u32>, end: Option<u32>) -> String {
        let (Some(start), Some(end)) = (start, end) else { return String::new() };
        let mut last = self.code.borrow_mut();
        match &*last {
            Some((place, code)) if *place == (start, end) => code.clone(),
            _ => {
                let code = self.read_code(start, end);
                *last = Some(((start, end), code.clone()));
                code
            }
        }
    }

    fn read_code(&self, start: u32, end: u32) -> String {
        let most = u32::try_from(MAX_CODE_LINES).unwrap_or(u32::MAX);
        let lines: Vec<&str> =
            (start..=end.min(start.saturating_add(most))).map_while(|number| self.line(number)).collect();
        let code = code_at(&lines, 1, end - start + 1).join("\n");
        if code.len() <= LONG_CODE { code } else { hex::encode(Sha256::digest(normalise(&code).as_bytes())) }
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
            let (line, around) = self.hide(number, line, around);
            let window = mask_known(&window(&line, around, WINDOW_CHARS), self.secrets.iter().map(String::as_str));
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
        let text = cut.join("\n").trim_end().chars().take(MAX_SNIPPET_CHARS).collect::<String>();
        (!text.trim().is_empty()).then_some(text)
    }

    /// The line with every marked stretch masked and nothing that cannot be seen, and where in it the character `around` is.
    /// Of a long line, what is near that place. Cleaned before it is searched for secrets: with a zero after each letter, as
    /// UTF-16 has them, a secret is found by nobody and read by everybody.
    fn hide(&self, number: u32, line: &str, around: usize) -> (String, usize) {
        let part = if line.len() <= LONG_CODE {
            0..line.len()
        } else {
            // Bytes instead of characters: near enough.
            let at = around.min(line.len());
            floor(line, at.saturating_sub(LONG_WINDOW))..ceil(line, at.saturating_add(LONG_WINDOW))
        };
        let around = if part.start == 0 { around } else { line[part.start..floor(line, around)].chars().count() };
        let Some(marks) = self.marks_on(number, line) else { return (preview(line), 0) };
        let (mut hidden, mut at) = (String::new(), part.start);
        for Range { start, end } in marks {
            let (start, end) = (start.max(at), end.min(part.end));
            if end <= start {
                continue;
            }
            // What begins before the part, or inside of another stretch: nothing of it may be kept.
            let kept = if start > at || at == 0 { preview(&line[start..end]) } else { "****".to_owned() };
            hidden.push_str(&super::words::clean(&line[at..start]));
            hidden.push_str(&super::words::clean(&kept));
            at = end;
        }
        hidden.push_str(&super::words::clean(&line[at..part.end]));
        (hidden, around)
    }

    /// The marked stretches of a line, in order; none when there are too many to tell apart.
    fn marks_on(&self, number: u32, line: &str) -> Option<Vec<Range<usize>>> {
        let begun = self.marks.partition_point(|mark| mark.start <= number);
        let mut ranges = Vec::new();
        for (looked_at, position) in (0..begun).rev().enumerate() {
            if self.reach[position] < number {
                break;
            }
            if looked_at >= MAX_MARKS {
                return None;
            }
            ranges.extend(self.marks[position].bytes(number, line));
        }
        ranges.sort_unstable_by_key(|range| (range.start, range.end));
        Some(ranges)
    }
}

fn floor(line: &str, mut n: usize) -> usize {
    n = n.min(line.len());
    while !line.is_char_boundary(n) {
        n -= 1;
    }
    n
}

fn ceil(line: &str, mut n: usize) -> usize {
    n = n.min(line.len());
    while !line.is_char_boundary(n) {
        n += 1;
    }
    n
}

impl Marked {
    /// The marked bytes of line `number`. Engines count columns in bytes or in characters, some are one off after the first
    /// line, and some mark a part of a word: the stretch covers each of these readings, and whole words.
    fn bytes(&self, number: u32, line: &str) -> Option<Range<usize>> {
        if number < self.start || number > self.end {
            return None;
        }
        let characters = |n: usize| {
            if line.len() > LONG_CODE { n } else { line.char_indices().nth(n).map_or(line.len(), |(at, _)| at) }
        };
        let from = if number == self.start {
            let n = (self.start_column.max(1) as usize - 1).saturating_sub(1);
            floor(line, n.min(characters(n)))
        } else {
            0
        };
        let to = match self.end_column {
            Some(column) if number == self.end => {
                let n = column as usize;
                ceil(line, n.max(characters(n)))
            }
            _ => line.len(),
        };
        let of_word = |c: &char| c.is_ascii_alphanumeric() || "_+/-".contains(*c);
        let before = from - line[..from].chars().rev().take_while(of_word).count();
        let after = to + line[to..].chars().take_while(of_word).count();
        (before < after).then_some(before..after)
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
