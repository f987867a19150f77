//! `.dunlin.toml`: what a repository's owner wants. It can leave engines and paths out and choose thresholds; it can never name
//! a program, an option of an engine, or an address.

use crate::{finding::Severity, job::Compute, selection};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, ops::Range};
use toml::Spanned;

/// Where it is looked for.
pub const PATH: &str = ".dunlin.toml";
/// A longer file is refused.
pub const MAX_BYTES: usize = 64 * 1024;

/// Checked options. The default is what a repository without the file gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnerConfig {
    /// Only these engines.
    pub engines: Option<Vec<String>>,
    /// Globs of paths that no engine reads.
    pub exclude: Vec<String>,
    /// The lowest severity that makes `dunlin scan` and checks fail.
    pub fail_on: Option<Severity>,
    pub engine: BTreeMap<String, EngineOptions>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineOptions {
    pub enabled: Option<bool>,
    pub compute: Option<Compute>,
    pub timeout_seconds: Option<u32>,
}

/// What is wrong, and where. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigFault {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PATH}:{}:{}: {}", self.line, self.column, self.message)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    engines: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
    fail_on: Option<Severity>,
    #[serde(default)]
    engine: BTreeMap<Spanned<String>, Options>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    enabled: Option<bool>,
    compute: Option<Compute>,
    timeout_seconds: Option<Spanned<u32>>,
}

/// Longest time that an owner may give an engine.
pub const MAX_TIMEOUT_SECONDS: u32 = 3600;

/// Reads the file. `is_engine` knows the engines' names.
pub fn parse(text: &str, is_engine: impl Fn(&str) -> bool) -> Result<OwnerConfig, ConfigFault> {
    if text.len() > MAX_BYTES {
        return Err(ConfigFault { line: 1, column: 1, message: format!("the file is longer than {MAX_BYTES} bytes") });
    }
    let document: Document =
        toml::from_str(text).map_err(|e| fault(text, e.span().unwrap_or(0..0), e.message().replace('\n', " ")))?;
    let known = |name: &Spanned<String>| {
        if is_engine(name.get_ref()) {
            Ok(name.get_ref().clone())
        } else {
            Err(fault(text, name.span(), format!("there is no engine {:?}", cut(name.get_ref()))))
        }
    };
    let engines = document.engines.map(|list| list.iter().map(known).collect::<Result<Vec<_>, _>>()).transpose()?;
    let mut exclude = Vec::new();
    for pattern in document.exclude {
        if selection::glob(pattern.get_ref()).is_err() {
            return Err(fault(text, pattern.span(), format!("{:?} is not a glob", cut(pattern.get_ref()))));
        }
        exclude.push(pattern.into_inner());
    }
    let mut engine = BTreeMap::new();
    for (name, options) in document.engine {
        let timeout_seconds = match options.timeout_seconds {
            Some(seconds) if !(1..=MAX_TIMEOUT_SECONDS).contains(seconds.get_ref()) => {
                let message = format!("a timeout is 1 to {MAX_TIMEOUT_SECONDS} seconds");
                return Err(fault(text, seconds.span(), message));
            }
            other => other.map(Spanned::into_inner),
        };
        let options = EngineOptions { enabled: options.enabled, compute: options.compute, timeout_seconds };
        engine.insert(known(&name)?, options);
    }
    Ok(OwnerConfig { engines, exclude, fail_on: document.fail_on, engine })
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

fn fault(text: &str, span: Range<usize>, message: String) -> ConfigFault {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    ConfigFault { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<OwnerConfig, ConfigFault> {
        parse(text, |name| ["ruff", "trivy"].contains(&name))
    }

    fn place(text: &str) -> (usize, usize) {
        let fault = read(text).unwrap_err();
        (fault.line, fault.column)
    }

    #[test]
    fn everything_that_can_be_said() {
        let config = read(
            "engines = [\"ruff\"]\nexclude = [\"vendor/**\"]\nfail_on = \"high\"\n\
             [engine.trivy]\ncompute = \"batch\"\ntimeout_seconds = 300\nenabled = true\n",
        )
        .unwrap();
        assert_eq!(config.engines.as_deref(), Some(["ruff".to_owned()].as_slice()));
        assert_eq!(config.fail_on, Some(Severity::High));
        assert_eq!(config.engine["trivy"].compute, Some(Compute::Batch));
        assert_eq!(read("").unwrap(), OwnerConfig::default());
    }

    #[test]
    fn faults_have_a_place() {
        assert_eq!(place("engines = [\"ruff\",\n  \"nessus\"]"), (2, 3));
        assert_eq!(place("exclude = [\"a[\"]"), (1, 12));
        assert_eq!(place("fail_on = \"high\"\nfail_of = 1"), (2, 1));
        assert_eq!(place("\n\nengines = ["), (3, 12));
        assert_eq!(place("[engine.trivy]\ntimeout_seconds = 999999"), (2, 19));
        assert_eq!(place("[engine.nmap]\nenabled = true"), (1, 9));
    }

    #[test]
    fn an_owner_cannot_set_a_command() {
        assert!(read("[engine.ruff]\ncommand = [\"sh\"]").is_err());
    }

    #[test]
    fn a_fault_reads_like_a_compiler_error() {
        let text = read("fail_on = \"severe\"").unwrap_err().to_string();
        assert!(text.starts_with(".dunlin.toml:1:11: ") && text.contains("severe"), "{text}");
    }
}
