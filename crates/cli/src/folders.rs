//! Where this program keeps what belongs to the user (XDG Base Directory Specification).

use anyhow::Context;
use std::{env, path::PathBuf};

/// What can be computed again.
pub fn cache() -> anyhow::Result<PathBuf> {
    of_user("XDG_CACHE_HOME", ".cache").context("there is no cache folder; set XDG_CACHE_HOME, or use --no-cache")
}

/// Installed engines: `<here>/<engine>`.
pub fn engines() -> anyhow::Result<PathBuf> {
    if let Some(folder) = env::var_os("DUNLIN_ENGINES_DIR").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let data = of_user("XDG_DATA_HOME", ".local/share")
        .context("there is no folder for engines; set DUNLIN_ENGINES_DIR, or XDG_DATA_HOME")?;
    Ok(data.join("engines"))
}

/// A relative path in the variable is to be ignored, says the specification.
fn of_user(variable: &str, below_home: &str) -> Option<PathBuf> {
    let named = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder =
        named.or_else(|| env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(below_home)))?;
    Some(folder.join("dunlin"))
}
