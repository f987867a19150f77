//! Every bad row as CSV: what people open in a spreadsheet to see what to correct.

use dunlin_core::prices::BadRow;
use memchr::{memchr, memchr3};

/// The first line of a report. Files of ranges, which are put together later, have none.
pub const fn header() -> &'static [u8] {
    b"line,column,value,reason\r\n"
}

/// Appends one line, end included. No value makes two lines of it.
pub fn append(report: &mut Vec<u8>, row: &BadRow) {
    report.extend_from_slice(row.line.to_string().as_bytes());
    report.push(b',');
    cell(report, row.column.as_deref().unwrap_or_default());
    report.push(b',');
    cell(report, &row.value);
    report.push(b',');
    report.extend_from_slice(row.reason.as_str().as_bytes());
    report.extend_from_slice(b"\r\n");
}

fn cell(report: &mut Vec<u8>, text: &str) {
    // A spreadsheet runs what looks like a formula, and forgives blanks before it.
    let seen = text.trim_start_matches([' ', '\u{a0}', '\u{feff}']);
    let formula = seen.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let quoted = memchr3(b',', b'"', b'\'', text.as_bytes()).is_some() || text.trim() != text;
    if quoted {
        report.push(b'"');
    }
    if formula {
        report.push(b'\'');
    }
    for byte in text.bytes() {
        match byte {
            b'"' => report.extend_from_slice(b"\"\""),
            // Values come with their control characters escaped; should one not, it ends no line.
            b'\r' | b'\n' => report.push(b' '),
            byte => report.push(byte),
        }
    }
    if quoted {
        report.push(b'"');
    }
}

/// Cuts a report into its lines, in pieces of any size. Holds no more than what it was given and one line.
#[derive(Debug, Default)]
pub struct ReportLines {
    held: Vec<u8>,
    taken: usize,
}

impl ReportLines {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, chunk: &[u8]) {
        self.held.drain(..self.taken);
        self.taken = 0;
        self.held.extend_from_slice(chunk);
    }

    /// The line of the file that it is about, and the whole line of the report. None when more has to be pushed.
    pub fn next_line(&mut self) -> Option<(u64, &[u8])> {
        let rest = self.held.get(self.taken..)?;
        let length = memchr(b'\n', rest)? + 1;
        let line = rest.get(..length)?;
        self.taken += length;
        Some((number(line), line))
    }
}

/// The first field; 0 for a header.
fn number(line: &[u8]) -> u64 {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::prices::Reason;

    #[test]
    fn values_are_cells_and_no_formulas() {
        let mut report = header().to_vec();
        for (line, column, value, reason) in [
            (2, Some("price"), "=1+1", Reason::NotANumber),
            (3, Some("price"), "-1.00", Reason::NotPositive),
            (4, None, "a,\"b\"", Reason::FieldCount),
            (5, Some("day"), " @x", Reason::InvalidDate),
            (6, None, "a\tb\nc", Reason::Truncated),
        ] {
            append(&mut report, &BadRow::new(line, column, value, reason));
        }
        let mut raw = BadRow::new(7, Some("+column"), "", Reason::ExtraColumn);
        raw.value = "a\r\nb".to_owned();
        append(&mut report, &raw);
        assert_eq!(
            String::from_utf8(report).unwrap(),
            "line,column,value,reason\r\n\
             2,price,'=1+1,not_a_number\r\n\
             3,price,'-1.00,not_positive\r\n\
             4,,\"a,\"\"b\"\"\",field_count\r\n\
             5,day,\"' @x\",invalid_date\r\n\
             6,,a\\u{9}b\\u{a}c,truncated\r\n\
             7,'+column,a  b,extra_column\r\n"
        );
    }

    #[test]
    fn lines_come_back_whatever_the_pieces() {
        let mut report = Vec::new();
        let rows: Vec<BadRow> =
            (1..50).map(|n| BadRow::new(n * n, Some("day"), &"x,\"".repeat(n as usize), Reason::InvalidDate)).collect();
        rows.iter().for_each(|row| append(&mut report, row));
        for piece in [1, 7, 64 << 10] {
            let (mut lines, mut back, mut numbers) = (ReportLines::new(), Vec::new(), Vec::new());
            for chunk in report.chunks(piece) {
                lines.push(chunk);
                while let Some((line, raw)) = lines.next_line() {
                    numbers.push(line);
                    back.extend_from_slice(raw);
                }
            }
            assert_eq!(numbers, rows.iter().map(|row| row.line).collect::<Vec<_>>());
            assert_eq!(back, report);
        }
    }
}
