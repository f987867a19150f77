//! Lines of a zstd object as they arrive. Memory is bounded by the longest line that is allowed, not by the object.

use dunlin_cloud::ObjectReader;
use std::io;
use tokio::io::AsyncReadExt;
use zstd::stream::raw::{DParameter, Decoder, Operation};

const CHUNK: usize = 64 * 1024;
/// A frame says how much memory its reader needs; a hostile one says 128 MiB. Ours are written with level 3, which needs 2.
const WINDOW_LOG_MAX: u32 = 23;

#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Storage's fault: worth another try.
    #[error("the object cannot be read")]
    Storage(#[source] io::Error),
    /// The object's own fault: it will never be readable.
    #[error("{0}")]
    Corrupt(&'static str),
}

pub struct Lines {
    reader: ObjectReader,
    decoder: Decoder<'static>,
    max_line: usize,
    input: Vec<u8>,
    input_at: usize,
    /// Decompressed and not yet given out; the line that is being put together begins at `text_at`.
    text: Vec<u8>,
    text_at: usize,
    /// Up to here there is no end of line.
    searched: usize,
    out: Vec<u8>,
    inside_frame: bool,
    /// The last output buffer was full: the decoder may hold more without any input.
    maybe_more: bool,
}

impl Lines {
    pub fn new(reader: ObjectReader, max_line: usize) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        Ok(Self {
            reader,
            decoder,
            max_line,
            input: Vec::with_capacity(CHUNK),
            input_at: 0,
            text: Vec::new(),
            text_at: 0,
            searched: 0,
            out: vec![0; CHUNK],
            inside_frame: false,
            maybe_more: false,
        })
    }

    /// The next line without its end; none after the last one. A last line without an end is a cut object.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, LineError> {
        loop {
            if let Some(length) = self.text.get(self.searched..).and_then(|rest| rest.iter().position(|b| *b == b'\n'))
            {
                let (start, end) = (self.text_at, self.searched + length);
                (self.text_at, self.searched) = (end + 1, end + 1);
                return Ok(self.text.get(start..end));
            }
            self.searched = self.text.len();
            if self.text.len() - self.text_at > self.max_line {
                return Err(LineError::Corrupt("a line is too long"));
            }
            self.text.drain(..self.text_at);
            (self.searched, self.text_at) = (self.text.len(), 0);
            if !self.fill().await? {
                return match (self.inside_frame, self.text.is_empty()) {
                    (true, _) => Err(LineError::Corrupt("it is cut off")),
                    (false, false) => Err(LineError::Corrupt("its last line is cut off")),
                    (false, true) => Ok(None),
                };
            }
        }
    }

    /// Decompresses a little more; false at the end of the object.
    async fn fill(&mut self) -> Result<bool, LineError> {
        if self.input_at >= self.input.len() && !self.maybe_more {
            self.input.clear();
            self.input_at = 0;
            let mut limited = (&mut self.reader).take(CHUNK as u64);
            let read = limited.read_buf(&mut self.input).await.map_err(LineError::Storage)?;
            if read == 0 {
                return Ok(false);
            }
        }
        let input = self.input.get(self.input_at..).unwrap_or_default();
        let status = self
            .decoder
            .run_on_buffers(input, &mut self.out)
            .map_err(|_| LineError::Corrupt("it is not valid zstd"))?;
        self.input_at += status.bytes_read;
        self.maybe_more = status.bytes_written == self.out.len();
        // Asked again after a frame has ended, the decoder waits for the header of another one.
        if status.bytes_read > 0 || status.bytes_written > 0 {
            self.inside_frame = status.remaining != 0;
        }
        self.text.extend_from_slice(self.out.get(..status.bytes_written).unwrap_or_default());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: Vec<u8>, max_line: usize) -> Result<Vec<String>, LineError> {
        let mut lines = Lines::new(Box::new(io::Cursor::new(bytes)), max_line).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().await? {
            all.push(String::from_utf8(line.to_vec()).unwrap());
        }
        Ok(all)
    }

    fn packed(text: &str) -> Vec<u8> {
        zstd::encode_all(text.as_bytes(), 3).unwrap()
    }

    #[tokio::test]
    async fn lines_come_as_they_were_written() {
        assert_eq!(read(packed("a\n\nb\n"), 10).await.unwrap(), ["a", "", "b"]);
        assert!(read(packed(""), 10).await.unwrap().is_empty());
        // More than one buffer, with lines across its ends.
        let text: String = (0..50_000).map(|n| format!("line {n} {}\n", "x".repeat(n % 90))).collect();
        assert_eq!(read(packed(&text), 200).await.unwrap().join("\n") + "\n", text);
    }

    #[tokio::test]
    async fn frames_one_after_the_other_are_one_text() {
        let both = [packed("a\nb"), packed("c\n")].concat();
        assert_eq!(read(both, 10).await.unwrap(), ["a", "bc"]);
    }

    #[tokio::test]
    async fn whatever_is_cut_is_noticed() {
        let text: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
        let whole = packed(&text);
        for cut in [1, 5, whole.len() / 2, whole.len() - 1] {
            let error = read(whole[..cut].to_vec(), 100).await.unwrap_err();
            assert!(matches!(error, LineError::Corrupt(_)), "{cut}: {error}");
        }
        assert!(read(packed("a\nb"), 10).await.unwrap_err().to_string().contains("last line"));
        assert!(read(b"not zstd at all".to_vec(), 10).await.unwrap_err().to_string().contains("zstd"));
    }

    #[tokio::test]
    async fn a_line_without_an_end_stops_at_the_limit() {
        // 64 MiB of the same character: a few KiB on the wire.
        let bomb = packed(&"x".repeat(64 << 20));
        assert!(bomb.len() < 64 << 10);
        assert!(read(bomb, 1 << 20).await.unwrap_err().to_string().contains("too long"));
    }
}
