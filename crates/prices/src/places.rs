//! Rows of ports and regions: small files, whose rows are checked against each other in the database.

use crate::{
    cells::{self, Value},
    frame::Rows,
    output::{FULL_BAD, Naming},
    ports::is_code,
    source::Source,
    split::Fields,
    value,
};
use dunlin_core::prices::{BadRow, BatchKind, Faults, Format, Layout, Range, Reason};
use std::str;

pub(crate) const COLUMNS: usize = 3;
/// A reader stops taking bytes at so many rows, until they are drained.
pub const FULL_ROWS: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRow {
    pub line: u64,
    pub code: String,
    pub name: String,
    /// A slug. Whether there is such a region is not known here.
    pub region: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionRow {
    pub line: u64,
    pub slug: String,
    pub name: String,
    /// None for a root. Whether there is such a region is not known here.
    pub parent: Option<String>,
}

/// Of places. The caller takes `ports`, `regions` and `bad` away between two feeds; the rest adds up.
#[derive(Debug, Default)]
pub struct PlaceOutput {
    pub ports: Vec<PortRow>,
    pub regions: Vec<RegionRow>,
    /// How many rows were good so far.
    pub rows: u64,
    /// All faults since these were drained, in the order of lines.
    pub bad: Vec<BadRow>,
    /// All faults so far, in numbers.
    pub faults: Faults,
}

impl PlaceOutput {
    pub fn new() -> Self {
        Self::default()
    }

    /// Wants to be drained: until then no reader takes bytes.
    pub fn is_full(&self) -> bool {
        self.ports.len() + self.regions.len() >= FULL_ROWS || self.bad.len() >= FULL_BAD
    }

    pub fn drain(&mut self) {
        self.ports.clear();
        self.regions.clear();
        self.bad.clear();
    }

    pub(crate) fn naming(&mut self, line: u64) -> Naming<'_> {
        Naming { bad: &mut self.bad, faults: &mut self.faults, line, any: false }
    }

    /// Takes in a row, or names what is wrong with it; `wrong` when something was named already.
    pub(crate) fn row(&mut self, kind: BatchKind, line: u64, values: &[Value<'_>; COLUMNS], wrong: bool) {
        let [first, second, third] = values;
        let checks: [Check; COLUMNS] = match kind {
            BatchKind::Ports => [code, value::name, value::slug],
            _ => [value::slug, value::name, parent],
        };
        let [check_first, check_second, check_third] = checks;
        let read = [
            first.check(|text| checked(text, check_first)),
            second.check(|text| checked(text, check_second)),
            third.check(|text| checked(text, check_third)),
        ];
        let read = match read {
            [Ok(first), Ok(second), Ok(third)] if !wrong => {
                self.rows += 1;
                if kind == BatchKind::Ports {
                    self.ports.push(PortRow { line, code: first, name: second, region: third });
                } else {
                    let parent = Some(third).filter(|parent| !parent.is_empty());
                    self.regions.push(RegionRow { line, slug: first, name: second, parent });
                }
                return;
            }
            read => read,
        };
        let mut naming = self.naming(line);
        naming.any = wrong;
        for ((read, value), column) in read.into_iter().zip(values).zip(kind.columns()) {
            if let Err(Some(reason)) = read {
                naming.add(Some(column), value.shown(), reason);
            }
        }
    }
}

type Check = fn(&str) -> Result<(), Reason>;

fn checked(text: &[u8], check: Check) -> Result<String, Reason> {
    let text = str::from_utf8(text).map_err(|_| Reason::Encoding)?;
    check(text).map(|()| text.to_owned())
}

fn code(text: &str) -> Result<(), Reason> {
    match text {
        "" => Err(Reason::MissingValue),
        text if is_code(text.as_bytes()) => Ok(()),
        _ => Err(Reason::MalformedCode),
    }
}

fn parent(text: &str) -> Result<(), Reason> {
    if text.is_empty() { Ok(()) } else { value::slug(text) }
}

/// Reads one range of a CSV or NDJSON file of ports or regions.
#[derive(Debug)]
pub struct PlaceReader {
    source: Source,
    places: Places,
}

#[derive(Debug)]
struct Places {
    kind: BatchKind,
    format: Format,
    order: [u8; COLUMNS],
    fields: Fields,
}

impl PlaceReader {
    /// `layout` and `range` are the inspector's. Parquet is read by [`crate::ParquetReader`].
    pub fn new(kind: BatchKind, layout: &Layout, range: &Range) -> Self {
        let order = layout.fields.as_slice().try_into().unwrap_or([0, 1, 2]);
        let places = Places { kind, format: layout.format, order, fields: Fields::default() };
        Self { source: Source::new(layout, range), places }
    }

    /// Returns how many bytes of `chunk` it took. When that is less than all, even none, `out` is full: drain it, then feed the rest.
    #[must_use = "what was not taken has to be fed again"]
    pub fn feed(&mut self, chunk: &[u8], out: &mut PlaceOutput) -> usize {
        self.source.feed(chunk, &mut Sink { places: &mut self.places, out })
    }

    /// The range has ended: reads what was carried over.
    pub fn finish(mut self, out: &mut PlaceOutput) {
        self.source.finish(&mut Sink { places: &mut self.places, out });
    }
}

struct Sink<'s> {
    places: &'s mut Places,
    out: &'s mut PlaceOutput,
}

impl Rows for Sink<'_> {
    fn record(&mut self, line: u64, record: &[u8]) {
        let mut naming = self.out.naming(line);
        let values = match self.places.format {
            Format::Ndjson => cells::of_json(self.places.kind, record, &mut naming),
            _ => cells::of_csv(&mut self.places.fields, &self.places.order, record, &mut naming),
        };
        let wrong = naming.any;
        if let Some(values) = values {
            self.out.row(self.places.kind, line, &values, wrong);
        }
    }

    fn fault(&mut self, line: u64, value: &[u8], reason: Reason, again: bool) {
        let mut naming = self.out.naming(line);
        naming.any = again;
        naming.add(None, value, reason);
    }

    fn is_full(&self) -> bool {
        self.out.is_full()
    }
}
