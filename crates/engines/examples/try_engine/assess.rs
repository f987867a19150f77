//! One run of an installed engine as the runner does it, without the sandbox.

use dunlin_core::selection::{Selection, Selector, Shard};
use dunlin_engines::{CommandPaths, EngineManifest, ExitMeaning, ReadContext, Report};
use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// What stands for the source directory in a recorded report.
const ROOT: &str = "{ROOT}";
/// Recorded sources break their made-up secrets with this, so that no scanner takes them for a leak.
const BREAK: &[u8] = b"%%";
/// What engines are told that they may use. Nothing holds them to it here.
const MEMORY: u64 = 2 << 30;

pub struct Assessed {
    pub files: usize,
    pub exit_code: i32,
    pub meaning: ExitMeaning,
    pub duration: Duration,
    pub log: String,
    /// As it is recorded; nothing when the engine failed.
    pub raw: Option<(String, Report)>,
}

/// Runs `engine` on a copy of the files of `folders` that it reads, laid over each other.
pub fn assess(engine: &EngineManifest, engines: &Path, folders: &[&Path]) -> Result<Assessed, Box<dyn Error>> {
    let reads = &engine.reads;
    let selection =
        Selection { include: reads.include.clone(), exclude: reads.exclude.clone(), shard: Shard::WHOLE }.compile()?;
    let work = tempfile::tempdir()?;
    let (root, tmp, out) = (work.path().join("source"), work.path().join("tmp"), work.path().join("report"));
    fs::create_dir_all(&root)?;
    fs::create_dir_all(&tmp)?;
    let mut files = Vec::new();
    for folder in folders {
        copy(folder, &root, "", &selection, &mut files)?;
    }
    files.sort();

    let installed: PathBuf = engines.canonicalize()?.join(&engine.name);
    let paths = CommandPaths { root: &root, out: &out, engine: &installed, tmp: &tmp, memory_bytes: MEMORY };
    let line = engine.command_line(&paths, &files)?;
    let started = Instant::now();
    let done = Command::new(&line[0])
        .args(&line[1..])
        .current_dir(&root)
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8")])
        .envs([("HOME", &tmp), ("TMPDIR", &tmp)])
        .envs(engine.environment(&paths)?)
        .output()?;
    let duration = started.elapsed();
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    let exit_code = done.status.code().ok_or("the engine was killed")?;
    let meaning = engine.exit_meaning(exit_code);
    let mut assessed = Assessed { files: files.len(), exit_code, meaning, duration, log, raw: None };
    if matches!(meaning, ExitMeaning::Crash | ExitMeaning::BadInput) {
        return Ok(assessed);
    }
    if engine.run.stdout_report {
        fs::write(&out, &done.stdout)?;
    }
    let selected = |path: &str| files.binary_search_by(|file| file.as_str().cmp(path)).is_ok();
    let context = ReadContext { root: &root, selected: &selected };
    let mut report = dunlin_engines::read_report(engine, fs::File::open(&out)?, &context)?;
    report.heed_log(engine, &assessed.log);
    let text = fs::read_to_string(&out)?.replace(&*root.to_string_lossy(), ROOT);
    assessed.raw = Some((text, report));
    Ok(assessed)
}

fn copy(
    from: &Path,
    to: &Path,
    path: &str,
    selection: &Selector,
    files: &mut Vec<String>,
) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        if entry.file_type()?.is_dir() && name != ".git" {
            copy(&entry.path(), &to.join(&name), &path, selection, files)?;
        } else if entry.file_type()?.is_file() && selection.selects(&path) {
            fs::create_dir_all(to)?;
            let mut content = fs::read(entry.path())?;
            while let Some(at) = content.windows(2).position(|two| two == BREAK) {
                content.drain(at..at + 2);
            }
            fs::write(to.join(&name), content)?;
            files.push(path);
        }
    }
    Ok(())
}
