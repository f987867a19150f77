//! Rules, severities and messages as people see them.

use super::{RawResult, RawRule, bounds::MESSAGE_CHARS, json::first_chars};
use crate::EngineManifest;
use dunlin_core::{
    finding::{Confidence, Rule, Severity},
    mask::{mask, mask_known},
};

const MAX_NAME_CHARS: usize = 160;
const MAX_RULE_ID_CHARS: usize = 150;
const MAX_URL_CHARS: usize = 500;

pub(crate) fn rule(manifest: &EngineManifest, id: &str, raw: Option<&RawRule>, result: &RawResult) -> Rule {
    // The texts of rules are the engine's own, and examples in them shall stay readable. An engine that finds secrets may
    // have put one there.
    let safe = |words: &str| if manifest.finds_secrets() { mask(&clean(words)) } else { clean(words) };
    let text = |words: &Option<String>, length| {
        words.as_deref().map(|words| cut(safe(words).trim(), length)).filter(|words| !words.is_empty())
    };
    let known = raw.cloned().unwrap_or_default();
    Rule {
        id: rule_id(manifest, id),
        engine: manifest.name.clone(),
        name: text(&known.name, MAX_NAME_CHARS)
            .or_else(|| text(&Some(id.to_owned()), MAX_NAME_CHARS))
            .map_or_else(|| "unnamed".to_owned(), |name| one_line(&name)),
        description: text(&known.description, MESSAGE_CHARS),
        help_url: text(&known.help_url, MAX_URL_CHARS)
            .filter(|url| url.starts_with("https://") || url.starts_with("http://")),
        cwe: known.cwe,
        severity: policy(manifest, id).or(known.severity).or(result.severity).unwrap_or(Severity::Medium),
        confidence: known.confidence.or(result.confidence).unwrap_or(Confidence::Medium),
    }
}

/// `<engine>/<id>`; engines that write their own name into the id do not get it twice.
pub(crate) fn rule_id(manifest: &EngineManifest, id: &str) -> String {
    let id = id.strip_prefix(&manifest.name).and_then(|rest| rest.strip_prefix('/')).unwrap_or(id);
    let plain: String = id.trim().chars().map(|c| if c.is_control() || c.is_whitespace() { '-' } else { c }).collect();
    let plain = if manifest.finds_secrets() { mask(&plain) } else { plain };
    let plain = if plain.is_empty() { "unnamed".to_owned() } else { cut(&plain, MAX_RULE_ID_CHARS) };
    format!("{}/{plain}", manifest.name)
}

fn policy(manifest: &EngineManifest, rule: &str) -> Option<Severity> {
    manifest.severity.rules.get(rule).copied().or(manifest.severity.default)
}

/// `None`: as bad as its rule.
pub(crate) fn severity(manifest: &EngineManifest, result: &RawResult) -> Option<Severity> {
    policy(manifest, &result.rule).or(result.severity)
}

/// What people need of a message, with room for what masking shortens.
pub(crate) fn gist(manifest: &EngineManifest, words: &str) -> String {
    let line = manifest.report.message_line.as_deref().and_then(|start| {
        words.lines().find_map(|line| line.trim().strip_prefix(start)).map(str::trim).filter(|line| !line.is_empty())
    });
    first_chars(line.unwrap_or(words).trim(), 2 * MESSAGE_CHARS).to_owned()
}

/// As people see it. Cleaned before it is masked: a secret with an invisible character in it is still one.
pub(crate) fn message(words: &str, known: &[String]) -> String {
    let words = mask_known(&clean(words), known.iter().map(String::as_str));
    let words = mask(&words);
    if words.trim().is_empty() { "no message".to_owned() } else { cut(&words, MESSAGE_CHARS) }
}

/// From "none/note/warning/error" and the many words engines use for the same.
pub(crate) fn severity_word(word: &str) -> Option<Severity> {
    Some(match word.trim().to_ascii_lowercase().as_str() {
        "critical" | "blocker" => Severity::Critical,
        "high" | "error" | "major" => Severity::High,
        "medium" | "moderate" | "warning" | "warn" => Severity::Medium,
        "low" | "minor" | "note" | "style" => Severity::Low,
        "info" | "informational" | "information" | "recommendation" | "negligible" | "none" => Severity::Info,
        _ => return None,
    })
}

/// From a CVSS-like number (GitHub, "SARIF support for code scanning", `security-severity`).
pub(crate) fn severity_number(score: f64) -> Option<Severity> {
    Some(match score {
        s if !(0.0..=10.0).contains(&s) => return None,
        s if s >= 9.0 => Severity::Critical,
        s if s >= 7.0 => Severity::High,
        s if s >= 4.0 => Severity::Medium,
        s if s > 0.0 => Severity::Low,
        _ => Severity::Info,
    })
}

pub(crate) fn confidence_word(word: &str) -> Option<Confidence> {
    Some(match word.trim().to_ascii_lowercase().as_str() {
        "very-high" | "high" | "certain" => Confidence::High,
        "medium" => Confidence::Medium,
        "low" | "unknown" => Confidence::Low,
        _ => return None,
    })
}

/// No weakness has so many names.
const MAX_CWE: usize = 20;

/// Numbers after `CWE-` or `cwe/cwe-`, in the order they come, each once.
pub(crate) fn cwe_numbers<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<u32> {
    let mut numbers = Vec::new();
    for text in texts {
        let lower = text.to_ascii_lowercase();
        for rest in lower.split("cwe-").skip(1) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).take(6).collect();
            if numbers.len() >= MAX_CWE {
                return numbers;
            }
            if let Ok(number) = digits.parse::<u32>()
                && number > 0
                && !numbers.contains(&number)
            {
                numbers.push(number);
            }
        }
    }
    numbers
}

/// Without characters that no one can see; a database does not take all of them.
pub(crate) fn clean(words: &str) -> String {
    words.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect()
}

/// Without colours and other control characters.
pub(crate) fn plain_log_line(line: &str) -> String {
    let mut plain = String::new();
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        if c == '\u{1b}' {
            // `ESC [ ... letter`.
            let _ = characters.by_ref().find(char::is_ascii_alphabetic);
        } else if !c.is_control() {
            plain.push(c);
        }
    }
    one_line(&plain)
}

pub(crate) fn cut(words: &str, length: usize) -> String {
    if words.chars().count() <= length {
        return words.to_owned();
    }
    words.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weaknesses_are_found_in_every_spelling() {
        let texts =
            ["external/cwe/cwe-079", "CWE-89: SQL Injection", "see CWE-200 and CWE-89", "cwe-", "cwe-x", "none"];
        assert_eq!(cwe_numbers(texts), [79, 89, 200]);
    }

    #[test]
    fn numbers_and_words_say_the_same() {
        assert_eq!(severity_number(9.8), Some(Severity::Critical));
        assert_eq!(severity_number(5.5), severity_word("MEDIUM"));
        assert_eq!(severity_number(-1.0), None);
        assert_eq!(severity_number(f64::NAN), None);
        assert_eq!(severity_word("whatever"), None);
    }
}
