//! Files as a whole: their headers, formats and compressions; and rows of JSON and of places.

use crate::common::{Found, inspect, pack, read_ranges, read_whole, whole};
use dunlin_core::prices::{BatchKind, Compression, Faults, Format, Reason};
use dunlin_prices::{Inspector, Output, PlaceOutput, PlaceReader, PortRow, RANGE_BYTES, RegionRow};
use std::io::Write;

const HEADER: &str = "orig_code,dest_code,day,price\n";
const ROW: &str = "DEHAM,NLRTM,2026-01-02,12.5\n";

/// Column and reason of each fault of a file.
fn told(faults: &Faults) -> Vec<(&str, &str)> {
    faults.first.iter().map(|fault| (fault.column.as_deref().unwrap_or(""), fault.reason.as_str())).collect()
}

/// The same in every piece and compression.
fn bad_file(kind: BatchKind, file: &[u8]) -> Faults {
    let found = inspect(kind, file, 64 << 10, 1 << 20);
    let faults = found.layout.unwrap_err();
    assert!(found.ranges.is_empty());
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        for piece in [1, 7, 64 << 10] {
            let packed = pack(compression, file);
            assert_eq!(inspect(kind, &packed, piece, 1 << 20).layout.unwrap_err(), faults, "{compression:?} {piece}");
        }
    }
    faults
}

#[test]
fn what_is_wrong_with_a_header_is_named_by_column() {
    for (header, expected) in [
        ("orig_code,dest_code,day\n", vec![("price", "missing_column")]),
        ("orig_code,dest_code,day,price,note\n", vec![("note", "extra_column")]),
        ("orig_code,dest_code,day,price,day\n", vec![("day", "repeated_column")]),
        (
            "orig_code;dest_code;day;price\n",
            vec![
                ("orig_code;dest_code;day;price", "extra_column"),
                ("orig_code", "missing_column"),
                ("dest_code", "missing_column"),
                ("day", "missing_column"),
                ("price", "missing_column"),
            ],
        ),
        (
            "Orig_code,dest_code, day,price\n",
            vec![
                ("Orig_code", "extra_column"),
                (" day", "extra_column"),
                ("orig_code", "missing_column"),
                ("day", "missing_column"),
            ],
        ),
        ("orig_code,dest_code,day,\"price\n", vec![("", "truncated")]),
        ("", vec![("", "empty")]),
        ("\n\r\n \n", vec![("", "empty")]),
    ] {
        let faults = bad_file(BatchKind::Prices, header.as_bytes());
        assert_eq!(told(&faults), expected, "{header}");
        assert_eq!((faults.rows, faults.first[0].line), (1, 1));
    }
    let latin = bad_file(BatchKind::Prices, b"orig_code,dest_code,day,pr\xedce\n");
    assert_eq!(
        (told(&latin), latin.first[0].value.as_str()),
        (vec![("", "encoding")], "orig_code,dest_code,day,pr\u{fffd}ce")
    );
    let wide: Vec<u8> = HEADER.bytes().flat_map(|byte| [byte, 0]).collect();
    assert!(inspect(BatchKind::Prices, &[b"\xff\xfe", wide.as_slice()].concat(), 7, 1).layout.is_err());
    let long = bad_file(BatchKind::Prices, "x".repeat(70_000).as_bytes());
    assert_eq!(told(&long), [("", "row_too_long")]);
    for end in ["", HEADER] {
        let blank = format!("{}{end}", "\n".repeat(70_000));
        assert_eq!(told(&bad_file(BatchKind::Prices, blank.as_bytes())), [("", "unreadable")]);
    }
    let hostile = bad_file(BatchKind::Prices, format!("a\u{202e}{},", "b".repeat(300)).as_bytes());
    // Of thousands of names no more are counted than are named; a column that stands behind them is not missing.
    let names: String = (0..3000).map(|n| format!("column {n},")).collect();
    let many = bad_file(BatchKind::Prices, format!("{names}day,price,day\n").as_bytes());
    assert_eq!((many.first.len() as u64, many.rows), (many.reasons.values().sum(), 1));
    assert_eq!(told(&many)[96..], [("orig_code", "missing_column"), ("dest_code", "missing_column")]);
    let column = hostile.first[0].column.clone().unwrap();
    assert!(column.starts_with("a\\u{202e}b") && column.chars().count() < 100, "{column}");
}

