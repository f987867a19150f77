//! Configuration is read once, at the cold start, into types. Every variable that is missing or wrong is named at once.

use std::{collections::HashMap, fmt::Display, str::FromStr};

/// All that is wrong with the environment, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment is not complete: {}", problems.join("; "))]
pub struct ConfigError {
    pub problems: Vec<String>,
}

/// Reads variables and remembers what was wrong; [`Env::finish`] tells it all.
pub struct Env {
    variables: HashMap<String, String>,
    problems: Vec<String>,
}

impl Env {
    pub fn process() -> Self {
        Self::from_map(std::env::vars().collect())
    }

    pub fn from_map(variables: HashMap<String, String>) -> Self {
        Self { variables, problems: Vec::new() }
    }

    /// An empty variable counts as missing. [`Env::finish`] fails then, and names it.
    pub fn required<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let value = self.optional(name);
        if value.is_none() && !self.problems.iter().any(|p| p.starts_with(name)) {
            self.problems.push(format!("{name} is not set"));
        }
        value
    }

    pub fn optional<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.variables.get(name).filter(|v| !v.is_empty())?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(e) => {
                self.problems.push(format!("{name} is {e}"));
                None
            }
        }
    }

    /// A comma-separated list; missing means empty.
    pub fn list(&self, name: &str) -> Vec<String> {
        let text = self.variables.get(name).map_or("", String::as_str);
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// Something else that is wrong with the place this runs in.
    pub fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    /// `build` gets its values when nothing was wrong. It answers none only when a required value is missing.
    pub fn finish<T>(self, build: Option<T>) -> Result<T, ConfigError> {
        match build {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(ConfigError { problems: self.problems }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        Env::from_map(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let mut env = env(&[("PORT", "many"), ("EMPTY", "")]);
        let bucket = env.required::<String>("BUCKET");
        let port = env.required::<u16>("PORT");
        let empty = env.required::<String>("EMPTY");
        let built = (|| Some((bucket?, port?, empty?)))();
        let error = env.finish(built).unwrap_err();
        assert_eq!(error.problems, ["BUCKET is not set", "PORT is invalid digit found in string", "EMPTY is not set"]);
    }

    #[test]
    fn a_bad_optional_value_is_an_error_too() {
        let mut env = env(&[("SECONDS", "soon")]);
        assert_eq!(env.optional::<u32>("SECONDS"), None);
        assert!(env.finish(Some(())).is_err());
    }

    #[test]
    fn lists_are_split_at_commas() {
        assert_eq!(env(&[("HOSTS", "a, b,,")]).list("HOSTS"), ["a", "b"]);
        assert!(env(&[]).list("HOSTS").is_empty());
    }
}
