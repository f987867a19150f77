//! Rows out of columns.

use super::{
    column::{Cell, Values},
    footer::{Column, Group, MAX_FIXED, Meaning},
    read_footer,
    source::{ReadAt, Stop},
};
use crate::{
    cells::{self, Value},
    copy::PriceRow,
    decode::Broken,
    output::{Naming, Output},
    places::{self, PlaceOutput},
    ports::PortTable,
    prices::port,
    split::MAX_RECORD,
    value::{self, Day},
};
use dunlin_core::prices::{BatchKind, Faults, MAX_PRICE, Range, Reason};
use std::{borrow::Cow, collections::VecDeque, io, str};
use time::Date;

/// 2000-01-01 in days since 1970-01-01.
const EPOCH: i64 = 10_957;

/// Reads one range of a Parquet file. Memory is flat: of each column a page, a dictionary and what was fetched ahead.
#[derive(Debug)]
pub struct ParquetReader<R> {
    kind: BatchKind,
    reader: R,
    columns: Vec<Column>,
    groups: VecDeque<Group>,
    /// Of the row group at hand; in the order of [`BatchKind::columns`].
    values: Vec<Values>,
    rows_left: u64,
    line: u64,
    /// What is wrong with the file, until it was told.
    faults: Option<Faults>,
}

/// What reading a row came to.
enum Step {
    Row,
    /// Of the range.
    End,
    Bad(Broken),
}

impl<R: ReadAt> ParquetReader<R> {
    /// `range` is the inspector's. An error is the reader's: it says nothing about the file.
    pub fn open(kind: BatchKind, reader: R, range: &Range) -> io::Result<Self> {
        let (columns, groups, faults) = match read_footer(kind, &reader)? {
            Ok(footer) => {
                let skip = usize::try_from(range.offset).unwrap_or(usize::MAX);
                let take = usize::try_from(range.length).unwrap_or(usize::MAX);
                (footer.columns, footer.groups.into_iter().skip(skip).take(take).collect(), None)
            }
            Err(faults) => (Vec::new(), VecDeque::new(), Some(faults)),
        };
        let line = range.first_line.max(1);
        Ok(Self { kind, reader, columns, groups, values: Vec::new(), rows_left: 0, line, faults })
    }

    /// Reads prices until `out` is full: then it answers true, and wants to be called again when `out` was drained.
    pub fn prices(&mut self, batch: i32, ports: &PortTable, out: &mut Output) -> io::Result<bool> {
        if let Some(faults) = self.faults.take() {
            out.bad.extend_from_slice(&faults.first);
            out.faults.merge(&faults);
        }
        while !out.is_full() {
            match self.step()? {
                Step::Row => {}
                Step::End => return Ok(false),
                Step::Bad((reason, why)) => {
                    self.stop();
                    out.naming(self.line).add(None, why.as_bytes(), reason);
                    return Ok(false);
                }
            }
            if let Err(stop) = price_row(&self.reader, &mut self.values, self.line, batch, ports, out) {
                let (reason, why) = self.broken(stop)?;
                out.naming(self.line).add(None, why.as_bytes(), reason);
                return Ok(false);
            }
            self.line += 1;
        }
        Ok(true)
    }

    /// Reads ports or regions until `out` is full: then it answers true, and wants to be called again when `out` was drained.
    pub fn places(&mut self, out: &mut PlaceOutput) -> io::Result<bool> {
        if let Some(faults) = self.faults.take() {
            out.bad.extend_from_slice(&faults.first);
            out.faults.merge(&faults);
        }
        while !out.is_full() {
            match self.step()? {
                Step::Row => {}
                Step::End => return Ok(false),
                Step::Bad((reason, why)) => {
                    self.stop();
                    out.naming(self.line).add(None, why.as_bytes(), reason);
                    return Ok(false);
                }
            }
            if let Err(stop) = place_row(&self.reader, &mut self.values, self.kind, self.line, out) {
                let (reason, why) = self.broken(stop)?;
                out.naming(self.line).add(None, why.as_bytes(), reason);
                return Ok(false);
            }
            self.line += 1;
        }
        Ok(true)
    }

    /// Goes on to the next row.
    fn step(&mut self) -> io::Result<Step> {
        while self.rows_left == 0 {
            for values in &mut self.values {
                match values.is_at_end(&self.reader) {
                    Ok(true) => {}
                    Ok(false) => {
                        return Ok(Step::Bad((Reason::Unreadable, "a column has more values than rows")));
                    }
                    Err(Stop::Bad(broken)) => return Ok(Step::Bad(broken)),
                    Err(Stop::Source(error)) => return Err(error),
                }
            }
            self.values.clear();
            let Some(group) = self.groups.pop_front() else { return Ok(Step::End) };
            for column in &self.columns {
                if let Some(chunk) = group.chunks.get(column.index) {
                    self.values.push(Values::new(*column, *chunk));
                }
            }
            self.rows_left = group.rows;
        }
        self.rows_left -= 1;
        Ok(Step::Row)
    }

