//! What people see. Everything here makes text from values, so it can be tested by looking at it.

pub mod findings;
pub mod list;
pub mod live;
pub mod plain;
pub mod prices;
pub mod scan;

#[cfg(test)]
pub mod sample;

use dunlin_core::finding::Severity;

/// Colours or none.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub colour: bool,
}

impl Style {
    pub const PLAIN: Self = Self { colour: false };

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }
    pub fn severity(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Critical => "1;35",
            Severity::High => "1;31",
            Severity::Medium => "1;33",
            Severity::Low => "1;36",
            Severity::Info => "1",
        };
        self.paint(code, text)
    }
    /// A state of a scan or of a batch of prices.
    pub fn state(self, status: &str) -> String {
        match status {
            "complete" | "published" => self.green(status),
            "partial" | "cancelled" | "duplicate" | "replaced" | "withdrawn" => self.yellow(status),
            "failed" | "rejected" => self.red(status),
            other => self.bold(&crate::text::clean(other)),
        }
    }
}

/// `text` and spaces up to `width` columns. Wide letters count as two.
fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(console::measure_text_width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// The widest of them, but no wider than `most`: one long path must not push everything else off the screen.
fn column<'a>(texts: impl Iterator<Item = &'a str>, most: usize) -> usize {
    texts.map(console::measure_text_width).filter(|width| *width <= most).max().unwrap_or(0)
}
