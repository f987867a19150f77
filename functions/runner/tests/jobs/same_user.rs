//! Engines that share their user with the runner and with others: on Lambda, on somebody's machine, and as root without any
//! capability. What file rights do not keep from them, the sandbox does.

use crate::{
    hostile::{attempts, fails, finds_nothing, root},
    support::{self, Conditions, Job},
};
use std::os::unix::fs::MetadataExt;

/// What must not be possible even where the engine has the runner's own user and there is no Landlock.
fn reach_for_the_runner() -> Job {
    attempts(&[
        "open(f'/proc/{os.getppid()}/environ').read()",
        "open(f'/proc/{os.getppid()}/mem', 'rb')",
        "open(f'/proc/{os.getppid()}/maps').read()",
        "os.listdir(f'/proc/{os.getppid()}/fd')",
        "os.kill(os.getppid(), 9)",
        "os.kill(-1, 9)",
        "os.killpg(os.getpgid(os.getppid()), 0) if os.getpgid(os.getppid()) == os.getppid() else os.kill(os.getppid(), 15)",
        "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))",
        "socket.socket()",
    ])
}

#[test]
fn the_same_user_without_landlock_is_kept_off_the_runner() {
    if !root() {
        finds_nothing(&reach_for_the_runner());
        return;
    }
    for conditions in [Conditions::SameUser, Conditions::SameUserWithoutLandlock] {
        let job = reach_for_the_runner().under(conditions);
        let ended = job.run();
        assert_eq!(ended.code, Some(0), "{conditions:?}");
        assert_eq!(job.result().1, 0, "{conditions:?}: {}", job.report());
        let landlock = if conditions == Conditions::SameUser { 1 } else { 0 };
        let none = ended.log.contains("\"landlock\":0,");
        assert_eq!(none, landlock == 0, "{conditions:?} was not set up");
        assert!(ended.log.contains("Inherit"));
    }
}

