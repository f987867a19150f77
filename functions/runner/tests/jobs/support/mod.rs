//! A job from outside: storage behind presigned URLs, an engine that does what a test wants, and the runner as a process.

pub mod storage;

use dunlin_contracts::{
    plan::{PresignedPut, Ticket},
    steps::{JobFailure, RunnerInput},
};
use dunlin_core::{
    ResultKey, ScanId,
    manifest::{ResultLine, ResultManifest},
    selection::{InputDigest, Selection, Shard},
};
use dunlin_engines::EngineManifest;
use dunlin_execution::{DiskLimits, supervise};
use dunlin_runner::{batch, context};
use dunlin_runtime::{Env, logging};
use dunlin_snapshot::{Limits, Packer};
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    io::Read,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use storage::Storage;

pub const SCAN: &str = "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01";
pub const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Variable that makes the test `runner_process` a runner; it names the manifest of the engine.
pub const MANIFEST: &str = "TEST_ENGINE_MANIFEST";
/// The real executable, which becomes the engine.
const SANDBOX: &str = "TEST_SANDBOX_PROGRAM";
/// Set: the kernel seems to be without Landlock.
const NO_LANDLOCK: &str = "TEST_NO_LANDLOCK";
/// Somebody without an account. The last number that containers with mapped users have.
pub const NOBODY: u32 = 65_533;

