//! Rows of prices.

use crate::{
    copy::PriceRow, frame::Rows, json, output::Output, ports::PortTable, source::Source, split::Fields, value,
};
use dunlin_core::prices::{BatchKind, Format, Layout, MAX_ROWS, Range, Reason};
use memchr::memchr;
use std::str;

const COLUMNS: usize = 4;
const NAMES: &[&str] = BatchKind::Prices.columns();

/// Reads one range of a CSV or NDJSON file of prices. Memory is flat: a record of at most 64 KiB, and for a compressed file its
/// window.
#[derive(Debug)]
pub struct PriceReader<'a> {
    source: Source,
    prices: Prices<'a>,
}

#[derive(Debug)]
struct Prices<'a> {
    format: Format,
    /// For each field its column. Always as many as columns: of another layout nothing can be read.
    order: [u8; COLUMNS],
    batch: i32,
    ports: &'a PortTable,
    fields: Fields,
}

impl<'a> PriceReader<'a> {
    /// `layout` and `range` are the inspector's. Parquet is read by [`crate::read_parquet`].
    pub fn new(layout: &Layout, range: &Range, batch: i32, ports: &'a PortTable) -> Self {
        let order = layout.fields.as_slice().try_into().unwrap_or([0, 1, 2, 3]);
        let prices = Prices { format: layout.format, order, batch, ports, fields: Fields::default() };
        Self { source: Source::new(layout, range), prices }
    }

    /// Returns how many bytes of `chunk` it took. When that is less than all, even none, `out` is full: drain it, then feed the rest.
    #[must_use = "what was not taken has to be fed again"]
    pub fn feed(&mut self, chunk: &[u8], out: &mut Output) -> usize {
        self.source.feed(chunk, &mut Sink { prices: &mut self.prices, out })
    }

    /// The range has ended: reads what was carried over.
    pub fn finish(mut self, out: &mut Output) {
        self.source.finish(&mut Sink { prices: &mut self.prices, out });
    }
}

struct Sink<'s, 'a> {
    prices: &'s mut Prices<'a>,
    out: &'s mut Output,
}

impl Rows for Sink<'_, '_> {
    fn fast(&mut self, bytes: &[u8], first_line: u64) -> (usize, u64) {
        if self.prices.format != Format::Csv {
            return (0, 0);
        }
        let (mut at, mut line) = (0, first_line);
        while let Some(rest) = bytes.get(at..)
            && let Some(length) = memchr(b'\n', rest)
            && let Some(record) = rest.get(..length)
        {
            let record = record.strip_suffix(b"\r").unwrap_or(record);
            let Some(row) = self.prices.plain(record, line) else { break };
            self.out.good(self.prices.batch, row);
            at += length + 1;
            line += 1;
            if self.out.is_full() || line > MAX_ROWS {
                break;
            }
        }
        (at, line - first_line)
    }

