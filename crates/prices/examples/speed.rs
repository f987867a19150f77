//! Rows a second of one core: `cargo run --release -p dunlin-prices --example speed`.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "its answer; nothing can be missing")]

use dunlin_core::prices::BatchKind;
use dunlin_prices::{Inspector, Output, ParquetReader, PortTable, PriceReader, inspect_parquet};
use parquet::{
    data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use std::{fmt::Write, sync::Arc, time::Instant};

const ROWS: u32 = 1_000_000;
const CHUNK: usize = 256 << 10;

fn main() {
    let mut ports = PortTable::new();
    let code = |n: u32| format!("X{:04}", n % 2000);
    (0..2000).for_each(|n| ports.insert(&code(n), n as i32));
    let mut plain = String::from("orig_code,dest_code,day,price\n");
    let mut quoted = String::from("orig_code,dest_code,day,price\r\n");
    let mut json = String::new();
    for n in 0..ROWS {
        let (orig, dest, day) = (code(n.wrapping_mul(7919)), code(n.wrapping_mul(104_729)), 1 + n % 28);
        let price = format!("{}.{:02}", 1 + n % 9000, n % 100);
        writeln!(plain, "{orig},{dest},2026-{:02}-{day:02},{price}", 1 + n % 12).unwrap();
        write!(quoted, "\"{orig}\",\"{dest}\",\"2026-01-{day:02}\",\"{price}\"\r\n").unwrap();
        writeln!(
            json,
            "{{\"orig_code\":\"{orig}\",\"dest_code\":\"{dest}\",\"day\":\"2026-01-{day:02}\",\"price\":{price}}}"
        )
        .unwrap();
    }
    for (name, text) in [("csv", plain), ("csv, quoted", quoted), ("ndjson", json)] {
        let file = text.into_bytes();
        for (name, packed) in
            [(name.to_owned(), None), (format!("{name}, zstd"), Some(zstd::encode_all(file.as_slice(), 3).unwrap()))]
        {
            measure(&name, packed.as_deref().unwrap_or(&file), &ports);
        }
    }
    measure_parquet(&ports, code);
}

/// Row groups of 100,000, with dictionaries and Snappy, as most writers make them.
fn measure_parquet(ports: &PortTable, code: impl Fn(u32) -> String) {
    let schema = "message m { required binary orig_code (utf8); required binary dest_code (utf8);
                  required int32 day (date); required int64 price (decimal(12, 2)); }";
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    for group in 0..ROWS / 100_000 {
        let rows = || group * 100_000..(group + 1) * 100_000;
        let codes = |by: u32| -> Vec<ByteArray> { rows().map(|n| code(n.wrapping_mul(by)).as_str().into()).collect() };
        let mut out = file.next_row_group().unwrap();
        for by in [7919, 104_729] {
            let mut column = out.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&codes(by), None, None).unwrap();
            column.close().unwrap();
        }
        let mut column = out.next_column().unwrap().unwrap();
        let days: Vec<i32> = rows().map(|n| 20_000 + (n % 365) as i32).collect();
        column.typed::<Int32Type>().write_batch(&days, None, None).unwrap();
        column.close().unwrap();
        let mut column = out.next_column().unwrap().unwrap();
        let prices: Vec<i64> = rows().map(|n| 1 + i64::from(n.wrapping_mul(7919) % 900_000)).collect();
        column.typed::<Int64Type>().write_batch(&prices, None, None).unwrap();
        column.close().unwrap();
        out.close().unwrap();
    }
    let file = bytes::Bytes::from(file.into_inner().unwrap());
    let begin = Instant::now();
    let (layout, ranges) = inspect_parquet(BatchKind::Prices, &file).unwrap();
    assert!(layout.is_ok());
    let mut rows = 0;
    for range in &ranges {
        let mut reader = ParquetReader::open(BatchKind::Prices, &file, range).unwrap();
        let mut out = Output::new();
        while reader.prices(1, ports, &mut out).unwrap() {
            out.drain();
        }
        assert!(out.faults.is_empty(), "{:?}", out.faults);
        rows += out.rows;
    }
    assert_eq!(rows, u64::from(ROWS));
    let megabytes = file.len() as f64 / 1e6;
    println!("parquet: {megabytes:.0} MB, read {:.1} M rows/s", f64::from(ROWS) / begin.elapsed().as_secs_f64() / 1e6);
}

fn measure(name: &str, file: &[u8], ports: &PortTable) {
    let begin = Instant::now();
    let mut inspector = Inspector::new(BatchKind::Prices, file.len() as u64);
    file.chunks(CHUNK).for_each(|chunk| inspector.push(chunk));
    let inspection = inspector.finish();
    let inspected = begin.elapsed();
    let layout = inspection.layout.unwrap();
    let begin = Instant::now();
    let (mut rows, mut copied) = (0, 0);
    for range in &inspection.ranges {
        let bytes = file.get(range.offset as usize..(range.offset + range.length) as usize).unwrap();
        let mut reader = PriceReader::new(&layout, range, 1, ports);
        let mut out = Output::new();
        for mut chunk in bytes.chunks(CHUNK) {
            while !chunk.is_empty() {
                let taken = reader.feed(chunk, &mut out);
                chunk = chunk.get(taken..).unwrap();
                copied += out.copy.len();
                out.drain();
            }
        }
        reader.finish(&mut out);
        copied += out.copy.len();
        assert!(out.faults.is_empty(), "{:?}", out.faults);
        rows += out.rows;
    }
    let read = begin.elapsed();
    assert_eq!((rows, copied), (u64::from(ROWS), ROWS as usize * dunlin_prices::COPY_ROW_BYTES));
    let rate = |seconds: f64| f64::from(ROWS) / seconds / 1e6;
    let megabytes = file.len() as f64 / 1e6;
    println!(
        "{name}: {megabytes:.0} MB, inspect {:.1} M rows/s ({:.0} MB/s), read {:.1} M rows/s",
        rate(inspected.as_secs_f64()),
        megabytes / inspected.as_secs_f64(),
        rate(read.as_secs_f64()),
    );
}
