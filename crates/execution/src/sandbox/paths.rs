//! Which files an engine sees, and as whom: worked out by the runner before it starts the lockdown.

use super::{policy::Identity, remove::remove_tree};
use rustix::{
    fs::{Gid, Uid, chown},
    process::geteuid,
};
use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Where programs, their libraries and interpreters are.
const SYSTEM: [&str; 7] = ["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin"];

/// What runtimes look at when they start: names, time zones, processors, memory, entropy. No keys, no configuration of others.
const LOOKED_AT: [&str; 32] = [
    "/dev/random",
    "/dev/urandom",
    "/etc/alternatives",
    "/etc/debian_version",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    // Node.js stops when it may not read the settings of OpenSSL. Two distributions, two places.
    "/etc/pki/tls/openssl.cnf",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    // The lockdown opens it in the process that becomes the engine, so it is the engine's own folder and no other's.
    "/proc/self",
    "/proc/stat",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/threads-max",
    "/proc/sys/vm",
    "/proc/version",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
];

/// First of the users that engines become, and how many there are. No account of a system is among them, and so many that
/// two runners on one machine hardly ever share one. Containers with mapped users have 65,536 in all.
const FIRST_USER: u32 = 64_000;
const USERS: u32 = 1_500;

pub fn readable_system() -> Vec<PathBuf> {
    LOOKED_AT.iter().map(PathBuf::from).collect()
}

/// What is executed: the system, the engine's folder, and the interpreter that a script of the engine names when that one is
/// installed elsewhere.
pub fn executable(engine_dir: &Path, program: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    all.push(engine_dir.to_owned());
    let mut add = |path: &Path| {
        let Ok(real) = path.canonicalize() else { return };
        if !all.iter().any(|known| real.starts_with(known)) {
            all.push(installation(&real));
        }
    };
    add(program);
    for interpreter in interpreters(program) {
        add(&interpreter);
    }
    all
}

/// `/opt/python` of `/opt/python/bin/python3`: a runtime needs the library beside its `bin`.
fn installation(executable: &Path) -> PathBuf {
    let folder = executable.parent().unwrap_or(executable);
    match folder.parent() {
        Some(prefix) if folder.ends_with("bin") && prefix != Path::new("/") => prefix.to_owned(),
        _ => folder.to_owned(),
    }
}

/// The absolute paths in the first line of a script: `#!/opt/python/bin/python3`.
fn interpreters(program: &Path) -> Vec<PathBuf> {
    let mut start = [0_u8; 512];
    let read = fs::File::open(program).and_then(|mut file| io::Read::read(&mut file, &mut start)).unwrap_or(0);
    let Some(line) = start[..read].strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next()) else {
        return Vec::new();
    };
    String::from_utf8_lossy(line).split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// Another user for the engine, when the runner may choose and that user can reach `needed`.
pub fn identity(needed: &[PathBuf]) -> Identity {
    if !geteuid().is_root() {
        return Identity::Inherit;
    }
    let id = FIRST_USER + std::process::id() % USERS;
    if needed.iter().all(|path| others_reach(path)) { Identity::Become { id } } else { Identity::Powerless }
}

/// Whether a user who owns nothing here can read `path`: every folder above can be passed by everybody.
fn others_reach(path: &Path) -> bool {
    let Ok(real) = path.canonicalize() else { return true };
    let passable = |path: &Path, bits: u32| fs::metadata(path).is_ok_and(|about| about.mode() & bits == bits);
    let bits = if real.is_dir() { 0o005 } else { 0o004 };
    passable(&real, bits) && real.ancestors().skip(1).all(|above| passable(above, 0o001))
}

/// The folders of one run. They vanish with it.
pub struct Scratch {
    /// The folder of everything, and the one of the source where that is apart.
    roots: Vec<PathBuf>,
    removed: AtomicBool,
    /// The source: the engine reads it.
    pub source: PathBuf,
    /// Beside the source, on the same file system; not there yet.
    pub probe: PathBuf,
    /// The engine writes here; also its `HOME` and `TMPDIR`.
    pub work: PathBuf,
    /// The engine writes its report here.
    pub out: PathBuf,
    /// The runner's own.
    pub own: PathBuf,
}

impl Scratch {
    pub fn create(below: &Path) -> io::Result<Self> {
        Self::create_apart(below, None)
    }

