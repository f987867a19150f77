//! Installed engines that misbehave while a test wants them to.

use crate::cloud::repository;
use anyhow::{Context, Result};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// An engine's program with a script in its place. The program is back when the value is dropped.
pub struct Replaced {
    program: PathBuf,
    original: PathBuf,
}

/// `script` is the body of a shell script; `$ORIGINAL` is the real program, `"$@"` its arguments.
pub fn replace(engine: &str, script: &str) -> Result<Replaced> {
    let program = repository().join(".local/engines").join(engine).join("bin").join(engine);
    let original = program.with_file_name(format!("{engine}.original"));
    if original.exists() {
        // A test that was killed left it: the original is the real one.
        fs::rename(&original, &program)?;
    }
    fs::rename(&program, &original).with_context(|| format!("{engine} is not installed at {}", program.display()))?;
    let replaced = Replaced { program, original };
    let target = absolute_target(&replaced.original)?;
    fs::write(&replaced.program, format!("#!/bin/sh\nORIGINAL='{}'\n{script}\n", target.display()))?;
    fs::set_permissions(&replaced.program, fs::Permissions::from_mode(0o755))?;
    Ok(replaced)
}

/// Where a link leads, so that a program that looks at its own name finds its neighbours.
fn absolute_target(path: &Path) -> Result<PathBuf> {
    Ok(if path.is_symlink() { fs::canonicalize(path)? } else { path.to_owned() })
}

impl Drop for Replaced {
    fn drop(&mut self) {
        // `rename` takes the script's place in one step.
        // Where it fails, the next `replace` puts the original back first.
        let _ = fs::rename(&self.original, &self.program);
    }
}
