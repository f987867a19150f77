//! The engine's report: found without following anything the engine may have put there, and made fit to be kept.

use crate::error::Error;
use dunlin_core::mask::mask;
use rustix::{
    fs::{Mode, OFlags, open, openat},
    io::Errno,
};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::Path,
};

/// Name of the report in the engine's output folder.
pub const NAME: &str = "report";

/// The output folder, opened before the engine runs: afterwards its name may lead elsewhere.
pub struct OutputFolder(OwnedFd);

impl OutputFolder {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?))
    }

    /// The report that the engine left, which must be a plain file with one name.
    pub fn report(&self, limit: u64) -> Result<File, Error> {
        let refuse = |why: &str| Error::NoReport(why.to_owned());
        // Not blocking: opening a pipe would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match openat(&self.0, NAME, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Err(refuse("the engine left no report")),
            Err(Errno::LOOP) => return Err(refuse("it is a link")),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        let about = file.metadata()?;
        if !about.is_file() || about.nlink() != 1 {
            return Err(refuse("it is not a plain file"));
        }
        if about.len() > limit {
            return Err(refuse(&format!("it is longer than {limit} bytes")));
        }
        Ok(file)
    }
}

/// What is kept of a report.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// Before compression, hexadecimal.
    pub sha256: String,
    pub bytes: u64,
}

/// Copies a JSON report into `into`, compressed, with every string masked. `nameless` cuts from a string where the run was. With
/// `hide_source`, no snippet of the source is kept either.
pub fn keep(report: impl Read, into: &Path, nameless: impl Fn(&str) -> String, hide_source: bool) -> io::Result<Kept> {
    let file = File::create_new(into)?;
    let mut out = Hashed { inner: zstd::Encoder::new(file, 3)?, hash: Sha256::new(), bytes: 0 };
    redact(BufReader::with_capacity(64 << 10, report), &mut out, nameless, hide_source)?;
    let kept = Kept { sha256: hex::encode(out.hash.finalize()), bytes: out.bytes };
    out.inner.finish()?;
    Ok(kept)
}

/// String by string, so that a report of any length needs little memory. The report has been read before: it is JSON.
fn redact(
    mut report: impl BufRead,
    out: &mut impl Write,
    nameless: impl Fn(&str) -> String,
    hide_source: bool,
) -> io::Result<()> {
    // How deep inside the value of `"snippet":` this is.
    let mut snippet: Option<u32> = None;
    let mut literal = Vec::new();
    loop {
        let between = report.fill_buf()?;
        if between.is_empty() {
            return Ok(());
        }
        let quote = between.iter().position(|byte| *byte == b'"');
        let plain = quote.unwrap_or(between.len());
        snippet = between[..plain].iter().fold(snippet, |depth, byte| after(depth?, *byte));
        out.write_all(&between[..plain])?;
        report.consume(plain + usize::from(quote.is_some()));
        if quote.is_none() {
            continue;
        }
        literal.clear();
        literal.push(b'"');
        read_string(&mut report, &mut literal)?;
        // What the reader passed over was not looked at by it: the bytes of another encoding, half of a pair of surrogates.
        let text: String = serde_json::from_slice(&literal).unwrap_or_else(|_| "****".to_owned());
        if text == "snippet" {
            snippet = snippet.or(Some(0));
        }
        let text = if snippet.is_some() && hide_source && text != "snippet" && text != "text" {
            "****".to_owned()
        } else {
            mask(&nameless(&text))
        };
        serde_json::to_writer(&mut *out, &text)?;
    }
}

/// The depth inside a snippet behind one byte that is in no string; none when the snippet is over. It is a string, or an object with
/// whatever an engine puts into it.
fn after(depth: u32, byte: u8) -> Option<u32> {
    match (byte, depth) {
        (b'{' | b'[', _) => Some(depth.saturating_add(1)),
        (b'}' | b']', 0 | 1) | (b',', 0) => None,
        (b'}' | b']', _) => Some(depth - 1),
        _ => Some(depth),
    }
}