    fn broken(&mut self, stop: Stop) -> io::Result<Broken> {
        self.stop();
        match stop {
            Stop::Bad(broken) => Ok(broken),
            Stop::Source(error) => Err(error),
        }
    }

    /// Nothing more is read.
    fn stop(&mut self) {
        self.values.clear();
        self.groups.clear();
        self.rows_left = 0;
    }
}

fn price_row(
    reader: &impl ReadAt,
    values: &mut [Values],
    line: u64,
    batch: i32,
    ports: &PortTable,
    out: &mut Output,
) -> Result<(), Stop> {
    let [orig_values, dest_values, day_values, price_values] = values else { return Ok(()) };
    let (day_is, price_is) = (*day_values.column(), *price_values.column());
    let cells =
        [orig_values.next(reader)?, dest_values.next(reader)?, day_values.next(reader)?, price_values.next(reader)?];
    let [orig, dest, day, price] = cells;
    let orig = text(orig).and_then(|code| port(ports, code));
    let dest = text(dest).and_then(|code| port(ports, code));
    let day = day_of(&day_is, day);
    let price = price_of(&price_is, price);
    if let (Ok(orig), Ok(dest), Ok(day), Ok(price)) = (orig, dest, day, price) {
        out.good(batch, PriceRow { orig, dest, day, price, line: line as i32 });
        return Ok(());
    }
    let mut naming = out.naming(line);
    let meanings = [Meaning::Text, Meaning::Text, day_is.meaning, price_is.meaning];
    let faults = [orig.err(), dest.err(), day.err(), price.err()];
    for (((fault, cell), meaning), column) in
        faults.into_iter().zip(cells).zip(meanings).zip(BatchKind::Prices.columns())
    {
        if let Some(reason) = fault {
            name(&mut naming, column, meaning, cell, reason);
        }
    }
    Ok(())
}

fn place_row(
    reader: &impl ReadAt,
    values: &mut [Values],
    kind: BatchKind,
    line: u64,
    out: &mut PlaceOutput,
) -> Result<(), Stop> {
    let mut row = [const { Value::Told }; places::COLUMNS];
    for ((value, cell), column) in row.iter_mut().zip(values).zip(kind.columns()) {
        *value = match cell.next(reader)? {
            Cell::Bytes(bytes) if bytes.len() > MAX_RECORD => Value::Bad(bytes.into(), Reason::RowTooLong),
            Cell::Bytes(bytes) => Value::text(bytes),
            _ => cells::of_null(column),
        };
    }
    out.row(kind, line, &row, false);
    Ok(())
}

fn text(cell: Cell<'_>) -> Result<&[u8], Reason> {
    match cell {
        Cell::Bytes(bytes) if bytes.len() <= MAX_RECORD => Ok(bytes),
        // Nobody looks through that for every row that has it.
        Cell::Bytes(_) => Err(Reason::RowTooLong),
        _ => Err(Reason::MissingValue),
    }
}

fn day_of(column: &Column, cell: Cell<'_>) -> Result<Day, Reason> {
    match (column.meaning, cell) {
        (Meaning::Date, Cell::Int(days)) => Day::checked(days - EPOCH).ok_or(Reason::InvalidDate),
        _ => text(cell).and_then(value::day),
    }
}

fn price_of(column: &Column, cell: Cell<'_>) -> Result<i64, Reason> {
    match (column.meaning, cell) {
        (Meaning::Signed, Cell::Int(whole)) => value::scaled_price(i128::from(whole), 0),
        (Meaning::Unsigned, Cell::Int(whole)) => value::scaled_price(unsigned(column.physical, whole), 0),
        (Meaning::Double, Cell::Double(value)) => value::float_price(value),
        (Meaning::Decimal(scale), Cell::Int(unscaled)) => value::scaled_price(i128::from(unscaled), scale),
        (Meaning::Decimal(_), Cell::Bytes(bytes)) if bytes.len() > MAX_FIXED => Err(Reason::RowTooLong),
        (Meaning::Decimal(scale), Cell::Bytes(bytes)) => value::scaled_price(decimal(bytes), scale),
        _ => text(cell).and_then(value::price),
    }
}

