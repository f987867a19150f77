//! The configuration file: where the server is, and the session.

use serde::{Deserialize, Serialize};
use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};
use time::OffsetDateTime;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("no place for the configuration: set DUNLIN_CONFIG to a file name")]
    NoPlace,
    #[error("the configuration {} cannot be read", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the configuration {} is not valid: {message}; remove it and run `dunlin login`", .path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("the configuration {} cannot be written", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// No `Debug`: the session must not reach a log or a panic message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub auth_endpoint: String,
    pub client_id: String,
    pub id_token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// A configuration file that may or may not be there.
#[derive(Debug, Clone)]
pub struct ConfigFile(PathBuf);

impl ConfigFile {
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The user's configuration folder, by the custom of the system.
    pub fn default_place() -> Result<Self, ConfigError> {
        let folder = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from).filter(|p| p.is_absolute());
        let base = if cfg!(windows) {
            folder("APPDATA")
        } else {
            folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))
        };
        base.map(|base| Self(base.join("dunlin").join("config.toml"))).ok_or(ConfigError::NoPlace)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn read(&self) -> Result<Option<Config>, ConfigError> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ConfigError::Read { path: self.0.clone(), source }),
        };
        // Only the parser's own sentence: its full text quotes the line, which may hold a token.
        toml::from_str(&text)
            .map(Some)
            .map_err(|e| ConfigError::Syntax { path: self.0.clone(), message: e.message().to_owned() })
    }

    /// Whole or not at all, and readable by nobody else.
    pub fn write(&self, config: &Config) -> Result<(), ConfigError> {
        self.try_write(config).map_err(|source| ConfigError::Write { path: self.0.clone(), source })
    }

    fn try_write(&self, config: &Config) -> io::Result<()> {
        let text = toml::to_string(config).map_err(io::Error::other)?;
        let folder = self.0.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        private_folder(folder)?;
        // A named temporary file has mode 0600 from its creation.
        let mut file = tempfile::Builder::new().prefix(".config-").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.0).map_err(|e| e.error)?;
        Ok(())
    }
}

fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            endpoint: "https://api.example.com".into(),
            username: Some("ann".into()),
            session: Some(Session {
                auth_endpoint: "https://auth.example.com".into(),
                client_id: "c".into(),
                id_token: "id".into(),
                refresh_token: None,
                expires_at: time::macros::datetime!(2026-11-20 10:00 UTC),
            }),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = ConfigFile::at(folder.path().join("deep/er/config.toml"));
        assert!(file.read().unwrap().is_none());
        file.write(&config()).unwrap();
        assert!(file.read().unwrap() == Some(config()));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it_even_when_it_was_open_before() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, "endpoint = \"x\"").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        ConfigFile::at(path.clone()).write(&config()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left behind");
    }

    #[test]
    fn a_broken_file_is_named_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, "endpoint = \"x\"\n[session]\nid_token = \"very-secret\" oops").unwrap();
        let error = ConfigFile::at(path).read().err().unwrap().to_string();
        assert!(error.contains("config.toml") && error.contains("dunlin login"), "{error}");
        assert!(!error.contains("very-secret"), "{error}");
    }
}