    fn record(&mut self, line: u64, record: &[u8]) {
        match self.prices.format {
            Format::Ndjson => self.json(line, record),
            _ => match self.prices.plain(record, line) {
                Some(row) => self.out.good(self.prices.batch, row),
                None => self.careful(line, record),
            },
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

impl Prices<'_> {
    /// A row in which nothing is wrong and nothing is quoted: no other bytes make codes, days and prices.
    #[inline]
    fn plain(&self, record: &[u8], line: u64) -> Option<PriceRow> {
        let mut values: [&[u8]; COLUMNS] = [b""; COLUMNS];
        let mut rest = record;
        for (field, column) in self.order.iter().enumerate() {
            let length = if field + 1 < COLUMNS { memchr(b',', rest)? } else { rest.len() };
            *values.get_mut(usize::from(*column))? = rest.get(..length)?;
            rest = rest.get(length + 1..).unwrap_or_default();
        }
        let [orig, dest, day, price] = values;
        Some(PriceRow {
            orig: self.ports.get(orig)?,
            dest: self.ports.get(dest)?,
            day: value::day(day).ok()?,
            price: value::price(price).ok()?,
            line: line as i32,
        })
    }

    fn port(&self, code: &[u8]) -> Result<i32, Reason> {
        match self.ports.get(code) {
            Some(id) => Ok(id),
            None if code.is_empty() => Err(Reason::MissingValue),
            None if crate::ports::is_code(code) => Err(Reason::UnknownPort),
            None => Err(Reason::MalformedCode),
        }
    }
}

impl Sink<'_, '_> {
    /// A row with quotes in it, or with faults: names every one.
    fn careful(&mut self, line: u64, record: &[u8]) {
        let mut fields = std::mem::take(&mut self.prices.fields);
        fields.read(record);
        if fields.len() == COLUMNS {
            let mut values: [Value<'_>; COLUMNS] = [Value::Text(b""); COLUMNS];
            for ((text, right), column) in fields.iter().zip(self.prices.order) {
                if let Some(value) = values.get_mut(usize::from(column)) {
                    *value = if right { Value::Text(text) } else { Value::Bad(text, Reason::MalformedRow) };
                }
            }
            self.row(line, values);
        } else {
            let mut naming = self.out.naming(line);
            naming.add(None, record, Reason::FieldCount);
            if str::from_utf8(record).is_err() {
                naming.add(None, record, Reason::Encoding);
            }
        }
        self.prices.fields = fields;
    }

    fn json(&mut self, line: u64, record: &[u8]) {
        let mut naming = self.out.naming(line);
        let Some(object) = json::object(record, NAMES, &mut naming) else { return };
        let wrong = naming.any;
        let mut values: [Value<'_>; COLUMNS] = [Value::Told; COLUMNS];
        let texts: Vec<json::Text<'_>> = object.into_iter().map(json::Text::new).collect();
        for (column, (value, text)) in values.iter_mut().zip(&texts).enumerate() {
            // A number is a price, and nothing else.
            let number_allowed = NAMES.get(column) == Some(&"price");
            *value = match text {
                json::Text::Absent => Value::Told,
                json::Text::Null => Value::Bad(b"", Reason::MissingValue),
                json::Text::String(text) => Value::Text(text.as_bytes()),
                json::Text::Number(text) if number_allowed => Value::Text(text.as_bytes()),
                json::Text::Number(text) | json::Text::Other(text) => {
                    Value::Bad(text.as_bytes(), if number_allowed { Reason::NotANumber } else { Reason::MalformedRow })
                }
            };
        }
        self.row_after(line, values, wrong);
    }

    fn row(&mut self, line: u64, values: [Value<'_>; COLUMNS]) {
        self.row_after(line, values, false);
    }

    /// `wrong`: a fault of this row was named already.
    fn row_after(&mut self, line: u64, values: [Value<'_>; COLUMNS], wrong: bool) {
        let [orig, dest, day, price] = values;
        let prices = &*self.prices;
        let checked = (
            orig.check(|code| prices.port(code)),
            dest.check(|code| prices.port(code)),
            day.check(value::day),
            price.check(value::price),
        );
        if let (Ok(orig), Ok(dest), Ok(day), Ok(price), false) = (checked.0, checked.1, checked.2, checked.3, wrong) {
            let row = PriceRow { orig, dest, day, price, line: line as i32 };
            self.out.good(self.prices.batch, row);
            return;
        }
        let mut naming = self.out.naming(line);
        naming.any = wrong;
        let faults = [checked.0.err(), checked.1.err(), checked.2.err(), checked.3.err()];
        for ((fault, value), column) in faults.into_iter().zip(values).zip(NAMES) {
            if let Some(Some(reason)) = fault {
                naming.add(Some(column), value.shown(), reason);
            }
        }
    }
}

/// What stands in a column.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Text(&'a [u8]),
    Bad(&'a [u8], Reason),
    /// Its fault was named already.
    Told,
}

impl<'a> Value<'a> {
    fn check<T>(self, of: impl FnOnce(&[u8]) -> Result<T, Reason>) -> Result<T, Option<Reason>> {
        match self {
            Self::Text(text) => {
                of(text).map_err(|reason| Some(if str::from_utf8(text).is_err() { Reason::Encoding } else { reason }))
            }
            Self::Bad(text, reason) => Err(Some(if str::from_utf8(text).is_err() { Reason::Encoding } else { reason })),
            Self::Told => Err(None),
        }
    }

    const fn shown(self) -> &'a [u8] {
        match self {
            Self::Text(text) | Self::Bad(text, _) => text,
            Self::Told => b"",
        }
    }
}
