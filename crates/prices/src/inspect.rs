//! What a file is, and where it can be cut: one look at its bytes as they pass.

mod scan;

use crate::{
    decode::Decoder,
    header::{self, file_is_bad},
    split::{MAX_RECORD, Splitter},
};
use dunlin_core::prices::{BatchKind, Compression, Faults, Format, Layout, MAX_ROWS, Range, Reason};
use scan::Scanner;
use sha2::{Digest, Sha256};

/// About the bytes of a range.
pub const RANGE_BYTES: u64 = 32 << 20;
/// A file has no more ranges: they grow instead.
pub const MAX_RANGES: u64 = 1000;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// What was found out about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Of the object as it lies there, hexadecimal.
    pub sha256: String,
    /// Or what is wrong with the file as a whole.
    pub layout: Result<Layout, Faults>,
    /// Together all rows. None when the file is bad, and for Parquet until [`crate::inspect_parquet`] has looked.
    pub ranges: Vec<Range>,
}

impl Inspection {
    /// The rest is in the footer, at the end of the file: see [`crate::inspect_parquet`].
    pub fn needs_footer(&self) -> bool {
        self.layout.as_ref().is_ok_and(|layout| layout.format == Format::Parquet)
    }
}

/// Takes in a file from its first to its last byte.
#[derive(Debug)]
pub struct Inspector {
    kind: BatchKind,
    sha: Sha256,
    bytes: u64,
    range_bytes: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The file's beginning, for as long as it does not say enough.
    Head(Vec<u8>),
    /// The plain beginning of a compressed file.
    Packed {
        compression: Compression,
        decoder: Decoder,
        head: Vec<u8>,
    },
    Rows {
        layout: Layout,
        scanner: Box<Scanner>,
    },
    /// Only the checksum is still of interest.
    Known(Result<Layout, Faults>),
}

/// What a beginning says.
enum Said {
    /// Not enough.
    More,
    Packed(Compression),
    Parquet,
    /// Rows begin behind so many bytes and lines.
    Text {
        layout: Layout,
        rows_at: usize,
        lines: u64,
    },
    Bad(Faults),
}

impl Inspector {
    /// `total_bytes` decides how long a range is; it is no promise.
    pub fn new(kind: BatchKind, total_bytes: u64) -> Self {
        Self::with_range_bytes(kind, total_bytes, RANGE_BYTES)
    }

    /// With ranges of another length, for tests.
    pub fn with_range_bytes(kind: BatchKind, total_bytes: u64, range_bytes: u64) -> Self {
        let range_bytes = range_bytes.max(total_bytes.div_ceil(MAX_RANGES)).max(1);
        Self { kind, sha: Sha256::new(), bytes: 0, range_bytes, stage: Stage::Head(Vec::new()) }
    }

    pub fn push(&mut self, chunk: &[u8]) {
        self.sha.update(chunk);
        self.bytes += chunk.len() as u64;
        match &mut self.stage {
            Stage::Head(head) => {
                // No more than can say anything: a mark, blanks, and a header.
                let room = (2 * MAX_RECORD + 16).saturating_sub(head.len()).min(chunk.len());
                let (more, rest) = chunk.split_at(room);
                head.extend_from_slice(more);
                let head = std::mem::take(head);
                self.decide(head, rest, false);
            }
            Stage::Packed { .. } => self.unpack(chunk),
            Stage::Rows { scanner, .. } => scanner.push(chunk),
            Stage::Known(_) => {}
        }
    }

    /// `rest` follows `head`.
    fn decide(&mut self, head: Vec<u8>, rest: &[u8], end: bool) {
        self.stage = match listen(self.kind, &head, end) {
            Said::More => Stage::Head(head),
            Said::Bad(faults) => Stage::Known(Err(faults)),
            Said::Parquet => Stage::Known(Ok(layout(Format::Parquet, Compression::None))),
            Said::Packed(compression) => match Decoder::new(compression) {
                Ok(Some(decoder)) => {
                    self.stage = Stage::Packed { compression, decoder, head: Vec::new() };
                    self.unpack(&head);
                    return self.unpack(rest);
                }
                Ok(None) => Stage::Known(Ok(layout(Format::Csv, compression))),
                Err((reason, why)) => Stage::Known(Err(file_is_bad(1, why, reason))),
            },
            Said::Text { layout, rows_at, lines } => {
                let csv = layout.format == Format::Csv;
                let mut scanner = Box::new(Scanner::new(csv, rows_at as u64, lines + 1, self.range_bytes));
                scanner.push(head.get(rows_at..).unwrap_or_default());
                scanner.push(rest);
                Stage::Rows { layout, scanner }
            }
        };
    }

    fn unpack(&mut self, chunk: &[u8]) {
        let Stage::Packed { compression, decoder, head } = &mut self.stage else { return };
        let (mut at, mut plain) = (0, Vec::new());
        loop {
            match decoder.step(chunk.get(at..).unwrap_or_default(), &mut plain) {
                Ok(0) if plain.is_empty() => return,
                Ok(taken) => at += taken,
                Err((reason, why)) => {
                    self.stage = Stage::Known(Err(file_is_bad(1, why, reason)));
                    return;
                }
            }
            if plain.is_empty() {
                continue;
            }
            head.extend_from_slice(&plain);
            if let Some(known) = unpacked(self.kind, *compression, head, false) {
                self.stage = Stage::Known(known);
                return;
            }
        }
    }

