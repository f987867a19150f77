//! Pages of a column: fetched, unpacked, never larger than they may be, whatever they say of themselves.

use super::{
    footer::Chunk,
    source::{ReadAt, Stop, damaged, exactly},
    thrift::{STRUCT, Thrift},
};
use crate::decode::Decoder;
use bytes::Bytes;
use dunlin_core::prices::{Compression, Reason};
use flate2::Crc;

/// Of a page, packed and plain. Writers make pages of about 1 MiB.
pub const MAX_PAGE: usize = 8 << 20;
/// Of a page's header: it may hold the least and the greatest value.
const MAX_HEADER: usize = 64 << 10;
/// So much is asked for at a time.
const AHEAD: usize = 1 << 20;

/// Encodings (parquet.thrift, `Encoding`).
pub(super) const PLAIN: i64 = 0;
pub(super) const PLAIN_DICTIONARY: i64 = 2;
const RLE: i64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dictionary,
    Data,
}

/// A page as it was before it was packed.
#[derive(Debug)]
pub(super) struct Page {
    pub kind: Kind,
    pub bytes: Vec<u8>,
    pub values: u64,
    pub encoding: i64,
    /// Definition levels, when the column is optional: from where to where.
    pub levels: (usize, usize),
    /// Where the values begin.
    pub begin: usize,
}

/// (parquet.thrift, `PageHeader`)
#[derive(Debug, Default)]
struct Header {
    kind: i64,
    plain: i64,
    packed: i64,
    crc: Option<i64>,
    values: i64,
    encoding: i64,
    level_encoding: i64,
    /// Of the second version: these stand before the packed bytes.
    levels: i64,
    repetitions: i64,
    is_plain: bool,
}

#[derive(Debug)]
pub(super) struct Pages {
    chunk: Chunk,
    at: u64,
    /// Fetched ahead; begins at `at`.
    ahead: Bytes,
}

impl Pages {
    pub const fn new(chunk: Chunk) -> Self {
        Self { chunk, at: chunk.begin, ahead: Bytes::new() }
    }

    /// None behind the last one.
    pub fn next(&mut self, reader: &impl ReadAt, optional: bool) -> Result<Option<Page>, Stop> {
        loop {
            if self.at >= self.chunk.end {
                return Ok(None);
            }
            self.fetch(reader, MAX_HEADER)?;
            let (header, length) = header(self.ahead.get(..MAX_HEADER).unwrap_or(&self.ahead))
                .ok_or(damaged("a page has a damaged header"))?;
            self.pass(length);
            let packed = size(header.packed)?;
            let plain = size(header.plain)?;
            if packed as u64 > self.chunk.end - self.at {
                return Err(damaged("a page ends behind its column"));
            }
            if !(0..=3).contains(&header.kind) || header.kind == 1 {
                // An index of pages, or what later versions may bring.
                self.pass(packed);
                continue;
            }
            self.fetch(reader, packed)?;
            let body = self.ahead.get(..packed).unwrap_or_default();
            if header.crc.is_some_and(|crc| crc as u32 != sum(body)) {
                return Err(damaged("a page has another checksum"));
            }
            let page = unpack(&header, self.chunk.codec, body, plain, optional)?;
            self.pass(packed);
            return Ok(Some(page));
        }
    }

    /// Makes so many bytes be at hand, or all that the column has.
    fn fetch(&mut self, reader: &impl ReadAt, wanted: usize) -> Result<(), Stop> {
        let left = usize::try_from(self.chunk.end - self.at).unwrap_or(usize::MAX);
        if self.ahead.len() < wanted.min(left) {
            self.ahead = exactly(reader, self.at, wanted.max(AHEAD).min(left))?;
        }
        Ok(())
    }

    fn pass(&mut self, length: usize) {
        self.at += length as u64;
        self.ahead = if length < self.ahead.len() { self.ahead.slice(length..) } else { Bytes::new() };
    }
}

fn size(claimed: i64) -> Result<usize, Stop> {
    usize::try_from(claimed)
        .ok()
        .filter(|size| *size <= MAX_PAGE)
        .ok_or(damaged("a page is larger than 8 MiB, or says so"))
}

