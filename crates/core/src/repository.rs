//! What a repository is called, so that every spelling of its URL is one repository.

use serde::{Deserialize, Serialize};
use std::fmt;
use url::Url;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryNameError {
    #[error("name is empty or longer than 200 characters")]
    Length,
    #[error("name has a control character")]
    ControlCharacter,
}

/// Canonical name: `host/path` of a git URL (lower-case host, no scheme, no `.git`, no final slash), or the name a caller gave.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepositoryName(String);

impl RepositoryName {
    pub fn from_url(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
        let path = url.path().trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        Self(format!("{host}{port}/{path}"))
    }

    pub fn from_label(label: &str) -> Result<Self, RepositoryNameError> {
        if label.trim().is_empty() || label.chars().count() > 200 {
            return Err(RepositoryNameError::Length);
        }
        if label.chars().any(char::is_control) {
            return Err(RepositoryNameError::ControlCharacter);
        }
        Ok(Self(label.trim().to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_url_are_one_name() {
        let name = |s: &str| RepositoryName::from_url(&Url::parse(s).unwrap());
        let a = name("https://GitHub.com/psf/requests");
        assert_eq!(a.as_str(), "github.com/psf/requests");
        assert_eq!(a, name("https://github.com:443/psf/requests.git"));
        assert_eq!(a, name("https://github.com/psf/requests/"));
        assert_ne!(a, name("https://github.com/psf/black"));
    }
}
