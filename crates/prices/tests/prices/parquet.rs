//! Parquet, as others write it and as nobody should.

use crate::common::{Found, PORTS, Row, ports, read_whole};
use ::parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    column::writer::ColumnWriter,
    data_type::{ByteArray, FixedLenByteArray},
    file::{
        properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion},
        writer::SerializedFileWriter,
    },
    schema::parser::parse_message_type,
};
use bytes::Bytes;
use dunlin_core::prices::{BatchKind, Faults, Format, Range};
use dunlin_prices::{Output, ParquetReader, PlaceOutput, ReadAt, inspect_parquet_in};
use std::{fs, io, path::Path, sync::Arc};

const TEXTS: &str = "required binary orig_code (utf8); required binary dest_code (utf8); ";

/// Values of a column in a row group; none is null.
enum Column {
    Text(Vec<Option<Vec<u8>>>),
    Int(Vec<Option<i32>>),
    Long(Vec<Option<i64>>),
    Double(Vec<Option<f64>>),
    Fixed(Vec<Option<Vec<u8>>>),
}

fn text(values: &[&str]) -> Column {
    Column::Text(values.iter().map(|value| Some(value.as_bytes().to_vec())).collect())
}

fn dense<T: Clone>(values: &[Option<T>]) -> (Vec<T>, Vec<i16>) {
    (values.iter().flatten().cloned().collect(), values.iter().map(|value| i16::from(value.is_some())).collect())
}

fn write(schema: &str, properties: WriterPropertiesBuilder, groups: Vec<Vec<Column>>) -> Bytes {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {schema} }}")).unwrap());
    let properties = Arc::new(properties.build());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    for group in groups {
        let mut writer = file.next_row_group().unwrap();
        for column in group {
            let mut out = writer.next_column().unwrap().unwrap();
            match (out.untyped(), column) {
                (ColumnWriter::ByteArrayColumnWriter(out), Column::Text(values)) => {
                    let (values, levels) = dense(&values);
                    let values: Vec<ByteArray> = values.into_iter().map(ByteArray::from).collect();
                    out.write_batch(&values, Some(&levels), None).unwrap();
                }
                (ColumnWriter::FixedLenByteArrayColumnWriter(out), Column::Fixed(values)) => {
                    let (values, levels) = dense(&values);
                    let values: Vec<FixedLenByteArray> =
                        values.into_iter().map(|value| ByteArray::from(value).into()).collect();
                    out.write_batch(&values, Some(&levels), None).unwrap();
                }
                (ColumnWriter::Int32ColumnWriter(out), Column::Int(values)) => {
                    let (values, levels) = dense(&values);
                    out.write_batch(&values, Some(&levels), None).unwrap();
                }
                (ColumnWriter::Int64ColumnWriter(out), Column::Long(values)) => {
                    let (values, levels) = dense(&values);
                    out.write_batch(&values, Some(&levels), None).unwrap();
                }
                (ColumnWriter::DoubleColumnWriter(out), Column::Double(values)) => {
                    let (values, levels) = dense(&values);
                    out.write_batch(&values, Some(&levels), None).unwrap();
                }
                _ => panic!("another column than the schema's"),
            }
            out.close().unwrap();
        }
        writer.close().unwrap();
    }
    file.into_inner().unwrap().into()
}

fn read_range(file: &Bytes, range: &Range, found: &mut Found) {
    let ports = ports();
    let mut reader = ParquetReader::open(BatchKind::Prices, file, range).unwrap();
    let mut out = Output::new();
    while reader.prices(77, &ports, &mut out).unwrap() {
        found.take(&mut out);
    }
    found.take(&mut out);
    found.faults.merge(&out.faults);
}

fn read(file: &Bytes) -> Result<Found, Faults> {
    let (layout, ranges) = inspect_parquet_in(BatchKind::Prices, file, 1 << 30).unwrap();
    assert_eq!(layout?.format, Format::Parquet);
    assert_eq!(ranges.len(), 1);
    let mut whole = Found::default();
    read_range(file, &ranges[0], &mut whole);
    // The same in ranges of one row group each.
    let (_, ranges) = inspect_parquet_in(BatchKind::Prices, file, 1).unwrap();
    let mut found = Found::default();
    ranges.iter().for_each(|range| read_range(file, range, &mut found));
    assert_eq!(found, whole);
    Ok(whole)
}

