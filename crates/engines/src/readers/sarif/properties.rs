//! What the standard leaves to engines: their property bags.

use super::super::{
    json::{Any, Object, Scalar},
    words,
};
use super::log::WORD_CHARS;
use dunlin_core::finding::{Confidence, Severity};
use serde::de::MapAccess;

/// 3.8: what engines put into the property bags of rules and results.
#[derive(Default)]
pub(super) struct Properties {
    pub name: Option<String>,
    pub tags: Vec<String>,
    pub cwe: Vec<String>,
    /// `security-severity`, a number or the text of one.
    score: Option<f64>,
    word: Option<Severity>,
    pub confidence: Option<Confidence>,
}

impl Properties {
    pub fn severity(&self) -> Option<Severity> {
        match self.score {
            Some(score) => words::severity_number(score),
            None => self.word,
        }
    }
}

impl Object for Properties {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let ends = |endings: [&str; 2]| endings.iter().any(|ending| key.ends_with(ending));
        let severity = key.eq_ignore_ascii_case("severity") || ends(["/severity", "_severity"]);
        let confidence = matches!(key, "precision" | "confidence") || ends(["/confidence", "_confidence"]);
        if !severity && !confidence && !matches!(key, "security-severity" | "name" | "tags" | "cwe" | "cwe_id" | "CWE")
        {
            return Ok(false);
        }
        let mut value = Scalar::Other;
        map.next_value_seed(Any(&mut value, WORD_CHARS))?;
        match key {
            "security-severity" => self.score = value.number(),
            "name" => self.name = value.text().map(str::to_owned),
            "tags" => self.tags = value.list(),
            "cwe" | "cwe_id" | "CWE" => self.cwe.extend(value.text().map(str::to_owned)),
            _ if severity => self.word = self.word.or_else(|| words::severity_word(value.text()?)),
            _ => self.confidence = self.confidence.or_else(|| words::confidence_word(value.text()?)),
        }
        Ok(true)
    }
}
