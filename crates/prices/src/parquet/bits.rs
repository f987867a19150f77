//! Integers of Parquet (apache/parquet-format, Encodings.md): runs of repeated or packed values, and differences. A decoder keeps
//! places in a page, not the page; None is a page that does not hold what it should.

/// `width` bits, the lowest first, beginning at bit `at`.
fn bits(page: &[u8], at: usize, width: u32) -> Option<u64> {
    if width == 0 {
        return Some(0);
    }
    let first = at / 8;
    let shift = (at % 8) as u32;
    let last = (at + width as usize - 1) / 8;
    let bytes = page.get(first..=last)?;
    let mut value: u128 = 0;
    for (place, byte) in bytes.iter().enumerate() {
        value |= u128::from(*byte) << (8 * place);
    }
    let mask = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
    Some((value >> shift) as u64 & mask)
}

fn varint(page: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *page.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn zigzag(page: &[u8], at: &mut usize) -> Option<i64> {
    let value = varint(page, at)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// RLE and bit packing: definition levels, and indices of dictionaries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runs {
    at: usize,
    end: usize,
    width: u32,
    left: u64,
    /// Of a repeated value; packed ones stand at `bit`.
    value: Option<u64>,
    bit: usize,
}

impl Runs {
    /// None for values wider than 32 bits.
    pub const fn new(at: usize, end: usize, width: u32) -> Option<Self> {
        if width > 32 { None } else { Some(Self { at, end, width, left: 0, value: None, bit: 0 }) }
    }

    #[inline]
    pub fn next(&mut self, page: &[u8]) -> Option<u64> {
        if self.left == 0 {
            self.run(page.get(..self.end)?)?;
        }
        self.left -= 1;
        match self.value {
            Some(value) => Some(value),
            None => {
                let value = bits(page.get(..self.end)?, self.bit, self.width)?;
                self.bit += self.width as usize;
                Some(value)
            }
        }
    }

    #[cold]
    fn run(&mut self, page: &[u8]) -> Option<()> {
        let head = varint(page, &mut self.at)?;
        self.left = head >> 1;
        if head & 1 == 1 {
            // Groups of eight.
            self.left = self.left.checked_mul(8)?;
            self.value = None;
            self.bit = self.at.checked_mul(8)?;
            let bytes = usize::try_from(self.left / 8).ok()?.checked_mul(self.width as usize)?;
            // The last group may be cut short.
            self.at = self.at.checked_add(bytes)?.min(page.len());
        } else {
            let bytes = self.width.div_ceil(8) as usize;
            self.value = Some(bits(page, self.at.checked_mul(8)?, 8 * bytes as u32)?);
            self.at += bytes;
        }
        (self.left > 0).then_some(())
    }
}

/// DELTA_BINARY_PACKED.
#[derive(Debug, Clone)]
pub(super) struct Deltas {
    at: usize,
    /// Values of a miniblock, miniblocks of a block.
    mini: u64,
    minis: usize,
    left: u64,
    value: i64,
    first: bool,
    least: i64,
    /// Where the widths of the block stand, and which miniblock is next.
    widths: usize,
    next_mini: usize,
    width: u32,
    mini_left: u64,
    bit: usize,
}

impl Deltas {
    pub fn new(page: &[u8], mut at: usize) -> Option<Self> {
        let block = varint(page, &mut at)?;
        let minis = usize::try_from(varint(page, &mut at)?).ok()?;
        let left = varint(page, &mut at)?;
        let value = zigzag(page, &mut at)?;
        let mini = block.checked_div(minis as u64)?;
        // Multiples of 128 and 32, and no page holds longer blocks.
        if block > 1 << 20 || mini == 0 || mini % 8 != 0 {
            return None;
        }
        Some(Self {
            at,
            mini,
            minis,
            left,
            value,
            first: true,
            least: 0,
            widths: 0,
            next_mini: minis,
            width: 0,
            mini_left: 0,
            bit: 0,
        })
    }

    #[inline]
    pub fn next(&mut self, page: &[u8]) -> Option<i64> {
        self.left = self.left.checked_sub(1)?;
        if self.first {
            self.first = false;
            return Some(self.value);
        }
        if self.mini_left == 0 {
            self.miniblock(page)?;
        }
        self.mini_left -= 1;
        let delta = bits(page, self.bit, self.width)?;
        self.bit += self.width as usize;
        // Differences may run over, and back.
        self.value = self.value.wrapping_add(self.least).wrapping_add(delta as i64);
        Some(self.value)
    }

    fn miniblock(&mut self, page: &[u8]) -> Option<()> {
        if self.next_mini == self.minis {
            self.least = zigzag(page, &mut self.at)?;
            self.widths = self.at;
            self.at = self.at.checked_add(self.minis)?;
            self.next_mini = 0;
        }
        self.width = u32::from(*page.get(self.widths + self.next_mini)?);
        if self.width > 64 {
            return None;
        }
        self.next_mini += 1;
        self.mini_left = self.mini;
        self.bit = self.at.checked_mul(8)?;
        self.at = self.at.checked_add(usize::try_from(self.mini * u64::from(self.width) / 8).ok()?)?;
        Some(())
    }

    /// Where the bytes behind all values begin.
    pub fn end(&self, page: &[u8]) -> Option<usize> {
        let mut ahead = self.clone();
        // The first value stands in the head, so that it needs no miniblock.
        let mut left = ahead.left.saturating_sub(1);
        while left > 0 {
            ahead.miniblock(page)?;
            left = left.saturating_sub(self.mini);
        }
        (ahead.at <= page.len()).then_some(ahead.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_taken_from_the_lowest() {
        // Of Encodings.md: 0 to 7 in three bits each.
        let packed = [0b1000_1000, 0b1100_0110, 0b1111_1010];
        for value in 0..8 {
            assert_eq!(bits(&packed, 3 * value, 3), Some(value as u64));
        }
        assert_eq!(
            (bits(&packed, 22, 3), bits(&packed, 0, 0), bits(&[0xff; 9], 7, 64)),
            (None, Some(0), Some(u64::MAX))
        );
    }

    #[test]
    fn runs_are_repeated_or_packed() {
        // Three times 5, then 0 to 7.
        let page = [3 << 1, 5, (1 << 1) | 1, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        let mut runs = Runs::new(0, page.len(), 3).unwrap();
        let read: Vec<u64> = std::iter::from_fn(|| runs.next(&page)).collect();
        assert_eq!(read, [5, 5, 5, 0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn differences_add_up() {
        // Of Encodings.md: 7, 5, 3, 1, 2, 3, 4, 5: least difference -2, then 0 0 0 3 3 3 3 in two bits each.
        let mut page = vec![0x80, 0x01, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111];
        page.extend([0; 6]);
        let mut deltas = Deltas::new(&page, 0).unwrap();
        assert_eq!(deltas.end(&page), Some(page.len()));
        let read: Vec<i64> = std::iter::from_fn(|| deltas.next(&page)).collect();
        assert_eq!(read, [7, 5, 3, 1, 2, 3, 4, 5]);
        assert!(Deltas::new(&[0x80, 0x01, 0, 8, 14], 0).is_none());
    }
}
