//! Thrift's compact protocol, as much as Parquet's footer and page headers need (thrift, doc/specs/thrift-compact-protocol.md).
//! Everything is bounded by the bytes at hand: None is what cannot be read.

pub(super) const TRUE: u8 = 1;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;
/// Structures in structures; Parquet has four.
const MAX_DEPTH: u8 = 16;

#[derive(Debug, Clone, Copy)]
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Thrift<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// An i16, i32 or i64.
    pub fn int(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub fn binary(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()?;
        self.take(length)
    }

    /// Kind and number of what follows.
    pub fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Some((head & 15, count))
    }

    /// Gives each field's number and kind to `read`, which reads the value or says that it did not.
    pub fn fields(&mut self, mut read: impl FnMut(&mut Self, i64, u8) -> Option<bool>) -> Option<()> {
        let mut number: i64 = 0;
        while let Some((next, kind)) = self.field(number)? {
            number = next;
            if !read(self, number, kind)? {
                self.skip(kind, MAX_DEPTH)?;
            }
        }
        Some(())
    }

    fn field(&mut self, before: i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        let number = if head >> 4 == 0 { self.int()? } else { before.checked_add(i64::from(head >> 4))? };
        Some(Some((number, head & 15)))
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        let below = depth.checked_sub(1)?;
        match kind {
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => drop(self.take(8)?),
            BINARY => drop(self.binary()?),
            LIST | 10 => {
                let (kind, count) = self.list()?;
                for _ in 0..count {
                    self.skip_item(kind, below)?;
                }
            }
            11 => {
                let count = self.varint()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                for _ in 0..count {
                    self.skip_item(kinds >> 4, below)?;
                    self.skip_item(kinds & 15, below)?;
                }
            }
            STRUCT => {
                while let Some((_, kind)) = self.field(0)? {
                    self.skip(kind, below)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// In lists even a boolean takes a byte, so that no count can promise more items than there are bytes.
    fn skip_item(&mut self, kind: u8, depth: u8) -> Option<()> {
        if matches!(kind, 1 | 2) { self.byte().map(drop) } else { self.skip(kind, depth) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_promises_more_than_there_is_cannot_be_read() {
        for bytes in [
            // A list of 2^62 booleans, of structures; a map; a binary longer than everything; a varint without end.
            &[0x19, 0xf1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 1][..],
            &[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0],
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x11, 1],
            &[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x1c; 1000],
            &[0x1d],
            &[],
        ] {
            assert_eq!(Thrift::new(bytes).fields(|_, _, _| Some(false)), None, "{bytes:x?}");
        }
    }

    #[test]
    fn fields_come_with_their_numbers() {
        // 1: 5 (i32), 3: true, 20: "ab", and one to skip: 21: {1: [1, 2]}.
        let bytes = [0x15, 10, 0x21, 0x08, 40, 2, b'a', b'b', 0x1c, 0x19, 0x23, 1, 2, 0, 0, 99];
        let mut seen = Vec::new();
        let mut thrift = Thrift::new(&bytes);
        let read = thrift.fields(|thrift, number, kind| {
            seen.push((number, kind));
            Some(match number {
                1 => thrift.int()? == 5,
                3 => true,
                20 => thrift.binary()? == b"ab",
                _ => false,
            })
        });
        assert_eq!((read, thrift.position()), (Some(()), 15));
        assert_eq!(seen, [(1, 5), (3, TRUE), (20, BINARY), (21, STRUCT)]);
    }
}
