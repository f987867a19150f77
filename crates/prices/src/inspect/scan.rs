//! Where the rows of a text begin and end, at the speed of memory.

use super::{MAX_RANGES, Range};
use crate::{frame::MAX_BLANK_END, split::Splitter};
use memchr::{memchr, memchr_iter, memrchr};

/// So much is looked at at a time: it stays in the nearest cache.
const PIECE: usize = 32 << 10;

#[derive(Debug)]
pub(super) struct Scanner {
    csv: bool,
    split: Splitter,
    target: u64,
    offset: u64,
    /// Newlines so far, and those of the header.
    newlines: u64,
    /// The record at hand: its bytes so far, and whether the first one is a carriage return.
    partial: u64,
    partial_cr: bool,
    /// Blank lines right before it.
    blanks: u64,
    /// Behind the last row. Blank lines at the end of a file belong to no range.
    rows_end: u64,
    begin: u64,
    begin_line: u64,
    ranges: Vec<Range>,
}

impl Scanner {
    /// Rows begin at this offset and line.
    pub fn new(csv: bool, offset: u64, line: u64, target: u64) -> Self {
        Self {
            csv,
            split: Splitter::new(csv),
            target,
            offset,
            newlines: line - 1,
            partial: 0,
            partial_cr: false,
            blanks: 0,
            rows_end: offset,
            begin: offset,
            begin_line: line,
            ranges: Vec::new(),
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            let quotes = self.csv && (self.split.is_open() || memchr(b'"', piece).is_some());
            let no_cut = self.offset + (piece.len() as u64) < self.begin.saturating_add(self.target);
            if no_cut && !quotes {
                self.plain(piece);
            } else {
                self.careful(piece);
            }
            self.offset += piece.len() as u64;
        }
    }

    /// A piece without quotes in which no range ends: only its last rows matter.
    fn plain(&mut self, piece: &[u8]) {
        self.split.skip_plain(piece);
        let Some(last) = memrchr(b'\n', piece) else {
            self.grow(piece);
            return;
        };
        self.newlines += memchr_iter(b'\n', piece).count() as u64;
        // Backwards over blank lines, to the last row.
        let mut end = last;
        let mut blanks = 0;
        loop {
            let before = piece.get(..end).unwrap_or_default();
            let begin = memrchr(b'\n', before).map_or(0, |at| at + 1);
            let record = before.get(begin..).unwrap_or_default();
            let blank = if begin == 0 { self.is_blank(record) } else { matches!(record, b"" | b"\r") };
            if !blank {
                self.blanks = 0;
                self.rows_end = self.offset + end as u64 + 1;
                break;
            }
            blanks += 1;
            if begin == 0 {
                break;
            }
            end = begin - 1;
        }
        self.blanks += blanks;
        if self.blanks > MAX_BLANK_END {
            self.rows_end = self.offset + last as u64 + 1;
        }
        self.partial = 0;
        self.grow(piece.get(last + 1..).unwrap_or_default());
    }

    fn careful(&mut self, piece: &[u8]) {
        let mut at = 0;
        while let Some(length) = self.split.end(piece.get(at..).unwrap_or_default()) {
            let record = piece.get(at..at + length).unwrap_or_default();
            self.newlines += memchr_iter(b'\n', record).count() as u64;
            at += length;
            let end = self.offset + at as u64;
            if self.is_blank(record.strip_suffix(b"\n").unwrap_or(record)) {
                self.blanks += 1;
                if self.blanks > MAX_BLANK_END {
                    self.rows_end = end;
                }
            } else {
                self.blanks = 0;
                self.rows_end = end;
                self.cut(end);
            }
            self.partial = 0;
        }
        let rest = piece.get(at..).unwrap_or_default();
        self.newlines += memchr_iter(b'\n', rest).count() as u64;
        self.grow(rest);
    }

    /// The record at hand, which ends with `rest`.
    fn is_blank(&self, rest: &[u8]) -> bool {
        match self.partial {
            0 => matches!(rest, b"" | b"\r"),
            1 => self.partial_cr && rest.is_empty(),
            _ => false,
        }
    }

    fn grow(&mut self, bytes: &[u8]) {
        if self.partial == 0 {
            self.partial_cr = bytes.first() == Some(&b'\r');
        }
        self.partial += bytes.len() as u64;
    }

    /// Behind a row, never behind a blank line: that may be the end of the file.
    fn cut(&mut self, end: u64) {
        if end - self.begin >= self.target {
            self.range(end);
            if self.ranges.len() as u64 == MAX_RANGES - 1 {
                self.target = u64::MAX;
            }
        }
    }

    fn range(&mut self, end: u64) {
        let range = u32::try_from(self.ranges.len()).unwrap_or(u32::MAX);
        let length = end - self.begin;
        self.ranges.push(Range { range, offset: self.begin, length, first_line: self.begin_line, has_header: false });
        self.begin = end;
        self.begin_line = self.newlines + 1;
    }

    pub fn lines(&self) -> u64 {
        self.newlines
    }

    pub fn finish(mut self) -> Vec<Range> {
        if self.partial > 0 {
            self.rows_end = self.offset;
        }
        if self.rows_end > self.begin {
            self.range(self.rows_end);
        }
        self.ranges
    }
}