fn unsigned(physical: i64, value: i64) -> i128 {
    if physical == super::footer::INT32 { i128::from(value as u32) } else { i128::from(value as u64) }
}

/// Of at most [`MAX_FIXED`] bytes, big-endian, two's complement. What 128 bits cannot hold is far above any price, or below.
fn decimal(bytes: &[u8]) -> i128 {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let start = bytes.iter().position(|byte| *byte != fill).unwrap_or(bytes.len());
    let rest = bytes.get(start..).unwrap_or_default();
    if rest.len() > 15 {
        return if negative { i128::MIN } else { i128::MAX };
    }
    rest.iter().fold(if negative { -1 } else { 0 }, |value, byte| (value << 8) | i128::from(*byte))
}

fn name(naming: &mut Naming<'_>, column: &str, meaning: Meaning, cell: Cell<'_>, reason: Reason) {
    let shown: Cow<'_, [u8]> = match (meaning, cell) {
        (_, Cell::Null) => Cow::Borrowed(b""),
        (Meaning::Text, Cell::Bytes(bytes)) => Cow::Borrowed(bytes),
        (Meaning::Decimal(_), Cell::Bytes(bytes)) if bytes.len() > MAX_FIXED => {
            format!("a decimal of {} bytes", bytes.len()).into_bytes().into()
        }
        (Meaning::Decimal(scale), Cell::Bytes(bytes)) => shown_decimal(decimal(bytes), scale).into_bytes().into(),
        (_, Cell::Bytes(bytes)) => Cow::Borrowed(bytes),
        (Meaning::Decimal(scale), Cell::Int(value)) => shown_decimal(i128::from(value), scale).into_bytes().into(),
        (Meaning::Date, Cell::Int(days)) => shown_day(days).into_bytes().into(),
        (_, Cell::Int(value)) => value.to_string().into_bytes().into(),
        (_, Cell::Double(value)) => shown_double(value).into_bytes().into(),
    };
    // One that is too long is not looked through: a dictionary has it once, and any number of rows refer to it.
    let no_text = reason != Reason::RowTooLong
        && matches!((meaning, cell), (Meaning::Text, Cell::Bytes(bytes)) if str::from_utf8(bytes).is_err());
    naming.add(Some(column), &shown, if no_text { Reason::Encoding } else { reason });
}

fn shown_day(days: i64) -> String {
    // Julian day number of 1970-01-01.
    let date = i32::try_from(days + 2_440_588).ok().and_then(|day| Date::from_julian_day(day).ok());
    date.map_or_else(|| format!("day {days} since 1970-01-01"), |date| date.to_string())
}

/// A fraction as short as it can be written; large numbers not digit by digit.
fn shown_double(value: f64) -> String {
    if value.abs() > MAX_PRICE as f64 * 1e3 { format!("{value:e}") } else { value.to_string() }
}

fn shown_decimal(unscaled: i128, scale: u32) -> String {
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale as usize + 1);
    let (whole, behind) = digits.split_at(digits.len() - scale as usize);
    let sign = if unscaled < 0 { "-" } else { "" };
    if behind.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{behind}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parquet::footer::BYTE_ARRAY;
    use std::time::{Duration, Instant};

    /// What a dictionary has once, and a few bytes make 20,000 rows of.
    #[test]
    fn a_value_that_is_too_long_is_not_looked_through_for_every_row() {
        let (letters, zeros) = ("\u{e9}".repeat(4 << 20).into_bytes(), vec![0; 8 << 20]);
        let decimal = Meaning::Decimal(2);
        let column = Column { index: 0, physical: BYTE_ARRAY, width: 1, optional: false, meaning: decimal };
        let (mut out, mut places) = (Output::new(), PlaceOutput::new());
        let began = Instant::now();
        for line in 1..=20_000 {
            let cell = Cell::Bytes(&letters);
            let reason = text(cell).unwrap_err();
            name(&mut out.naming(line), "orig_code", Meaning::Text, cell, reason);
            let cell = Cell::Bytes(&zeros);
            let reason = price_of(&column, cell).unwrap_err();
            name(&mut out.naming(line), "price", decimal, cell, reason);
            let value = || Value::Bad(Cow::Borrowed(letters.as_slice()), Reason::RowTooLong);
            places.row(BatchKind::Ports, line, &[value(), value(), value()], false);
            assert!(began.elapsed() < Duration::from_secs(20), "line {line}");
        }
        assert_eq!(out.faults.reasons, [(Reason::RowTooLong, 40_000)].into());
        assert_eq!(places.faults.reasons, [(Reason::RowTooLong, 60_000)].into());
    }
}
