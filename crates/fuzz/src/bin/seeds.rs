//! `seeds <folder>`: writes what each target begins with to `<folder>/<target>/`, and prints the targets' names.
#![expect(clippy::print_stdout, reason = "its answer")]

use dunlin_fuzz::TARGETS;
use std::{fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: seeds <folder>"))?);
    for target in TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in target.corpus().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), seed)?;
        }
        println!("{}", target.name);
    }
    Ok(())
}
