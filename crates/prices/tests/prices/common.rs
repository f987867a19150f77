//! Files in, rows and faults out, however they are cut.

use dunlin_core::prices::{BadRow, BatchKind, Compression, Faults, Layout, Range};
use dunlin_prices::{COPY_ROW_BYTES, Inspection, Inspector, Output, PortTable, PriceReader};
use std::io::Write;

pub const PORTS: [(&str, i32); 3] = [("DEHAM", 1), ("NLRTM", 2), ("CNSHA", 3)];

pub fn ports() -> PortTable {
    let mut ports = PortTable::new();
    for (code, id) in PORTS {
        ports.insert(code, id);
    }
    ports
}

/// Of a good row: orig, dest, days since 2000, hundredths, line.
pub type Row = (i32, i32, i32, i64, i32);

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub rows: Vec<Row>,
    pub bad: Vec<BadRow>,
    pub faults: Faults,
}

impl Found {
    /// Line, column, value, reason of each fault.
    pub fn told(&self) -> Vec<(u64, &str, &str, &str)> {
        self.bad
            .iter()
            .map(|bad| (bad.line, bad.column.as_deref().unwrap_or(""), bad.value.as_str(), bad.reason.as_str()))
            .collect()
    }

    pub fn take(&mut self, out: &mut Output) {
        self.rows.extend(rows_of(&out.copy));
        self.bad.append(&mut out.bad);
        out.drain();
    }
}

pub fn rows_of(copy: &[u8]) -> Vec<Row> {
    let rows = copy.chunks(COPY_ROW_BYTES).map(|row| {
        let int = |at: usize| i32::from_be_bytes(row[at..at + 4].try_into().unwrap());
        assert_eq!((&row[..2], int(2), int(6)), (&[0, 6][..], 4, 77));
        (int(14), int(22), int(30), i64::from_be_bytes(row[38..46].try_into().unwrap()), int(50))
    });
    rows.collect()
}

pub fn inspect(kind: BatchKind, file: &[u8], piece: usize, range_bytes: u64) -> Inspection {
    let mut inspector = Inspector::with_range_bytes(kind, file.len() as u64, range_bytes);
    file.chunks(piece).for_each(|chunk| inspector.push(chunk));
    inspector.finish()
}

pub fn whole(file: &[u8]) -> Range {
    Range { range: 0, offset: 0, length: file.len() as u64, first_line: 1, has_header: true }
}

/// Adds what a range holds.
pub fn read_range(file: &[u8], layout: &Layout, range: &Range, piece: usize, found: &mut Found) {
    let ports = ports();
    let mut reader = PriceReader::new(layout, range, 77, &ports);
    let mut out = Output::new();
    let (mut rows, before) = (0, found.rows.len());
    let bytes = &file[range.offset as usize..(range.offset + range.length) as usize];
    for mut chunk in bytes.chunks(piece) {
        while !chunk.is_empty() {
            chunk = &chunk[reader.feed(chunk, &mut out)..];
            found.take(&mut out);
        }
    }
    reader.finish(&mut out);
    found.take(&mut out);
    rows += out.rows;
    assert_eq!(rows as usize, found.rows.len() - before);
    found.faults.merge(&out.faults);
}

/// Inspected and read in one piece.
pub fn read_whole(file: &[u8], piece: usize) -> Result<Found, Faults> {
    let layout = inspect(BatchKind::Prices, file, piece, 1 << 30).layout?;
    let mut found = Found::default();
    read_range(file, &layout, &whole(file), piece, &mut found);
    Ok(found)
}

/// Inspected, and read range by range.
pub fn read_ranges(file: &[u8], piece: usize, range_bytes: u64) -> Result<Found, Faults> {
    let inspection = inspect(BatchKind::Prices, file, piece, range_bytes);
    let layout = inspection.layout?;
    let mut found = Found::default();
    for range in &inspection.ranges {
        read_range(file, &layout, range, piece, &mut found);
    }
    Ok(found)
}

pub fn pack(compression: Compression, file: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => file.to_vec(),
        Compression::Gzip => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(file).unwrap();
            packed.finish().unwrap()
        }
        Compression::Zstd => {
            let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
            packed.include_checksum(true).unwrap();
            packed.write_all(file).unwrap();
            packed.finish().unwrap()
        }
    }
}
