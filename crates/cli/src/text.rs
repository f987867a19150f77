//! Text from elsewhere (findings, paths, server answers) made safe and readable on a terminal.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
    time::Duration,
};

/// Shows what a terminal would obey or hide: escape sequences, and characters that reorder or hide text. A file name can
/// hold an escape sequence that rewrites the screen, so nothing that others wrote is printed without this.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => safe.push(' '),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            c if is_unsafe(c) => {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Control characters, and the invisible ones of "Trojan Source" (CVE-2021-42574): overrides, isolates, separators.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Writes lines on, each one [`clean`].
pub struct Cleaning<W: Write> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Cleaning<W> {
    pub fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }

    /// What came after the last line break.
    pub fn finish(mut self) -> io::Result<()> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        self.out.flush()
    }

    fn end_line(&mut self) -> io::Result<()> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        writeln!(self.out, "{}", clean(&String::from_utf8_lossy(line)))?;
        self.line.clear();
        Ok(())
    }
}

impl<W: Write> Write for Cleaning<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(rest) => {
                    self.line.extend_from_slice(rest);
                    self.end_line()?;
                }
                None => self.line.extend_from_slice(piece),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What to say of an address that cannot be read. Where somebody signs in, what stands before the `@` may be a token.
pub fn no_address(given: &str) -> String {
    if given.contains('@') {
        "the address cannot be read; it is not shown, because it may hold a token".to_owned()
    } else {
        format!("{given:?} is not an address")
    }
}

/// For prose such as messages, where a line break means no more than a space.
pub fn clean_line(text: &str) -> String {
    clean(&text.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned()
}

/// The beginning, for answers of unknown size.
pub fn excerpt(text: &str, limit: usize) -> String {
    let line = clean_line(text);
    if line.chars().count() <= limit {
        return line;
    }
    let mut cut: String = line.chars().take(limit).collect();
    cut.push('…');
    cut
}

pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.as_millis() < 1000 => format!("{} ms", duration.as_millis()),
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

/// `1 finding`, `2 findings`.
pub fn count(number: u64, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// `90`, `90s`, `10m`, `2h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds_per_unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{unit:?} is not a unit of time; write 90s, 10m or 2h")),
    };
    let number: u64 = number.parse().map_err(|_| "write a number and a unit, as in 90s, 10m or 2h".to_owned())?;
    match number.checked_mul(seconds_per_unit) {
        Some(0) | None => Err("the time must be more than nothing, and less than for ever".to_owned()),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_on_a_terminal_cannot_command_it() {
        let mut out = Vec::new();
        let mut writer = Cleaning::new(&mut out);
        // Pieces as they come from the network: within a line, within a character.
        for piece in [&b"rule,a\x1b[2"[..], b"J.py\r\nnext,\xc3", b"\xbc.py\nlast\x9b"] {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "rule,a\\u{1b}[2J.py\nnext,ü.py\nlast\u{fffd}\n");
    }

    #[test]
    fn an_address_that_may_hold_a_token_is_not_repeated() {
        for given in ["https://user:ghp_secret@host:port/x", "https://ghp_secret@:1"] {
            assert!(!no_address(given).contains("secret"), "{given}");
        }
        assert_eq!(no_address("https://"), "\"https://\" is not an address");
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(clean("plain ünïcode 漢字"), "plain ünïcode 漢字");
        assert_eq!(clean("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(clean("a\u{9b}31mb"), "a\\u{9b}31mb");
        assert_eq!(clean("x\u{202e}gpj.exe"), "x\\u{202e}gpj.exe");
        assert_eq!(clean("one\ntwo\rthree\tfour"), "one\\ntwo\\rthree four");
        assert_eq!(clean("\x07\x7f\u{200b}"), "\\u{7}\\u{7f}\\u{200b}");
    }

    #[test]
    fn prose_becomes_one_line() {
        assert_eq!(clean_line("  two\n  lines \x1b]0;title\x07"), "two lines \\u{1b}]0;title\\u{7}");
        assert_eq!(excerpt("abcdef", 3), "abc…");
    }

    #[test]
    fn durations_are_read_and_written() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "0", "m", "5d", "-1s", "1.5m", "99999999999999999999h", "9999999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was accepted");
        }
        let written: Vec<_> =
            [412, 1_400, 59_940, 61_000, 7_260_000].map(|ms| duration(Duration::from_millis(ms))).into();
        assert_eq!(written, ["412 ms", "1.4 s", "59.9 s", "1 min 01 s", "2 h 01 min"]);
    }

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!([0, 1023, 1536, 5 << 20, 3 << 30].map(bytes), ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 GiB"]);
    }
}
