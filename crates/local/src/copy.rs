//! Copies of the source: one of the whole scan, so that every engine sees the same files whatever is edited meanwhile, and one
//! for each job. Not links to one copy: what an engine has opened shows in the times of its files (`dunlin_execution::touched`),
//! and links would share them between engines.

use std::{
    collections::HashSet,
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
};

/// A folder that files are written into, read-only, from a list of clean paths.
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes the folders of `paths`.
    pub fn prepare<'a>(&self, paths: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let folders: HashSet<&str> = paths.filter_map(|path| path.rsplit_once('/').map(|(folder, _)| folder)).collect();
        folders.into_iter().try_for_each(|folder| fs::create_dir_all(self.root.join(folder)))
    }

    pub fn write(&self, path: &str, executable: bool, bytes: &[u8]) -> io::Result<()> {
        let mode = if executable { 0o555 } else { 0o444 };
        // A new file each time: nothing in there is a link, and nothing is written twice.
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(self.root.join(path))?;
        file.write_all(bytes)
    }
}

/// Copies what `wanted` chooses of the files below `from`; answers how many there were.
pub fn selected(from: &Path, into: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<u64> {
    let mut count = 0;
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let mut made = false;
        for entry in fs::read_dir(from.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|_| io::Error::other("a path is not utf-8"))?;
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if wanted(&path) {
                if !made {
                    fs::create_dir_all(into.join(&folder))?;
                    made = true;
                }
                copy(&entry.path(), &into.join(&path))?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// By the kernel, which shares the blocks where the file system can.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = fs::File::open(from)?;
    let mode = source.metadata()?.permissions().mode() & 0o777;
    let mut target = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
    io::copy(&mut source, &mut target)?;
    Ok(())
}

/// Does `work` for every item, on as many threads as there are processors; answers in the order of `items`.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, |count| count.get());
    let chunk = items.len().div_ceil(threads).max(1);
    if threads == 1 || items.len() < 64 {
        return items.iter().map(work).collect();
    }
    thread::scope(|scope| {
        let work = &work;
        let parts: Vec<_> =
            items.chunks(chunk).map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<R>>())).collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
