//! Files of prices: whatever is in them, good rows are good, bad ones are named, and no way of cutting a file changes that.

use bytes::Bytes;
use dunlin_core::prices::{BadRow, BatchKind, Faults, Format, Layout, MAX_PRICE, MAX_VALUE_CHARS, Range};
use dunlin_prices::{
    COPY_ROW_BYTES, FULL_BAD, Inspector, Output, ParquetReader, PlaceOutput, PlaceReader, PortTable, PriceReader,
    inspect_parquet_in, report,
};
use parquet::{
    basic::{Compression, Encoding},
    data_type::{ByteArrayType, DoubleType, Int32Type},
    file::{
        properties::{WriterProperties, WriterVersion},
        writer::SerializedFileWriter,
    },
    schema::parser::parse_message_type,
};
use std::{collections::BTreeSet, sync::Arc};

const CODES: [&str; 3] = ["DEHAM", "NLRTM", "CNSHA"];
/// Rows of one Parquet file that are looked at: a few bytes may stand for billions.
const MOST_ROWS: usize = 200_000;

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    copy: Vec<u8>,
    bad: Vec<BadRow>,
    faults: Faults,
    rows: u64,
}

impl Found {
    fn take(&mut self, out: &mut Output) {
        self.copy.extend_from_slice(&out.copy);
        self.bad.append(&mut out.bad);
        out.drain();
    }

    fn end(&mut self, out: &Output) {
        self.faults.merge(&out.faults);
        self.rows += out.rows;
    }
}

fn ports() -> PortTable {
    let mut ports = PortTable::new();
    CODES.iter().zip(1..).for_each(|(code, id)| ports.insert(code, id));
    ports
}

const CSV_SEEDS: &[&str] = &[
    "orig_code,dest_code,day,price\nDEHAM,NLRTM,2026-01-02,12.50\nNLRTM,CNSHA,2026-02-30,0\r\n\"CNSHA\",\"DEHAM\",2026-12-31,\"7\"\n",
    "\u{feff}price,day,\"dest_code\",orig_code\r\n1,2024-02-29,DEHAM,NLRTM\r\n\r\n-1,,\"a\n\"\"b\",DEHAM\r\n,,,\n1,2\n\n\n",
    "orig_code,dest_code,day,price\nDEHAM,NLRTM,2026-01-02,12.345\nDEHAM,NLRTM,2026-01-02,\"1\nDEHAM,NLRTM,2026-01-02,99999999\n",
    "slug,name,parent\neurope,Europe,\nnorth,\"North, and\",europe\n",
];

pub fn csv_seeds() -> Vec<Vec<u8>> {
    CSV_SEEDS.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub fn json_seeds() -> Vec<Vec<u8>> {
    let row = r#"{"orig_code":"DEHAM","dest_code":"NLRTM","day":"2026-01-02","price":12.50}"#;
    let odd = r#"{"orig_code":"\u0044EHAM","dest_code":null,"day":"2026-02-30","price":1e3,"price":"-1","note":[{}]}"#;
    let port = r#"{"code":"DEHAM","name":"Hamburg \"HH\"","region":"north"}"#;
    [format!("{row}\n{row}\r\n{odd}\n\n[]\n{row}"), format!("{odd}\n\n\n"), format!("{port}\n{port}\n{{}}\n")]
        .map(String::into_bytes)
        .into()
}

/// The first byte says how the rest is cut.
pub fn cut_seeds() -> Vec<Vec<u8>> {
    let texts = csv_seeds().into_iter().chain(json_seeds());
    texts.zip([0, 17, 63, 130, 200, 255, 90]).map(|(text, cut)| [vec![cut], text].concat()).collect()
}

pub fn parquet_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (version, codec, encoding) in [
        (WriterVersion::PARQUET_1_0, Compression::UNCOMPRESSED, None),
        (WriterVersion::PARQUET_1_0, Compression::SNAPPY, Some(Encoding::PLAIN)),
        (WriterVersion::PARQUET_2_0, Compression::UNCOMPRESSED, Some(Encoding::DELTA_BYTE_ARRAY)),
        (WriterVersion::PARQUET_2_0, Compression::UNCOMPRESSED, Some(Encoding::DELTA_LENGTH_BYTE_ARRAY)),
        (WriterVersion::PARQUET_2_0, Compression::ZSTD(Default::default()), None),
        (WriterVersion::PARQUET_1_0, Compression::LZ4_RAW, Some(Encoding::PLAIN)),
        (WriterVersion::PARQUET_1_0, Compression::GZIP(Default::default()), None),
    ] {
        let properties = WriterProperties::builder()
            .set_writer_version(version)
            .set_compression(codec)
            .set_dictionary_enabled(encoding.is_none())
            .set_column_encoding("orig_code".into(), encoding.unwrap_or(Encoding::PLAIN))
            .set_column_encoding("dest_code".into(), encoding.unwrap_or(Encoding::PLAIN))
            .build();
        seeds.push(parquet_file(properties).expect("a file of plain columns"));
    }
    seeds
}

