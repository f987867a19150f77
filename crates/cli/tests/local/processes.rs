//! What engines may do, and what stays of them: nothing.

use crate::world::{GREP_PYTHON, Run, World, finished};
use nix::{
    libc,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{
        fs::chown,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Somebody without an account.
const NOBODY: u32 = 65_533;
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts children that try to get away, says so, and never ends.
fn restless(mark: &str) -> String {
    format!(
        "#!/bin/sh\n(trap '' TERM INT HUP; setsid sleep 9{mark} & sleep 8{mark}) &\ntrap '' TERM INT HUP\nsleep 7{mark}\nsleep 6{mark}\n"
    )
}

/// Processes whose command line has `mark` in it.
fn with(mark: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.starts_with(b"sleep") && String::from_utf8_lossy(&line).contains(mark)
    })
    .count()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        thread::sleep(Duration::from_millis(20));
    }
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// A number of seconds that no other test, and no other run of this one, sleeps.
fn mark(test: u32) -> String {
    format!("{test}{}", std::process::id())
}

#[test]
fn an_interrupt_ends_every_process_and_removes_the_copies() {
    for (number, signal) in [(1, Signal::SIGINT), (2, Signal::SIGTERM)] {
        let world = World::new();
        let mark = mark(number);
        world.engine("ruff", &restless(&mark));
        let mut child = world.command(&[]).process_group(0).spawn().unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        let mut told = told.lines().map(Result::unwrap);
        assert!(told.any(|line| line.starts_with("shellcheck: done")));
        wait_until("the start of the engine", || with(&mark) >= 3);
        assert!(!world.left_over().is_empty());
        send(&child, signal);
        assert!(told.any(|line| line.contains("the scan was stopped")));
        let run = finished(child);
        assert_eq!(run.code, 2, "{run:?}");
        assert_eq!(with(&mark), 0);
        assert!(world.left_over().is_empty(), "{:?}", world.left_over());
        // What was ready is known.
        world.remove_engine("shellcheck");
        let again = world.scan(&["--engines", "shellcheck"]);
        assert!(again.out.contains("1 of 1 result was known"), "{again:?}");
    }
}

/// Enough for a report that no pipe holds, and for copies that take a moment.
fn many_files(world: &World) {
    for n in 0..3000 {
        world.write(&format!("many/{n}.py"), "eval(input())\n");
    }
    world.commit("many");
}

