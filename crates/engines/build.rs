//! Embeds every `engines/<name>/` that has an `engine.toml`, so that adding an engine is adding a folder.

use std::{env, fmt::Write, fs, path::Path};

/// What decides an engine's results, besides its version. Their content goes into the engine's identity.
const FOLDERS: [&str; 2] = ["config", "rules"];
const FILES: [&str; 3] = ["requirements.txt", "package.json", "package-lock.json"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../engines").canonicalize()?;
    println!("cargo::rerun-if-changed={}", root.display());

    let mut folders: Vec<_> = fs::read_dir(&root)?.collect::<Result<Vec<_>, _>>()?;
    folders.sort_by_key(fs::DirEntry::file_name);
    let mut code = String::from("pub(crate) static EMBEDDED: &[Embedded] = &[\n");
    for folder in folders {
        let manifest = folder.path().join("engine.toml");
        if !manifest.is_file() {
            continue;
        }
        let mut files = Vec::new();
        for name in FILES {
            if folder.path().join(name).is_file() {
                files.push(name.to_owned());
            }
        }
        for name in FOLDERS {
            walk(&folder.path(), name, &mut files)?;
        }
        files.sort();
        let name = folder.file_name().into_string().map_err(|name| format!("folder name is not UTF-8: {name:?}"))?;
        write!(code, "Embedded {{ folder: {name:?}, manifest: include_str!({manifest:?}), files: &[")?;
        for file in files {
            write!(code, "({file:?}, include_bytes!({:?}).as_slice()), ", folder.path().join(&file))?;
        }
        code.push_str("] },\n");
    }
    code.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("embedded.rs"), code)?;
    Ok(())
}

fn walk(base: &Path, inside: &str, files: &mut Vec<String>) -> std::io::Result<()> {
    let folder = base.join(inside);
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{inside}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() { walk(base, &path, files)? } else { files.push(path) }
    }
    Ok(())
}
