//! Where records of CSV end, and their fields. The inspector and the readers use the same one, so that they cannot disagree.

use memchr::memchr;

/// No row is longer, its end included.
pub const MAX_RECORD: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A quote here opens.
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote inside of quotes: the field has ended, or the next quote is meant.
    Quote,
}

/// Finds the ends of records, over any number of pieces. A newline inside of quotes ends nothing (RFC 4180).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Splitter {
    state: State,
    /// NDJSON has no quotes that could hold a newline.
    csv: bool,
}

impl Splitter {
    pub const fn new(csv: bool) -> Self {
        Self { state: if csv { State::FieldStart } else { State::Plain }, csv }
    }

    /// Bytes up to the end of the record, its newline included; None when it goes on.
    pub fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.csv {
            return memchr(b'\n', bytes).map(|at| at + 1);
        }
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            self.state = match (self.state, byte) {
                (State::FieldStart | State::Plain | State::Quote, b'\n') => {
                    self.state = State::FieldStart;
                    return Some(at + 1);
                }
                (State::FieldStart | State::Plain | State::Quote, b',') => State::FieldStart,
                (State::FieldStart | State::Quote, b'"') => State::Quoted,
                (State::FieldStart | State::Plain | State::Quote, _) => State::Plain,
                (State::Quoted, b'"') => State::Quote,
                (State::Quoted, _) => {
                    // Nothing but a quote matters here.
                    let next = memchr(b'"', bytes.get(at..).unwrap_or_default());
                    at += next.unwrap_or(bytes.len() - at);
                    continue;
                }
            };
            at += 1;
        }
        None
    }

    /// Inside of quotes that have not been closed.
    pub fn is_open(self) -> bool {
        self.state == State::Quoted
    }

    /// Takes note of bytes without a quote, outside of quotes, without looking at them.
    pub fn skip_plain(&mut self, bytes: &[u8]) {
        if let (true, Some(last)) = (self.csv, bytes.last()) {
            self.state = if matches!(last, b',' | b'\n') { State::FieldStart } else { State::Plain };
        }
    }
}

/// The fields of a record, unquoted.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    text: Vec<u8>,
    /// Where each field ends in `text`, and whether its quotes are right.
    ends: Vec<(usize, bool)>,
}

impl Fields {
    /// `record` is without its end of line.
    pub fn read(&mut self, record: &[u8]) {
        self.text.clear();
        self.ends.clear();
        let mut rest = record;
        loop {
            let (length, right) = match rest.first() {
                Some(b'"') => self.quoted(rest),
                _ => {
                    let length = memchr(b',', rest).unwrap_or(rest.len());
                    let field = rest.get(..length).unwrap_or_default();
                    self.text.extend_from_slice(field);
                    (length, memchr(b'"', field).is_none())
                }
            };
            self.ends.push((self.text.len(), right));
            match rest.get(length + 1..) {
                Some(behind) => rest = behind,
                None => return,
            }
        }
    }

    /// Appends the field that `rest` begins with. What follows its closing quote makes it wrong; then it is kept as it stands.
    fn quoted(&mut self, rest: &[u8]) -> (usize, bool) {
        let before = self.text.len();
        let mut at = 1;
        loop {
            let inner = rest.get(at..).unwrap_or_default();
            let Some(quote) = memchr(b'"', inner) else {
                self.text.extend_from_slice(inner);
                return (rest.len(), false);
            };
            self.text.extend_from_slice(inner.get(..quote).unwrap_or_default());
            at += quote + 1;
            match rest.get(at) {
                Some(b'"') => {
                    self.text.push(b'"');
                    at += 1;
                }
                Some(b',') | None => return (at, true),
                Some(_) => break,
            }
        }
        let length = at + memchr(b',', rest.get(at..).unwrap_or_default()).unwrap_or(rest.len() - at);
        self.text.truncate(before);
        self.text.extend_from_slice(rest.get(..length).unwrap_or_default());
        (length, false)
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Each field, and whether its quotes are as RFC 4180 has them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let mut begin = 0;
        self.ends.iter().map(move |&(end, right)| {
            let field = self.text.get(begin..end).unwrap_or_default();
            begin = end;
            (field, right)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8], piece: usize) -> Vec<usize> {
        let mut splitter = Splitter::new(true);
        let (mut ends, mut base) = (Vec::new(), 0);
        for piece in text.chunks(piece) {
            let mut at = 0;
            while let Some(n) = splitter.end(&piece[at..]) {
                at += n;
                ends.push(base + at);
            }
            base += piece.len();
        }
        ends
    }

    #[test]
    fn a_newline_in_quotes_ends_nothing() {
        let text = b"a,b\n\"x\ny\",z\n\"a\"\"\n\",b\r\nq\"\n\"\"\n\"a\"b\"\n\"\n\"";
        for piece in [1, 2, 3, 100] {
            assert_eq!(records(text, piece), [4, 12, 22, 25, 28, 34], "{piece}");
        }
    }

    #[test]
    fn fields_are_what_was_quoted() {
        let mut fields = Fields::default();
        for (record, expected) in [
            (&b"a,b"[..], vec![(&b"a"[..], true), (b"b", true)]),
            (b"", vec![(b"", true)]),
            (b",", vec![(b"", true), (b"", true)]),
            (b"\"a,\"\"b\n\",c", vec![(b"a,\"b\n", true), (b"c", true)]),
            (b"\"\",\"x\"", vec![(b"", true), (b"x", true)]),
            (b"a\"b,c", vec![(b"a\"b", false), (b"c", true)]),
            (b"\"a\"b,c", vec![(b"\"a\"b", false), (b"c", true)]),
            (b"\"a\" ,c", vec![(b"\"a\" ", false), (b"c", true)]),
            (b"\"a,b", vec![(b"a,b", false)]),
        ] {
            fields.read(record);
            assert_eq!(fields.iter().collect::<Vec<_>>(), expected);
            assert_eq!(fields.len(), expected.len());
        }
    }
}
