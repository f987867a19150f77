//! The values of one column, one after the other.

use super::{
    bits::{Deltas, Runs},
    footer::{BYTE_ARRAY, Chunk, Column, DOUBLE, FIXED, INT32, INT64},
    page::{Kind, PLAIN, PLAIN_DICTIONARY, Page, Pages},
    source::{ReadAt, Stop, damaged},
};

/// Encodings (parquet.thrift, `Encoding`).
const DELTA_BINARY_PACKED: i64 = 5;
const DELTA_LENGTH_BYTE_ARRAY: i64 = 6;
const DELTA_BYTE_ARRAY: i64 = 7;
const RLE_DICTIONARY: i64 = 8;
const BYTE_STREAM_SPLIT: i64 = 9;

/// A value as it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
}

#[derive(Debug)]
pub(super) struct Values {
    column: Column,
    pages: Pages,
    page: Vec<u8>,
    /// Rows of the page that were not read yet, nulls among them.
    left: u64,
    levels: Option<Runs>,
    reading: Reading,
    dictionary: Option<Dictionary>,
    /// The value that was put together last.
    made: Vec<u8>,
}

/// How the values of a page are written, and where the next one is.
#[derive(Debug)]
enum Reading {
    Plain(usize),
    Indices(Option<Runs>),
    Deltas(Deltas),
    Lengths(Deltas, usize),
    Prefixes {
        prefixes: Deltas,
        lengths: Deltas,
        at: usize,
    },
    /// Byte n of all values, then byte n + 1.
    Split {
        begin: usize,
        count: usize,
        next: usize,
    },
}

#[derive(Debug)]
struct Dictionary {
    page: Vec<u8>,
    /// Where each value begins, and its length.
    places: Vec<(u32, u32)>,
}

impl Values {
    pub const fn new(column: Column, chunk: Chunk) -> Self {
        Self {
            column,
            pages: Pages::new(chunk),
            page: Vec::new(),
            left: 0,
            levels: None,
            reading: Reading::Plain(0),
            dictionary: None,
            made: Vec::new(),
        }
    }

    pub const fn column(&self) -> &Column {
        &self.column
    }

