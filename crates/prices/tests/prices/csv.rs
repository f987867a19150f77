//! Rows of CSV, good and bad.

use crate::common::{Found, read_ranges, read_whole};

const HEADER: &str = "orig_code,dest_code,day,price\n";

fn read(rows: &[u8]) -> Found {
    let file = [HEADER.as_bytes(), rows].concat();
    let whole = read_whole(&file, 64 << 10).unwrap();
    for piece in [1, 7] {
        assert_eq!(read_whole(&file, piece).unwrap(), whole);
    }
    for range_bytes in [1, 40, 1 << 30] {
        assert_eq!(read_ranges(&file, 7, range_bytes).unwrap(), whole, "{range_bytes}");
    }
    whole
}

#[test]
fn good_rows_are_rows_for_copy() {
    let found = read(
        b"DEHAM,NLRTM,2026-01-02,12.5\r\nNLRTM,CNSHA,2000-01-01,1\n\"CNSHA\",\"DEHAM\",\"1999-12-31\",\"10000000.00\"",
    );
    assert_eq!(found.rows, [(1, 2, 9498, 1250, 2), (2, 3, 0, 100, 3), (3, 1, -1, 1_000_000_000, 4)]);
    assert_eq!(found.told(), []);
}

#[test]
fn every_fault_is_named_with_line_column_and_value() {
    let found = read(
        b"DEHAM,NLRTM,2026-02-30,1.00\n\
          \n\
          deham,XXXXX,,-1\r\n\
          DEHAM,NLRTM,2026-01-01\n\
          DEHAM,NLRTM,2026-01-01,1.00,\n\
          DEHAM,\"NL\nRTM\",2026-01-01,abc\n\
          DEHAM,NLRTM,2026-01-01,1.001\n\
          DEHAM,NLRTM,2026-01-01,10000000.01\n\
          DEHAM,\"NLRTM\"x,2026-01-01,\"1\"\"0\"\n\
          DE\xffAM,NLRTM,2026-01-01,1.00\n\
          DEHAM,NLRTM,2026-01-01,1.00\n\
          \xff\n\
          ,,,\n\
          DEHAM,NLRTM,2026-01-01,\"1.00\n",
    );
    assert_eq!(found.rows.len(), 1);
    assert_eq!(found.rows[0].4, 13);
    assert_eq!(
        found.told(),
        [
            (2, "day", "2026-02-30", "invalid_date"),
            (3, "", "", "field_count"),
            (4, "orig_code", "deham", "malformed_code"),
            (4, "dest_code", "XXXXX", "unknown_port"),
            (4, "day", "", "missing_value"),
            (4, "price", "-1", "not_positive"),
            (5, "", "DEHAM,NLRTM,2026-01-01", "field_count"),
            (6, "", "DEHAM,NLRTM,2026-01-01,1.00,", "field_count"),
            (7, "dest_code", "NL\\u{a}RTM", "malformed_code"),
            (7, "price", "abc", "not_a_number"),
            (9, "price", "1.001", "too_precise"),
            (10, "price", "10000000.01", "absurd_price"),
            (11, "dest_code", "\"NLRTM\"x", "malformed_row"),
            (11, "price", "1\"0", "not_a_number"),
            (12, "orig_code", "DE\u{fffd}AM", "encoding"),
            (14, "", "\u{fffd}", "field_count"),
            (14, "", "\u{fffd}", "encoding"),
            (15, "orig_code", "", "missing_value"),
            (15, "dest_code", "", "missing_value"),
            (15, "day", "", "missing_value"),
            (15, "price", "", "missing_value"),
            (16, "", "DEHAM,NLRTM,2026-01-01,\"1.00\\u{a}", "truncated"),
        ]
    );
    assert_eq!(found.faults.rows, 13);
}

#[test]
fn blank_lines_are_bad_rows_but_at_the_end() {
    let row = "DEHAM,NLRTM,2026-01-02,12.5\n";
    assert_eq!(read(format!("{row}\n\r\n\n").as_bytes()).told(), []);
    let found = read(format!("\n{row}\r\n\n{row}\n\n").as_bytes());
    assert_eq!(found.told(), [(2, "", "", "field_count"), (4, "", "", "field_count"), (5, "", "", "field_count")]);
    assert_eq!(found.rows.iter().map(|row| row.4).collect::<Vec<_>>(), [3, 6]);
    // So many are no end.
    assert_eq!(read(format!("{row}{}", "\n".repeat(1000)).as_bytes()).told(), []);
    assert_eq!(read(format!("{row}{}", "\n".repeat(2001)).as_bytes()).faults.rows, 2001);
}

#[test]
fn a_row_that_is_too_long_is_skipped_to_its_end() {
    let row = "DEHAM,NLRTM,2026-01-02,12.5\n";
    let most = "x".repeat((64 << 10) - 1);
    let found = read(format!("{row}{most}\n{most}x\n{row}\"\n{most}\n{most}\"\n{row}").as_bytes());
    assert_eq!(found.rows.iter().map(|row| row.4).collect::<Vec<_>>(), [2, 5, 9]);
    let told: Vec<_> = found.told().into_iter().map(|(line, _, _, reason)| (line, reason)).collect();
    assert_eq!(told, [(3, "field_count"), (4, "row_too_long"), (6, "row_too_long")]);
    let found = read(format!("{row}\"{most}{most}\n{row}").as_bytes());
    let told: Vec<_> = found.told().into_iter().map(|(line, _, _, reason)| (line, reason)).collect();
    assert_eq!((told, found.faults.rows), (vec![(3, "row_too_long"), (3, "truncated")], 1));
    // Also one in which nothing else is wrong, and however much of it comes at once.
    let padded = |length: usize| format!("{row}DEHAM,NLRTM,2026-01-02,{:0>length$}\n{row}", 7);
    let longest = (64 << 10) - "DEHAM,NLRTM,2026-01-02,\n".len();
    assert_eq!(read(padded(longest).as_bytes()).rows.len(), 3);
    let found = read(padded(longest + 1).as_bytes());
    assert_eq!((found.rows.len(), found.bad[0].line, found.bad[0].reason.as_str()), (2, 3, "row_too_long"));
}