fn parquet_file(properties: WriterProperties) -> parquet::errors::Result<Vec<u8>> {
    let schema = "message m { required binary orig_code (utf8); optional binary dest_code (utf8);
                  required int32 day (date); required double price; }";
    let schema = Arc::new(parse_message_type(schema)?);
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    for rows in [3_usize, 20] {
        let mut group = file.next_row_group()?;
        let codes: Vec<_> = (0..rows).map(|row| CODES[row % 3].into()).collect();
        if let Some(mut column) = group.next_column()? {
            column.typed::<ByteArrayType>().write_batch(&codes, None, None)?;
            column.close()?;
        }
        if let Some(mut column) = group.next_column()? {
            let levels: Vec<i16> = (0..rows).map(|row| i16::from(row % 5 > 0)).collect();
            let there = levels.iter().filter(|level| **level == 1).count();
            column.typed::<ByteArrayType>().write_batch(&codes[..there], Some(&levels), None)?;
            column.close()?;
        }
        if let Some(mut column) = group.next_column()? {
            let days: Vec<i32> = (0..rows as i32).map(|row| 20_000 + row * 7).collect();
            column.typed::<Int32Type>().write_batch(&days, None, None)?;
            column.close()?;
        }
        if let Some(mut column) = group.next_column()? {
            let prices: Vec<f64> = (0..rows as i32).map(|row| f64::from(row) + 0.25).collect();
            column.typed::<DoubleType>().write_batch(&prices, None, None)?;
            column.close()?;
        }
        group.close()?;
    }
    file.into_inner()
}

/// Prices, or else places, of a text; as it would be loaded.
pub fn run_text(input: &[u8]) {
    for kind in BatchKind::ALL {
        let Ok((layout, ranges)) = inspect(kind, input, 4096, 1 << 20) else { continue };
        if kind == BatchKind::Prices {
            let mut found = Found::default();
            ranges.iter().for_each(|range| read(input, &layout, range, 4096, &mut found));
            holds(&found);
        } else {
            ranges.iter().for_each(|range| places(kind, input, &layout, range));
        }
    }
}

/// Cut into ranges and pieces, it is what it was.
pub fn run_cut(input: &[u8]) {
    let Some((cut, file)) = input.split_first() else { return };
    let (piece, range_bytes) = (1 + usize::from(cut % 16), 1 + 3 * u64::from(cut / 16));
    let whole = inspect(BatchKind::Prices, file, file.len().max(1), 1 << 40);
    let parts = inspect(BatchKind::Prices, file, piece, range_bytes);
    let (Ok((layout, _)), Ok((same, ranges))) = (&whole, &parts) else {
        assert_eq!(whole.err(), parts.err(), "a file is bad, or it is not");
        return;
    };
    assert_eq!(layout, same);
    let (mut at_once, mut in_parts) = (Found::default(), Found::default());
    let all = Range { range: 0, offset: 0, length: file.len() as u64, first_line: 1, has_header: true };
    read(file, layout, &all, file.len().max(1), &mut at_once);
    ranges.iter().for_each(|range| read(file, layout, range, piece, &mut in_parts));
    assert_eq!(at_once, in_parts);
    holds(&at_once);
}

pub fn run_parquet(input: &[u8]) {
    let file = Bytes::copy_from_slice(input);
    let ports = ports();
    let (layout, ranges) = inspect_parquet_in(BatchKind::Prices, &file, 1).expect("memory can be read");
    let Ok(layout) = layout else { return };
    assert_eq!(layout.format, Format::Parquet);
    let mut found = Found::default();
    for range in &ranges {
        let mut reader = ParquetReader::open(BatchKind::Prices, &file, range).expect("memory can be read");
        let mut out = Output::new();
        while reader.prices(1, &ports, &mut out).expect("memory can be read") {
            found.take(&mut out);
            if found.copy.len() / COPY_ROW_BYTES + found.bad.len() > MOST_ROWS {
                return;
            }
        }
        found.take(&mut out);
        found.end(&out);
    }
    holds(&found);
}

type Inspected = Result<(Layout, Vec<Range>), Faults>;

