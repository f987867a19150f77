//! Rows a second of one core: `cargo run --release -p dunlin-prices --example speed`.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "its answer; nothing can be missing")]

use dunlin_core::prices::BatchKind;
use dunlin_prices::{Inspector, Output, PortTable, PriceReader};
use std::{fmt::Write, time::Instant};

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
