//! Bytes of a range, plain or compressed, to records.

use crate::{
    decode::{Broken, Decoder},
    frame::{Framer, Rows},
};
use dunlin_core::prices::{Compression, Format, Layout, MAX_ROWS, Range, Reason};

/// Rows differ, so that text of them becomes a fiftieth, or a hundredth, of itself and never this small a part.
const MAX_RATIO: u64 = 1000;
/// What any file may become.
const FREE_BYTES: u64 = 64 << 20;
/// What no file may become: 256 bytes for each of as many rows as a batch may have.
const MAX_PLAIN: u64 = 256 * MAX_ROWS;
const BOMB: Broken = (Reason::Unreadable, "it unpacks to a thousand times its size, or to 512 GB");

#[derive(Debug)]
pub(crate) struct Source {
    decoder: Option<Decoder>,
    /// What the decoder took and gave, in bytes.
    packed: u64,
    unpacked: u64,
    /// What the decoder gave, and how much of it was taken.
    plain: Vec<u8>,
    taken: usize,
    /// The last step gave something: the next may, too, even without input.
    more: bool,
    broken: Option<Broken>,
    framer: Framer,
}

impl Source {
    pub fn new(layout: &Layout, range: &Range) -> Self {
        let (decoder, broken) = match Decoder::new(layout.compression) {
            Ok(decoder) => (decoder, None),
            Err(broken) => (None, Some(broken)),
        };
        let whole = range.has_header || layout.compression != Compression::None;
        Self {
            decoder,
            packed: 0,
            unpacked: 0,
            plain: Vec::new(),
            taken: 0,
            more: false,
            broken,
            framer: Framer::new(layout.format == Format::Csv, whole, range.first_line.max(1)),
        }
    }

    /// Returns how many bytes it took: less than all, and even none, when `rows` is full.
    pub fn feed(&mut self, chunk: &[u8], rows: &mut impl Rows) -> usize {
        let Some(decoder) = &mut self.decoder else {
            return if self.broken.is_some() { chunk.len() } else { self.framer.feed(chunk, rows) };
        };
        let mut at = 0;
        while !rows.is_full() {
            if let Some(rest @ [_, ..]) = self.plain.get(self.taken..) {
                self.taken += self.framer.feed(rest, rows);
                continue;
            }
            if self.broken.is_some() {
                return chunk.len();
            }
            if at == chunk.len() && !self.more {
                break;
            }
            self.taken = 0;
            match decoder.step(chunk.get(at..).unwrap_or_default(), &mut self.plain) {
                Ok(taken) => {
                    at += taken;
                    self.more = taken > 0 || !self.plain.is_empty();
                    self.packed += taken as u64;
                    self.unpacked += self.plain.len() as u64;
                    if self.unpacked > most(self.packed) {
                        self.plain.clear();
                        self.broken = Some(BOMB);
                    }
                }
                Err(broken) => {
                    self.plain.clear();
                    self.broken = Some(broken);
                }
            }
        }
        at
    }

    /// The range has ended. What is left is little, so that `rows` may become fuller than full.
    pub fn finish(&mut self, rows: &mut impl Rows) {
        self.feed(&[], &mut Patient(rows));
        let end = self.broken.or_else(|| self.decoder.as_ref().and_then(|decoder| decoder.finish().err()));
        self.framer.finish(end, rows);
    }
}

/// So many bytes may come of so many packed ones.
fn most(packed: u64) -> u64 {
    packed.saturating_mul(MAX_RATIO).saturating_add(FREE_BYTES).min(MAX_PLAIN)
}

/// Never full.
struct Patient<'a, R>(&'a mut R);

impl<R: Rows> Rows for Patient<'_, R> {
    fn fast(&mut self, bytes: &[u8], line: u64) -> (usize, u64) {
        self.0.fast(bytes, line)
    }
    fn record(&mut self, line: u64, record: &[u8]) {
        self.0.record(line, record);
    }
    fn fault(&mut self, line: u64, value: &[u8], reason: Reason, again: bool) {
        self.0.fault(line, value, reason, again);
    }
    fn is_full(&self) -> bool {
        false
    }
}
