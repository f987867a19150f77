//! Rows of prices as `COPY ... FROM STDIN (FORMAT binary)` wants them (PostgreSQL 15, COPY, "Binary Format").

use crate::value::Day;

/// Signature, flags, length of the header's extension. Goes before the first row.
pub const COPY_HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Goes behind the last row.
pub const COPY_TRAILER: &[u8; 2] = &[0xff, 0xff];

/// The columns of a row, in the order in which it has them.
pub const COPY_COLUMNS: &str = "batch, orig, dest, day, price, line";

/// A row of prices: its number of fields, and for each field a length and the value, big-endian.
pub const COPY_ROW_BYTES: usize = 2 + 6 * 4 + 5 * 4 + 8;

/// A good row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PriceRow {
    pub orig: i32,
    pub dest: i32,
    pub day: Day,
    /// Hundredths.
    pub price: i64,
    pub line: i32,
}

const EMPTY: [u8; COPY_ROW_BYTES] = {
    let mut row = [0; COPY_ROW_BYTES];
    row[1] = 6;
    let mut field = 0;
    while field < 6 {
        // The price is the fifth, and has eight bytes.
        let at = 2 + 8 * field + if field > 4 { 4 } else { 0 };
        row[at + 3] = if field == 4 { 8 } else { 4 };
        field += 1;
    }
    row
};

#[inline]
pub(crate) fn append(copy: &mut Vec<u8>, batch: i32, row: PriceRow) {
    let mut bytes = EMPTY;
    bytes[6..10].copy_from_slice(&batch.to_be_bytes());
    bytes[14..18].copy_from_slice(&row.orig.to_be_bytes());
    bytes[22..26].copy_from_slice(&row.dest.to_be_bytes());
    bytes[30..34].copy_from_slice(&row.day.0.to_be_bytes());
    bytes[38..46].copy_from_slice(&row.price.to_be_bytes());
    bytes[50..54].copy_from_slice(&row.line.to_be_bytes());
    copy.extend_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_postgres_reads() {
        let mut copy = Vec::new();
        append(&mut copy, 1, PriceRow { orig: 2, dest: 3, day: Day(9497), price: 123_456, line: 5 });
        let mut expected = vec![0, 6];
        for value in [1, 2, 3, 9497] {
            expected.extend_from_slice(&4_i32.to_be_bytes());
            expected.extend_from_slice(&i32::to_be_bytes(value));
        }
        expected.extend_from_slice(&8_i32.to_be_bytes());
        expected.extend_from_slice(&123_456_i64.to_be_bytes());
        expected.extend_from_slice(&4_i32.to_be_bytes());
        expected.extend_from_slice(&5_i32.to_be_bytes());
        assert_eq!(copy, expected);
    }
}
