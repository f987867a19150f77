//! Compressed bytes to plain ones, pushed in and bounded on the other side.

use dunlin_core::prices::{Compression, Reason};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use std::fmt;
use zstd::{
    stream::raw::{self, DParameter, Operation as _},
    zstd_safe::{InBuffer, OutBuffer},
};

/// Most of what one step gives.
pub(crate) const STEP: usize = 64 << 10;
/// A zstd window of 128 MiB is what `zstd --long` makes. It is the most memory that a file can ask for.
const WINDOW_LOG: u32 = 27;

pub(crate) enum Decoder {
    Gzip(Box<Gzip>),
    Zstd(Zstd),
}

/// Why the bytes go no further.
pub(crate) type Broken = (Reason, &'static str);

const DAMAGED_GZIP: Broken = (Reason::Unreadable, "the gzip stream is damaged");
const DAMAGED_ZSTD: Broken = (Reason::Unreadable, "the zstd stream is damaged, or wants a window above 128 MiB");

impl Decoder {
    /// None for what is not compressed.
    pub fn new(compression: Compression) -> Result<Option<Self>, Broken> {
        Ok(match compression {
            Compression::None => None,
            Compression::Gzip => Some(Self::Gzip(Box::default())),
            Compression::Zstd => {
                let mut decoder = raw::Decoder::new().map_err(|_| DAMAGED_ZSTD)?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(|_| DAMAGED_ZSTD)?;
                Some(Self::Zstd(Zstd { decoder, between: true, any: false, wanted: 1, full: false }))
            }
        })
    }

    /// Reads from `input` into `out`, which it replaces. Returns how many bytes it took; none taken and nothing in `out`
    /// means that nothing more can be had without more input.
    pub fn step(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Broken> {
        out.clear();
        out.resize(STEP, 0);
        let (taken, made) = match self {
            Self::Gzip(gzip) => gzip.step(input, out)?,
            Self::Zstd(zstd) => zstd.step(input, out)?,
        };
        out.truncate(made);
        Ok(taken)
    }

    /// The input has ended. Whether it may do so here.
    pub fn finish(&self) -> Result<(), Broken> {
        let whole = match self {
            Self::Gzip(gzip) => gzip.whole > 0 && matches!(gzip.at, At::Magic(0) | At::Padding),
            Self::Zstd(zstd) => zstd.any && zstd.between,
        };
        if whole { Ok(()) } else { Err((Reason::Truncated, "the compressed stream ends early")) }
    }
}

pub(crate) struct Zstd {
    decoder: raw::Decoder<'static>,
    between: bool,
    any: bool,
    /// Bytes up to the end of the next block. It is never given more, and none before all of the block was taken from it: then
    /// what stands before a damaged block is always had.
    wanted: usize,
    full: bool,
}

impl Zstd {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Broken> {
        if self.full {
            let (_, made) = self.run(&[], out)?;
            if made > 0 {
                return Ok((0, made));
            }
        }
        self.run(input.get(..self.wanted).unwrap_or(input), out)
    }

    fn run(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Broken> {
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(out);
        // It goes on with the next frame by itself.
        let hint = self.decoder.run(&mut from, &mut to).map_err(|_| DAMAGED_ZSTD)?;
        if from.pos() > 0 || to.pos() > 0 {
            self.between = hint == 0;
            self.any |= hint == 0;
            self.wanted = hint.max(1);
        }
        self.full = to.pos() == to.capacity();
        Ok((from.pos(), to.pos()))
    }
}

/// Where in a member of a gzip file (RFC 1952).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first two bytes, of which so many were read.
    Magic(u8),
    /// Method, flags, time and system: eight bytes, of which so many were read.
    Fixed(u8),
    /// Length of the extra field, two bytes.
    ExtraLength(u8),
    Extra,
    Name,
    Comment,
    HeaderSum(u8),
    Body,
    /// Checksum and length, four bytes each.
    Trailer(u8),
    /// Zeros behind the last member, as tapes have them.
    Padding,
}

pub(crate) struct Gzip {
    at: At,
    flags: u8,
    extra: u16,
    trailer: [u8; 8],
    inflate: Decompress,
    crc: Crc,
    damaged: bool,
    /// Members that were whole.
    whole: u64,
}

impl Default for Gzip {
    fn default() -> Self {
        Self {
            at: At::Magic(0),
            flags: 0,
            extra: 0,
            trailer: [0; 8],
            inflate: Decompress::new(false),
            crc: Crc::new(),
            damaged: false,
            whole: 0,
        }
    }
}

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Parts of the header that its flags tell of, in their order.
const OPTIONAL: [(u8, At); 4] = [(4, At::ExtraLength(0)), (8, At::Name), (16, At::Comment), (2, At::HeaderSum(0))];

impl Gzip {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Broken> {
        let mut taken = 0;
        loop {
            if self.at == At::Body {
                let (read, made) = self.body(input.get(taken..).unwrap_or_default(), out)?;
                taken += read;
                // An end of a member is no end of input.
                if made > 0 || self.at == At::Body {
                    return Ok((taken, made));
                }
            }
            let Some(&byte) = input.get(taken) else { return Ok((taken, 0)) };
            taken += 1;
            self.at = self.frame(byte)?;
        }
    }

    fn body(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Broken> {
        let (read, made) = (self.inflate.total_in(), self.inflate.total_out());
        if self.damaged {
            return Err(DAMAGED_GZIP);
        }
        let status = self.inflate.decompress(input, out, FlushDecompress::None);
        // What stands before the damage is good.
        self.damaged = status.is_err();
        let read = usize::try_from(self.inflate.total_in() - read).unwrap_or(input.len());
        let made = usize::try_from(self.inflate.total_out() - made).unwrap_or(out.len());
        self.crc.update(out.get(..made).unwrap_or_default());
        if matches!(status, Ok(Status::StreamEnd)) {
            self.at = At::Trailer(0);
        }
        Ok((read, made))
    }

    /// A byte outside of the deflated ones.
    fn frame(&mut self, byte: u8) -> Result<At, Broken> {
        Ok(match self.at {
            At::Magic(0) if byte == 0 && self.whole > 0 => At::Padding,
            At::Magic(0) if byte == MAGIC[0] => At::Magic(1),
            At::Magic(1) if byte == MAGIC[1] => At::Fixed(0),
            At::Fixed(0) if byte == 8 => At::Fixed(1),
            At::Fixed(1) if byte < 32 => {
                self.flags = byte;
                At::Fixed(2)
            }
            At::Fixed(n @ 2..=6) => At::Fixed(n + 1),
            At::Fixed(7) => self.after(0),
            At::ExtraLength(0) => {
                self.extra = u16::from(byte);
                At::ExtraLength(1)
            }
            At::ExtraLength(_) => {
                self.extra |= u16::from(byte) << 8;
                if self.extra == 0 { self.after(1) } else { At::Extra }
            }
            At::Extra => {
                self.extra -= 1;
                if self.extra == 0 { self.after(1) } else { At::Extra }
            }
            At::Name if byte == 0 => self.after(2),
            At::Comment if byte == 0 => self.after(3),
            At::HeaderSum(0) => At::HeaderSum(1),
            At::HeaderSum(_) => self.begin_body(),
            At::Trailer(n) => {
                if let Some(place) = self.trailer.get_mut(usize::from(n)) {
                    *place = byte;
                }
                if n < 7 { At::Trailer(n + 1) } else { self.end_member()? }
            }
            At::Padding if byte == 0 => At::Padding,
            at @ (At::Name | At::Comment) => at,
            At::Magic(_) | At::Fixed(_) | At::Body | At::Padding => return Err(DAMAGED_GZIP),
        })
    }

    /// The next optional part of the header that is there, leaving out so many.
    fn after(&mut self, parts: usize) -> At {
        for (flag, at) in OPTIONAL.iter().skip(parts) {
            if self.flags & flag != 0 {
                return *at;
            }
        }
        self.begin_body()
    }

    fn begin_body(&mut self) -> At {
        self.inflate.reset(false);
        self.crc.reset();
        At::Body
    }

    fn end_member(&mut self) -> Result<At, Broken> {
        let [a, b, c, d, e, f, g, h] = self.trailer;
        // The length is kept modulo 2^32.
        let right =
            u32::from_le_bytes([a, b, c, d]) == self.crc.sum() && u32::from_le_bytes([e, f, g, h]) == self.crc.amount();
        self.whole += 1;
        if right { Ok(At::Magic(0)) } else { Err(DAMAGED_GZIP) }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}