fn inspect(kind: BatchKind, file: &[u8], piece: usize, range_bytes: u64) -> Inspected {
    let mut inspector = Inspector::with_range_bytes(kind, file.len() as u64, range_bytes);
    file.chunks(piece).for_each(|chunk| inspector.push(chunk));
    let found = inspector.finish();
    if found.needs_footer() {
        return Err(Faults::default());
    }
    // Ranges follow each other, and lie in the file.
    let mut end = 0;
    for range in &found.ranges {
        assert!(range.length > 0 && range.offset >= end && (end == 0 || range.offset == end), "{:?}", found.ranges);
        end = range.offset + range.length;
    }
    assert!(end <= file.len() as u64 && found.layout.is_ok() != found.ranges.is_empty());
    found.layout.map(|layout| (layout, found.ranges))
}

fn part<'a>(file: &'a [u8], range: &Range) -> &'a [u8] {
    &file[range.offset as usize..(range.offset + range.length) as usize]
}

fn read(file: &[u8], layout: &Layout, range: &Range, piece: usize, found: &mut Found) {
    let ports = ports();
    let mut reader = PriceReader::new(layout, range, 1, &ports);
    let mut out = Output::new();
    for mut chunk in part(file, range).chunks(piece) {
        while !chunk.is_empty() {
            chunk = &chunk[reader.feed(chunk, &mut out)..];
            found.take(&mut out);
        }
    }
    reader.finish(&mut out);
    found.take(&mut out);
    found.end(&out);
}

fn places(kind: BatchKind, file: &[u8], layout: &Layout, range: &Range) {
    let mut reader = PlaceReader::new(kind, layout, range);
    let mut out = PlaceOutput::new();
    let mut rest = part(file, range);
    while !rest.is_empty() {
        rest = &rest[reader.feed(rest, &mut out)..];
        shown(&out.bad);
        for port in &out.ports {
            assert!(port.code.len() == 5 && !port.region.is_empty() && !port.name.chars().any(char::is_control));
        }
        for region in &out.regions {
            assert!(!region.slug.is_empty() && region.parent.as_deref() != Some(""));
        }
        out.drain();
    }
    reader.finish(&mut out);
    shown(&out.bad);
}

/// What must be so of any file.
fn holds(found: &Found) {
    let mut lines = BTreeSet::new();
    for row in found.copy.chunks(COPY_ROW_BYTES) {
        let int = |at: usize| i32::from_be_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
        assert_eq!((&row[..2], int(2), int(6)), (&[0, 6][..], 4, 1));
        assert!((1..=3).contains(&int(14)) && (1..=3).contains(&int(22)) && (-3652..=36_889).contains(&int(30)));
        let price = i64::from(int(38)) << 32 | i64::from(int(42) as u32);
        assert!((1..=MAX_PRICE).contains(&price), "{price}");
        assert!(lines.insert(u64::from(int(50).unsigned_abs())), "one line, two rows");
    }
    assert_eq!(lines.len() as u64, found.rows);
    assert!(found.bad.is_sorted_by_key(|bad| bad.line));
    let bad: BTreeSet<u64> = found.bad.iter().map(|bad| bad.line).collect();
    assert!(bad.len() as u64 <= found.faults.rows && found.faults.rows <= found.bad.len() as u64);
    assert!(lines.is_disjoint(&bad), "a row is good and bad");
    assert_eq!(found.faults.reasons.values().sum::<u64>(), found.bad.len() as u64);
    assert!(found.bad.len() < 1000 * FULL_BAD);
    shown(&found.bad);
}

/// Faults show nothing that moves a cursor, and each is one line of the report.
fn shown(bad: &[BadRow]) {
    let mut written = Vec::new();
    for fault in bad {
        let texts = [fault.column.as_deref().unwrap_or_default(), &fault.value];
        for text in texts {
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(text.chars().count() <= 12 * (MAX_VALUE_CHARS + 1), "{text:?}");
        }
        report::append(&mut written, fault);
    }
    let mut lines = report::ReportLines::new();
    lines.push(&written);
    let mut rest = bad.iter();
    while let Some((line, _)) = lines.next_line() {
        assert_eq!(rest.next().map(|fault| fault.line), Some(line));
    }
    assert!(rest.next().is_none());
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(written.as_slice());
    for record in reader.records() {
        let record = record.expect("a record of four fields");
        assert_eq!(record.len(), 4);
        for cell in record.iter() {
            let first = cell.trim_start_matches([' ', '\u{a0}', '\u{feff}']).chars().next();
            assert!(first.is_none_or(|c| !"=+-@\t\r\n".contains(c)), "a spreadsheet runs {cell:?}");
        }
    }
}