/// Four columns of `rows` good rows, and what must come of them.
fn good(rows: usize, first: usize, price: impl Fn(i64) -> i64) -> (Vec<Column>, Vec<Row>) {
    let (mut orig, mut dest, mut day, mut expected, mut prices) = (vec![], vec![], vec![], vec![], vec![]);
    for row in first..first + rows {
        let (from, to) = (PORTS[row * 7 % 3], PORTS[row * 5 % 2]);
        let days = ((row * 31) % 4000) as i32 - 1000;
        let amount = price(row as i64 * 7919 % 9_000 + 1);
        orig.push(Some(from.0.as_bytes().to_vec()));
        dest.push(Some(to.0.as_bytes().to_vec()));
        day.push(Some(days + 10_957));
        prices.push(Some(amount));
        expected.push((from.1, to.1, days, amount, row as i32 + 1));
    }
    (vec![Column::Text(orig), Column::Text(dest), Column::Int(day), Column::Long(prices)], expected)
}

#[test]
fn every_codec_version_and_encoding_gives_the_same_rows() {
    let schema = format!("{TEXTS} optional int32 day (date); optional int64 price (decimal(12, 2)); ")
        .replacen("required", "optional", 1);
    let (mut first, mut rows) = good(3000, 0, |price| price);
    let (second, more) = good(700, 3001, |price| price * 1000);
    rows.extend(more);
    // One row of nulls, to have levels that are not all the same.
    let Column::Text(orig) = &mut first[0] else { panic!() };
    orig.push(None);
    let Column::Text(dest) = &mut first[1] else { panic!() };
    dest.push(Some(b"DEHAM".to_vec()));
    let Column::Int(day) = &mut first[2] else { panic!() };
    day.push(None);
    let Column::Long(price) = &mut first[3] else { panic!() };
    price.push(None);
    let again = || {
        let copy = |columns: &[Column]| -> Vec<Column> {
            columns
                .iter()
                .map(|column| match column {
                    Column::Text(values) => Column::Text(values.clone()),
                    Column::Int(values) => Column::Int(values.clone()),
                    Column::Long(values) => Column::Long(values.clone()),
                    _ => panic!(),
                })
                .collect()
        };
        vec![copy(&first), copy(&second)]
    };
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(::parquet::basic::GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4_RAW,
    ] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for (texts, numbers) in [
                (None, None),
                (Some(Encoding::PLAIN), Some(Encoding::PLAIN)),
                (Some(Encoding::DELTA_LENGTH_BYTE_ARRAY), Some(Encoding::DELTA_BINARY_PACKED)),
                (Some(Encoding::DELTA_BYTE_ARRAY), Some(Encoding::BYTE_STREAM_SPLIT)),
            ] {
                let mut properties = WriterProperties::builder()
                    .set_writer_version(version)
                    .set_compression(codec)
                    .set_data_page_row_count_limit(500)
                    .set_write_batch_size(100)
                    .set_dictionary_enabled(texts.is_none());
                if let (Some(texts), Some(numbers)) = (texts, numbers) {
                    for (column, encoding) in
                        [("orig_code", texts), ("dest_code", texts), ("day", numbers), ("price", numbers)]
                    {
                        properties = properties.set_column_encoding(column.into(), encoding);
                    }
                }
                let found = read(&write(&schema, properties, again())).unwrap();
                let what = format!("{codec:?} {version:?} {texts:?} {numbers:?}");
                assert!(found.rows == rows, "{what}: {:?}", found.told());
                assert_eq!(
                    found.told(),
                    [
                        (3001, "orig_code", "", "missing_value"),
                        (3001, "day", "", "missing_value"),
                        (3001, "price", "", "missing_value")
                    ],
                    "{what}"
                );
            }
        }
    }
}

