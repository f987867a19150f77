//! Where the bytes come from.

use crate::decode::Broken;
use bytes::Bytes;
use dunlin_core::prices::Reason;
use std::io;

/// A file that can be read anywhere: an object in S3, read by ranges, or bytes in memory. Calls block.
pub trait ReadAt {
    /// Bytes of the whole file.
    fn length(&self) -> u64;
    /// Exactly these bytes, which all lie within the file. Asks for about 1 MiB at a time, and at most for 8.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;
}

impl ReadAt for Bytes {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let begin = usize::try_from(offset).map_err(io::Error::other)?;
        match begin.checked_add(length) {
            Some(end) if end <= self.len() => Ok(self.slice(begin..end)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<R: ReadAt> ReadAt for &R {
    fn length(&self) -> u64 {
        (**self).length()
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        (**self).read_at(offset, length)
    }
}

/// Why a column goes no further.
#[derive(Debug)]
pub(super) enum Stop {
    /// The file is wrong.
    Bad(Broken),
    /// The file could not be had. Nothing is known of what is in it.
    Source(io::Error),
}

pub(super) const fn damaged(why: &'static str) -> Stop {
    Stop::Bad((Reason::Unreadable, why))
}

pub(super) fn exactly(reader: &impl ReadAt, offset: u64, length: usize) -> Result<Bytes, Stop> {
    let bytes = reader.read_at(offset, length).map_err(Stop::Source)?;
    if bytes.len() == length { Ok(bytes) } else { Err(Stop::Source(io::ErrorKind::UnexpectedEof.into())) }
}
