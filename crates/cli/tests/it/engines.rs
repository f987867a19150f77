//! `dunlin engines`: once with the real pip, else with programs that take pip's and npm's place.

use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Stands in for `python3 -m pip`: leaves a ruff of the right version, and a line for each time it was called.
const GOOD_PIP: &str = r#"
echo "$PWD $*" >> "$HOME/calls"
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/bin"
printf '#!/bin/sh\necho ruff VERSION\n' > "$2/bin/ruff"
"#;

struct Machine {
    home: TempDir,
}

impl Machine {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("programs")).unwrap();
        fs::create_dir(home.path().join("project")).unwrap();
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn engines(&self) -> PathBuf {
        self.path("engines")
    }

    /// A program on the path. Nothing else is there.
    fn program(&self, name: &str, script: &str) -> &Self {
        let version = &dunlin_engines::find("ruff").unwrap().version;
        let path = self.path("programs").join(name);
        let script = format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{}\n", script.replace("VERSION", version));
        // Written beside and moved: a program that is open for writing cannot be started.
        let fresh = path.with_extension("new");
        fs::write(&fresh, script).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(fresh, path).unwrap();
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.arg("engines").args(args).current_dir(self.path("project"));
        command
            .env("PATH", self.path("programs"))
            .env("HOME", self.home.path())
            .env("DUNLIN_ENGINES_DIR", self.engines());
        command.env_remove("XDG_DATA_HOME").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        told(self.command(args).output().unwrap())
    }

    fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.path("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Everything in the folder of the engines but the lock.
    fn left(&self) -> BTreeSet<String> {
        let Ok(entries) = fs::read_dir(self.engines()) else { return BTreeSet::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".lock").collect()
    }

    fn state(&self, engine: &str) -> String {
        let (code, out, err) = self.run(&["list", "--json"]);
        assert_eq!(code, 0, "{err}");
        let list: Vec<Value> = serde_json::from_str(&out).unwrap();
        let found = list.iter().find(|entry| entry["name"] == engine).unwrap();
        assert_eq!(found["bytes"].is_u64(), found["state"] != "not_installed", "{found}");
        found["state"].as_str().unwrap().to_owned()
    }
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn wait_for(path: &Path, child: &mut Child) {
    let began = Instant::now();
    while !path.exists() {
        assert!(
            child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(60),
            "no {}",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn ruff_comes_with_the_real_pip_and_goes_again() {
    let machine = Machine::new();
    let path = std::env::var_os("PATH").unwrap();
    // The user's own settings say where packages come from.
    let mut install = machine.command(&["install", "ruff"]);
    if let Some(home) = std::env::var_os("HOME") {
        install.env("HOME", home);
    }
    let (code, out, err) = told(install.env("PATH", path).output().unwrap());
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("ruff ") && out.contains(" installed: "), "{out}");
    assert_eq!(machine.left(), BTreeSet::from(["ruff".to_owned()]));
    assert_eq!(machine.state("ruff"), "installed");

    // From here on there is no pip: nothing asks for it again.
    let (code, out, err) = machine.run(&["install", "ruff"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.ends_with(" is installed\n"), "{out}");
    let (code, out, err) = machine.run(&["check"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("ruff 0.") && out.contains(": ok\n") && out.contains("trivy") && out.contains(": not installed"),
        "{out}"
    );

    // Others may run it: the folder may be mounted, and a scan starts engines as another user.
    let mode = fs::metadata(machine.engines().join("ruff/bin/ruff")).unwrap().permissions().mode();
    assert_eq!(mode & 0o555, 0o555);
    assert_eq!(fs::read_link(machine.engines().join("ruff/bin/ruff")).unwrap(), Path::new("../lib/bin/ruff"));

    let (code, out, err) = machine.run(&["remove", "ruff"]);
    assert_eq!((code, out.as_str()), (0, "ruff removed\n"), "{err}");
    assert!(machine.left().is_empty());
    assert_eq!(machine.state("ruff"), "not_installed");
}

#[test]
fn pip_is_told_to_take_nothing_but_what_is_pinned() {
    let machine = Machine::new();
    machine.program("python3", GOOD_PIP);
    let (code, _, err) = machine.run(&["install", "ruff"]);
    assert_eq!(code, 0, "{err}");
    let calls = machine.calls();
    assert_eq!(calls.len(), 1);
    for option in ["-m pip install", "--require-hashes", "--only-binary :all:", "--no-deps", "--no-input"] {
        assert!(calls[0].contains(option), "{option}: {}", calls[0]);
    }
    // A `pip.py` in the folder that dunlin is started in must not be run.
    assert!(!calls[0].starts_with(&*machine.path("project").to_string_lossy()), "{}", calls[0]);
}

#[test]
fn what_is_missing_is_named() {
    let machine = Machine::new();
    let (code, _, err) = machine.run(&["install", "ruff", "eslint"]);
    assert_eq!(code, 3);
    assert!(err.contains("ruff") && err.contains("python3 is needed to install it"), "{err}");
    assert!(err.contains("eslint") && err.contains("npm is needed to install it: install Node.js"), "{err}");
    machine.program("python3", "echo \"/usr/bin/python3: No module named pip\" >&2; exit 1");
    let (code, _, err) = machine.run(&["install", "ruff"]);
    assert!(code == 3 && err.contains("python3 has no module pip (Debian: python3-pip)"), "{code} {err}");
    assert!(machine.left().is_empty());
}

#[test]
fn a_failure_says_why_and_leaves_nothing() {
    let machine = Machine::new();
    machine.program("python3", "mkdir -p lib; echo one; echo 'ERROR: \x1b[31mno matching distribution' >&2; exit 1");
    let (code, _, err) = machine.run(&["install", "ruff"]);
    assert_eq!(code, 3);
    assert!(err.contains("pip ended with exit code 1: ERROR: \\u{1b}[31mno matching distribution"), "{err}");
    machine.program("npm", "echo 'npm error code EINTEGRITY' >&2; exit 1");
    let (_, _, err) = machine.run(&["install", "eslint"]);
    assert!(err.contains("npm ended with exit code 1: npm error code EINTEGRITY"), "{err}");
    assert!(machine.left().is_empty());
    // One that works is installed although another does not.
    machine.program("python3", GOOD_PIP);
    let (code, out, _) = machine.run(&["install", "eslint", "ruff"]);
    assert!(code == 3 && out.starts_with("ruff ") && out.contains("installed"), "{code} {out}");
    assert_eq!(machine.left(), BTreeSet::from(["ruff".to_owned()]));
}

#[test]
fn an_engine_of_another_version_is_refused() {
    let machine = Machine::new();
    machine.program("python3", &GOOD_PIP.replace("VERSION", "0.0.1"));
    let (code, _, err) = machine.run(&["install", "ruff"]);
    assert!(code == 3 && err.contains("and it says: ruff 0.0.1"), "{code} {err}");
    machine.program("python3", &GOOD_PIP.replace("/bin/ruff\"", "/bin/other\""));
    let (code, _, err) = machine.run(&["install", "ruff"]);
    assert!(code == 3 && err.contains("the package has no lib/bin/ruff"), "{code} {err}");
    assert!(machine.left().is_empty());
}

#[test]
fn a_check_notices_what_was_changed() {
    let machine = Machine::new();
    machine.program("python3", GOOD_PIP);
    let (code, _, err) = machine.run(&["check"]);
    assert!(code == 3 && err.contains("no engine is installed in"), "{code} {err}");
    assert_eq!(machine.run(&["install", "ruff"]).0, 0);
    assert_eq!(machine.run(&["check", "ruff"]).0, 0);
    let (code, out, _) = machine.run(&["check", "ruff", "trivy"]);
    assert!(code == 3 && out.contains("trivy") && out.contains(": not installed"), "{code} {out}");

    let program = machine.engines().join("ruff/lib/bin/ruff");
    for (script, words) in
        [("echo ruff 9.9.9", "it says: ruff 9.9.9"), ("echo oh; exit 4", "it ended with exit code 4: oh")]
    {
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        let (code, out, _) = machine.run(&["check", "--json"]);
        let checked: Vec<Value> = serde_json::from_str(&out).unwrap();
        let ruff = checked.iter().find(|entry| entry["name"] == "ruff").unwrap();
        assert_eq!((code, &ruff["health"]), (3, &"wrong".into()), "{ruff}");
        assert!(ruff["problem"].as_str().unwrap().contains(words), "{ruff}");
    }
    // The stamp is still right, yet a program is gone: installing again repairs it.
    fs::remove_file(&program).unwrap();
    assert_eq!(machine.state("ruff"), "out_of_date");
    assert_eq!(machine.run(&["install", "ruff"]).0, 0);
    assert_eq!(machine.run(&["check", "ruff"]).0, 0);
}

#[test]
fn an_update_that_fails_leaves_the_engine_that_was_there() {
    let machine = Machine::new();
    machine.program("python3", GOOD_PIP);
    assert_eq!(machine.run(&["install", "ruff"]).0, 0);
    // As an older dunlin would have left it.
    fs::write(machine.engines().join("ruff/.installed"), "older").unwrap();
    assert_eq!(machine.state("ruff"), "out_of_date");
    let (code, out, _) = machine.run(&["check"]);
    assert!(code == 3 && out.contains("out of date"), "{code} {out}");
    machine.program("python3", "exit 1");
    assert_eq!(machine.run(&["install", "ruff"]).0, 3);
    assert_eq!(machine.state("ruff"), "out_of_date");
    assert!(machine.engines().join("ruff/bin/ruff").is_file());
    machine.program("python3", GOOD_PIP);
    assert_eq!(machine.run(&["install", "ruff"]).0, 0);
    assert_eq!(machine.state("ruff"), "installed");
    assert_eq!(machine.left(), BTreeSet::from(["ruff".to_owned()]));
}

#[test]
fn an_interrupted_installation_leaves_nothing() {
    for (name, left) in [("-TERM", 0), ("-INT", 0), ("-KILL", 1)] {
        let machine = Machine::new();
        machine.program("python3", "mkdir lib; touch \"$HOME/begun\"; while [ -e \"$HOME\" ]; do sleep 0.1; done");
        let mut child = machine.command(&["install", "ruff"]).spawn().unwrap();
        wait_for(&machine.path("begun"), &mut child);
        signal(&child, name);
        let (code, _, err) = told(child.wait_with_output().unwrap());
        if left == 0 {
            assert!(code == 3 && err.contains("interrupted"), "{code} {err}");
        }
        // Nobody can clean up after a kill; what it leaves has no engine's name, and goes with the next installation.
        assert_eq!(machine.left().len(), left, "{name}: {:?}", machine.left());
        assert_eq!(machine.state("ruff"), "not_installed");
        machine.program("python3", GOOD_PIP);
        assert_eq!(machine.run(&["install", "ruff"]).0, 0);
        assert_eq!(machine.left(), BTreeSet::from(["ruff".to_owned()]), "{name}");
    }
}

#[test]
fn two_at_the_same_time_install_once() {
    let machine = Machine::new();
    machine.program(
        "python3",
        &format!("touch \"$HOME/begun\"\nwhile [ ! -e \"$HOME/go\" ]; do sleep 0.02; done\n{GOOD_PIP}"),
    );
    let mut first = machine.command(&["install", "ruff"]).spawn().unwrap();
    wait_for(&machine.path("begun"), &mut first);
    let second = machine
        .command(&["install", "ruff"])
        .stderr(fs::File::create(machine.path("second")).unwrap())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !fs::read_to_string(machine.path("second")).unwrap().contains("waiting for another dunlin") {
        assert!(began.elapsed() < Duration::from_secs(60), "the second does not wait");
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::write(machine.path("go"), "").unwrap();
    for child in [first, second] {
        assert_eq!(told(child.wait_with_output().unwrap()).0, 0);
    }
    assert_eq!(machine.calls().len(), 1);
}

#[test]
fn what_somebody_else_put_there_is_left_alone() {
    let machine = Machine::new();
    machine.program("python3", GOOD_PIP);
    let place = machine.engines().join("ruff");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("thesis.txt"), "words").unwrap();
    for verb in ["install", "remove"] {
        let (code, _, err) = machine.run(&[verb, "ruff"]);
        assert!(code == 3 && err.contains("is not an engine that dunlin installed"), "{verb}: {code} {err}");
    }
    assert_eq!(fs::read_to_string(place.join("thesis.txt")).unwrap(), "words");
}

#[test]
fn the_folder_is_asked_for_set_or_the_users_own() {
    let machine = Machine::new();
    let folder = |command: &mut Command| {
        let (code, out, err) = told(command.output().unwrap());
        assert_eq!(code, 0, "{err}");
        PathBuf::from(out.lines().last().unwrap().strip_prefix("folder: ").unwrap())
    };
    assert_eq!(folder(machine.command(&["list", "--into", "here"]).env("X", "")), machine.path("project/here"));
    assert_eq!(folder(&mut machine.command(&["list"])), machine.engines());
    let unset =
        |command: &mut Command, xdg: &str| folder(command.env("DUNLIN_ENGINES_DIR", "").env("XDG_DATA_HOME", xdg));
    assert_eq!(unset(&mut machine.command(&["list"]), "/data"), Path::new("/data/dunlin/engines"));
    let own = machine.path(".local/share/dunlin/engines");
    assert_eq!(unset(&mut machine.command(&["list"]), "relative"), own);
    let mut nowhere = machine.command(&["list"]);
    let (code, _, err) = told(nowhere.env_remove("HOME").env("DUNLIN_ENGINES_DIR", "").output().unwrap());
    assert!(code == 3 && err.contains("set DUNLIN_ENGINES_DIR"), "{code} {err}");
}

#[test]
fn names_are_checked_and_removal_needs_some() {
    let machine = Machine::new();
    for verb in ["install", "check", "remove"] {
        let (code, _, err) = machine.run(&[verb, "rust"]);
        assert!(code == 3 && err.contains("no engine is called rust; there are eslint,"), "{verb}: {code} {err}");
    }
    assert_eq!(machine.run(&["remove"]).0, 3);
    let (code, _, err) = machine.run(&["remove", "--all"]);
    assert!(code == 0 && err.contains("no engine is installed in"), "{code} {err}");
    assert!(machine.left().is_empty() && !machine.engines().exists());
}