fn prices_of(price_type: &str, price: Column) -> Found {
    let count = match &price {
        Column::Text(values) | Column::Fixed(values) => values.len(),
        Column::Int(values) => values.len(),
        Column::Long(values) => values.len(),
        Column::Double(values) => values.len(),
    };
    let schema = format!("{TEXTS} required binary day (utf8); optional {price_type};");
    let columns =
        vec![text(&vec!["DEHAM"; count]), text(&vec!["NLRTM"; count]), text(&vec!["2000-01-01"; count]), price];
    read(&write(&schema, WriterProperties::builder(), vec![columns])).unwrap()
}

fn amounts(found: &Found) -> Vec<(i32, i64)> {
    found.rows.iter().map(|row| (row.4, row.3)).collect()
}

fn faults(found: &Found) -> Vec<(u64, &str, &str)> {
    found.told().into_iter().map(|(line, _, value, reason)| (line, value, reason)).collect()
}

#[test]
fn a_price_of_any_type_is_the_same_price() {
    let found = prices_of("int32 price", Column::Int([1, 0, -5, 10_000_001].map(Some).into()));
    assert_eq!(amounts(&found), [(1, 100)]);
    assert_eq!(faults(&found), [(2, "0", "not_positive"), (3, "-5", "not_positive"), (4, "10000001", "absurd_price")]);

    let found = prices_of("int32 price (integer(32, false))", Column::Int([7, -1].map(Some).into()));
    assert_eq!((amounts(&found), faults(&found)), (vec![(1, 700)], vec![(2, "-1", "absurd_price")]));

    let found = prices_of("int64 price (decimal(18, 4))", Column::Long([12_3400, 12_3456, i64::MIN].map(Some).into()));
    assert_eq!(amounts(&found), [(1, 1234)]);
    assert_eq!(faults(&found), [(2, "12.3456", "too_precise"), (3, "-922337203685477.5808", "not_positive")]);

    let found =
        prices_of("double price", Column::Double([0.1 + 0.2, 12.345, f64::NAN, 1e300, 12.3400009].map(Some).into()));
    assert_eq!(amounts(&found), [(1, 30)]);
    assert_eq!(
        faults(&found),
        [
            (2, "12.345", "too_precise"),
            (3, "NaN", "not_a_number"),
            (4, "1e300", "absurd_price"),
            (5, "12.3400009", "too_precise")
        ]
    );

    let wide = |value: i128| Some(value.to_be_bytes().to_vec());
    let fixed = Column::Fixed(vec![wide(1234), wide(-1), wide(i128::MAX), None]);
    let found = prices_of("fixed_len_byte_array(16) price (decimal(38, 2))", fixed);
    assert_eq!(amounts(&found), [(1, 1234)]);
    assert_eq!(faults(&found)[0], (2, "-0.01", "not_positive"));
    assert_eq!((faults(&found)[1].2, faults(&found)[2]), ("absurd_price", (4, "", "missing_value")));

    let short = Column::Text(vec![Some(vec![4, 210]), Some(vec![]), Some(vec![0xff, 0x85])]);
    let found = prices_of("binary price (decimal(9, 1))", short);
    assert_eq!(amounts(&found), [(1, 12_340)]);
    assert_eq!(faults(&found), [(2, "0.0", "not_positive"), (3, "-12.3", "not_positive")]);

    let long = Column::Text(vec![Some(vec![0; 17]), Some([vec![0; 15], vec![100]].concat())]);
    let found = prices_of("binary price (decimal(9, 2))", long);
    assert_eq!((amounts(&found), faults(&found)), (vec![(2, 100)], vec![(1, "a decimal of 17 bytes", "row_too_long")]));

    let found = prices_of("binary price (utf8)", text(&["12.34", "1e3", ""]));
    assert_eq!(amounts(&found), [(1, 1234)]);
    assert_eq!(faults(&found), [(2, "1e3", "not_a_number"), (3, "", "missing_value")]);
}

