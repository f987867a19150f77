//! From a manifest to the command line of one run.

use crate::EngineManifest;
use std::path::{Path, PathBuf};

/// Linux gives arguments and environment 2 MiB together; this leaves room for the environment.
const MAX_COMMAND_BYTES: usize = 1_800_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("{files} files make a command line longer than {MAX_COMMAND_BYTES} bytes")]
    TooLong { files: usize },
    #[error("path is not utf-8: {}", path.display())]
    NotUtf8 { path: PathBuf },
}

/// Where things are in one run. All absolute.
#[derive(Debug, Clone, Copy)]
pub struct CommandPaths<'a> {
    /// The source directory, also the working directory of the engine.
    pub root: &'a Path,
    /// The report, when the engine writes it itself.
    pub out: &'a Path,
    /// `$ENGINES_DIR/<engine>`.
    pub engine: &'a Path,
    /// A writable folder of this run; also `HOME`.
    pub tmp: &'a Path,
}

impl EngineManifest {
    /// Whether the command line names the selected files one by one.
    pub fn names_files(&self) -> bool {
        self.run.command.iter().any(|argument| argument == "{files}")
    }

    /// Program (absolute) and arguments. `files` are the selected paths, relative to the root; they are read only when
    /// [`Self::names_files`].
    pub fn command_line(&self, paths: &CommandPaths<'_>, files: &[String]) -> Result<Vec<String>, CommandError> {
        let mut line = Vec::with_capacity(self.run.command.len());
        for (position, argument) in self.run.command.iter().enumerate() {
            if argument == "{files}" {
                // A file may be called `-rf`: as `./-rf` it is never an option.
                line.extend(files.iter().map(|file| format!("./{file}")));
            } else if position == 0 && !argument.contains('/') {
                line.push(format!("{}/bin/{argument}", utf8(paths.engine)?));
            } else {
                line.push(expand(argument, paths)?);
            }
        }
        if line.iter().map(|argument| argument.len() + 9).sum::<usize>() > MAX_COMMAND_BYTES {
            return Err(CommandError::TooLong { files: files.len() });
        }
        Ok(line)
    }

    /// Variables to add to the clean environment.
    pub fn environment(&self, paths: &CommandPaths<'_>) -> Result<Vec<(String, String)>, CommandError> {
        self.run.env.iter().map(|(name, value)| Ok((name.clone(), expand(value, paths)?))).collect()
    }
}

fn expand(template: &str, paths: &CommandPaths<'_>) -> Result<String, CommandError> {
    Ok(template
        .replace("{root}", utf8(paths.root)?)
        .replace("{out}", utf8(paths.out)?)
        .replace("{engine}", utf8(paths.engine)?)
        .replace("{tmp}", utf8(paths.tmp)?))
}

fn utf8(path: &Path) -> Result<&str, CommandError> {
    path.to_str().ok_or_else(|| CommandError::NotUtf8 { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    fn paths() -> CommandPaths<'static> {
        CommandPaths {
            root: Path::new("/src"),
            out: Path::new("/out/report"),
            engine: Path::new("/engines/x"),
            tmp: Path::new("/tmp/x"),
        }
    }

    #[test]
    fn every_engine_has_a_command_line_without_placeholders() {
        for engine in catalog() {
            let line = engine.command_line(&paths(), &["a b.sh".to_owned(), "-rf".to_owned()]).unwrap();
            assert!(line[0].starts_with("/"), "{}: {line:?}", engine.name);
            assert!(line.iter().all(|argument| !argument.contains('{')), "{}: {line:?}", engine.name);
            assert_eq!(engine.names_files(), line.contains(&"./-rf".to_owned()), "{}: {line:?}", engine.name);
            assert!(!line.contains(&"-rf".to_owned()));
        }
    }

    #[test]
    fn a_command_line_that_the_kernel_would_refuse_is_refused_here() {
        let Some(engine) = catalog().iter().find(|engine| engine.names_files()) else { return };
        let files: Vec<_> = (0..100_000).map(|n| format!("some/folder/script-{n}.sh")).collect();
        assert_eq!(engine.command_line(&paths(), &files), Err(CommandError::TooLong { files: 100_000 }));
    }
}