fn sum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn header(bytes: &[u8]) -> Option<(Header, usize)> {
    let mut thrift = Thrift::new(bytes);
    let mut header = Header::default();
    thrift.fields(|thrift, number, kind| {
        match (number, kind) {
            (1, _) => header.kind = thrift.int()?,
            (2, _) => header.plain = thrift.int()?,
            (3, _) => header.packed = thrift.int()?,
            (4, _) => header.crc = Some(thrift.int()?),
            (5 | 7, STRUCT) => thrift.fields(|thrift, number, kind| {
                match (number, kind) {
                    (1, _) => header.values = thrift.int()?,
                    (2, _) => header.encoding = thrift.int()?,
                    // Of a dictionary this is whether it is sorted, a boolean.
                    (3, 5) => header.level_encoding = thrift.int()?,
                    _ => return Some(false),
                }
                Some(true)
            })?,
            (8, STRUCT) => thrift.fields(|thrift, number, kind| {
                match (number, kind) {
                    (1, _) => header.values = thrift.int()?,
                    (4, _) => header.encoding = thrift.int()?,
                    (5, _) => header.levels = thrift.int()?,
                    (6, _) => header.repetitions = thrift.int()?,
                    // False; without the field it is packed.
                    (7, 2) => {
                        header.is_plain = true;
                        return Some(false);
                    }
                    _ => return Some(false),
                }
                Some(true)
            })?,
            _ => return Some(false),
        }
        Some(true)
    })?;
    Some((header, thrift.position()))
}

fn unpack(header: &Header, codec: i64, body: &[u8], plain: usize, optional: bool) -> Result<Page, Stop> {
    let wrong = || damaged("a page is not as its header says");
    let values = u64::try_from(header.values).map_err(|_| wrong())?;
    let second = header.kind == 3;
    // The second version has its levels before what is packed.
    let before = if second {
        let length = |claimed: i64| usize::try_from(claimed).ok().filter(|length| *length <= body.len());
        let levels = length(header.levels).ok_or_else(wrong)?;
        if length(header.repetitions) != Some(0) || (!optional && levels > 0) {
            return Err(wrong());
        }
        levels
    } else {
        0
    };
    let mut bytes = body.get(..before).unwrap_or_default().to_vec();
    let packed = body.get(before..).unwrap_or_default();
    let rest = plain.checked_sub(before).ok_or_else(wrong)?;
    decompress(if header.is_plain { 0 } else { codec }, packed, rest, &mut bytes)?;
    if bytes.len() != plain {
        return Err(wrong());
    }
    let (mut levels, mut begin) = ((0, before), before);
    if header.kind == 0 && optional {
        if header.level_encoding != RLE {
            return Err(damaged("definition levels of an old encoding"));
        }
        let Some(&length) = bytes.first_chunk::<4>() else { return Err(wrong()) };
        let end = 4 + u32::from_le_bytes(length) as usize;
        if end > bytes.len() {
            return Err(wrong());
        }
        (levels, begin) = ((4, end), end);
    }
    let kind = if header.kind == 2 { Kind::Dictionary } else { Kind::Data };
    Ok(Page { kind, bytes, values, encoding: header.encoding, levels, begin })
}

/// Appends at most `plain` bytes (parquet.thrift, `CompressionCodec`).
fn decompress(codec: i64, packed: &[u8], plain: usize, out: &mut Vec<u8>) -> Result<(), Stop> {
    let begin = out.len();
    match codec {
        0 => out.extend_from_slice(packed),
        // A page without values may have no bytes at all.
        _ if plain == 0 => {}
        1 => {
            out.resize(begin + plain, 0);
            let room = out.get_mut(begin..).unwrap_or_default();
            let made = snap::raw::Decoder::new().decompress(packed, room);
            out.truncate(begin + made.map_err(|_| damaged("a page has damaged Snappy bytes"))?);
        }
        2 => stream(Compression::Gzip, packed, begin + plain, out)?,
        6 => stream(Compression::Zstd, packed, begin + plain, out)?,
        7 => {
            out.resize(begin + plain, 0);
            let room = out.get_mut(begin..).unwrap_or_default();
            let made = lz4_flex::block::decompress_into(packed, room);
            out.truncate(begin + made.map_err(|_| damaged("a page has damaged LZ4 bytes"))?);
        }
        _ => {
            return Err(Stop::Bad((Reason::Unreadable, "a codec other than Snappy, gzip, zstd and LZ4_RAW")));
        }
    }
    Ok(())
}

fn stream(compression: Compression, packed: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), Stop> {
    let Some(mut decoder) = Decoder::new(compression).map_err(Stop::Bad)? else { return Ok(()) };
    let (mut at, mut step) = (0, Vec::new());
    loop {
        let taken = decoder.step(packed.get(at..).unwrap_or_default(), &mut step).map_err(Stop::Bad)?;
        if taken == 0 && step.is_empty() {
            return decoder.finish().map_err(Stop::Bad);
        }
        at += taken;
        out.extend_from_slice(&step);
        if out.len() > most {
            return Err(damaged("a page is larger than its header says"));
        }
    }
}
