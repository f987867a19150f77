//! Batches of prices, and of the places that prices are between: what kinds there are, how they stand, and what is wrong with a
//! row.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// What the rows of a batch are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchKind {
    /// `orig_code`, `dest_code`, `day`, `price`.
    Prices,
    /// `code`, `name`, `region`.
    Ports,
    /// `slug`, `name`, `parent` (may be empty).
    Regions,
}

impl BatchKind {
    pub const ALL: [Self; 3] = [Self::Prices, Self::Ports, Self::Regions];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prices => "prices",
            Self::Ports => "ports",
            Self::Regions => "regions",
        }
    }

    /// The columns a file must have, in any order, and no others.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Prices => &["orig_code", "dest_code", "day", "price"],
            Self::Ports => &["code", "name", "region"],
            Self::Regions => &["slug", "name", "parent"],
        }
    }
}

impl fmt::Display for BatchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BatchKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// What people see of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Its id was given out; no file has arrived, or nobody has looked at it.
    Accepted,
    /// Rows are being read and checked. Nobody sees them.
    Loading,
    /// All its rows are what queries answer from.
    Published,
    /// At least one row is bad: none of its rows went in.
    Rejected,
    /// It could not be read to its end for a reason that is not in its rows.
    Failed,
    /// The same content as another batch: see `same_as`.
    Duplicate,
    /// Was published; a correction took its place: see `replaced_by`.
    Replaced,
    /// Was published; somebody took it back.
    Withdrawn,
}

impl BatchState {
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Loading,
        Self::Published,
        Self::Rejected,
        Self::Failed,
        Self::Duplicate,
        Self::Replaced,
        Self::Withdrawn,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Loading => "loading",
            Self::Published => "published",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Duplicate => "duplicate",
            Self::Replaced => "replaced",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The load has ended, one way or the other.
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Accepted | Self::Loading)
    }
}

impl FromStr for BatchState {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

/// Why a row is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The header has no such column.
    MissingColumn,
    /// The header has a column that nobody knows.
    ExtraColumn,
    /// The header has a column twice.
    RepeatedColumn,
    /// A row with more or fewer fields than the header.
    FieldCount,
    /// Empty where something must be.
    MissingValue,
    /// Not of the form that codes, slugs or names have.
    MalformedCode,
    /// No port has this code.
    UnknownPort,
    /// No region has this slug.
    UnknownRegion,
    /// A region would be its own ancestor.
    RegionCycle,
    /// No calendar has this day (2026-02-30), it is not written as YYYY-MM-DD, or it lies outside of 1990 to 2100.
    InvalidDate,
    NotANumber,
    /// Zero or less.
    NotPositive,
    /// Above the limit.
    AbsurdPrice,
    /// More than two digits behind the point.
    TooPrecise,
    /// The same row (for places: the same code) stands earlier in the batch.
    Duplicate,
    /// Not UTF-8.
    Encoding,
    /// A JSON line that is no object of the columns, or a value of a wrong kind; a CSV field with quotes that RFC 4180 does not know.
    MalformedRow,
    /// The row, or a value in it, is longer than any can be.
    RowTooLong,
    /// A quoted field that does not end, or a compressed file that ends early.
    Truncated,
    /// The file as a whole cannot be read: not the format it seems, a damaged stream.
    Unreadable,
    /// There is no row in it.
    Empty,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingColumn => "missing_column",
            Self::ExtraColumn => "extra_column",
            Self::RepeatedColumn => "repeated_column",
            Self::FieldCount => "field_count",
            Self::MissingValue => "missing_value",
            Self::MalformedCode => "malformed_code",
            Self::UnknownPort => "unknown_port",
            Self::UnknownRegion => "unknown_region",
            Self::RegionCycle => "region_cycle",
            Self::InvalidDate => "invalid_date",
            Self::NotANumber => "not_a_number",
            Self::NotPositive => "not_positive",
            Self::AbsurdPrice => "absurd_price",
            Self::TooPrecise => "too_precise",
            Self::Duplicate => "duplicate",
            Self::Encoding => "encoding",
            Self::MalformedRow => "malformed_row",
            Self::RowTooLong => "row_too_long",
            Self::Truncated => "truncated",
            Self::Unreadable => "unreadable",
            Self::Empty => "empty",
        }
    }
}