    pub fn next(&mut self, reader: &impl ReadAt) -> Result<Cell<'_>, Stop> {
        while self.left == 0 {
            let page = self.pages.next(reader, self.column.optional)?;
            self.open(page.ok_or(damaged("a column has fewer values than rows"))?)?;
        }
        self.left -= 1;
        let missing = damaged("a page has fewer values than its header says");
        if let Some(levels) = &mut self.levels {
            match levels.next(&self.page) {
                Some(1) => {}
                Some(0) => return Ok(Cell::Null),
                _ => return Err(missing),
            }
        }
        self.value().ok_or(missing)
    }

    /// Whether all pages were read to their ends.
    pub fn is_at_end(&mut self, reader: &impl ReadAt) -> Result<bool, Stop> {
        while self.left == 0 {
            match self.pages.next(reader, self.column.optional)? {
                Some(page) => self.open(page)?,
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    fn open(&mut self, page: Page) -> Result<(), Stop> {
        if page.kind == Kind::Dictionary {
            let plain = matches!(page.encoding, PLAIN | PLAIN_DICTIONARY);
            if self.dictionary.is_some() || !plain {
                return Err(damaged("a dictionary that cannot be one"));
            }
            let dictionary = Dictionary::new(&self.column, page).ok_or(damaged("a damaged dictionary"))?;
            self.dictionary = Some(dictionary);
            return Ok(());
        }
        self.left = page.values;
        self.levels = if self.column.optional { Runs::new(page.levels.0, page.levels.1, 1) } else { None };
        self.reading = self.reading(&page)?;
        self.page = page.bytes;
        self.made.clear();
        Ok(())
    }

    fn reading(&self, page: &Page) -> Result<Reading, Stop> {
        let (bytes, begin, physical) = (page.bytes.as_slice(), page.begin, self.column.physical);
        let wrong = || damaged("a page with damaged values");
        Ok(match (page.encoding, physical) {
            (PLAIN, _) => Reading::Plain(begin),
            (PLAIN_DICTIONARY | RLE_DICTIONARY, _) => {
                if self.dictionary.is_none() {
                    return Err(damaged("a page refers to a dictionary that is not there"));
                }
                // Where all are null there may be nothing.
                Reading::Indices(match bytes.get(begin) {
                    Some(width) => Some(Runs::new(begin + 1, bytes.len(), u32::from(*width)).ok_or_else(wrong)?),
                    None => None,
                })
            }
            // Nor here.
            (DELTA_BINARY_PACKED | DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY, _) if begin == bytes.len() => {
                Reading::Plain(begin)
            }
            (DELTA_BINARY_PACKED, INT32 | INT64) => Reading::Deltas(Deltas::new(bytes, begin).ok_or_else(wrong)?),
            (DELTA_LENGTH_BYTE_ARRAY, BYTE_ARRAY) => {
                let lengths = Deltas::new(bytes, begin).ok_or_else(wrong)?;
                let at = lengths.end(bytes).ok_or_else(wrong)?;
                Reading::Lengths(lengths, at)
            }
            (DELTA_BYTE_ARRAY, BYTE_ARRAY | FIXED) => {
                let prefixes = Deltas::new(bytes, begin).ok_or_else(wrong)?;
                let lengths = Deltas::new(bytes, prefixes.end(bytes).ok_or_else(wrong)?).ok_or_else(wrong)?;
                let at = lengths.end(bytes).ok_or_else(wrong)?;
                Reading::Prefixes { prefixes, lengths, at }
            }
            (BYTE_STREAM_SPLIT, INT32 | INT64 | DOUBLE | FIXED) => {
                let count = (bytes.len() - begin) / self.width();
                Reading::Split { begin, count, next: 0 }
            }
            _ => return Err(damaged("an encoding that such a column cannot have")),
        })
    }

    /// Bytes of a value, where all have as many.
    const fn width(&self) -> usize {
        match self.column.physical {
            INT32 => 4,
            INT64 | DOUBLE => 8,
            _ => self.column.width,
        }
    }

    #[inline]
    fn value(&mut self) -> Option<Cell<'_>> {
        let width = self.width();
        let physical = self.column.physical;
        let bytes = match &mut self.reading {
            Reading::Plain(at) => plain(&self.page, at, physical, width)?,
            Reading::Indices(runs) => {
                let index = runs.as_mut()?.next(&self.page)?;
                let dictionary = self.dictionary.as_ref()?;
                let (begin, length) = *dictionary.places.get(usize::try_from(index).ok()?)?;
                dictionary.page.get(begin as usize..)?.get(..length as usize)?
            }
            Reading::Deltas(deltas) => {
                let value = deltas.next(&self.page)?;
                // Differences of 32 bits run over at 32 bits.
                return Some(Cell::Int(if physical == INT32 { i64::from(value as i32) } else { value }));
            }
            Reading::Lengths(lengths, at) => {
                let length = usize::try_from(lengths.next(&self.page)?).ok()?;
                let value = self.page.get(*at..)?.get(..length)?;
                *at += length;
                value
            }
            Reading::Prefixes { prefixes, lengths, at } => {
                let prefix = usize::try_from(prefixes.next(&self.page)?).ok()?;
                let length = usize::try_from(lengths.next(&self.page)?).ok()?;
                if prefix > self.made.len() {
                    return None;
                }
                self.made.truncate(prefix);
                self.made.extend_from_slice(self.page.get(*at..)?.get(..length)?);
                *at += length;
                &self.made
            }
            Reading::Split { begin, count, next } => {
                if *next >= *count {
                    return None;
                }
                self.made.clear();
                for byte in 0..width {
                    self.made.push(*self.page.get(*begin + byte * *count + *next)?);
                }
                *next += 1;
                &self.made
            }
        };
        cell(physical, width, bytes)
    }
}

#[inline]
fn cell(physical: i64, width: usize, bytes: &[u8]) -> Option<Cell<'_>> {
    Some(match physical {
        INT32 => Cell::Int(i64::from(i32::from_le_bytes(bytes.try_into().ok()?))),
        INT64 => Cell::Int(i64::from_le_bytes(bytes.try_into().ok()?)),
        DOUBLE => Cell::Double(f64::from_le_bytes(bytes.try_into().ok()?)),
        FIXED if bytes.len() != width => return None,
        _ => Cell::Bytes(bytes),
    })
}

#[inline]
fn plain<'a>(page: &'a [u8], at: &mut usize, physical: i64, width: usize) -> Option<&'a [u8]> {
    let mut length = width;
    if physical == BYTE_ARRAY {
        length = u32::from_le_bytes(*page.get(*at..)?.first_chunk()?) as usize;
        *at += 4;
    }
    let value = page.get(*at..)?.get(..length)?;
    *at += length;
    Some(value)
}

impl Dictionary {
    fn new(column: &Column, page: Page) -> Option<Self> {
        let width = match column.physical {
            INT32 => 4,
            INT64 | DOUBLE => 8,
            _ => column.width,
        };
        let (mut at, mut places) = (page.begin, Vec::new());
        for _ in 0..page.values {
            let value = plain(&page.bytes, &mut at, column.physical, width)?;
            places.push((u32::try_from(at - value.len()).ok()?, u32::try_from(value.len()).ok()?));
        }
        Some(Self { page: page.bytes, places })
    }
}