#[test]
fn every_fault_of_a_row_is_named() {
    let schema =
        "required int32 day (date); required double price; required binary dest_code; required binary orig_code;";
    let columns = vec![
        Column::Int([10_957, 0, i32::MAX].map(Some).into()),
        Column::Double([1.0, 2.0, 3.0].map(Some).into()),
        Column::Text(vec![Some(b"NLRTM".to_vec()), Some(b"NLR\xff".to_vec()), Some(vec![b'x'; 70_000])]),
        text(&["DEHAM", "deham", "XXXXX"]),
    ];
    let found = read(&write(schema, WriterProperties::builder(), vec![columns])).unwrap();
    assert_eq!(found.rows, [(1, 2, 0, 100, 1)]);
    let mut told = found.told();
    assert_eq!(told.remove(4).3, "row_too_long");
    assert_eq!(
        told,
        [
            (2, "orig_code", "deham", "malformed_code"),
            (2, "dest_code", "NLR\u{fffd}", "encoding"),
            (2, "day", "1970-01-01", "invalid_date"),
            (3, "orig_code", "XXXXX", "unknown_port"),
            (3, "day", "day 2147483647 since 1970-01-01", "invalid_date"),
        ]
    );
}

#[test]
fn wrong_columns_are_faults_of_the_file() {
    let file = |schema: &str, columns: Vec<Column>| {
        let faults = read(&write(schema, WriterProperties::builder(), vec![columns])).unwrap_err();
        let told = faults.first.iter().map(|fault| (fault.column.clone().unwrap_or_default(), fault.reason.as_str()));
        told.collect::<Vec<_>>()
    };
    assert_eq!(
        file(&format!("{TEXTS} required binary Day (utf8);"), vec![text(&["a"]), text(&["a"]), text(&["a"])]),
        [
            ("Day".to_owned(), "extra_column"),
            ("day".to_owned(), "missing_column"),
            ("price".to_owned(), "missing_column")
        ]
    );
    let long = || Column::Long(vec![Some(1)]);
    assert_eq!(
        file(
            &format!("{TEXTS} required int64 day (timestamp(millis, true)); required int64 price;"),
            vec![text(&["a"]), text(&["a"]), long(), long()]
        ),
        [("day".to_owned(), "unreadable")]
    );
    assert_eq!(
        file(
            &format!("{TEXTS} required group day {{ required int64 price; }} required int64 price;"),
            vec![text(&["a"]), text(&["a"]), long(), long()]
        ),
        [("day".to_owned(), "unreadable")]
    );
    let schema = format!("{TEXTS} required binary day (utf8); required int64 price;");
    let empty = write(&schema, WriterProperties::builder(), vec![]);
    assert_eq!(read(&empty).unwrap_err().first[0].reason.as_str(), "empty");
}

#[test]
fn places_are_read_too() {
    let schema = "required binary slug (utf8); required binary name (utf8); optional binary parent (utf8);";
    let parents = Column::Text(vec![None, Some(b"europe".to_vec()), Some(b"".to_vec()), Some(b"E U".to_vec())]);
    let columns = vec![text(&["europe", "north", "asia", "x"]), text(&["Europe", "North", "", "X"]), parents];
    let file = write(schema, WriterProperties::builder(), vec![columns]);
    let (layout, ranges) = inspect_parquet_in(BatchKind::Regions, &file, 1).unwrap();
    assert!(layout.is_ok());
    let mut out = PlaceOutput::new();
    let mut reader = ParquetReader::open(BatchKind::Regions, &file, &ranges[0]).unwrap();
    assert!(!reader.places(&mut out).unwrap());
    let rows: Vec<_> = out.regions.iter().map(|row| (row.line, row.slug.as_str(), row.parent.as_deref())).collect();
    assert_eq!(rows, [(1, "europe", None), (2, "north", Some("europe"))]);
    let told: Vec<_> = out.bad.iter().map(|bad| (bad.line, bad.column.as_deref(), bad.reason.as_str())).collect();
    assert_eq!(told, [(3, Some("name"), "missing_value"), (4, Some("parent"), "malformed_code")]);
}

