//! Query parameters: each is read once, what is left over is unknown, and everything wrong is told at once.

use dunlin_contracts::problem::{FieldError, Problem};
use dunlin_store::PageRequest;
use lambda_http::{Request, RequestExt};
use std::{collections::BTreeMap, fmt::Display, str::FromStr};

const DEFAULT_LIMIT: u32 = 50;
/// Characters of one parameter that is no cursor.
const MAX_TEXT: usize = 1000;

pub struct Query {
    values: BTreeMap<String, Vec<String>>,
    faults: Vec<FieldError>,
}

impl Query {
    pub fn of(request: &Request) -> Self {
        let mut values = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in request.query_string_parameters().iter() {
            values.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        Self { values, faults: Vec::new() }
    }

    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.faults.push(FieldError { field: format!("?{name}"), message: message.into() });
    }

    pub fn text(&mut self, name: &str) -> Option<String> {
        self.text_up_to(name, MAX_TEXT)
    }

    /// One that must be there, with something in it.
    pub fn needed(&mut self, name: &str) -> Option<String> {
        if !self.values.contains_key(name) {
            self.fault(name, "it is missing");
        }
        let text = self.text(name)?;
        if text.is_empty() {
            self.fault(name, "it is empty");
        }
        Some(text).filter(|text| !text.is_empty())
    }

    fn text_up_to(&mut self, name: &str, characters: usize) -> Option<String> {
        let values = self.values.remove(name)?;
        match <[String; 1]>::try_from(values) {
            // Postgres has no text with a zero byte in it.
            Ok([value]) if value.contains('\0') => {
                self.fault(name, "a zero byte is not allowed");
                None
            }
            Ok([value]) if value.chars().count() <= characters => Some(value),
            Ok(_) => {
                self.fault(name, format!("at most {characters} characters are allowed"));
                None
            }
            Err(_) => {
                self.fault(name, "it is given more than once");
                None
            }
        }
    }

    pub fn parsed<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.text(name)?;
        text.parse().map_err(|e: T::Err| self.fault(name, e.to_string())).ok()
    }

    /// One of a closed set, by its name in JSON.
    pub fn word<T: serde::de::DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        self.as_word(name, &text)
    }

    pub fn words<T: serde::de::DeserializeOwned>(&mut self, name: &str) -> Vec<T> {
        let Some(text) = self.text(name) else { return Vec::new() };
        text.split(',').filter_map(|word| self.as_word(name, word.trim())).collect()
    }

    fn as_word<T: serde::de::DeserializeOwned>(&mut self, name: &str, text: &str) -> Option<T> {
        serde_json::from_value(serde_json::Value::from(text)).map_err(|e| self.fault(name, e.to_string())).ok()
    }

    pub fn page(&mut self) -> PageRequest {
        let limit = self.parsed::<u32>("limit").unwrap_or(DEFAULT_LIMIT);
        if !(1..=PageRequest::MAX_LIMIT).contains(&limit) {
            self.fault("limit", format!("1 to {} are allowed", PageRequest::MAX_LIMIT));
        }
        PageRequest { limit, cursor: self.text_up_to("cursor", PageRequest::MAX_CURSOR) }
    }

    /// Call last: what nobody has read is not a parameter.
    pub fn finish(mut self) -> Result<(), Problem> {
        let unknown: Vec<String> = self.values.keys().cloned().collect();
        for name in unknown {
            self.fault(&name, "there is no such parameter");
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid(self.faults)) }
    }
}
