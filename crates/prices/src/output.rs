//! What reading a piece of a range gives.

use crate::{
    copy::{self, PriceRow},
    value::Day,
};
use dunlin_core::prices::{BadRow, Faults, MAX_VALUE_CHARS, Reason};
use std::borrow::Cow;
use time::Date;

/// A reader stops taking bytes at so many of COPY, or so many faults, until they are drained. It may go over by one record.
pub const FULL_COPY: usize = 1 << 20;
pub const FULL_BAD: usize = 4096;

/// Of prices. The caller takes `copy` and `bad` away between two feeds; the rest adds up.
#[derive(Debug, Default)]
pub struct Output {
    /// Good rows for `COPY prices(batch, orig, dest, day, price, line) ... (FORMAT binary)`, without header and trailer.
    pub copy: Vec<u8>,
    /// How many rows were good so far.
    pub rows: u64,
    /// All faults since these were drained, in the order of lines.
    pub bad: Vec<BadRow>,
    /// All faults so far, in numbers.
    pub faults: Faults,
    days: Option<(Day, Day)>,
}

impl Output {
    pub fn new() -> Self {
        Self { copy: Vec::with_capacity(FULL_COPY + 4096), ..Self::default() }
    }

    /// The first and the last day of good rows.
    pub fn days(&self) -> Option<(Date, Date)> {
        let (first, last) = self.days?;
        Some((first.date()?, last.date()?))
    }

    /// Wants to be drained: until then no reader takes bytes.
    pub fn is_full(&self) -> bool {
        self.copy.len() >= FULL_COPY || self.bad.len() >= FULL_BAD
    }

    /// Forgets what the caller has sent on, and keeps its memory.
    pub fn drain(&mut self) {
        self.copy.clear();
        self.bad.clear();
    }

    #[inline]
    pub(crate) fn good(&mut self, batch: i32, row: PriceRow) {
        copy::append(&mut self.copy, batch, row);
        self.rows += 1;
        self.days = Some(match self.days {
            Some((first, last)) => (first.min(row.day), last.max(row.day)),
            None => (row.day, row.day),
        });
    }

    pub(crate) fn naming(&mut self, line: u64) -> Naming<'_> {
        Naming { bad: &mut self.bad, faults: &mut self.faults, line, any: false }
    }
}

/// Names the faults of one row.
pub(crate) struct Naming<'a> {
    pub bad: &'a mut Vec<BadRow>,
    pub faults: &'a mut Faults,
    pub line: u64,
    pub any: bool,
}

impl Naming<'_> {
    /// A value that is no UTF-8 is shown with replacement characters.
    pub fn add(&mut self, column: Option<&str>, value: &[u8], reason: Reason) {
        self.push(BadRow::new(self.line, column, &text(value), reason));
    }

    fn push(&mut self, fault: BadRow) {
        self.faults.add(&fault, !self.any);
        self.any = true;
        self.bad.push(fault);
    }

    /// A column that nobody knows. Its name is a stranger's text, and is shown as values are.
    pub fn extra(&mut self, name: &[u8]) {
        let fault = BadRow::new(self.line, None, &text(name), Reason::ExtraColumn);
        self.push(BadRow { column: Some(fault.value.clone()), ..fault });
    }
}

/// No more of it than can be shown.
fn text(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value.get(..4 * (MAX_VALUE_CHARS + 2)).unwrap_or(value))
}