#[test]
fn a_damaged_file_is_told_and_no_more() {
    let (columns, rows) = good(2000, 0, |price| price);
    let schema = format!("{TEXTS} required int32 day (date); required int64 price (decimal(12, 2));");
    let properties = WriterProperties::builder().set_data_page_row_count_limit(100).set_write_batch_size(50);
    let file = write(&schema, properties.set_compression(Compression::SNAPPY), vec![columns]);
    assert_eq!(read(&file).unwrap().rows, rows);
    // Cut anywhere: a Parquet file without its footer is none.
    for length in [4, 11, 12, 100, file.len() / 2, file.len() - 1] {
        let faults = read(&file.slice(..length)).unwrap_err();
        assert_eq!(faults.first[0].reason.as_str(), "truncated", "{length}");
    }
    // A byte changed anywhere: it is read, or said to be unreadable.
    for at in (4..file.len()).step_by(29) {
        let mut bytes = file.to_vec();
        bytes[at] ^= 0x55;
        if let Ok(found) = read(&bytes.into()) {
            assert!(found.rows.len() <= rows.len());
        }
    }
}

/// A store that is out of reach.
struct Away(Bytes, usize);

impl ReadAt for Away {
    fn length(&self) -> u64 {
        self.0.length()
    }
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        if offset < self.1 as u64 { Err(io::ErrorKind::TimedOut.into()) } else { self.0.read_at(offset, length) }
    }
}

#[test]
fn a_store_out_of_reach_is_no_fault_of_the_file() {
    let (columns, _) = good(20, 0, |price| price);
    let schema = format!("{TEXTS} required int32 day (date); required int64 price (decimal(12, 2));");
    let file = write(&schema, WriterProperties::builder(), vec![columns]);
    assert!(inspect_parquet_in(BatchKind::Prices, &Away(file.clone(), file.len()), 1).is_err());
    let (_, ranges) = inspect_parquet_in(BatchKind::Prices, &file, 1).unwrap();
    let half = Away(file.clone(), file.len() / 4);
    let mut reader = ParquetReader::open(BatchKind::Prices, &half, &ranges[0]).unwrap();
    let mut out = Output::new();
    assert_eq!(reader.prices(77, &ports(), &mut out).unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(out.faults.is_empty());
}

#[test]
fn a_footer_that_promises_much_takes_little() {
    let file =
        |thrift: &[u8]| -> Bytes { [b"PAR1", thrift, &(thrift.len() as u32).to_le_bytes(), b"PAR1"].concat().into() };
    let zeros = |head: &[u8]| [head, &[0; 3 << 20]].concat();
    for thrift in [
        // A schema, and then row groups, of three million empty structures; of more than there are bytes.
        zeros(&[0x29, 0xfc, 0x80, 0x80, 0xc0, 0x01]),
        zeros(&[0x49, 0xfc, 0x80, 0x80, 0xc0, 0x01]),
        vec![0x49, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f],
        // Nothing at all; structures in structures without end.
        vec![],
        vec![0x1c; 1 << 20],
    ] {
        let faults = read(&file(&thrift)).unwrap_err();
        assert_eq!(faults.first[0].reason.as_str(), "unreadable");
    }
    let mut lies = file(&[0]).to_vec();
    lies.splice(5..9, u32::MAX.to_le_bytes());
    assert_eq!(read(&lies.into()).unwrap_err().first[0].reason.as_str(), "unreadable");
}

/// `tests/written/write.py` says with what, and how.
#[test]
fn files_of_other_programs_give_the_rows_that_went_in() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/written");
    let expected = read_whole(&fs::read(folder.join("rows.csv")).unwrap(), 1 << 16).unwrap();
    assert_eq!((expected.rows.len(), &expected.bad), (400, &vec![]));
    let mut programs = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "parquet") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let found = read(&fs::read(&path).unwrap().into()).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        assert_eq!(found.told(), [], "{name}");
        // Of a file without a header the first row is number one.
        let rows: Vec<Row> = found.rows.iter().map(|row| (row.0, row.1, row.2, row.3, row.4 + 1)).collect();
        assert_eq!(rows, expected.rows, "{name}");
        programs.push(name);
    }
    assert_eq!(programs.len(), 7, "{programs:?}");
}
