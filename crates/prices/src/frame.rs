//! Pieces of text to records: carries an unfinished one over to the next piece, and counts lines.

use crate::split::{MAX_RECORD, Splitter};
use dunlin_core::prices::{MAX_ROWS, Reason};
use memchr::memchr_iter;

/// So many blank lines at the end of a file are nothing; what is more is not an end of line too many.
pub(crate) const MAX_BLANK_END: u64 = 1000;
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Of a record that is too long, what is kept for showing.
const SHOWN: usize = 512;

/// What is done with records.
pub(crate) trait Rows {
    /// Reads the good and plain rows that `bytes` begins with; it begins with a record. Returns how many bytes and lines these are.
    fn fast(&mut self, bytes: &[u8], line: u64) -> (usize, u64) {
        let _ = (bytes, line);
        (0, 0)
    }
    /// A record without its end of line.
    fn record(&mut self, line: u64, record: &[u8]);
    /// A fault of a row as a whole, or of the file at this line; not the first of its row when `again`.
    fn fault(&mut self, line: u64, value: &[u8], reason: Reason, again: bool);
    /// Nothing more is wanted now.
    fn is_full(&self) -> bool;
}

#[derive(Debug)]
pub(crate) struct Framer {
    split: Splitter,
    /// A record's beginning, when it is not in the piece at hand.
    carry: Vec<u8>,
    /// The line that the record at hand begins at, and how many newlines of it have passed.
    line: u64,
    inner_lines: u64,
    /// The record at hand is too long; nothing of it is kept.
    skipping: bool,
    /// This is a whole file: a byte order mark, blank lines at its end and the lack of rows are looked for.
    whole: bool,
    bom: usize,
    header: bool,
    /// Blank lines right before the record at hand, of which nobody knows yet whether they are the end.
    blanks: u64,
    /// Blank lines stand here that are too many for an end.
    many_blanks: bool,
    any: bool,
    /// Nothing more is read.
    done: bool,
}

impl Framer {
    pub fn new(csv: bool, whole: bool, first_line: u64) -> Self {
        Self {
            split: Splitter::new(csv),
            carry: Vec::new(),
            line: first_line,
            inner_lines: 0,
            skipping: false,
            whole,
            bom: if whole { 0 } else { BOM.len() },
            header: csv && whole,
            blanks: 0,
            many_blanks: false,
            any: false,
            done: false,
        }
    }

    /// Returns how many bytes it took: all, unless `rows` is full.
    pub fn feed(&mut self, bytes: &[u8], rows: &mut impl Rows) -> usize {
        let mut at = 0;
        while at < bytes.len() && !rows.is_full() {
            if self.done {
                return bytes.len();
            }
            let rest = bytes.get(at..).unwrap_or_default();
            if self.bom < BOM.len() {
                at += self.mark(rest);
                continue;
            }
            if self.line > MAX_ROWS {
                rows.fault(self.line, b"more lines than a batch may have", Reason::Unreadable, false);
                self.done = true;
                continue;
            }
            if self.carry.is_empty() && self.inner_lines == 0 && !self.skipping && !self.header && self.blanks == 0 {
                let (taken, lines) = rows.fast(rest, self.line);
                at += taken;
                self.line += lines;
                if taken > 0 {
                    self.any = true;
                    self.many_blanks = false;
                    continue;
                }
            }
            at += self.step(rest, rows);
        }
        at
    }

    /// One byte of what may be a byte order mark.
    fn mark(&mut self, rest: &[u8]) -> usize {
        if rest.first() == BOM.get(self.bom) {
            self.bom += 1;
            return 1;
        }
        // It only looked like one.
        let begun = BOM.get(..self.bom).unwrap_or_default();
        self.split.skip_plain(begun);
        self.carry.extend_from_slice(begun);
        self.bom = BOM.len();
        0
    }

    /// The rest of a record, or all that there is of it.
    fn step(&mut self, rest: &[u8], rows: &mut impl Rows) -> usize {
        let end = self.split.end(rest);
        let taken = end.unwrap_or(rest.len());
        let piece = rest.get(..taken).unwrap_or_default();
        self.inner_lines += memchr_iter(b'\n', piece).count() as u64;
        if !self.skipping && self.carry.len() + taken > MAX_RECORD {
            self.carry.truncate(SHOWN);
            self.carry.extend_from_slice(piece.get(..SHOWN).unwrap_or(piece));
            self.flush_blanks(rows);
            self.any = true;
            rows.fault(self.line, &self.carry, Reason::RowTooLong, false);
            self.carry.clear();
            self.skipping = true;
            self.header = false;
        }
        if end.is_none() {
            if !self.skipping {
                self.carry.extend_from_slice(piece);
            }
            return taken;
        }
        if self.skipping {
            self.skipping = false;
        } else if self.carry.is_empty() {
            self.complete(piece, rows);
        } else {
            let mut record = std::mem::take(&mut self.carry);
            record.extend_from_slice(piece);
            self.complete(&record, rows);
            record.clear();
            self.carry = record;
        }
        self.line += self.inner_lines;
        self.inner_lines = 0;
        taken
    }

    fn complete(&mut self, record: &[u8], rows: &mut impl Rows) {
        let record = match record {
            [record @ .., b'\r', b'\n'] | [record @ .., b'\n'] | record => record,
        };
        if self.header {
            self.header = record.is_empty();
            return;
        }
        self.many_blanks &= record.is_empty();
        if record.is_empty() && self.whole && !self.many_blanks {
            self.blanks += 1;
            if self.blanks <= MAX_BLANK_END {
                return;
            }
            self.blanks -= 1;
            self.many_blanks = true;
        }
        self.flush_blanks(rows);
        self.any = true;
        rows.record(self.line, record);
    }

    /// They are not the end of the file, so they are bad rows.
    fn flush_blanks(&mut self, rows: &mut impl Rows) {
        for line in self.line - self.blanks..self.line {
            rows.record(line, b"");
        }
        self.blanks = 0;
    }

    /// The bytes have ended, or cannot be read any further.
    pub fn finish(&mut self, broken: Option<(Reason, &str)>, rows: &mut impl Rows) {
        if self.done {
            return;
        }
        self.done = true;
        if (1..BOM.len()).contains(&self.bom) {
            self.mark(b"");
        }
        if let Some((reason, why)) = broken {
            // The record at hand is not whole, and says nothing.
            rows.fault(self.line, why.as_bytes(), reason, self.skipping);
            return;
        }
        if self.split.is_open() {
            self.flush_blanks(rows);
            rows.fault(self.line, &self.carry, Reason::Truncated, self.skipping);
            return;
        }
        if !self.carry.is_empty() {
            let record = std::mem::take(&mut self.carry);
            self.complete(&record, rows);
        }
        if self.whole && !self.any {
            rows.fault(1, b"", Reason::Empty, false);
        }
    }
}
