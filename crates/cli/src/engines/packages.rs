//! pip and npm, which fetch the pinned packages from wherever the user has them fetch packages.

use crate::text;
use dunlin_engines::EngineManifest;
use std::{fs, io, path::Path, process::Stdio};
use tokio::process::Command;

/// Lines of a failed program that are shown.
const LINES: usize = 5;

#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("{0}")]
    Missing(&'static str),
    #[error("{program} cannot be started")]
    Start {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{program} ended with {code}: {said}")]
    Failed { program: &'static str, code: String, said: String },
    #[error("files cannot be written")]
    Files(#[from] io::Error),
}

const NO_PYTHON: &str = "python3 is needed to install it, with pip (Debian: python3-pip)";
const NO_PIP: &str = "pip is needed to install it: python3 has no module pip (Debian: python3-pip)";
const NO_NPM: &str = "npm is needed to install it: install Node.js 20 or later";

/// Installs the engine's packages into `into`. `desk` is an empty folder to work in.
pub async fn install(engine: &EngineManifest, into: &Path, desk: &Path) -> Result<(), PackageError> {
    match &engine.local.pip {
        Some(requirements) => with_pip(engine, requirements, into, desk).await,
        None => with_npm(engine, into, desk).await,
    }
}

async fn with_pip(engine: &EngineManifest, requirements: &str, into: &Path, desk: &Path) -> Result<(), PackageError> {
    let list = into.with_file_name("requirements.txt");
    fs::write(&list, content(engine, requirements)?)?;
    let mut command = Command::new("python3");
    // `-m` looks for modules in the working directory first: that must not be one where somebody else's `pip.py` can be.
    command
        .current_dir(desk)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--no-cache-dir",
            "--no-deps",
        ])
        .args(["--require-hashes", "--only-binary", ":all:", "--no-compile", "--target"])
        .arg(into.join("lib"))
        .arg("--requirement")
        .arg(&list)
        // Both forbid a folder of its own.
        .env("PIP_USER", "0")
        .env("PIP_REQUIRE_VIRTUALENV", "0");
    run(command, "pip", NO_PYTHON).await
}

async fn with_npm(engine: &EngineManifest, into: &Path, desk: &Path) -> Result<(), PackageError> {
    for name in ["package.json", "package-lock.json"] {
        fs::write(into.join(name), content(engine, name)?)?;
    }
    let mut command = Command::new("npm");
    // No scripts: nothing of a package runs before it is used.
    command
        .current_dir(desk)
        .args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
        .arg(into);
    run(command, "npm", NO_NPM).await
}

fn content(engine: &EngineManifest, name: &str) -> io::Result<&'static [u8]> {
    let found = engine.install_files().find(|(path, _)| *path == name);
    found.map(|(_, content)| content).ok_or_else(|| io::Error::other(format!("{name} is not part of this program")))
}

async fn run(mut command: Command, program: &'static str, missing: &'static str) -> Result<(), PackageError> {
    let done = match command.stdin(Stdio::null()).kill_on_drop(true).output().await {
        Ok(done) => done,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(PackageError::Missing(missing)),
        Err(source) => return Err(PackageError::Start { program, source }),
    };
    if done.status.success() {
        return Ok(());
    }
    let (errors, output) = (String::from_utf8_lossy(&done.stderr), String::from_utf8_lossy(&done.stdout));
    if errors.contains("No module named pip") {
        return Err(PackageError::Missing(NO_PIP));
    }
    let said = if errors.trim().is_empty() { output } else { errors };
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join(" / ");
    let code = done.status.code().map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
    Err(PackageError::Failed { program, code, said: text::excerpt(&last, 1_000) })
}
