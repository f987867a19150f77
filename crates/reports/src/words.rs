//! What people read in reports: text of strangers made visible, outcomes and sizes in words.

use std::fmt::{self, Display, Write};
use time::OffsetDateTime;

/// Control characters, and those that reorder or hide text ("Trojan Source", CVE-2021-42574). Line breaks and tabs are not among them.
pub fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c,
            '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        // Not characters, and in no XML 1.0 document.
        || u32::from(c) & 0xfffe == 0xfffe
}

/// Text inside an element or a quoted attribute of HTML or XML: nothing in it is markup, and nothing in it is hidden.
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if is_unsafe(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// An address that is safe as a link: only the web, nothing that could end an attribute.
pub fn web_address(url: &str) -> Option<&str> {
    let plain = url.bytes().all(|b| (0x21..0x7f).contains(&b) && !b"\"<>\\^`{|}".contains(&b));
    (plain && (url.starts_with("https://") || url.starts_with("http://"))).then_some(url)
}

/// One line, with what is too long cut off.
pub fn line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        // Bytes are at least as many as characters, so nothing is cut too early.
        if line.len() > limit * 4 {
            break;
        }
    }
    match line.char_indices().nth(limit) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// `1 finding`, `5,000 findings`.
pub fn count(number: u64, word: &str) -> String {
    let number_in_words = grouped(number);
    if number == 1 { format!("{number_in_words} {word}") } else { format!("{number_in_words} {word}s") }
}

/// `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        // Cut and not rounded: 59.96 s is not 60.0 s.
        1..60 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `2026-11-20 10:00:00 UTC`.
pub fn moment(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let (date, clock) = (at.date(), at.time());
    format!("{date} {:02}:{:02}:{:02} UTC", clock.hour(), clock.minute(), clock.second())
}

/// What became of an engine, after its name.
pub fn outcome(outcome: &str) -> String {
    match outcome {
        "assessed" => "done".to_owned(),
        "partly_assessed" => "left files out".to_owned(),
        "failed" => "failed".to_owned(),
        "timed_out" => "timed out".to_owned(),
        "out_of_memory" => "ran out of memory".to_owned(),
        "not_run" => "was not run".to_owned(),
        "" => "has no known end".to_owned(),
        other => other.replace('_', " "),
    }
}

/// A person has decided about the finding, so it asks nobody for anything.
pub fn is_settled(state: &str) -> bool {
    matches!(state, "false_positive" | "accepted" | "duplicate")
}

/// The number of a snippet's first line. Readers take one line before the place along, where there is one.
pub fn snippet_start(start_line: u32) -> u32 {
    start_line.saturating_sub(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_hidden_characters_are_text() {
        let given = "</script>\"'&\u{0}\u{1b}[2J\u{202e}\u{ffff}\u{feff}\n\tü漢";
        assert_eq!(
            Escaped(given).to_string(),
            "&lt;/script&gt;&quot;&#39;&amp;\\u{0}\\u{1b}[2J\\u{202e}\\u{ffff}\\u{feff}\n\tü漢"
        );
    }

    #[test]
    fn only_the_web_is_linked() {
        for good in ["https://example.org/a?b=c&d#e", "http://x"] {
            assert_eq!(web_address(good), Some(good));
        }
        for bad in [
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc",
            "//x",
            "https://a b",
            "https://a\"b",
            " https://x",
            "",
        ] {
            assert_eq!(web_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1, 2].map(|n| count(n, "file")), ["1 file", "2 files"]);
        let durations = [7, 1_400, 59_960, 61_000, 7_260_000].map(duration);
        assert_eq!(durations, ["7 ms", "1.4 s", "59.9 s", "1 min 01 s", "2 h 01 min"]);
        assert_eq!(moment(time::macros::datetime!(2026-11-20 01:02:03 +2)), "2026-11-19 23:02:03 UTC");
        assert_eq!(line("  a\n b\tc ", 9), "a b c");
        assert_eq!(line("ab üd ef", 4), "ab ü…");
    }
}
