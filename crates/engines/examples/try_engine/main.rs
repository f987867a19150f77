//! Runs one installed engine on a folder and says what the reader makes of it:
//! `cargo run -p dunlin-engines --example try_engine -- <engine> <folder> [report to keep]`.

#![expect(clippy::print_stdout, reason = "a tool for people who add an engine")]

mod assess;

use std::{
    collections::{BTreeMap, HashSet},
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, folder, keep @ ..] = arguments.as_slice() else {
        return Err("usage: try_engine <engine> <folder> [report to keep]".into());
    };
    let engine = dunlin_engines::find(name).ok_or("no engine has this name")?;
    let engines = env::var_os("ENGINES_DIR").map_or_else(|| PathBuf::from(".local/engines"), PathBuf::from);
    let assessed = assess::assess(engine, &engines, &[Path::new(folder)])?;
    println!(
        "{name} {}: {} files, exit code {} ({:?}), {:.1} s",
        engine.version,
        assessed.files,
        assessed.exit_code,
        assessed.meaning,
        assessed.duration.as_secs_f64()
    );
    let Some((text, report)) = assessed.raw else {
        println!("{}", assessed.log);
        return Err("the engine failed".into());
    };
    if let [keep] = keep {
        fs::write(keep, text)?;
    }
    let mut by_severity = BTreeMap::new();
    for finding in &report.findings {
        *by_severity.entry(finding.severity).or_insert(0_u32) += 1;
    }
    let keys: HashSet<_> = report.findings.iter().map(|finding| &finding.fingerprint).collect();
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