/// The runner as a process, with a catalog of one test engine.
pub fn become_runner(manifest: &OsStr) -> ! {
    let manifest: EngineManifest = toml::from_str(&fs::read_to_string(manifest).unwrap()).unwrap();
    let engines: &'static [EngineManifest] = Box::leak(Box::new([manifest]));
    logging::init("runner");
    if std::env::var_os(NO_LANDLOCK).is_some() {
        hide_landlock();
    }
    supervise::prepare_process().unwrap();
    let read = context::from_batch(Env::process(), engines).map(|(mut context, input)| {
        // This executable is the test; the engine is started by the real one.
        context.machine.sandbox_program = std::env::var_os(SANDBOX).unwrap().into();
        // Filling two gigabytes takes a while.
        context.machine.disk = DiskLimits { bytes: 100 << 20, entries: 5000 };
        (context, input)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let code = runtime.block_on(batch::run(read));
    // As in main: threads that are still at work are waited for.
    drop(runtime);
    // `ExitCode` has no number to read back; main's way of ending is the only one it has.
    std::process::exit(
        format!("{code:?}").chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(99),
    );
}

/// Every process from here on finds a kernel that does not know the calls.
fn hide_landlock() {
    let calls = [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];
    let filter = SeccompFilter::new(
        calls.map(|call| (call, vec![])).into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    seccompiler::apply_filter_all_threads(&BpfProgram::try_from(filter.unwrap()).unwrap()).unwrap();
}

/// Under which conditions a runner is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    /// As the tests are run: in containers and on Fargate, as root.
    Usual,
    /// Not root, so that engine and runner are the same user: Lambda.
    SameUser,
    /// The same without Landlock: Lambda, where its kernel has none.
    SameUserWithoutLandlock,
    /// Root, and everything is in a folder of root: somebody's machine.
    Private,
    /// The worst of both: no engine may run.
    PrivateWithoutLandlock,
}

pub struct Job {
    pub dir: tempfile::TempDir,
    pub storage: Storage,
    pub ticket: Ticket,
    engines_dir: PathBuf,
    manifest: String,
    memory_mib: u64,
    conditions: Conditions,
    open_files: Option<u64>,
}

/// How a runner ended.
pub struct Ended {
    pub code: Option<i32>,
    pub log: String,
}

impl Job {
    /// An engine that is a Python program: `report` is where its report goes, `sarif(n)` makes one with n results.
    pub fn python(program: &str) -> Self {
        let prelude = "#!/usr/bin/python3\nimport sys, os, json, time, socket, subprocess, signal\nreport = sys.argv[1]\n\
            def sarif(n):\n    results = [{'ruleId': 'T1', 'message': {'text': 'found'}, 'locations': [{'physicalLocation': \
            {'artifactLocation': {'uri': 'src/a.py'}, 'region': {'startLine': i + 1}}}]} for i in range(n)]\n    \
            json.dump({'version': '2.1.0', 'runs': [{'tool': {'driver': {'name': 'test', 'rules': [{'id': 'T1'}]}}, \
            'results': results}]}, open(report, 'w'))\n";
        Self::with_engine(&format!("{prelude}{program}"))
    }

    pub fn with_engine(program: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("runner-test-").tempdir().unwrap();
        open_to_all(dir.path());
        for folder in ["engines", "engines/hostile", "engines/hostile/bin", "tmp"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            open_to_all(&dir.path().join(folder));
        }
        let path = dir.path().join("engines/hostile/bin/hostile");
        fs::write(&path, program).unwrap();
        open_to_all(&path);
        let files = [("src/a.py", "import os\nos.system(input())\n".to_owned()), ("src/b.py", "print()\n".to_owned())];
        let storage = Storage::start();
        let ticket = ticket(&storage, &files, "hostile", "1.0.0");
        let engines_dir = dir.path().join("engines");
        Self {
            dir,
            storage,
            ticket,
            engines_dir,
            manifest: MANIFEST_TOML.to_owned(),
            memory_mib: 512,
            conditions: Conditions::Usual,
            open_files: None,
        }
    }

    /// An engine of the catalog, as it is installed, over files of one's own.
    pub fn of_engine(engine: &EngineManifest, files: &[(&str, String)]) -> Self {
        let mut job = Self::with_engine("");
        job.engines_dir = engines_dir();
        job.manifest = fs::read_to_string(root().join("engines").join(&engine.name).join("engine.toml")).unwrap();
        let selection = Selection {
            include: engine.reads.include.clone(),
            exclude: engine.reads.exclude.clone(),
            shard: Shard::WHOLE,
        };
        let selector = selection.compile().unwrap();
        let selected: Vec<_> = files.iter().filter(|(path, _)| selector.selects(path)).cloned().collect();
        // The archive has all, the job reads what the engine reads.
        let part = ticket(&job.storage, &selected, &engine.name, &engine.version);
        job.ticket = ticket(&job.storage, files, &engine.name, &engine.version);
        (job.ticket.files, job.ticket.input_digest, job.ticket.selection) = (part.files, part.input_digest, selection);
        job.memory_mib(u64::from(engine.limits.lambda_memory_mib)).timeout(120)
    }

    /// Changes the engine's manifest.
    pub fn manifest(mut self, from: &str, to: &str) -> Self {
        assert!(self.manifest.contains(from), "{from} is not in the manifest");
        self.manifest = self.manifest.replace(from, to);
        self
    }

    pub fn timeout(mut self, seconds: u32) -> Self {
        self.ticket.timeout_seconds = seconds;
        self
    }

    /// The machine's memory; the runner keeps some of it.
    pub fn memory_mib(mut self, mib: u64) -> Self {
        self.memory_mib = mib;
        self
    }

    /// The limit of open files that the runner finds.
    pub fn open_files(mut self, count: u64) -> Self {
        self.open_files = Some(count);
        self
    }

    /// Only root can set all of them up; others have just their own.
    pub fn under(mut self, conditions: Conditions) -> Self {
        self.conditions = conditions;
        self
    }

    pub fn tmp(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    pub fn input(&self) -> RunnerInput {
        RunnerInput {
            ticket_url: self.storage.url("ticket"),
            scan_id: SCAN.parse().unwrap(),
            job: 0,
            trace_id: TRACE.to_owned(),
        }
    }

    pub fn start(&self) -> Child {
        self.command().spawn().unwrap()
    }

    /// What starts the runner with this job.
    pub fn command(&self) -> Command {
        self.storage.put("ticket", serde_json::to_vec(&self.ticket).unwrap());
        let manifest = self.dir.path().join("engine.toml");
        fs::write(&manifest, &self.manifest).unwrap();
        let input = self.input();
        let (program, sandbox) = self.programs();
        let mut command = match self.open_files {
            None => Command::new(program),
            Some(count) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("ulimit -n {count}; exec \"$0\" \"$@\"")]).arg(program);
                shell
            }
        };
        match self.conditions {
            Conditions::Usual => {}
            Conditions::SameUser | Conditions::SameUserWithoutLandlock => {
                std::os::unix::fs::chown(self.tmp(), Some(NOBODY), Some(NOBODY)).unwrap();
                command.uid(NOBODY).gid(NOBODY);
            }
            Conditions::Private | Conditions::PrivateWithoutLandlock => {
                fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
            }
        }
        if matches!(self.conditions, Conditions::SameUserWithoutLandlock | Conditions::PrivateWithoutLandlock) {
            command.env(NO_LANDLOCK, "1");
        }
        command
            .current_dir("/")
            .args(["--exact", "runner_process", "--nocapture"])
            .env(MANIFEST, manifest)
            .env(SANDBOX, sandbox)
            .env("ENGINES_DIR", &self.engines_dir)
            .env("TMPDIR", self.tmp())
            .env("DUNLIN_TICKET_URL", &input.ticket_url)
            .env("DUNLIN_SCAN_ID", SCAN)
            .env("DUNLIN_JOB", "0")
            .env("DUNLIN_TRACE_ID", TRACE)
            .env("DUNLIN_MEMORY_MIB", self.memory_mib.to_string())
            .env("AWS_SECRET_ACCESS_KEY", "the-runners-own-key")
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }

    /// This test and the runner, where another user can execute them.
    fn programs(&self) -> (PathBuf, PathBuf) {
        let programs = (std::env::current_exe().unwrap(), PathBuf::from(env!("CARGO_BIN_EXE_runner")));
        if !matches!(self.conditions, Conditions::SameUser | Conditions::SameUserWithoutLandlock) {
            return programs;
        }
        let copies = (self.dir.path().join("test"), self.dir.path().join("runner"));
        if !copies.0.exists() {
            fs::copy(programs.0, &copies.0).unwrap();
            fs::copy(programs.1, &copies.1).unwrap();
        }
        copies
    }

    /// Runs the job to its end. Whatever the engine did, no process and no file of it is left.
    pub fn run(&self) -> Ended {
        let ended = end(self.start());
        self.assert_nothing_left();
        ended
    }

    pub fn assert_nothing_left(&self) {
        let left: Vec<_> = fs::read_dir(self.tmp()).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "scratch is still there: {left:?}");
        let marker = self.dir.path().to_string_lossy().into_owned();
        let processes = processes_with(&marker);
        assert!(processes.is_empty(), "processes are still there: {processes:?}");
    }

    /// The result that was stored: manifest and number of findings.
    pub fn result(&self) -> (ResultManifest, usize) {
        let stored = self.storage.get("result").expect("a result is stored");
        let text = String::from_utf8(zstd::decode_all(stored.as_slice()).unwrap()).unwrap();
        let mut lines = text.lines().map(|line| serde_json::from_str::<ResultLine>(line).unwrap());
        let Some(ResultLine::Manifest(manifest)) = lines.next() else { panic!("the manifest comes first") };
        let findings = lines.filter(|line| matches!(line, ResultLine::Finding(_))).count();
        assert_eq!(manifest.findings, findings as u64);
        (manifest, findings)
    }

    pub fn report(&self) -> String {
        let stored = self.storage.get("report").expect("a report is stored");
        String::from_utf8(zstd::decode_all(stored.as_slice()).unwrap()).unwrap()
    }

    /// The failure record; there must be no result beside it.
    pub fn failure(&self) -> JobFailure {
        assert!(self.storage.get("result").is_none(), "a failed job has stored a result");
        serde_json::from_slice(&self.storage.get("failure").expect("a failure is recorded")).unwrap()
    }
}

