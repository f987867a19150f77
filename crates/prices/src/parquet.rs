//! Parquet: footer, pages and values, as much as four plain columns need.
//!
//! Read by hand, because a stranger's file must neither abort a process nor take more memory than it has: readers that trust a
//! file unpack a page to whatever size it has, and panic at lengths that lie.

mod bits;
mod column;
mod footer;
mod page;
mod rows;
mod source;
mod thrift;

pub use page::MAX_PAGE;
pub use rows::ParquetReader;
pub use source::ReadAt;

use crate::{
    header::file_is_bad,
    inspect::{MAX_RANGES, RANGE_BYTES},
};
use dunlin_core::prices::{BatchKind, Compression, Faults, Format, Layout, Range, Reason};
use footer::{Footer, Group};
use source::{Stop, exactly};
use std::io;

/// Of a footer. One of 1,000 row groups has about 600 KiB.
pub const MAX_FOOTER: u64 = 4 << 20;
const MAGIC: &[u8; 4] = b"PAR1";

/// Looks at the footer, at the end of the file. An error is the reader's: it says nothing about the file.
///
/// A range is one or several row groups.
pub fn inspect_parquet(kind: BatchKind, reader: &impl ReadAt) -> io::Result<(Result<Layout, Faults>, Vec<Range>)> {
    inspect_parquet_in(kind, reader, RANGE_BYTES)
}

/// With ranges of another length, for tests.
pub fn inspect_parquet_in(
    kind: BatchKind,
    reader: &impl ReadAt,
    range_bytes: u64,
) -> io::Result<(Result<Layout, Faults>, Vec<Range>)> {
    let footer = match read_footer(kind, reader)? {
        Ok(footer) => footer,
        Err(faults) => return Ok((Err(faults), Vec::new())),
    };
    let ranges = ranges(&footer.groups, range_bytes);
    if ranges.is_empty() {
        return Ok((Err(file_is_bad(1, "", Reason::Empty)), ranges));
    }
    Ok((Ok(Layout { format: Format::Parquet, compression: Compression::None, fields: Vec::new() }), ranges))
}

fn read_footer(kind: BatchKind, reader: &impl ReadAt) -> io::Result<Result<Footer, Faults>> {
    let bad = |why: &str, reason: Reason| Ok(Err(file_is_bad(1, why, reason)));
    // Magic at both ends, and before the last one the footer's length.
    let Some(end) = reader.length().checked_sub(8).filter(|end| *end >= 4) else {
        return bad("a Parquet file that ends early", Reason::Truncated);
    };
    let get = |offset, length| match exactly(reader, offset, length) {
        Ok(bytes) => Ok(bytes),
        Err(Stop::Source(error)) => Err(error),
        Err(Stop::Bad((_, why))) => Err(io::Error::other(why)),
    };
    let tail = get(end, 8)?;
    let (Some(&length), Some(magic)) = (tail.first_chunk::<4>(), tail.last_chunk::<4>()) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    match magic {
        MAGIC => {}
        b"PARE" => return bad("an encrypted Parquet file", Reason::Unreadable),
        _ => return bad("a Parquet file without its footer", Reason::Truncated),
    }
    let length = u64::from(u32::from_le_bytes(length));
    let Some(begin) = end.checked_sub(length).filter(|_| length <= MAX_FOOTER) else {
        return bad("the footer is larger than 4 MiB or than the file, or says so", Reason::Unreadable);
    };
    let bytes = get(begin, usize::try_from(length).map_err(io::Error::other)?)?;
    Ok(footer::read(kind, &bytes, begin))
}

fn ranges(groups: &[Group], range_bytes: u64) -> Vec<Range> {
    let sizes = groups.iter().map(|group| group.chunks.iter().map(|chunk| chunk.end - chunk.begin).sum::<u64>());
    let sizes: Vec<u64> = sizes.map(|size| size.min(1 << 50)).collect();
    let total = sizes.iter().fold(0_u64, |total, size| total.saturating_add(*size));
    let target = range_bytes.max(total.div_ceil(MAX_RANGES)).max(1);
    let mut ranges: Vec<Range> = Vec::new();
    let (mut begin, mut bytes, mut rows, mut line) = (0, 0_u64, 0, 1);
    for (index, (group, size)) in groups.iter().zip(&sizes).enumerate() {
        bytes = bytes.saturating_add(*size);
        rows += group.rows;
        let index = index as u64;
        let full = bytes >= target && (ranges.len() as u64) < MAX_RANGES - 1;
        if rows > 0 && (full || index + 1 == groups.len() as u64) {
            let range = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
            let length = index + 1 - begin;
            ranges.push(Range { range, offset: begin, length, first_line: line, has_header: false });
            (begin, bytes, line, rows) = (index + 1, 0, line + rows, 0);
        }
    }
    ranges
}
