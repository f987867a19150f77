//! Putting an engine into its place, and taking it away: whole or not at all.

use super::{
    STAMP, State,
    check::{self, CheckError},
    packages::{self, PackageError},
    stamp_for, stamp_of,
};
use dunlin_engines::EngineManifest;
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("the pinned packages are for linux on x86-64, and this is {os} on {arch}")]
    Platform { os: &'static str, arch: &'static str },
    #[error(transparent)]
    Packages(#[from] PackageError),
    #[error("the package has no {0}")]
    NoProgram(String),
    #[error("the installed engine is not the right one")]
    Check(#[from] CheckError),
    #[error("{} cannot be written", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not an engine that dunlin installed, so it is left alone", .0.display())]
    NotOurs(PathBuf),
}

/// The one process that changes the folder. Held until it is dropped.
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Makes the folder and locks it. `waiting` is called when another process has the lock.
pub async fn lock(folder: &Path, waiting: impl FnOnce()) -> Result<Lock, InstallError> {
    let path = folder.join(".lock");
    let failed = |source| InstallError::Write { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => return Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => waiting(),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    locked.map_err(io::Error::other).flatten().map(Lock).map_err(failed)
}

/// Installs the engine unless it is there. Whatever stops this on the way, a folder with the engine's name is never half installed.
pub async fn install(engine: &EngineManifest, folder: &Path, _: &Lock) -> Result<(), InstallError> {
    supported(std::env::consts::OS, std::env::consts::ARCH)?;
    if State::of(engine, folder) == State::Installed {
        return Ok(());
    }
    let place = folder.join(&engine.name);
    if place.exists() && stamp_of(&place).is_none() && !is_empty(&place) {
        return Err(InstallError::NotOurs(place));
    }
    let failed = |source| InstallError::Write { path: folder.to_owned(), source };
    sweep(engine, folder).map_err(failed)?;
    // Beside its place, so that the last step is a rename. Deleted when this future ends, or is dropped by Ctrl-C.
    let work = tempfile::Builder::new().prefix(&prefix(engine)).tempdir_in(folder).map_err(failed)?;
    let (fresh, desk) = (work.path().join("engine"), work.path().join("desk"));
    for new in [&fresh, &desk] {
        fs::create_dir(new).map_err(failed)?;
    }
    packages::install(engine, &fresh, &desk).await?;
    add_files(engine, &fresh).map_err(failed)?;
    if let Some(missing) = engine.local.executables.values().find(|target| !fresh.join(target).is_file()) {
        return Err(InstallError::NoProgram(missing.clone()));
    }
    add_programs(engine, &fresh).map_err(failed)?;
    open_to_all(&fresh).map_err(failed)?;
    check::version(engine, &fresh).await?;
    fs::write(fresh.join(STAMP), stamp_for(engine)).map_err(failed)?;
    replace(&fresh, &place, &work.path().join("old")).map_err(failed)
}

/// Removes an engine; `false` when it was not installed.
pub fn remove(engine: &EngineManifest, folder: &Path, _: &Lock) -> Result<bool, InstallError> {
    let place = folder.join(&engine.name);
    if !place.exists() {
        return Ok(false);
    }
    if stamp_of(&place).is_none() {
        return Err(InstallError::NotOurs(place));
    }
    let failed = |source| InstallError::Write { path: place.clone(), source };
    sweep(engine, folder).map_err(failed)?;
    // Out of the way first: an engine that is half deleted must not look like one.
    let work = tempfile::Builder::new().prefix(&prefix(engine)).tempdir_in(folder).map_err(failed)?;
    fs::rename(&place, work.path().join("old")).map_err(failed)?;
    work.close().map_err(failed)?;
    Ok(true)
}

fn supported(os: &'static str, arch: &'static str) -> Result<(), InstallError> {
    if (os, arch) == ("linux", "x86_64") { Ok(()) } else { Err(InstallError::Platform { os, arch }) }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Working folders have names that no engine has.
fn prefix(engine: &EngineManifest) -> String {
    format!(".{}-", engine.name)
}

/// Deletes what an installation left that was killed. Under the lock nobody else's work is among it.
fn sweep(engine: &EngineManifest, folder: &Path) -> io::Result<()> {
    let prefix = prefix(engine);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Our configuration and rules for the engine.
fn add_files(engine: &EngineManifest, fresh: &Path) -> io::Result<()> {
    for (path, content) in engine.install_files() {
        if path.starts_with("config/") || path.starts_with("rules/") {
            let target = fresh.join(path);
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(target, content)?;
        }
    }
    Ok(())
}

/// `bin`, with a link to each program. Relative, for the folder may be mounted anywhere.
fn add_programs(engine: &EngineManifest, fresh: &Path) -> io::Result<()> {
    fs::create_dir(fresh.join("bin"))?;
    for (program, target) in &engine.local.executables {
        let path = fresh.join(target);
        platform::make_executable(&path)?;
        platform::link(&Path::new("..").join(target), &fresh.join("bin").join(program))?;
    }
    Ok(())
}

/// Engines run as another user.
fn open_to_all(folder: &Path) -> io::Result<()> {
    platform::open(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => open_to_all(&entry.path())?,
            kind if kind.is_file() => platform::open(&entry.path())?,
            _ => {}
        }
    }
    Ok(())
}

fn replace(fresh: &Path, place: &Path, old: &Path) -> io::Result<()> {
    if place.exists() {
        fs::rename(place, old)?;
    }
    fs::rename(fresh, place).inspect_err(|_| {
        // What was there is better than nothing; the error that is told is the one of the new engine.
        let _ = fs::rename(old, place);
    })
}

#[cfg(unix)]
mod platform {
    use std::{
        fs, io,
        os::unix::fs::{PermissionsExt, symlink},
        path::Path,
    };

    pub fn make_executable(path: &Path) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    }

    pub fn link(target: &Path, name: &Path) -> io::Result<()> {
        symlink(target, name)
    }

    pub fn open(path: &Path) -> io::Result<()> {
        let meta = fs::metadata(path)?;
        let mode = meta.permissions().mode() & 0o7777;
        let wanted = mode | if meta.is_dir() || mode & 0o100 != 0 { 0o555 } else { 0o444 };
        if wanted != mode { fs::set_permissions(path, fs::Permissions::from_mode(wanted)) } else { Ok(()) }
    }
}

/// Never reached: [`supported`] comes first.
#[cfg(not(unix))]
mod platform {
    use std::{io, path::Path};

    pub fn make_executable(_: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn link(_: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn open(_: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_platforms_are_told_so() {
        assert!(supported("linux", "x86_64").is_ok());
        for (os, arch) in [("linux", "aarch64"), ("macos", "x86_64"), ("windows", "x86_64")] {
            let words = supported(os, arch).unwrap_err().to_string();
            assert!(words.contains(&format!("this is {os} on {arch}")), "{words}");
        }
    }

    #[test]
    fn the_old_engine_stays_when_the_new_one_cannot_take_its_place() {
        let home = tempfile::tempdir().unwrap();
        let (place, old) = (home.path().join("ruff"), home.path().join("old"));
        fs::create_dir(&place).unwrap();
        fs::write(place.join("a"), "old").unwrap();
        assert!(replace(&home.path().join("missing"), &place, &old).is_err());
        assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "old");
    }
}