#[test]
fn other_processes_of_the_same_user_are_left_alone() {
    if !root() {
        return;
    }
    let mut other =
        std::os::unix::process::CommandExt::uid(std::process::Command::new("sleep").arg("600"), support::NOBODY)
            .spawn()
            .unwrap();
    let pid = other.id();
    for conditions in [Conditions::SameUser, Conditions::SameUserWithoutLandlock] {
        let (kill, group) = (format!("os.kill({pid}, 0)"), format!("os.killpg({pid}, 0)"));
        let call = |arguments: &str| {
            format!("import ctypes\nif ctypes.CDLL(None).syscall({arguments}) == -1: raise OSError")
                .replace('P', &pid.to_string())
        };
        let (thread, limit) = (call("234, P, P, 0"), call("302, P, 7, 0, 0"));
        let own =
            "import threading\nsignal.pthread_kill(threading.get_ident(), 0)\nos.kill(os.getpid(), 0)\nos.kill(0, 0)";
        finds_nothing(&attempts(&[&kill, &group, &thread, &limit]).under(conditions));
        let cause = fails(&attempts(&[own]).under(conditions), 70, "Runner.EngineCrashed");
        assert!(cause.contains("exit code 3") && cause.contains("pthread_kill"), "it may signal itself: {cause}");
    }
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn files_of_the_same_user_keep_mode_owner_times_and_attributes() {
    if !root() || !cfg!(target_arch = "x86_64") {
        return;
    }
    for (conditions, owner) in [
        (Conditions::SameUser, support::NOBODY),
        (Conditions::SameUserWithoutLandlock, support::NOBODY),
        (Conditions::Private, 0),
    ] {
        let elsewhere = tempfile::Builder::new().prefix("of-the-user-").tempfile().unwrap();
        std::os::unix::fs::chown(elsewhere.path(), Some(owner), Some(owner)).unwrap();
        let call = |arguments: &str| {
            format!(
                "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nif libc.syscall({arguments}) == -1 and ctypes.get_errno() in (1, 38): raise OSError"
            )
        };
        let mut statements: Vec<String> = [
            "os.chmod(PATH, 0o4777)",
            "os.chown(PATH, -1, -1)",
            "os.lchown(PATH, -1, -1)",
            "os.utime(PATH)",
            "os.setxattr(PATH, 'user.x', b'x')",
            "os.removexattr(PATH, 'user.x')",
            // What is its own belongs to the same user: a file that is open does not say where it is.
            "os.fchmod(os.open(OWN, os.O_RDWR), 0o4777)",
            "os.fchown(os.open(OWN, os.O_RDWR), -1, -1)",
            "os.utime(os.open(OWN, os.O_RDWR))",
            "os.setxattr(os.open(OWN, os.O_RDWR), 'user.x', b'x')",
            "import fcntl; fcntl.ioctl(os.open(OWN, os.O_RDONLY), 0x40086602, bytes(8))",
        ]
        .map(str::to_owned)
        .into();
        for arguments in [
            "90, PATH, 0o4777",
            "92, PATH, -1, -1",
            "94, PATH, -1, -1",
            "132, PATH, 0",
            "235, PATH, 0",
            "261, -100, PATH, 0",
            "268, -100, PATH, 0o4777",
            "452, -100, PATH, 0o4777, 0",
            "463, -100, PATH, 0, b'user.x', 0, 0",
            "466, -100, PATH, 0, b'user.x'",
            "469, -100, PATH, 0, 0, 0",
        ] {
            statements.push(call(&arguments.replace("PATH", "PATH.encode()")));
        }
        let place =
            format!("PATH = {:?}; OWN = os.environ['TMPDIR'] + '/own'; open(OWN, 'w').close(); ", elsewhere.path());
        let statements: Vec<String> = statements.iter().map(|statement| format!("{place}{statement}")).collect();
        let before = std::fs::metadata(elsewhere.path()).unwrap();
        finds_nothing(&attempts(&statements.iter().map(String::as_str).collect::<Vec<_>>()).under(conditions));
        let after = std::fs::metadata(elsewhere.path()).unwrap();
        assert_eq!(
            (before.mode(), before.ctime(), before.ctime_nsec()),
            (after.mode(), after.ctime(), after.ctime_nsec())
        );
    }
}

#[test]
fn the_same_user_leaves_nothing_behind_either() {
    if !root() {
        return;
    }
    let program = "open('src/a.py').read()\nfor n in range(3):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0: time.sleep(600)\n        \
                   os._exit(0)\nsarif(1)\n";
    // Nobody can look into it, so nobody knows what is in it.
    let hiding =
        "os.mkdir(os.environ['TMPDIR'] + '/a', 0o300)\nos.mkdir(os.environ['TMPDIR'] + '/a/b', 0)\ntime.sleep(20)\n";
    for conditions in [Conditions::SameUser, Conditions::SameUserWithoutLandlock] {
        let job = Job::python(program).under(conditions);
        assert_eq!(job.run().code, Some(0), "{conditions:?}");
        assert_eq!(job.result().1, 1);
        let cause = fails(&Job::python(hiding).under(conditions), 70, "Runner.EngineCrashed");
        assert!(cause.contains("a folder that nobody may look into"), "{cause}");
    }
    // This one gives each of its processes a session of its own.
    let bomb = Job::python("while True:\n    try:\n        if os.fork() == 0: os.setsid()\n    except OSError: pass\n");
    fails(&bomb.timeout(60).under(Conditions::SameUserWithoutLandlock), 70, "Runner.EngineCrashed");
}

#[test]
fn root_keeps_no_power_where_nobody_else_can_reach_the_engine() {
    if !root() {
        return;
    }
    let job = attempts(&[
        "open('/etc/shadow').read()",
        "os.listdir('/root')",
        "open('/tmp/dunlin-test-outside', 'w')",
        "open(f'/proc/{os.getppid()}/environ').read()",
        "open(f'/proc/{os.getppid()}/mem', 'rb')",
        "os.kill(os.getppid(), 9)",
        "os.chown(os.environ['TMPDIR'], 1, 1)",
        "os.setuid(1)",
        "os.chroot('/')",
        "os.nice(-5)",
        "open('/proc/self/oom_score_adj', 'w').write('-1000')",
        "if subprocess.run(['mount', '-t', 'tmpfs', 'x', os.environ['TMPDIR']]).returncode: raise OSError",
    ])
    .under(Conditions::Private);
    let ended = job.run();
    assert_eq!(ended.code, Some(0));
    assert!(ended.log.contains("Powerless"));
    assert_eq!(job.result().1, 0, "{}", job.report());

    let job = Job::python("sarif(0)\n").under(Conditions::PrivateWithoutLandlock);
    let cause = fails(&job, 70, "Runner.EngineMissing");
    assert!(cause.contains("without landlock no engine runs as root"), "{cause}");
}
