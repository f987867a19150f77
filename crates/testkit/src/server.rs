//! A Postgres of our own for one test process: in a temporary folder, behind a Unix socket, gone when the process is gone.

use anyhow::{Context, bail};
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Holds the server's watchdog: it stops the server and removes its folder as soon as this process has ended, however it
/// ended, because then the other end of the watchdog's standard input is closed.
pub struct Server {
    pub socket_folder: PathBuf,
    _watchdog: Child,
}

const WATCHDOG: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
    -c max_connections=200 -c shared_buffers=64MB -c autovacuum=off -c wal_level=minimal -c max_wal_senders=0 >"$2/log" 2>&1 </dev/null &
server=$!
# Blocks until the test process ends.
cat >/dev/null
kill -INT "$server"
wait "$server"
rm -rf "$2"
"#;

impl Server {
    pub fn start() -> anyhow::Result<Self> {
        let programs = find_programs()?;
        // A short path: the name of a Unix socket has room for about 100 characters.
        let folder = tempfile::Builder::new().prefix("dunlin-pg-").tempdir_in("/tmp")?.keep();
        let user = unprivileged_user(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid))?;
        }
        let mut initdb = Command::new(programs.join("initdb"));
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"]);
        initdb.arg(folder.join("data"));
        let made = as_user(&mut initdb, user).current_dir(&folder).output().context("initdb cannot be started")?;
        succeeded("initdb", &made)?;

        let mut watchdog = Command::new("/bin/sh");
        watchdog.args(["-c", WATCHDOG, "postgres-of-tests"]).arg(&programs).arg(&folder);
        // Its own process group: the terminal's Ctrl-C must not reach the server before the tests have ended.
        let mut watchdog = as_user(&mut watchdog, user)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("the postgres server cannot be started")?;
        wait_until_ready(&programs, &folder, &mut watchdog)?;
        Ok(Self { socket_folder: folder, _watchdog: watchdog })
    }
}

fn wait_until_ready(programs: &Path, folder: &Path, watchdog: &mut Child) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let asked = Command::new(programs.join("pg_isready")).arg("-q").arg("-h").arg(folder).status()?;
        if asked.success() {
            return Ok(());
        }
        if watchdog.try_wait()?.is_some() || Instant::now() > deadline {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            bail!("the postgres server of the tests did not start; its log: {log}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The folder that has `initdb`, `postgres` and `pg_isready`.
fn find_programs() -> anyhow::Result<PathBuf> {
    let from_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut installed: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    // The newest major version first.
    installed.sort();
    installed.reverse();
    let complete = |folder: &PathBuf| ["initdb", "postgres", "pg_isready"].iter().all(|p| folder.join(p).exists());
    from_path.unwrap_or_default().into_iter().chain(installed).find(complete).context(
        "these tests need postgres: install it (Debian: postgresql), put its initdb, postgres and pg_isready in PATH, or set \
         DUNLIN_TEST_DATABASE_URL to a server where databases may be created",
    )
}

/// Postgres refuses to run as root. None: we are not root.
fn unprivileged_user(own_folder: &Path) -> anyhow::Result<Option<(u32, u32)>> {
    if fs::metadata(own_folder)?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let mut fields = users.lines().find_map(|line| line.strip_prefix(&format!("{name}:")))?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let user = find("postgres").or_else(|| find("nobody"));
    user.map(Some).context("postgres does not run as root, and there is neither a user postgres nor nobody")
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn succeeded(what: &str, output: &Output) -> anyhow::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    bail!("{what} failed: {}", String::from_utf8_lossy(&output.stderr).trim())
}