    /// With the source, which the engine only reads, below another folder.
    pub fn create_apart(below: &Path, source_below: Option<&Path>) -> io::Result<Self> {
        let private = Permissions::from_mode(0o700);
        let make =
            |below| tempfile::Builder::new().prefix("dunlin-job-").permissions(private.clone()).tempdir_in(below);
        let root = make(below)?;
        let apart = source_below.map(make).transpose()?;
        let root_of_source = apart.as_ref().unwrap_or(&root).path();
        let scratch = Self {
            source: root_of_source.join("source"),
            probe: root_of_source.join("probe"),
            work: root.path().join("work"),
            out: root.path().join("out"),
            own: root.path().join("own"),
            roots: [Some(root), apart].into_iter().flatten().map(tempfile::TempDir::keep).collect(),
            removed: AtomicBool::new(false),
        };
        for folder in [&scratch.source, &scratch.work, &scratch.out, &scratch.own] {
            DirBuilder::new().mode(0o700).create(folder)?;
        }
        Ok(scratch)
    }

    /// The text without the names of these folders, which nobody will see again.
    pub fn hide(&self, text: &str) -> String {
        self.roots.iter().fold(text.to_owned(), |text, root| text.replace(&*root.to_string_lossy(), ""))
    }

    /// Hands the engine its folders: by a group that it alone is in. Nobody else on the machine sees the source.
    pub fn hand_over(&self, identity: Identity) -> io::Result<()> {
        let Identity::Become { id } = identity else { return Ok(()) };
        let (user, group) = (Some(Uid::from_raw(id)), Some(Gid::from_raw(id)));
        for root in &self.roots {
            chown(root, None, group)?;
            fs::set_permissions(root, Permissions::from_mode(0o710))?;
        }
        chown(&self.source, None, group)?;
        fs::set_permissions(&self.source, Permissions::from_mode(0o750))?;
        chown(&self.work, user, group)?;
        chown(&self.out, user, group)?;
        Ok(())
    }

    /// Removes all of it; what is gone already is fine. A thread that still writes in there holds the folders too: what it has
    /// made meanwhile vanishes when it lets go.
    pub fn remove(&self) {
        self.removed.store(true, Ordering::Relaxed);
        self.roots.iter().for_each(|root| remove(root));
    }

    /// Nobody needs any more what is written there.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

fn remove(root: &Path) {
    if let Err(error) = remove_tree(root) {
        tracing::error!(path = %root.display(), %error, "scratch folder could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_brings_its_interpreter() {
        let dir = tempfile::tempdir().unwrap();
        let engine = dir.path().join("engine");
        let python = dir.path().join("python/bin/python3");
        fs::create_dir_all(python.parent().unwrap()).unwrap();
        fs::create_dir_all(engine.join("bin")).unwrap();
        fs::write(&python, "").unwrap();
        let script = engine.join("bin/tool");
        fs::write(&script, format!("#!{} -E\nprint()\n", python.display())).unwrap();
        let roots = executable(&engine, &script);
        assert!(roots.contains(&dir.path().canonicalize().unwrap().join("python")), "{roots:?}");
        fs::write(&script, "#!/usr/bin/env python3\n").unwrap();
        assert_eq!(executable(&engine, &script).len(), SYSTEM.len() + 1);
    }

    #[test]
    fn a_folder_for_its_owner_only_is_not_reached_by_others() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        assert!(!others_reach(&open), "the temporary folder above it is private");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).unwrap();
        assert!(others_reach(&open));
        fs::set_permissions(&open, Permissions::from_mode(0o750)).unwrap();
        assert!(!others_reach(&open));
    }

    #[test]
    fn scratch_vanishes_even_when_the_engine_took_its_rights_away() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(dir.path()).unwrap();
        let deep = scratch.work.join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "x").unwrap();
        fs::set_permissions(&deep, Permissions::from_mode(0o000)).unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_source_apart_is_hidden_and_vanishes_too() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let scratch = Scratch::create_apart(dir.path(), Some(other.path())).unwrap();
        assert!(scratch.source.starts_with(other.path()) && scratch.probe.starts_with(other.path()));
        assert!([&scratch.work, &scratch.out, &scratch.own].iter().all(|folder| folder.starts_with(dir.path())));
        let words = format!("{}/a.py, {}/report", scratch.source.display(), scratch.out.display());
        assert_eq!(scratch.hide(&words), "/source/a.py, /out/report");
        drop(scratch);
        assert_eq!(fs::read_dir(dir.path()).unwrap().chain(fs::read_dir(other.path()).unwrap()).count(), 0);
    }
}
