use crate::SnapshotError;
use dunlin_core::manifest::SnapshotFile;
use std::io::{BufRead, BufReader, Read};

/// No honest line is longer: a path, a digest and a language.
const MAX_LINE: u64 = 16 << 10;
/// 8 MiB; our own lists are written with less.
const WINDOW_LOG: u32 = 23;

/// `files.ndjson.zst`: one JSON object a line, in order of path.
pub fn write_files_list(files: &[SnapshotFile]) -> Result<Vec<u8>, SnapshotError> {
    let mut lines = Vec::with_capacity(files.len() * 128);
    for file in files {
        serde_json::to_writer(&mut lines, file).map_err(|e| SnapshotError::Write(e.into()))?;
        lines.push(b'\n');
    }
    zstd::encode_all(lines.as_slice(), 3).map_err(SnapshotError::Write)
}

/// Reads what [`write_files_list`] wrote, line by line and in constant memory. Order and number are checked on the way.
pub fn read_files_list(
    compressed: impl Read,
    max_files: u64,
) -> Result<impl Iterator<Item = Result<SnapshotFile, SnapshotError>>, SnapshotError> {
    let mut decoder = zstd::Decoder::new(compressed).map_err(SnapshotError::from_read)?;
    decoder.window_log_max(WINDOW_LOG).map_err(SnapshotError::from_read)?;
    Ok(Lines { reader: BufReader::new(decoder), last: None, files: 0, max_files, ended: false })
}

struct Lines<R> {
    reader: R,
    last: Option<String>,
    files: u64,
    max_files: u64,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    fn read(&mut self) -> Result<Option<SnapshotFile>, SnapshotError> {
        let bad = |what: String| SnapshotError::List { what };
        let mut line = Vec::new();
        let read = (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut line).map_err(SnapshotError::from_read)?;
        if read == 0 {
            return Ok(None);
        }
        self.files += 1;
        if self.files > self.max_files {
            return Err(SnapshotError::TooManyFiles { limit: self.max_files });
        }
        if line.last() != Some(&b'\n') {
            return Err(bad(format!("line {} is cut off or too long", self.files)));
        }
        let file: SnapshotFile = serde_json::from_slice(&line).map_err(|e| bad(format!("line {}: {e}", self.files)))?;
        if self.last.as_ref().is_some_and(|last| *last >= file.path) {
            return Err(bad(format!("line {} is out of order", self.files)));
        }
        self.last = Some(file.path.clone());
        Ok(Some(file))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<SnapshotFile, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.read().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> SnapshotFile {
        SnapshotFile { path: path.into(), size: 3, sha256: "ab".repeat(32), language: None }
    }

    fn read(bytes: &[u8], max: u64) -> Result<Vec<SnapshotFile>, SnapshotError> {
        read_files_list(bytes, max)?.collect()
    }

    #[test]
    fn a_list_comes_back_as_it_was() {
        let files = vec![file("a"), file("b\nc"), file("ü")];
        assert_eq!(read(&write_files_list(&files).unwrap(), 3).unwrap(), files);
        assert_eq!(read(&write_files_list(&[]).unwrap(), 3).unwrap(), []);
    }

    #[test]
    fn lists_that_are_not_ours_are_refused() {
        let good = write_files_list(&[file("a"), file("b")]).unwrap();
        assert!(matches!(read(&good, 1), Err(SnapshotError::TooManyFiles { limit: 1 })));
        assert!(matches!(read(&good[..good.len() - 6], 9), Err(SnapshotError::Truncated | SnapshotError::List { .. })));
        assert!(matches!(
            read(&write_files_list(&[file("b"), file("a")]).unwrap(), 9),
            Err(SnapshotError::List { .. })
        ));
        assert!(read(b"not zstd", 9).is_err());
        let endless = zstd::encode_all(std::io::repeat(b'x').take(10 << 20), 3).unwrap();
        assert!(matches!(read(&endless, 9), Err(SnapshotError::List { .. })));
    }
}