#[test]
fn a_header_without_rows_is_an_empty_file() {
    for file in [HEADER, HEADER.trim_end(), &format!("{HEADER}\r\n\n")] {
        let faults = inspect(BatchKind::Prices, file.as_bytes(), 7, 1 << 20).layout.unwrap_err();
        assert_eq!(told(&faults), [("", "empty")]);
        // Of a compressed one the reader finds out.
        for compression in [Compression::Gzip, Compression::Zstd] {
            let found = read_whole(&pack(compression, file.as_bytes()), 7).unwrap();
            assert_eq!((found.told(), found.faults.rows), (vec![(1, "", "", "empty")], 1));
        }
    }
}

#[test]
fn columns_may_stand_in_any_order_behind_any_mark() {
    for begin in ["", "\u{feff}"] {
        for end in ["", "\n", "\r\n", "\n\n"] {
            let file = format!("{begin}\n\"price\",day,orig_code,dest_code\r\n12.5,2026-01-02,DEHAM,NLRTM{end}");
            let found = read_whole(file.as_bytes(), 3).unwrap();
            assert_eq!((found.rows.as_slice(), found.told()), (&[(1, 2, 9498, 1250, 3)][..], vec![]), "{file:?}");
            assert_eq!(read_ranges(file.as_bytes(), 1, 1).unwrap(), found);
        }
    }
}

