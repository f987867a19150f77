//! Scanner engines on this machine: where they are, what state they are in, how they come and go.
//!
//! An engine is a folder of its own: the programs in `bin`, its configuration in `config`, its rules in `rules`. Engine images and the
//! local cloud have the same layout, made by the same code.

pub mod args;
pub mod check;
pub mod install;
pub mod packages;
pub mod render;

use anyhow::{Context, bail};
use dunlin_engines::EngineManifest;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// Names the folder, like `--into`.
pub const VARIABLE: &str = "DUNLIN_ENGINES_DIR";
/// Written last, with a hash of everything that decides what is installed.
pub const STAMP: &str = ".installed";
/// Goes up when an engine is laid out in another way.
const LAYOUT: &str = "1";

/// The folder that holds the engines: as asked for, else by [`VARIABLE`], else in the user's data folder. It need not be there.
pub fn folder(asked: Option<&Path>) -> anyhow::Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let chosen = asked.map(Path::to_owned).or_else(|| set(VARIABLE));
    // The XDG base directory specification has relative paths ignored.
    let absolute = |name| set(name).filter(|path| path.is_absolute());
    let data = || {
        let base = if cfg!(windows) {
            absolute("LOCALAPPDATA")
        } else {
            absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        };
        base.map(|base| base.join("dunlin").join("engines"))
    };
    let Some(folder) = chosen.or_else(data) else {
        bail!("no place for engines: set {VARIABLE} to a folder, or give one with --into")
    };
    // Engines are started in other working directories.
    std::path::absolute(&folder).with_context(|| format!("{} is no place for engines", folder.display()))
}

/// The engines that are meant: those named, or all.
pub fn named(names: &[String]) -> anyhow::Result<Vec<&'static EngineManifest>> {
    let catalog = dunlin_engines::catalog();
    let known: Vec<&str> = catalog.iter().map(|engine| engine.name.as_str()).collect();
    let unknown: Vec<_> = names.iter().map(String::as_str).filter(|name| !known.contains(name)).collect();
    if !unknown.is_empty() {
        bail!("no engine is called {}; there are {}", unknown.join(", "), known.join(", "));
    }
    Ok(catalog.iter().filter(|engine| names.is_empty() || names.contains(&engine.name)).collect())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    NotInstalled,
    /// Another version of the engine, of its packages, or of our configuration and rules for it.
    OutOfDate,
    Installed,
}

impl State {
    pub fn of(engine: &EngineManifest, folder: &Path) -> Self {
        let place = folder.join(&engine.name);
        match stamp_of(&place) {
            None => Self::NotInstalled,
            Some(stamp) if stamp == stamp_for(engine) && programs_are_there(engine, &place) => Self::Installed,
            Some(_) => Self::OutOfDate,
        }
    }

    pub const fn words(self) -> &'static str {
        match self {
            Self::NotInstalled => "not installed",
            Self::OutOfDate => "out of date",
            Self::Installed => "installed",
        }
    }
}

/// What a folder says that was installed in it; `None` when nothing was, or not to the end.
fn stamp_of(place: &Path) -> Option<String> {
    fs::read_to_string(place.join(STAMP)).ok().map(|stamp| stamp.trim().to_owned())
}

/// Two installations with the same stamp are the same.
pub fn stamp_for(engine: &EngineManifest) -> String {
    let mut files: Vec<_> = engine.install_files().collect();
    // The manifest and the packages in this order, then the folders in theirs.
    let first = ["engine.toml", "requirements.txt", "package.json", "package-lock.json"];
    files.sort_by_key(|(path, _)| {
        let place = first.iter().position(|name| name == path).unwrap_or(first.len());
        (place, path.split('/').collect::<Vec<_>>())
    });
    let mut hash = Sha256::new_with_prefix(LAYOUT);
    for (path, content) in files {
        hash.update(format!("{path}\n{}\n", content.len()));
        hash.update(content);
    }
    hex::encode(hash.finalize())
}

/// A stamp outlives a program that was deleted.
fn programs_are_there(engine: &EngineManifest, place: &Path) -> bool {
    engine.local.executables.keys().all(|program| place.join("bin").join(program).is_file())
}

/// Bytes of the files below a folder. Links are not followed.
pub fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { size(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_chosen_by_name() {
        let all = named(&[]).unwrap();
        assert!(all.len() >= 8);
        let two = named(&["trivy".into(), "ruff".into()]).unwrap();
        assert_eq!(two.iter().map(|engine| engine.name.as_str()).collect::<Vec<_>>(), ["ruff", "trivy"]);
        let error = named(&["ruff".into(), "rust".into(), "x".into()]).unwrap_err().to_string();
        assert!(
            error.starts_with("no engine is called rust, x; there are eslint, ") && error.contains("zizmor"),
            "{error}"
        );
    }

    #[test]
    fn stamps_differ_between_engines() {
        let stamps: std::collections::HashSet<_> = dunlin_engines::catalog().iter().map(stamp_for).collect();
        assert_eq!(stamps.len(), dunlin_engines::catalog().len());
    }

    #[test]
    fn the_state_follows_the_stamp_and_the_programs() {
        let home = tempfile::tempdir().unwrap();
        let ruff = dunlin_engines::find("ruff").unwrap();
        let place = home.path().join("ruff");
        assert_eq!(State::of(ruff, home.path()), State::NotInstalled);
        fs::create_dir_all(place.join("bin")).unwrap();
        assert_eq!(State::of(ruff, home.path()), State::NotInstalled);
        fs::write(place.join("bin/ruff"), "x").unwrap();
        fs::write(place.join(STAMP), stamp_for(ruff)).unwrap();
        assert_eq!(State::of(ruff, home.path()), State::Installed);
        fs::write(place.join(STAMP), stamp_for(dunlin_engines::find("trivy").unwrap())).unwrap();
        assert_eq!(State::of(ruff, home.path()), State::OutOfDate);
        fs::write(place.join(STAMP), stamp_for(ruff)).unwrap();
        fs::remove_file(place.join("bin/ruff")).unwrap();
        assert_eq!(State::of(ruff, home.path()), State::OutOfDate);
    }

    #[test]
    fn the_size_is_that_of_the_files() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("sub")).unwrap();
        fs::write(home.path().join("a"), [0; 10]).unwrap();
        fs::write(home.path().join("sub/b"), [0; 32]).unwrap();
        assert_eq!(size(home.path()).unwrap(), 42);
    }
}
