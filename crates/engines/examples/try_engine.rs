//! Runs one installed engine on a folder as the runner does, without the sandbox, and says what the reader makes of it:
//! `cargo run -p dunlin-engines --example try_engine -- <engine> <folder> [report to keep]`.

#![expect(clippy::print_stdout, reason = "a tool for people who add an engine")]

use dunlin_core::selection::{Selection, Selector, Shard};
use dunlin_engines::{CommandPaths, ExitMeaning, ReadContext};
use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// What stands for the source directory in a recorded report.
const ROOT: &str = "{ROOT}";
/// Recorded sources break their made-up secrets with this, so that no scanner takes them for a leak.
const BREAK: &[u8] = b"%%";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, folder, keep @ ..] = arguments.as_slice() else {
        return Err("usage: try_engine <engine> <folder> [report to keep]".into());
    };
    let engine = dunlin_engines::find(name).ok_or("no engine has this name")?;
    let reads = &engine.reads;
    let selection =
        Selection { include: reads.include.clone(), exclude: reads.exclude.clone(), shard: Shard::WHOLE }.compile()?;

    let work = tempfile::tempdir()?;
    let (root, tmp, out) = (work.path().join("source"), work.path().join("tmp"), work.path().join("report"));
    fs::create_dir_all(&root)?;
    fs::create_dir_all(&tmp)?;
    let mut files = Vec::new();
    copy(Path::new(folder), &root, "", &selection, &mut files)?;
    files.sort();

    let engines = env::var_os("ENGINES_DIR").map_or_else(|| PathBuf::from(".local/engines"), PathBuf::from);
    let installed = engines.canonicalize()?.join(name);
    let paths = CommandPaths { root: &root, out: &out, engine: &installed, tmp: &tmp };
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
    let seconds = started.elapsed().as_secs_f64();
    if engine.run.stdout_report {
        fs::write(&out, &done.stdout)?;
    }
    let log = String::from_utf8_lossy(&done.stderr);
    let code = done.status.code().ok_or("the engine was killed")?;
    let meaning = engine.exit_meaning(code);
    println!("{name} {}: {} files, exit code {code} ({meaning:?}), {seconds:.1} s", engine.version, files.len());
    if matches!(meaning, ExitMeaning::Crash | ExitMeaning::BadInput) {
        println!("{log}");
        return Ok(());
    }
    if let [keep] = keep {
        let text = String::from_utf8(fs::read(&out)?)?;
        fs::write(keep, text.replace(&*root.to_string_lossy(), ROOT))?;
    }
    let selected = |path: &str| files.binary_search_by(|file| file.as_str().cmp(path)).is_ok();
    let mut report =
        dunlin_engines::read_report(engine, fs::File::open(&out)?, &ReadContext { root: &root, selected: &selected })?;
    report.heed_log(engine, &log);
    let mut by_severity = BTreeMap::new();
    for finding in &report.findings {
        *by_severity.entry(finding.severity).or_insert(0_u32) += 1;
    }
    let keys: std::collections::HashSet<_> = report.findings.iter().map(|finding| &finding.fingerprint).collect();
    println!(
        "{} findings ({} fingerprints) by {} rules, {} outside, {} suppressed; partial: {:?}; {by_severity:?}",
        report.findings.len(),
        keys.len(),
        report.rules.len(),
        report.outside,
        report.suppressed,
        report.partial
    );
    if let Some(finding) = report.findings.first() {
        println!("{finding:#?}");
    }
    Ok(())
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