/// The exit code; the program must end by itself.
fn code_of(child: &mut Child) -> Option<i32> {
    let mut ended = None;
    wait_until("the end of the scan", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    ended.unwrap().code()
}

#[test]
fn an_interrupt_while_files_are_copied_ends_the_scan_and_removes_the_copies() {
    let world = World::new();
    many_files(&world);
    let mut child = world.command(&["--engines", "ruff"]).spawn().unwrap();
    let copied = || world.left_over().iter().any(|name| world.path("tmp").join(name).join("source/many").is_dir());
    wait_until("the first copies", copied);
    send(&child, Signal::SIGINT);
    assert_eq!(code_of(&mut child), Some(2));
    assert!(world.left_over().is_empty(), "{:?}", world.left_over());
}

#[test]
fn a_signal_is_heard_while_nobody_reads_the_report() {
    let world = World::new();
    many_files(&world);
    let options = ["--engines", "ruff", "--format", "json"];
    assert_eq!(world.scan(&options).code, 0);
    // What a scan left that was killed goes also when every result is known.
    let abandoned = world.path("tmp/dunlin-scan-abandoned");
    fs::create_dir(&abandoned).unwrap();
    fs::write(abandoned.join("lock"), "").unwrap();
    let mut child = world.command(&options).spawn().unwrap();
    let mut first = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    send(&child, Signal::SIGTERM);
    assert_eq!(code_of(&mut child), Some(2));
    assert!(world.left_over().is_empty(), "{:?}", world.left_over());
}

#[test]
fn a_scan_that_is_killed_leaves_no_process() {
    let world = World::new();
    let mark = mark(3);
    world.engine("ruff", &restless(&mark));
    let child = world.command(&["--engines", "ruff"]).spawn().unwrap();
    wait_until("the start of the engine", || with(&mark) >= 3);
    send(&child, Signal::SIGKILL);
    assert_eq!(child.wait_with_output().unwrap().status.signal(), Some(9));
    wait_until("the end of the engine", || with(&mark) == 0);
    // The next scan clears up after it.
    world.engine("ruff", "#!/bin/sh\nexit 9\n");
    wait_until("the end of the job", || {
        world.scan(&["--engines", "ruff"]);
        world.left_over().is_empty()
    });
}

/// What a shell starts and leaves to the program that it becomes: `server & exec dunlin ...`, `exec dunlin ... > >(gzip > out.gz)`.
#[test]
fn processes_that_were_there_before_the_scan_are_left_alone() {
    let world = World::new();
    let mark = mark(5);
    // The second engine leaves a daemon in the group of nobody; it goes, and they stay.
    world.engine("ruff", &format!("#!/bin/sh\ncat app/*.py > /dev/null\nsetsid sleep 4{mark} &\nexit 9\n"));
    let (pipe, out) = (world.path("pipe"), world.path("out"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!(
        "(cat {pipe} > {out}; echo reader ended >> {out}) &\nsleep 3{mark} &\nexec \"$0\" \"$@\" > {pipe}",
        pipe = pipe.display(),
        out = out.display()
    );
    let scan = world.command(&["--format", "json"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(scan.get_program()).args(scan.get_args());
    shell.envs(scan.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_eq!(shell.stderr(Stdio::null()).status().unwrap().code(), Some(2));
    let text = || fs::read_to_string(&out).unwrap_or_default();
    wait_until("the end of the reader", || text().ends_with("reader ended\n"));
    assert!(text().contains("\"findings\""), "{}", text());
    assert_eq!(with(&format!("4{mark}")), 0, "the engine's own daemon");
    assert_eq!(with(&format!("3{mark}")), 1);
    for process in fs::read_dir("/proc").unwrap().flatten() {
        if fs::read(process.path().join("cmdline")).is_ok_and(|line| line == format!("sleep\03{mark}\0").as_bytes()) {
            kill(Pid::from_raw(process.file_name().to_str().unwrap().parse().unwrap()), Signal::SIGKILL).unwrap();
        }
    }
}

#[test]
fn an_engine_that_never_ends_is_stopped_and_the_others_are_not() {
    let world = World::new();
    world.write(".dunlin.toml", "[engine.ruff]\ntimeout_seconds = 1\n");
    world.commit("timeout");
    let mark = mark(4);
    world.engine("ruff", &restless(&mark));
    let run = world.scan(&[]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.out.contains("ruff timed out") && run.out.contains("deploy.sh:1"), "{run:?}");
    assert_eq!(with(&mark), 0);
}

/// Tries to get at what is the user's, and reports what it got as a finding.
fn thief(world: &World) -> String {
    format!(
        r#"#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --output-file ] && out=$2; shift; done
got=
try() {{ "$@" >/dev/null 2>&1 && got="$got stole($*)"; }}
cat app/main.py > /dev/null
try cat {home}/secret
try ls {home}
try ls {repo}
try cat {repo}/app/main.py
try touch {repo}/app/planted.py
try touch app/planted.py
try sh -c 'echo changed >> app/main.py'
try cat {cache}/dunlin
try ls {tmp}
try cat /proc/$PPID/environ
try cat /proc/$PPID/cmdline
try kill -0 $PPID
try sh -c 'exec 3<>/dev/tcp/127.0.0.1/22'
try curl -s http://127.0.0.1
[ -n "$TOP_SECRET" ] && got="$got environment"
case "$HOME" in {home}*) got="$got home";; esac
printf '{{"version":"2.1.0","runs":[{{"tool":{{"driver":{{"name":"ruff"}}}},"results":[{{"ruleId":"X","message":{{"text":"got:%s."}},"locations":[{{"physicalLocation":{{"artifactLocation":{{"uri":"app/main.py"}},"region":{{"startLine":1}}}}}}]}}]}}]}}' "$got" > "$out"
exit 1
"#,
        home = world.path("home").display(),
        repo = world.repo().display(),
        cache = world.path("cache").display(),
        tmp = world.path("tmp").display(),
    )
}

fn scan_with_a_thief(user: Option<u32>) -> Run {
    let world = World::new();
    fs::write(world.path("home/secret"), "the user's key").unwrap();
    world.engine("ruff", &thief(&world));
    let mut command = world.command(&["--engines", "ruff"]);
    command.env("TOP_SECRET", "hunter2");
    if let Some(user) = user {
        give(world.dir.path(), user);
        command.uid(user).gid(user);
    }
    finished(command.spawn().unwrap())
}

/// As root, who can become somebody else: root's own processes are not bounded.
#[test]
fn what_the_user_starts_meanwhile_leaves_room_for_the_engine_and_a_fork_bomb_ends() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let scan = |world: &World| {
        give(world.dir.path(), NOBODY);
        let mut command = world.command(&["--engines", "ruff", "--no-cache"]);
        command.uid(NOBODY).gid(NOBODY);
        command.spawn().unwrap()
    };
    let world = World::new();
    let mark = mark(6);
    let waiting = format!("#!/bin/sh\nsleep 3.0{mark}\n");
    world.engine("ruff", &GREP_PYTHON.replace("#!/bin/sh\n", &waiting));
    let child = scan(&world);
    wait_until("the start of the engine", || with(&mark) == 1);
    let build = "import threading, time\nfor n in range(600): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\nprint(flush=True)\ntime.sleep(600)";
    let mut build = Command::new("python3").args(["-c", build]).uid(NOBODY).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(build.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    assert_eq!(with(&mark), 1, "the engine was faster, so this says nothing");
    let run = finished(child);
    build.kill().unwrap();
    build.wait().unwrap();
    assert!(run.code == 0 && run.out.contains("app/main.py:5"), "{run:?}");

    world.engine("ruff", "#!/bin/sh\nbomb() { bomb & bomb & wait; }\nbomb\n");
    let run = finished(scan(&world));
    assert!(run.code == 2 && run.out.contains("more than 200 processes"), "{run:?}");
}

fn give(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), user));
    }
}

#[test]
fn an_engine_gets_at_nothing_of_the_user() {
    let run = scan_with_a_thief(None);
    assert!(run.out.contains("got:."), "{run:?}");
    assert_eq!(run.code, 0, "{run:?}");
}

/// As root, who can become somebody else; for others the test above is this one.
#[test]
fn nor_when_the_user_is_an_ordinary_one() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let run = scan_with_a_thief(Some(NOBODY));
    assert!(run.out.contains("got:."), "{run:?}");
    assert_eq!(run.code, 0, "{run:?}");
}