/// Up to the quote that ends the string.
fn read_string(report: &mut impl BufRead, literal: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let before = literal.len();
        report.read_until(b'"', literal)?;
        if literal.len() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let escapes = literal[1..literal.len() - 1].iter().rev().take_while(|byte| **byte == b'\\').count();
        if literal.ends_with(b"\"") && escapes % 2 == 0 {
            return Ok(());
        }
    }
}

struct Hashed<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf)?;
        self.hash.update(&buf[..written]);
        self.bytes += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn nameless(text: &str) -> String {
        text.replace("/tmp/job-1", "")
    }

    fn redacted(report: &str, hide_source: bool) -> String {
        let mut out = Vec::new();
        // A tiny buffer: strings and escapes fall across its end.
        redact(BufReader::with_capacity(7, report.as_bytes()), &mut out, nameless, hide_source).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_snippet_ends_where_its_own_object_ends() {
        let nested = r#"{"snippet":{"rendered":{"text":"line one"},"text":"line two"},"message":{"text":"kept"}}"#;
        let redacted = redacted(nested, true);
        assert!(!redacted.contains("line") && redacted.contains("kept"), "{redacted}");
        assert!(serde_json::from_str::<serde_json::Value>(&redacted).is_ok(), "{redacted}");
        let plain = super::tests::redacted(r#"[{"snippet":"line one","next":"kept"},{"b":"kept too"}]"#, true);
        assert!(!plain.contains("line") && plain.contains("kept\"") && plain.contains("kept too"), "{plain}");
    }

    #[test]
    fn what_is_kept_is_the_same_json_without_secrets_and_places() {
        let secret = "AKIAIOSFODNN7EXAMPLQ";
        let report = serde_json::json!({
            "a \"quoted\" \\ key\\": [1, -2.5e3, null, true, "", "\\", "\"", "\u{e9}\u{1f600}\n"],
            "uri": "file:///tmp/job-1/source/a%20b.py",
            "message": format!("found {secret} here"),
        });
        let kept: serde_json::Value = serde_json::from_str(&redacted(&report.to_string(), false)).unwrap();
        assert_eq!(kept["a \"quoted\" \\ key\\"], report["a \"quoted\" \\ key\\"]);
        assert_eq!(kept["uri"], "file:///source/a%20b.py");
        assert!(!kept["message"].as_str().unwrap().contains(secret), "{kept}");
    }

    #[test]
    fn a_finder_of_secrets_keeps_no_source() {
        let report = r#"{"region":{"startLine":3,"snippet":{"text":"hunter2"}},"message":{"text":"a password"}}"#;
        assert_eq!(redacted(report, true), report.replace("hunter2", "****"));
        assert_eq!(redacted(report, false), report);
    }

    #[test]
    fn a_string_that_is_none_is_hidden() {
        let report = b"{\"a\": \"caf\xe9\", \"b\": \"\\ud800\", \"c\": \"\\x\", \"d\": \"d\"}";
        let mut out = Vec::new();
        redact(BufReader::new(report.as_slice()), &mut out, nameless, false).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a": "****", "b": "****", "c": "****", "d": "d"}"#);
    }

    #[test]
    fn only_a_plain_file_is_a_report() {
        let dir = tempfile::tempdir().unwrap();
        let folder = OutputFolder::open(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        let why = |folder: &OutputFolder| folder.report(10).unwrap_err().to_string();
        assert!(why(&folder).ends_with("the engine left no report"));
        symlink("/etc/passwd", &path).unwrap();
        assert!(why(&folder).ends_with("it is a link"));
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(why(&folder).ends_with("it is not a plain file"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "12345678901").unwrap();
        assert!(why(&folder).ends_with("it is longer than 10 bytes"));
        std::fs::hard_link(&path, dir.path().join("other")).unwrap();
        assert!(why(&folder).ends_with("it is not a plain file"));
    }

    #[test]
    fn the_folder_is_the_one_that_was_opened() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(out.join(NAME), "mine").unwrap();
        let folder = OutputFolder::open(&out).unwrap();
        std::fs::rename(&out, dir.path().join("moved")).unwrap();
        symlink("/etc", &out).unwrap();
        assert_eq!(io::read_to_string(folder.report(10).unwrap()).unwrap(), "mine");
    }
}
