//! Whether an installed engine is the one that its manifest names.

use dunlin_engines::EngineManifest;
use std::{io, path::Path, process::Stdio, time::Duration};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("{program} cannot be started")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("it did not tell its version within {} seconds", LIMIT.as_secs())]
    TooLong,
    #[error("asked for its version, it ended with {code}: {said}")]
    Failed { code: String, said: String },
    #[error("version {wanted} was wanted, and it says: {said}")]
    Other { wanted: String, said: String },
    #[error("there is no temporary folder to start it in")]
    NoFolder(#[source] io::Error),
}

/// Starts the engine in `place`, in a clean environment like that of a scan, and reads what it says of its version.
pub async fn version(engine: &EngineManifest, place: &Path) -> Result<(), CheckError> {
    let home = tempfile::tempdir().map_err(CheckError::NoFolder)?;
    let folder = place.to_string_lossy();
    let mut words = engine.run.version_command.iter();
    let program = words.next().map(String::as_str).unwrap_or_default();
    // A program without a slash is in the engine's own `bin`.
    let path = if program.contains('/') { program.into() } else { place.join("bin").join(program) };
    let mut command = Command::new(&path);
    command
        .args(words.map(|word| word.replace("{engine}", &folder)))
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin".as_ref()), ("HOME", home.path()), ("TMPDIR", home.path())])
        .current_dir(home.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let done = match tokio::time::timeout(LIMIT, command.output()).await {
        Err(_) => return Err(CheckError::TooLong),
        Ok(Err(source)) => return Err(CheckError::Start { program: path.display().to_string(), source }),
        Ok(Ok(done)) => done,
    };
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let excerpt = || crate::text::excerpt(&said, 300);
    if !done.status.success() {
        let code = done.status.code().map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        return Err(CheckError::Failed { code, said: excerpt() });
    }
    if names(&said, &engine.version) {
        Ok(())
    } else {
        Err(CheckError::Other { wanted: engine.version.clone(), said: excerpt() })
    }
}

/// Whether the text has this version, and not only one that begins or ends like it: 1.2.3 is not in 11.2.3 or 1.2.30.
fn names(text: &str, version: &str) -> bool {
    text.match_indices(version).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let mut after = text[start + version.len()..].chars();
        let (next, next_but_one) = (after.next(), after.next());
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let goes_on = digit(next) || (next == Some('.') && digit(next_but_one));
        !goes_on && !digit(before) && before != Some('.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_not_part_of_another() {
        for said in ["ruff 0.17.5", "v0.17.5\n", "version: 0.17.5.", "Version 0.17.5 (abc)"] {
            assert!(names(said, "0.17.5"), "{said}");
        }
        for said in ["", "ruff 0.17.50", "10.17.5", "1.0.17.5", "0.17.5.1", "0.17"] {
            assert!(!names(said, "0.17.5"), "{said}");
        }
    }
}