/// The command line, one argument a line, for the process that [`without_landlock_no_engine_starts`] starts.
const ARGUMENTS: &str = "TEST_ARGUMENTS";

/// Becomes the program, on a kernel that seems to be without Landlock.
fn become_without_landlock(arguments: &str) -> ! {
    let calls = [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];
    let filter = SeccompFilter::new(
        calls.map(|call| (call, vec![])).into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    seccompiler::apply_filter_all_threads(&BpfProgram::try_from(filter.unwrap()).unwrap()).unwrap();
    let error = Command::new(env!("CARGO_BIN_EXE_dunlin")).args(arguments.lines()).exec();
    panic!("{error}");
}

#[test]
fn without_landlock_no_engine_starts() {
    // The filter is for a whole process and for ever, so this test starts itself in another one.
    if let Ok(arguments) = std::env::var(ARGUMENTS) {
        become_without_landlock(&arguments);
    }
    let world = World::new();
    let wanted = world.command(&["--engines", "ruff"]);
    let arguments: Vec<_> = wanted.get_args().map(|argument| argument.to_str().unwrap()).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "processes::without_landlock_no_engine_starts", "--nocapture"])
        .envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env(ARGUMENTS, arguments.join("\n"));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("this kernel has no landlock"), "{text}");
    assert!(text.contains("no findings in what was scanned"), "{text}");
}

#[test]
fn a_folder_that_is_edited_meanwhile_is_scanned_as_it_was_at_one_moment() {
    let world = World::new();
    chown(world.dir.path(), None, None).unwrap();
    // The engine changes nothing of what it sees, and what it sees changes for nobody.
    world.engine(
        "shellcheck",
        &format!(
            "#!/bin/sh\nfor n in 1 2 3 4 5; do cat deploy.sh > /dev/null; sleep 0.1; done\n{}",
            "printf '{\"comments\":[]}'\n"
        ),
    );
    let child = world.command(&[]).spawn().unwrap();
    wait_until("the copies", || !world.left_over().is_empty());
    thread::sleep(Duration::from_millis(100));
    world.write("app/main.py", "print('edited')\n");
    let run = finished(child);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("app/main.py:5"), "{run:?}");
    assert!(world.scan(&["--engines", "ruff"]).out.contains("no findings"));
}

/// Says where it is and where it may write, in a way that is not taken for a path, and fails.
const LOST: &str = "#!/bin/sh\necho \"(source$(pwd | tr / ' ')) (home$(echo $HOME | tr / ' '))\" >&2\nexit 9\n";

#[test]
fn small_copies_are_made_in_memory_and_what_engines_write_is_not() {
    let said = |out: &str, word: &str| -> PathBuf {
        let rest = out.split_once(word).unwrap_or_else(|| panic!("no {word} in {out}")).1;
        rest.split_once(')').unwrap().0.replace(' ', "/").into()
    };
    let in_memory = |path: &Path| path.starts_with("/dev/shm");
    let world = World::new();
    world.engine("ruff", LOST);
    let mut command = world.command(&["--engines", "ruff"]);
    let named = finished(command.spawn().unwrap());
    assert!(said(&named.out, "(source").starts_with(world.path("tmp")), "{named:?}");
    let unnamed = finished(command.env_remove("TMPDIR").spawn().unwrap());
    let (source, home) = (said(&unnamed.out, "(source"), said(&unnamed.out, "(home"));
    assert!(!in_memory(&home), "{unnamed:?}");
    // A few files of a few bytes: there is room for them wherever there is such a folder.
    assert!(in_memory(&source) || !Path::new("/dev/shm").is_dir(), "{unnamed:?}");
    for place in [source, home] {
        let scan = place
            .ancestors()
            .find(|above| above.to_string_lossy().rsplit('/').next().unwrap().starts_with("dunlin-scan-"));
        assert!(!scan.unwrap().exists(), "{}", place.display());
    }
}