/// Of a bad value, what is told.
pub const MAX_VALUE_CHARS: usize = 80;
/// Bad rows that the API names; the report in S3 has all.
pub const FIRST_BAD_ROWS: usize = 100;
/// The highest price, in hundredths. Above it a price is a slip of the keyboard.
pub const MAX_PRICE: i64 = 1_000_000_000;
/// Rows of a batch: a line number is a 32-bit integer in the database.
pub const MAX_ROWS: u64 = 2_000_000_000;

/// One reason against one row. A row may have several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Where the row begins, from 1; in Parquet the number of the row.
    pub line: u64,
    /// None: it is about the row as a whole, or the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What stands there: cut to [`MAX_VALUE_CHARS`], control characters escaped.
    pub value: String,
    pub reason: Reason,
}

impl BadRow {
    pub fn new(line: u64, column: Option<&str>, value: &str, reason: Reason) -> Self {
        let mut shown: String = value.chars().take(MAX_VALUE_CHARS).flat_map(visible).collect();
        if value.chars().nth(MAX_VALUE_CHARS).is_some() {
            shown.push('…');
        }
        Self { line, column: column.map(str::to_owned), value: shown, reason }
    }
}

/// Nothing that moves a cursor, ends a line or turns the direction of writing.
fn visible(c: char) -> impl Iterator<Item = char> {
    let hidden = c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let escaped: Vec<char> = if hidden { c.escape_unicode().collect() } else { vec![c] };
    escaped.into_iter()
}

/// What is wrong with a batch, in numbers and by example.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Rows with at least one fault.
    pub rows: u64,
    /// How often each reason was given.
    pub reasons: BTreeMap<Reason, u64>,
    /// The first [`FIRST_BAD_ROWS`], by line.
    pub first: Vec<BadRow>,
}

impl Faults {
    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Counts one fault. The faults of a row come one after the other.
    pub fn add(&mut self, fault: &BadRow, first_of_its_row: bool) {
        self.rows += u64::from(first_of_its_row);
        *self.reasons.entry(fault.reason).or_default() += 1;
        if self.first.len() < FIRST_BAD_ROWS {
            self.first.push(fault.clone());
        }
    }

    /// Takes in the faults of other rows, wherever those are in the file.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        for (reason, count) in &other.reasons {
            *self.reasons.entry(*reason).or_default() += count;
        }
        self.first.extend_from_slice(&other.first);
        self.first.sort_by_key(|fault| fault.line);
        self.first.truncate(FIRST_BAD_ROWS);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// RFC 4180 with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// What the inspector found out about a file, for whoever reads a range of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub format: Format,
    pub compression: Compression,
    /// CSV: for each field of a row, the index of its column in [`BatchKind::columns`]. Empty for the others.
    pub fields: Vec<u8>,
}

/// A part of a file that begins with a row and ends behind one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub range: u32,
    /// In bytes of the object; for Parquet, the number of the first row group.
    pub offset: u64,
    /// In bytes of the object; for Parquet, how many row groups.
    pub length: u64,
    /// The line that its first row begins at; for Parquet, the number of its first row.
    pub first_line: u64,
    /// A range of a compressed file is all of it, and begins with the header.
    pub has_header: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_and_show_no_control_characters() {
        let row = BadRow::new(7, Some("price"), "1\n2\u{202e}3", Reason::NotANumber);
        assert_eq!(row.value, "1\\u{a}2\\u{202e}3");
        let long = BadRow::new(1, None, &"é".repeat(500), Reason::MalformedRow);
        assert_eq!(long.value.chars().count(), MAX_VALUE_CHARS + 1);
    }

    #[test]
    fn faults_of_ranges_come_together_in_the_order_of_lines() {
        let (mut late, mut early) = (Faults::default(), Faults::default());
        for line in 200..300 {
            late.add(&BadRow::new(line, Some("day"), "", Reason::InvalidDate), true);
        }
        early.add(&BadRow::new(3, Some("day"), "", Reason::InvalidDate), true);
        early.add(&BadRow::new(3, Some("price"), "x", Reason::NotANumber), false);
        late.merge(&early);
        assert_eq!((late.rows, late.reasons[&Reason::InvalidDate], late.first.len()), (101, 101, FIRST_BAD_ROWS));
        assert_eq!((late.first[0].line, late.first[1].line), (3, 3));
    }

    #[test]
    fn names_are_the_same_in_json_and_in_text() {
        for kind in BatchKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for state in BatchState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!(serde_json::to_value(Reason::NotANumber).unwrap(), Reason::NotANumber.as_str());
    }
}