pub fn end(mut child: Child) -> Ended {
    let mut log = String::new();
    child.stdout.take().unwrap().read_to_string(&mut log).unwrap();
    let status = child.wait().unwrap();
    eprintln!("{log}");
    assert_eq!(status.signal(), None, "the runner was ended by a signal");
    Ended { code: status.code(), log }
}

pub fn ticket(storage: &Storage, files: &[(&str, String)], engine: &str, version: &str) -> Ticket {
    let mut archive = Vec::new();
    let mut packer = Packer::new(&mut archive, Limits::default()).unwrap();
    for (path, content) in files {
        packer.add(path, false, content.len() as u64, content.as_bytes()).unwrap();
    }
    let (packed, _) = packer.finish().unwrap();
    let mut digest = InputDigest::default();
    for file in &packed.files {
        digest.add(&file.path, &file.sha256);
    }
    storage.put("snapshot", archive);
    let put = |name: &str| PresignedPut {
        url: storage.url(name),
        headers: vec![("if-none-match".to_owned(), "*".to_owned())],
    };
    Ticket {
        version: 1,
        scan_id: SCAN.parse::<ScanId>().unwrap(),
        tenant: "acme".parse().unwrap(),
        job: 0,
        trace_id: TRACE.to_owned(),
        engine: engine.to_owned(),
        engine_version: version.to_owned(),
        snapshot_url: storage.url("snapshot"),
        snapshot_sha256: packed.archive_sha256.clone(),
        snapshot_bytes: packed.archive_bytes,
        selection: Selection { include: vec!["**".to_owned()], exclude: vec![], shard: Shard::WHOLE },
        files: packed.files.len() as u64,
        input_digest: digest.finish(),
        result_key: ResultKey::of_parts([b"test".as_slice()]),
        timeout_seconds: 30,
        result_put: put("result"),
        report_put: put("report"),
        failure_put: PresignedPut { url: storage.url("failure"), headers: vec![] },
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Where `make test` has installed the engines.
pub fn engines_dir() -> PathBuf {
    let folder = std::env::var_os("ENGINES_DIR").map_or_else(|| root().join(".local/engines"), PathBuf::from);
    assert!(folder.is_dir(), "no engines in {}: run `make engines`", folder.display());
    folder
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Processes whose command line or working directory names `marker`; zombies have neither.
pub fn processes_with(marker: &str) -> HashMap<i32, String> {
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if pid == std::process::id().cast_signed() {
            continue;
        }
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let directory = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if line.contains(marker) || directory.to_string_lossy().contains(marker) {
            found.insert(pid, line);
        }
    }
    found
}

/// Waits for a condition, not for a time.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const MANIFEST_TOML: &str = r#"
name = "hostile"
version = "1.0.0"
title = "Hostile"
description = "An engine of the tests"
licence = "Apache-2.0"
homepage = "https://example.com"
category = "multi"

[reads]
include = ["**"]

[run]
command = ["hostile", "{out}"]
env = { ENGINE_SETTING = "on" }
version_command = ["hostile"]

[report]
format = "sarif"
max_bytes = 5_000_000

[exit]
done = [0]
findings = [1]
bad_input = [2]

[limits]
size = "small"
timeout_seconds = 30
lambda = true
lambda_memory_mib = 1024
shard = 0
estimate = { seconds_fixed = 0.5, bytes_per_second = 20_000_000 }

[local]
pip = "requirements.txt"
executables = { hostile = "bin/hostile" }
"#;
