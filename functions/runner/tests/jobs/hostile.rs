//! Engines that crash, hang, multiply, fill, lie and look around. Each job ends by name, and leaves no process and no file.
//! (`Job::run` looks for both after every job.)

use crate::support::{self, Conditions, Job, until};
use dunlin_core::job::JobOutcome;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    io::Write,
    net::{TcpListener, UdpSocket},
    time::{Duration, Instant},
};

/// Runs it and answers name and cause of the failure.
pub fn fails(job: &Job, code: i32, name: &str) -> String {
    let ended = job.run();
    let failure = job.failure();
    assert_eq!((ended.code, failure.error.name.as_str()), (Some(code), name), "{}", failure.error.cause);
    failure.error.cause
}

/// Runs an engine that looks around, reports what it found by exit code 1 and one result for each, and must find nothing.
pub fn finds_nothing(job: &Job) {
    let ended = job.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(job.result().1, 0, "{}", job.report());
}

/// Whether the tests can set up other conditions than their own.
pub fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Tries each of the Python statements; one that raises no error is a result. The file is read, so that the job is assessed.
pub fn attempts(statements: &[&str]) -> Job {
    let list = serde_json::to_string(statements).unwrap();
    Job::python(&format!(
        "open('src/a.py').read()\ndone = []\nfor statement in {list}:\n    try:\n        exec(statement)\n        done.append(statement)\n    \
         except OSError as error:\n        pass\nprint(done, file=sys.stderr)\nsarif(len(done))\nif done: sys.exit(3)\n"
    ))
}

#[test]
fn crashing_is_told_with_the_last_words() {
    let cause =
        fails(&Job::python("sys.stderr.write('index out of range')\nsys.exit(139)\n"), 70, "Runner.EngineCrashed");
    assert!(cause.contains("exit code 139") && cause.contains("index out of range"), "{cause}");
    let cause = fails(&Job::python("sarif(1)\nos.abort()\n"), 70, "Runner.EngineCrashed");
    assert!(cause.contains("signal 6"), "{cause}");
    let cause = fails(&Job::python("sarif(1)\nos.kill(os.getpid(), 9)\n"), 70, "Runner.EngineCrashed");
    assert!(cause.contains("signal 9"), "{cause}");
}

#[test]
fn hanging_and_ignoring_signals_ends_in_time() {
    let job = Job::python(
        "for n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: time.sleep(60)\n",
    );
    let begin = Instant::now();
    fails(&job.timeout(1), 124, "Runner.TimedOut");
    assert!(begin.elapsed() < Duration::from_secs(6));
    fails(&Job::python("while True: pass\n").timeout(1), 124, "Runner.TimedOut");
}

#[test]
fn a_fork_bomb_ends() {
    let job = Job::python("while True:\n    try: os.fork()\n    except OSError: pass\n").timeout(60);
    let begin = Instant::now();
    let cause = fails(&job, 70, "Runner.EngineCrashed");
    assert!(cause.contains("more than 200 processes"), "{cause}");
    assert!(begin.elapsed() < Duration::from_secs(25), "it took {:?}", begin.elapsed());
}

#[test]
fn daemons_that_left_session_and_parent_are_gone_with_the_engine() {
    let job = Job::python(
        "open('src/a.py').read()\nfor n in range(3):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            \
         os.setsid()\n            for f in (0, 1, 2): os.close(f)\n            time.sleep(600)\n        os._exit(0)\n    os.wait()\nsarif(1)\n",
    );
    assert_eq!(job.run().code, Some(0));
    assert_eq!(job.result().1, 1);
}

