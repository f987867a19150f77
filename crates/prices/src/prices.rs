//! Rows of prices.

use crate::{
    cells::{self, Value},
    copy::PriceRow,
    frame::Rows,
    output::Output,
    ports::{PortTable, is_code},
    source::Source,
    split::{Fields, MAX_RECORD},
    value,
};
use dunlin_core::prices::{BatchKind, Format, Layout, MAX_ROWS, Range, Reason};
use memchr::memchr;

const COLUMNS: usize = 4;

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
    /// `layout` and `range` are the inspector's. Parquet is read by [`crate::ParquetReader`].
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
            && length < MAX_RECORD
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
        let plain = if self.prices.format == Format::Csv { self.prices.plain(record, line) } else { None };
        match plain {
            Some(row) => self.out.good(self.prices.batch, row),
            None => self.careful(line, record),
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
}

pub(crate) fn port(ports: &PortTable, code: &[u8]) -> Result<i32, Reason> {
    match ports.get(code) {
        Some(id) => Ok(id),
        None if code.is_empty() => Err(Reason::MissingValue),
        None if is_code(code) => Err(Reason::UnknownPort),
        None => Err(Reason::MalformedCode),
    }
}

impl Sink<'_, '_> {
    /// A row with quotes in it, a JSON line, or a row with faults: names every one.
    fn careful(&mut self, line: u64, record: &[u8]) {
        let prices = &mut *self.prices;
        let mut naming = self.out.naming(line);
        let values: Option<[Value<'_>; COLUMNS]> = match prices.format {
            Format::Ndjson => cells::of_json(BatchKind::Prices, record, &mut naming),
            _ => cells::of_csv(&mut prices.fields, &prices.order, record, &mut naming),
        };
        let wrong = naming.any;
        let Some(values) = values else { return };
        let [orig, dest, day, price] = &values;
        let orig = orig.check(|code| port(prices.ports, code));
        let dest = dest.check(|code| port(prices.ports, code));
        let day = day.check(value::day);
        let price = price.check(value::price);
        if let (Ok(orig), Ok(dest), Ok(day), Ok(price), false) = (orig, dest, day, price, wrong) {
            self.out.good(prices.batch, PriceRow { orig, dest, day, price, line: line as i32 });
            return;
        }
        let mut naming = self.out.naming(line);
        naming.any = wrong;
        let faults = [orig.err(), dest.err(), day.err(), price.err()];
        for ((fault, value), column) in faults.into_iter().zip(&values).zip(BatchKind::Prices.columns()) {
            if let Some(Some(reason)) = fault {
                naming.add(Some(column), value.shown(), reason);
            }
        }
    }
}