#[test]
fn content_says_what_a_file_is() {
    let json = "{\"orig_code\":\"DEHAM\",\"dest_code\":\"NLRTM\",\"day\":\"2026-01-02\",\"price\":12.5}\n";
    for (text, format, fields) in [
        (format!("{HEADER}{ROW}"), Format::Csv, vec![0, 1, 2, 3]),
        (format!("\u{feff} {json}"), Format::Ndjson, vec![]),
    ] {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let file = pack(compression, text.as_bytes());
            for piece in [1, 7, 64 << 10] {
                let found = inspect(BatchKind::Prices, &file, piece, 1 << 20);
                let layout = found.layout.unwrap();
                assert_eq!((layout.format, layout.compression, &layout.fields), (format, compression, &fields));
                assert_eq!(found.ranges.len(), 1);
                if compression != Compression::None {
                    assert_eq!(found.ranges, [whole(&file)]);
                }
            }
            assert_eq!(
                read_whole(&file, 7).unwrap().rows,
                [(1, 2, 9498, 1250, if format == Format::Csv { 2 } else { 1 })]
            );
        }
    }
    let twice = pack(Compression::Gzip, &pack(Compression::Zstd, HEADER.as_bytes()));
    let faults = inspect(BatchKind::Prices, &twice, 7, 1).layout.unwrap_err();
    assert_eq!(told(&faults), [("", "unreadable")]);
    let found = inspect(BatchKind::Prices, b"PAR1 and so on", 1, 1);
    assert!(found.needs_footer());
    // SHA-256 of the empty string, of "abc" (FIPS 180-4).
    let sum = |bytes: &[u8]| inspect(BatchKind::Ports, bytes, 1, 1).sha256;
    assert_eq!(sum(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(sum(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn ranges_are_about_as_long_as_they_should_be() {
    let row = ROW.repeat(1000);
    let mut inspector = Inspector::new(BatchKind::Prices, 0);
    inspector.push(HEADER.as_bytes());
    let mut pushed = 0;
    while pushed < 3 * RANGE_BYTES {
        inspector.push(row.as_bytes());
        pushed += row.len() as u64;
    }
    let found = inspector.finish();
    assert_eq!(found.ranges.len(), 4);
    let mut offset = HEADER.len() as u64;
    for range in &found.ranges {
        assert_eq!((range.offset, range.first_line), (offset, 2 + (offset - HEADER.len() as u64) / ROW.len() as u64));
        assert!(range.length < RANGE_BYTES + 64);
        offset += range.length;
    }
    assert_eq!(offset, HEADER.len() as u64 + pushed);
    // However small they should be, there are no more than 1,000; however wrong the size was.
    let file = format!("{HEADER}{}", ROW.repeat(5000));
    for total in [0, file.len() as u64] {
        let mut inspector = Inspector::with_range_bytes(BatchKind::Prices, total, 1);
        inspector.push(file.as_bytes());
        let ranges = inspector.finish().ranges;
        assert!(ranges.len() <= 1000, "{}", ranges.len());
        assert_eq!(ranges.iter().map(|range| range.length).sum::<u64>(), (file.len() - HEADER.len()) as u64);
    }
}

#[test]
fn a_compressed_file_may_end_early_anywhere() {
    let rows: String =
        (0..4000).map(|n| format!("DEHAM,NLRTM,2026-01-{:02},{}.5\n", n % 28 + 1, n * n % 9973 + 1)).collect();
    let file = format!("{HEADER}{rows}");
    let all = read_whole(file.as_bytes(), 64 << 10).unwrap().rows;
    for compression in [Compression::Gzip, Compression::Zstd] {
        let packed = pack(compression, file.as_bytes());
        let layout = inspect(BatchKind::Prices, &packed, 999, 1).layout.unwrap();
        let read = |bytes: &[u8], piece: usize| {
            let mut found = Found::default();
            crate::common::read_range(bytes, &layout, &whole(bytes), piece, &mut found);
            found
        };
        for length in [1, 3, 11, 20, packed.len() / 3, packed.len() / 2, packed.len() - 9, packed.len() - 1] {
            let found = read(&packed[..length], 64 << 10);
            for piece in [1, 7] {
                assert!(read(&packed[..length], piece) == found, "{compression:?} {length} {piece}");
            }
            assert!(found.rows == all[..found.rows.len()], "{compression:?} {length}");
            assert_eq!(found.faults.reasons.keys().collect::<Vec<_>>(), [&Reason::Truncated]);
            // At the line reached; the line that was cut is no row.
            assert!(found.bad[0].line > found.rows.len() as u64, "{:?}", found.bad);
            assert!(found.bad[0].line <= found.rows.len() as u64 + 2, "{:?}", found.bad);
        }
        // Two files, one behind the other, are one: without the header the second has rows only.
        let more = [packed.clone(), pack(compression, rows.as_bytes())].concat();
        let found = read(&more, 7);
        assert_eq!((found.rows.len(), found.told()), (8000, vec![]));
        // A bit that fell over: what stands before it was read.
        for at in [packed.len() / 2, packed.len() - 2] {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x10;
            let found = read(&damaged, 64 << 10);
            assert!(read(&damaged, 1) == found, "{compression:?} {at}");
            let last = found.bad.last().unwrap();
            assert!(matches!(last.reason, Reason::Unreadable | Reason::Truncated), "{compression:?} {at} {last:?}");
        }
        assert_eq!(read(&[packed.as_slice(), b"garbage!"].concat(), 7).bad[0].reason, Reason::Unreadable);
    }
    // Tapes end in zeros.
    let padded = [pack(Compression::Gzip, file.as_bytes()), vec![0; 512]].concat();
    assert!(read_whole(&padded, 7).unwrap().rows == all);
}

#[test]
fn a_small_file_that_becomes_large_is_read_in_little_memory() {
    // 40 MB of rows with four faults each, in 4 KB.
    let rows = ",,,\n".repeat(10_000_000 / 4);
    let packed = pack(Compression::Zstd, format!("{HEADER}{rows}").as_bytes());
    let layout = inspect(BatchKind::Prices, &packed, packed.len(), 1).layout.unwrap();
    let ports = crate::common::ports();
    let mut reader = dunlin_prices::PriceReader::new(&layout, &whole(&packed), 77, &ports);
    let mut out = Output::new();
    let (mut rest, mut feeds) = (packed.as_slice(), 0);
    while !rest.is_empty() {
        rest = &rest[reader.feed(rest, &mut out)..];
        assert!(out.bad.len() < dunlin_prices::FULL_BAD + 8);
        out.drain();
        feeds += 1;
    }
    reader.finish(&mut out);
    assert_eq!(out.faults.rows, 2_500_000);
    assert!(feeds > 1000);
}

#[test]
fn a_line_without_an_end_is_not_unpacked_to_its_end() {
    let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
    packed.write_all(format!("{HEADER}{ROW}").as_bytes()).unwrap();
    for _ in 0..200 {
        packed.write_all(&[b'x'; 1 << 20]).unwrap();
    }
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 100_000);
    let found = read_whole(&packed, 64 << 10).unwrap();
    let bomb = "it unpacks to a thousand times its size, or to 512 GB";
    assert_eq!((found.rows.len(), found.faults.rows), (1, 1));
    let told: Vec<_> = found.bad.iter().map(|bad| (bad.line, bad.reason.as_str())).collect();
    assert_eq!((told, found.bad[1].value.as_str()), (vec![(3, "row_too_long"), (3, "unreadable")], bomb));
}

fn json(text: &[u8]) -> Found {
    let found = read_whole(text, 64 << 10).unwrap();
    for piece in [1, 7] {
        assert_eq!(read_whole(text, piece).unwrap(), found);
        assert_eq!(read_ranges(text, piece, 1).unwrap(), found);
    }
    for compression in [Compression::Gzip, Compression::Zstd] {
        assert_eq!(read_whole(&pack(compression, text), 7).unwrap(), found);
    }
    found
}

#[test]
fn rows_of_json_are_rows() {
    let row = |price: &str| {
        format!("{{\"orig_code\":\"DEHAM\",\"dest_code\":\"NL\\u0052TM\",\"day\":\"2026-01-02\",\"price\":{price}}}")
    };
    let lines: Vec<String> =
        ["12.5", "\"12.50\"", "1e3", "12.345", "-1", "null", "true", "\"\"", "[1]", "12.50"].map(row).into();
    let found = json(format!("{}\r\n", lines.join("\n")).as_bytes());
    assert_eq!(found.rows.iter().map(|row| (row.3, row.4)).collect::<Vec<_>>(), [(1250, 1), (1250, 2), (1250, 10)]);
    assert_eq!(
        found.told(),
        [
            (3, "price", "1e3", "not_a_number"),
            (4, "price", "12.345", "too_precise"),
            (5, "price", "-1", "not_positive"),
            (6, "price", "", "missing_value"),
            (7, "price", "true", "not_a_number"),
            (8, "price", "", "missing_value"),
            (9, "price", "[1]", "not_a_number"),
        ]
    );
}

#[test]
fn every_fault_of_a_json_line_is_named() {
    let file = b"{\"orig_code\":\"DEHAM\",\"dest_code\":5,\"day\":\"2026-02-30\",\"pr\\u0069ce\":1}\n\
          \n\
          {\"orig_code\":\"DEHAM\",\"day\":\"2026-01-01\",\"day\":\"x\",\"note\":{\"a\":[]},\"price\":0}\n\
          [1,2]\n\
          {\"orig_code\":\"DEHAM\"\n\
          {} {}\n\
          {\"orig_code\":\"\xff\"}\n\
          {\"orig_code\":\"\\ud800\",\"dest_code\":\"NLRTM\",\"day\":\"2026-01-01\",\"price\":1}\n\
          null\n";
    let found = json(file);
    assert_eq!(found.rows, []);
    assert_eq!(
        found.told(),
        [
            (1, "dest_code", "5", "malformed_row"),
            (1, "day", "2026-02-30", "invalid_date"),
            (2, "", "", "malformed_row"),
            (3, "day", "\"x\"", "repeated_column"),
            (3, "note", "note", "extra_column"),
            (3, "dest_code", "", "missing_column"),
            (3, "price", "0", "not_positive"),
            (4, "", "[1,2]", "malformed_row"),
            (5, "", "{\"orig_code\":\"DEHAM\"", "malformed_row"),
            (6, "", "{} {}", "malformed_row"),
            (7, "", "{\"orig_code\":\"\u{fffd}\"}", "encoding"),
            (8, "orig_code", "\"\\ud800\"", "malformed_row"),
            (9, "", "null", "malformed_row"),
        ]
    );
    assert_eq!(found.faults.rows, 9);
    // A price that stands deep is none, and costs no stack.
    let deep = format!("{{\"price\":{}", "[".repeat(60_000));
    assert_eq!(json(deep.as_bytes()).bad[0].reason, Reason::MalformedRow);
}

fn places(kind: BatchKind, file: &[u8]) -> PlaceOutput {
    let read = |file: &[u8], piece: usize| {
        let layout = inspect(kind, file, piece, 1).layout.unwrap();
        let mut reader = PlaceReader::new(kind, &layout, &whole(file));
        let mut out = PlaceOutput::new();
        for mut chunk in file.chunks(piece) {
            while !chunk.is_empty() {
                chunk = &chunk[reader.feed(chunk, &mut out)..];
            }
        }
        reader.finish(&mut out);
        out
    };
    let out = read(file, 64 << 10);
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let other = read(&pack(compression, file), 7);
        assert_eq!((other.ports, other.regions, other.bad), (out.ports.clone(), out.regions.clone(), out.bad.clone()));
    }
    out
}

#[test]
fn places_have_their_form() {
    let tell = |out: &PlaceOutput| -> Vec<(u64, String, &str)> {
        out.bad.iter().map(|bad| (bad.line, bad.column.clone().unwrap_or_default(), bad.reason.as_str())).collect()
    };
    let out = places(
        BatchKind::Ports,
        "code,name,region\nDEHAM,\"Hamburg, \"\"HH\"\"\",north_europe\nnlrtm,,North\nNLRTM,Rot\u{7}terdam,x,\nA B,x,y\n".as_bytes(),
    );
    let region = "north_europe".to_owned();
    assert_eq!(out.ports, [PortRow { line: 2, code: "DEHAM".into(), name: "Hamburg, \"HH\"".into(), region }]);
    assert_eq!(
        tell(&out),
        [
            (3, "code".to_owned(), "malformed_code"),
            (3, "name".to_owned(), "missing_value"),
            (3, "region".to_owned(), "malformed_code"),
            (4, String::new(), "field_count"),
            (5, "code".to_owned(), "malformed_code"),
        ]
    );
    let out = places(
        BatchKind::Regions,
        b"{\"slug\":\"europe\",\"name\":\"Europe\",\"parent\":null}\n\
          {\"slug\":\"n\",\"name\":\"N\\n\",\"parent\":\"europe\"}\n\
          {\"slug\":\"north\",\"name\":\"North\",\"parent\":\"europe\"}\n\
          {\"slug\":\"asia\",\"name\":\"Asia\",\"parent\":\"\"}\n\
          {\"slug\":7,\"name\":null}\n",
    );
    let row = |line, slug: &str, name: &str, parent: Option<&str>| RegionRow {
        line,
        slug: slug.to_owned(),
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
    };
    assert_eq!(
        out.regions,
        [row(1, "europe", "Europe", None), row(3, "north", "North", Some("europe")), row(4, "asia", "Asia", None)]
    );
    assert_eq!(
        tell(&out),
        [
            (2, "name".to_owned(), "malformed_code"),
            (5, "parent".to_owned(), "missing_column"),
            (5, "slug".to_owned(), "malformed_row"),
            (5, "name".to_owned(), "missing_value"),
        ]
    );
    assert_eq!(out.faults.rows, 2);
}

#[test]
fn what_a_compressed_file_says_of_itself_is_read_over_or_refused() {
    let file = format!("{HEADER}{ROW}");
    let named = flate2::GzBuilder::new().filename("prices.csv").comment("of today").extra(vec![7; 300]);
    let mut packed = named.write(Vec::new(), flate2::Compression::best());
    packed.write_all(file.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    for piece in [1, 7, 64 << 10] {
        assert_eq!(read_whole(&packed, piece).unwrap().rows, [(1, 2, 9498, 1250, 2)]);
    }
    // A frame of zstd without content whose window has 27 bits, and 28 (RFC 8878, 3.1.1.1.2).
    let frame = |exponent: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 1, 0, 0];
    let reason = |bytes: &[u8]| inspect(BatchKind::Prices, bytes, 2, 1).layout.unwrap_err().first[0].reason;
    assert_eq!((reason(&frame(17)), reason(&frame(18))), (Reason::Empty, Reason::Unreadable));
}