#[test]
fn a_daemon_that_holds_the_output_open_delays_nothing() {
    let job =
        Job::python("open('src/a.py').read()\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\nsarif(1)\n");
    let begin = Instant::now();
    assert_eq!(job.run().code, Some(0));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_disk_is_bounded() {
    let by_file = "n = 0\nwhile True:\n    n += 1\n    with open(os.environ['TMPDIR'] + f'/{n}', 'wb') as f:\n        for _ in range(5): f.write(b'x' * 4000000)\n";
    let cause = fails(&Job::python(by_file), 70, "Runner.EngineCrashed");
    assert!(cause.contains("it wrote more than"), "{cause}");
    let one_file = "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nwith open(report, 'wb') as f:\n    while True: f.write(b'x' * 4000000)\n";
    let cause = fails(&Job::python(one_file), 70, "Runner.EngineCrashed");
    assert!(cause.contains("a file that is too large"), "{cause}");
    let nameless = "keep = []\nwhile True:\n    f = open(os.environ['TMPDIR'] + '/x', 'wb')\n    os.unlink(f.name)\n    keep.append(f)\n    for _ in range(5): f.write(b'x' * 4000000)\n";
    let cause = fails(&Job::python(nameless), 70, "Runner.EngineCrashed");
    assert!(cause.contains("it wrote more than"), "{cause}");
    let many = "n = 0\nwhile True:\n    n += 1\n    os.mkdir(os.environ['TMPDIR'] + f'/{n}')\n";
    let cause = fails(&Job::python(many), 70, "Runner.EngineCrashed");
    assert!(cause.contains("files"), "{cause}");
}

#[test]
fn folders_deeper_than_any_path_are_seen_and_removed() {
    let deep = "open('src/a.py').read()\nos.chdir(os.environ['TMPDIR'])\nfor n in range(3000):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)\n";
    let job = Job::python(&format!("{deep}time.sleep(20)\n")).open_files(1000);
    let cause = fails(&job, 70, "Runner.EngineCrashed");
    assert!(cause.contains("more than a path can name") || cause.contains("more than 5000 files"), "{cause}");
    // It may be faster than the first look.
    let ended = Job::python(&format!("{deep}sarif(1)\n")).open_files(1000).run();
    assert!(matches!(ended.code, Some(0 | 70)), "{}", ended.log);
}

#[test]
fn printing_without_end_fills_nothing() {
    let job = Job::python("while True: os.write(1 + (time.time_ns() % 2), b'x' * 65536)\n").timeout(3);
    fails(&job, 124, "Runner.TimedOut");
    let report = Job::python("while True: os.write(1, b'x' * 65536)\n").manifest(
        "command = [\"hostile\", \"{out}\"]",
        "command = [\"hostile\", \"/dev/stdout\"]\nstdout_report = true",
    );
    let begin = Instant::now();
    let cause = fails(&report, 70, "Runner.EngineCrashed");
    assert!(cause.contains("it printed more than 5000000 bytes"), "{cause}");
    assert!(begin.elapsed() < Duration::from_secs(5), "it was not stopped when the bound was passed");
}

#[test]
fn memory_is_bounded_over_all_processes() {
    let cause = fails(
        &Job::python("keep = []\nwhile True: keep.append(bytearray(os.urandom(1000000)))\n").memory_mib(300),
        137,
        "Runner.OutOfMemory",
    );
    assert!(cause.contains("172 MiB"), "{cause}");
    // Each of them alone is far below the limit.
    let shared =
        "for n in range(6):\n    if os.fork() == 0: break\nkeep = bytearray(os.urandom(60000000))\ntime.sleep(20)\n";
    let job = Job::python(shared).memory_mib(400);
    fails(&job, 137, "Runner.OutOfMemory");
    assert!(job.failure().peak_memory_bytes > 200 << 20);
    assert_eq!(job.failure().outcome, JobOutcome::OutOfMemory);
}

#[test]
fn memory_that_forks_share_is_counted_once() {
    let shared = "open('src/a.py').read()\nkeep = bytes(100000000)\nkeep = bytearray(os.urandom(100000000))\nchildren = []\nfor n in range(5):\n    \
                  pid = os.fork()\n    if pid == 0:\n        time.sleep(0.7)\n        os._exit(0)\nfor n in range(5): os.wait()\nsarif(0)\n";
    let job = Job::python(shared).memory_mib(500);
    assert_eq!(job.run().code, Some(0));
    assert!(job.result().0.peak_memory_bytes < 330 << 20, "{}", job.result().0.peak_memory_bytes);
}

#[test]
fn writing_outside_is_denied() {
    let elsewhere = tempfile::Builder::new().prefix("open-to-all-").tempdir().unwrap();
    std::fs::set_permissions(elsewhere.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let elsewhere_file = format!("open('{}/x', 'w')", elsewhere.path().display());
    let job = attempts(&[
        &elsewhere_file,
        "open('/tmp/dunlin-test-outside', 'w')",
        "open('/dev/shm/dunlin-test-outside', 'w')",
        "open('/var/tmp/dunlin-test-outside', 'w')",
        "open('src/new.py', 'w')",
        "open('src/a.py', 'a')",
        "os.unlink('src/a.py')",
        "os.chmod('src/a.py', 0o777)",
        "open(sys.argv[0], 'a')",
        "open(os.path.join(os.getcwd(), '../own/x'), 'w')",
        "os.link('/etc/passwd', os.environ['TMPDIR'] + '/x')",
        "os.mknod(os.environ['TMPDIR'] + '/disk', 0o60600, os.makedev(8, 0))",
        "open('/proc/self/oom_score_adj', 'w').write('-1000')",
    ]);
    finds_nothing(&job);
    assert_eq!(elsewhere.path().read_dir().unwrap().count(), 0);
}

#[test]
fn the_machine_and_the_runner_cannot_be_looked_at() {
    let mut secret = tempfile::Builder::new().prefix("readable-").tempfile().unwrap();
    secret.write_all(b"readable by all").unwrap();
    std::fs::set_permissions(secret.path(), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let elsewhere = format!("open('{}').read()", secret.path().display());
    let job = attempts(&[
        &elsewhere,
        "open(f'/proc/{os.getppid()}/environ').read()",
        "open(f'/proc/{os.getppid()}/mem', 'rb')",
        "open(f'/proc/{os.getppid()}/maps').read()",
        "os.listdir(f'/proc/{os.getppid()}/fd')",
        "os.readlink(f'/proc/{os.getppid()}/exe')",
        "open(f'/proc/{os.getppid()}/cmdline').read()",
        "open('/proc/1/environ').read()",
        "open('/etc/shadow').read()",
        "os.listdir('/root')",
        "os.listdir('/tmp')",
        "os.listdir('/')",
        "open('/var/log/dpkg.log').read()",
        "os.open(f'/proc/{os.getppid()}', os.O_RDONLY)",
        "os.listdir('../own')",
    ]);
    finds_nothing(&job);
}

#[test]
fn the_engines_environment_is_clean() {
    let job = Job::python(
        "open('src/a.py').read()\nexpected = {'PATH', 'HOME', 'TMPDIR', 'LANG', 'ENGINE_SETTING', 'LC_CTYPE'}\nextra = set(os.environ) - expected\n\
         assert not extra, extra\nassert os.environ['HOME'] == os.environ['TMPDIR'] and os.environ['ENGINE_SETTING'] == 'on'\n\
         assert not [f for f in os.listdir('/proc/self/fd') if int(f) > 3], os.listdir('/proc/self/fd')\n\
         assert os.getsid(0) == os.getpid() and sys.stdin.read() == ''\nsarif(0)\n",
    );
    finds_nothing(&job);
}

#[test]
fn the_network_is_not_there() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    let (tcp_port, udp_port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
    let connect = format!("socket.create_connection(('127.0.0.1', {tcp_port}))");
    let send = format!("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {udp_port}))");
    let job = attempts(&[
        &connect,
        &send,
        "socket.socket(socket.AF_INET6)",
        "socket.socket(socket.AF_UNIX)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)",
        "socket.socket(socket.AF_VSOCK)",
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW)",
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)[0].connect('/run/x')",
    ]);
    finds_nothing(&job);
    assert!(tcp.accept().is_err() && udp.recv(&mut [0; 8]).is_err());
}

#[test]
fn what_runtimes_need_is_there() {
    let job = Job::python(
        "open('src/a.py').read()\nimport threading\na, b = socket.socketpair()\na.send(b'x')\nassert b.recv(1) == b'x'\n\
         t = threading.Thread(target=lambda: None)\nt.start()\nt.join()\n\
         assert subprocess.run(['sh', '-c', 'echo ok'], capture_output=True).stdout == b'ok\\n'\nopen('/dev/null', 'w').write('x')\n\
         os.urandom(8)\nopen('/proc/self/status').read()\nopen('/proc/meminfo').read()\nopen(os.environ['TMPDIR'] + '/x', 'w').write('x')\n\
         os.rename(os.environ['TMPDIR'] + '/x', os.environ['TMPDIR'] + '/y')\nsarif(0)\n",
    );
    finds_nothing(&job);
}

#[test]
fn system_calls_that_open_doors_are_denied() {
    // Numbers of x86-64 and, for those above 400, of every processor.
    let calls = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\ndef call(*a):\n    if libc.syscall(*a) == -1:\n        e = ctypes.get_errno()\n        \
                 if e in (1, 38): raise OSError(e, 'denied')\n";
    let parent = "os.getppid()";
    let statements: Vec<String> = [
        ("ptrace", "101, 16, P, 0, 0"),
        ("process_vm_readv", "310, P, 0, 0, 0, 0, 0"),
        ("unshare user namespace", "272, 0x10000000"),
        ("clone user namespace", "56, 0x10000011, 0, 0, 0, 0"),
        ("clone3", "435, 0, 0"),
        ("mount", "165, 0, 0, 0, 0, 0"),
        ("bpf", "321, 0, 0, 0"),
        ("io_uring_setup", "425, 8, 0"),
        ("keyctl", "250, 0, 0"),
        ("perf_event_open", "298, 0, 0, 0, 0, 0"),
        ("userfaultfd", "323, 0"),
        ("memfd_create", "319, b'x', 0"),
        ("shmget", "29, 0, 4096, 0o1600"),
        ("open_by_handle_at", "304, 0, 0, 0"),
        ("pidfd_open of the runner", "434, P, 0"),
        ("prlimit of the runner", "302, P, 7, 0, 0"),
        ("prlimit of any process by its number", "302, os.getpid(), 7, 0, 0"),
        ("the runner's processors", "203, P, 0, 0"),
        ("priority of the user", "141, 2, 0, 19"),
        ("signals of a file to the runner", "72, 1, 8, P"),
        ("the same by ioctl", "16, 1, 0x8901, 0"),
        ("truncate", "76, b'x', 0"),
        ("cutting what is open for reading", "2, b'src/a.py', 0o1000"),
        ("the same by openat", "257, -100, b'src/a.py', 0o1000"),
        ("openat2", "437, -100, b'src/a.py', 0, 0"),
        ("an x32 call", "0x40000000 + 41, 2, 1, 0"),
        ("signal to the runner", "62, P, 0"),
        ("signal to everybody", "62, -1, 0"),
        ("signal to the runner's thread", "234, P, P, 0"),
    ]
    .iter()
    .map(|(_, arguments)| format!("{calls}call({})", arguments.replace('P', parent)))
    .collect();
    if cfg!(target_arch = "x86_64") {
        finds_nothing(&attempts(&statements.iter().map(String::as_str).collect::<Vec<_>>()));
    }
}

#[test]
fn a_report_that_is_none_is_no_result() {
    for (program, cause) in [
        ("pass\n", "left no report"),
        ("open(report, 'w')\n", "empty"),
        ("sarif(3)\ntext = open(report).read()\nopen(report, 'w').write(text[:-30])\n", "not sarif"),
        ("os.symlink('/etc/passwd', report)\n", "is a link"),
        ("os.mkfifo(report)\n", "not a plain file"),
        ("os.mkdir(report)\n", "not a plain file"),
        ("open(report, 'wb').truncate(6000000)\n", "longer than 5000000"),
    ] {
        let told = fails(&Job::python(program), 70, "Runner.ReportUnreadable");
        assert!(told.to_lowercase().contains(cause), "{told:?} does not say {cause:?}");
    }
}

#[test]
fn an_engine_that_read_nothing_has_assessed_nothing() {
    // Names and sizes are not what is in a file.
    for program in ["sarif(0)\n", "os.stat('src/a.py')\nos.listdir('src')\nsarif(0)\n"] {
        let job = Job::python(program);
        let cause = fails(&job, 70, "Runner.NothingAssessed");
        assert!(cause.contains("opened none of the 2 files"), "{cause}");
        assert_eq!(job.failure().outcome, JobOutcome::Failed);
    }
}

#[test]
fn findings_of_an_engine_that_read_nothing_are_kept_and_doubted() {
    let job = Job::python("sarif(2)\n");
    assert_eq!(job.run().code, Some(0));
    let (manifest, findings) = job.result();
    assert_eq!((manifest.outcome, findings), (JobOutcome::PartlyAssessed, 2));
    assert_eq!(manifest.note.unwrap(), "the engine opened none of the 2 files it was given");
}

#[test]
fn there_is_nothing_to_open_in_empty_files() {
    let mut job = Job::python("sarif(0)\n");
    job.ticket = support::ticket(&job.storage, &[("src/__init__.py", String::new())], "hostile", "1.0.0");
    assert_eq!(job.run().code, Some(0));
    assert_eq!(job.result().0.outcome, JobOutcome::Assessed);
}

#[test]
fn five_gigabytes_of_words_are_read_and_not_kept() {
    let job = Job::python(
        "open('src/a.py').read()\npiece = b'x' * (1 << 20)\nfor n in range(5 << 10): os.write(1 + n % 2, piece)\nsarif(1)\n",
    )
    .timeout(120);
    let ended = job.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(job.result().1, 1);
    assert!(job.result().0.peak_memory_bytes < 200 << 20);
}

#[test]
fn a_complaint_on_standard_error_is_heeded() {
    let job =
        Job::python("open('src/a.py').read()\nsys.stderr.write('note\\nerror: cannot parse src/b.py\\n')\nsarif(1)\n")
            .manifest("max_bytes = 5_000_000", "max_bytes = 5_000_000\nlog_complaints = [\"cannot parse\"]");
    assert_eq!(job.run().code, Some(0));
    let (manifest, findings) = job.result();
    assert_eq!((manifest.outcome, findings), (JobOutcome::PartlyAssessed, 1));
    assert!(manifest.note.as_ref().is_some_and(|note| note.contains("cannot parse src/b.py")), "{manifest:?}");
}

#[test]
fn an_exit_code_that_says_more_than_the_report_is_noticed() {
    let job = Job::python("open('src/a.py').read()\nsarif(0)\nsys.exit(1)\n");
    assert_eq!(job.run().code, Some(0));
    let (manifest, _) = job.result();
    assert_eq!(manifest.outcome, JobOutcome::PartlyAssessed);
    assert!(manifest.note.unwrap().contains("exit code 1"));
}

#[test]
fn sigterm_ends_the_job_in_order() {
    let job = Job::python(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nif os.fork() == 0: os.setsid()\nopen(os.environ['TMPDIR'] + '/started', 'w')\ntime.sleep(600)\n",
    );
    let runner = job.start();
    let tmp = job.tmp();
    until("the start of the engine", || {
        let scratch = tmp.read_dir().ok()?.flatten().next()?;
        scratch.path().join("work/started").exists().then_some(())
    });
    let begin = Instant::now();
    kill(Pid::from_raw(runner.id().cast_signed()), Signal::SIGTERM).unwrap();
    let ended = support::end(runner);
    assert_eq!(ended.code, Some(143));
    assert!(begin.elapsed() < Duration::from_secs(4), "it took {:?}", begin.elapsed());
    job.assert_nothing_left();
    assert_eq!(job.failure().error.name, "Runner.Terminated");
}

#[test]
fn sigterm_while_the_source_is_unpacked_leaves_nothing_of_it() {
    let mut job = Job::python("sarif(0)\n");
    let paths: Vec<String> = (0..3_000).map(|n| format!("{n:05}/deep/{n}.py")).collect();
    let files: Vec<_> = paths.iter().map(|path| (path.as_str(), "print()\n".to_owned())).collect();
    job.ticket = support::ticket(&job.storage, &files, "hostile", "1.0.0");
    let runner = job.start();
    let tmp = job.tmp();
    until("the first files", || {
        tmp.read_dir().ok()?.flatten().next()?.path().join("source/00020").exists().then_some(())
    });
    kill(Pid::from_raw(runner.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(support::end(runner).code, Some(143));
    job.assert_nothing_left();
}

#[test]
fn sigterm_while_storage_hangs_ends_the_job_too() {
    let job = Job::python("sarif(0)\n");
    job.storage.fail("snapshot", &[503; 20]);
    let runner = job.start();
    until("the first try", || (job.storage.requests("GET snapshot") > 0).then_some(()));
    kill(Pid::from_raw(runner.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(support::end(runner).code, Some(143));
    job.assert_nothing_left();
}

#[test]
fn an_engine_dies_with_a_runner_that_is_killed() {
    let job = Job::python("open(os.environ['TMPDIR'] + '/started', 'w')\ntime.sleep(600)\n");
    let mut runner = job.start();
    let tmp = job.tmp();
    until("the start of the engine", || {
        let scratch = tmp.read_dir().ok()?.flatten().next()?;
        scratch.path().join("work/started").exists().then_some(())
    });
    runner.kill().unwrap();
    runner.wait().unwrap();
    let marker = job.dir.path().to_string_lossy().into_owned();
    until("the end of the engine", || support::processes_with(&marker).is_empty().then_some(()));
}

#[test]
fn limits_that_are_there_already_are_kept() {
    if !root() {
        return;
    }
    // Containers and Lambda have 1024, and nobody there may raise it.
    let job = Job::python(
        "import resource\nopen('src/a.py').read()\nsarif(0 if resource.getrlimit(resource.RLIMIT_NOFILE) == (1000, 1000) else 1)\n",
    )
    .under(Conditions::SameUser)
    .open_files(1000);
    finds_nothing(&job);
}