    pub fn finish(mut self) -> Inspection {
        if let Stage::Head(head) = &mut self.stage {
            let head = std::mem::take(head);
            self.decide(head, &[], true);
        }
        let mut ranges = Vec::new();
        let layout = match self.stage {
            Stage::Known(known) => known,
            Stage::Head(_) => Err(file_is_bad(1, "", Reason::Empty)),
            Stage::Packed { compression, decoder, head } => match decoder.finish() {
                Err((reason, why)) => Err(file_is_bad(1, why, reason)),
                Ok(()) => unpacked(self.kind, compression, &head, true)
                    .unwrap_or_else(|| Err(file_is_bad(1, "", Reason::Empty))),
            },
            Stage::Rows { layout, scanner } => {
                let lines = scanner.lines();
                ranges = scanner.finish();
                if lines > MAX_ROWS {
                    Err(file_is_bad(1, "more lines than a batch may have", Reason::Unreadable))
                } else if ranges.is_empty() {
                    Err(file_is_bad(1, "", Reason::Empty))
                } else {
                    Ok(layout)
                }
            }
        };
        match &layout {
            Err(_) => ranges.clear(),
            Ok(layout) if layout.compression != Compression::None => {
                // Nobody knows where its rows are without reading it.
                ranges = vec![Range { range: 0, offset: 0, length: self.bytes, first_line: 1, has_header: true }];
            }
            Ok(_) => {}
        }
        Inspection { sha256: hex::encode(self.sha.finalize()), layout, ranges }
    }
}

fn layout(format: Format, compression: Compression) -> Layout {
    Layout { format, compression, fields: Vec::new() }
}

/// The layout of a compressed file, as soon as its plain beginning says it.
fn unpacked(kind: BatchKind, compression: Compression, head: &[u8], end: bool) -> Option<Result<Layout, Faults>> {
    match listen(kind, head, end) {
        Said::More => None,
        Said::Bad(faults) => Some(Err(faults)),
        Said::Text { layout, .. } => Some(Ok(Layout { compression, ..layout })),
        Said::Packed(_) => Some(Err(file_is_bad(1, "it is compressed twice", Reason::Unreadable))),
        Said::Parquet => Some(Err(file_is_bad(1, "a Parquet file that was compressed as a whole", Reason::Unreadable))),
    }
}

fn listen(kind: BatchKind, head: &[u8], end: bool) -> Said {
    for (magic, said) in [
        (&b"\x1f\x8b"[..], Said::Packed(Compression::Gzip)),
        (b"\x28\xb5\x2f\xfd", Said::Packed(Compression::Zstd)),
        (b"PAR1", Said::Parquet),
    ] {
        if head.starts_with(magic) {
            return said;
        }
        if magic.starts_with(head) && !end {
            return Said::More;
        }
    }
    if BOM.starts_with(head) && head.len() < BOM.len() && !end {
        return Said::More;
    }
    let begin = if head.starts_with(BOM) { BOM.len() } else { 0 };
    let text = head.get(begin..).unwrap_or_default();
    let blanks = text.iter().position(|byte| !byte.is_ascii_whitespace());
    if blanks.unwrap_or(text.len()) > MAX_RECORD {
        return Said::Bad(file_is_bad(1, "nothing but blanks at its beginning", Reason::Unreadable));
    }
    let Some(first) = blanks.and_then(|at| text.get(at)) else {
        return if end { Said::Bad(file_is_bad(1, "", Reason::Empty)) } else { Said::More };
    };
    if *first == b'{' {
        return Said::Text { layout: layout(Format::Ndjson, Compression::None), rows_at: begin, lines: 0 };
    }
    header_of(kind, text, end).map_or(Said::More, |found| match found {
        Ok((fields, length, lines)) => Said::Text {
            layout: Layout { fields, ..layout(Format::Csv, Compression::None) },
            rows_at: begin + length,
            lines,
        },
        Err(faults) => Said::Bad(faults),
    })
}

type Header = (Vec<u8>, usize, u64);

/// The first line that is not blank. None when it goes on behind `text`.
fn header_of(kind: BatchKind, text: &[u8], end: bool) -> Option<Result<Header, Faults>> {
    let (mut at, mut lines) = (0, 0);
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let mut split = Splitter::new(true);
        let found = split.end(rest);
        let length = found.unwrap_or(rest.len());
        if length > MAX_RECORD {
            let shown = String::from_utf8_lossy(rest.get(..512).unwrap_or_default());
            return Some(Err(file_is_bad(lines + 1, &shown, Reason::RowTooLong)));
        }
        if found.is_none() && !end {
            return None;
        }
        if split.is_open() {
            return Some(Err(file_is_bad(lines + 1, &String::from_utf8_lossy(rest), Reason::Truncated)));
        }
        let record = rest.get(..length).unwrap_or_default();
        let line = lines + 1;
        at += length;
        lines += memchr::memchr_iter(b'\n', record).count() as u64;
        match record {
            b"\n" | b"\r\n" => {}
            [record @ .., b'\r', b'\n'] | [record @ .., b'\n'] | record => {
                return Some(header::fields(kind, line, record).map(|fields| (fields, at, lines)));
            }
        }
    }
}
