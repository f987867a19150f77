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

/// Where things are in one run, all absolute, and what the engine may use.
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
    /// For the engine with all its processes.
    pub memory_bytes: u64,
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
        // A quarter is left for what a runtime does not count as its heap.
        let heap = (paths.memory_bytes / 4 * 3) >> 20;
        let value = |template: &str| Ok(expand(template, paths)?.replace("{heap_mib}", &heap.to_string()));
        let variables = self.run.env.iter().chain(&self.run.tuning);
        variables.map(|(name, template)| Ok((name.clone(), value(template)?))).collect()
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
            memory_bytes: 2 << 30,
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
    fn variables_have_no_placeholders_and_know_the_memory() {
        for engine in catalog() {
            for (name, value) in engine.environment(&paths()).unwrap() {
                assert!(!value.contains('{'), "{}: {name}={value}", engine.name);
            }
        }
        let trivy = catalog().iter().find(|engine| engine.name == "trivy").unwrap();
        let variables = trivy.environment(&paths()).unwrap();
        assert!(variables.contains(&("GOMEMLIMIT".to_owned(), "1536MiB".to_owned())), "{variables:?}");
    }

    #[test]
    fn a_command_line_that_the_kernel_would_refuse_is_refused_here() {
        let Some(engine) = catalog().iter().find(|engine| engine.names_files()) else { return };
        let files: Vec<_> = (0..100_000).map(|n| format!("some/folder/script-{n}.sh")).collect();
        assert_eq!(engine.command_line(&paths(), &files), Err(CommandError::TooLong { files: 100_000 }));
    }
}
