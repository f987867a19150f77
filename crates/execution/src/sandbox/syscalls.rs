//! The seccomp filters. A list of what is denied, not of what is allowed: engines are whole runtimes (Go, Node.js, Python),
//! and each of their releases calls something new.
//!
//! Denied calls answer EPERM rather than kill, because runtimes probe and fall back. `clone3` and `openat2` answer ENOSYS: their
//! flags are behind a pointer, where a filter cannot see them, and everybody then falls back to `clone` and `openat`.

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, sock_filter,
};
use std::collections::BTreeMap;

/// Denied whatever the arguments.
const DENIED: &[i64] = &[
    // The network. Without a socket there is nothing to connect, so the rest is a second lock: a pair of local sockets
    // (`socketpair`, below) must not become a way to the sockets of others.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    // `tkill` names a thread of any process, so the runner could not be told apart.
    libc::SYS_tkill,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Doors that have let people out before, and that no scanner needs.
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    // Memory that belongs to no process: it would outlive the engine, or escape the count of its memory.
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // The machine.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // By path, and Landlock knows it from version 3 on only. Who has opened a file for writing has `ftruncate`.
    libc::SYS_truncate,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// The same number on every processor; newer than the crate.
const SYS_FCHMODAT2: i64 = 452;
const SYS_SETXATTRAT: i64 = 463;
const SYS_REMOVEXATTRAT: i64 = 466;
const SYS_FILE_SETATTR: i64 = 469;

/// Mode, owner, times and attributes of a file, for which Landlock has no right. Denied whatever the arguments to an engine
/// that shares its user with others, whose files these would be: no engine of the catalog calls any of them.
const DENIED_TO_OWNERS: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    SYS_SETXATTRAT,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    SYS_REMOVEXATTRAT,
    SYS_FILE_SETATTR,
];

/// Calls of `ioctl` that set attributes of a file which is open for reading only (ioctl_iflags(2), xfsctl).
const SET_FLAGS: &[u64] = &[0x4008_6602, 0x4004_6602, 0x401c_5820];
/// Calls of `ioctl` and `fcntl` after which the kernel sends signals to a process of the caller's choice.
const SET_OWNER_BY_IOCTL: &[u64] = &[0x8901, 0x8902];
const SET_OWNER_BY_FCNTL: &[u64] = &[8, 15];

/// Calls that change another process of the same user, and where they name it; 0 is the caller.
const OF_ONESELF: &[(i64, u8)] = &[
    (libc::SYS_prlimit64, 0),
    (libc::SYS_sched_setaffinity, 0),
    (libc::SYS_sched_setattr, 0),
    (libc::SYS_sched_setparam, 0),
    (libc::SYS_sched_setscheduler, 0),
    (libc::SYS_setpriority, 1),
    (libc::SYS_ioprio_set, 1),
];
/// What 0 stands for in `setpriority` and `ioprio_set` when all processes of the user are meant.
const WHOLE_USER: &[(i64, u64)] = &[(libc::SYS_setpriority, 2), (libc::SYS_ioprio_set, 3)];

const NAMESPACES: &[i32] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    #[error("no seccomp filter for this processor")]
    Processor(#[source] BackendError),
    #[error("seccomp filter does not compile")]
    Compile(#[source] BackendError),
    #[error("seccomp filter could not be installed")]
    Install(#[source] seccompiler::Error),
}

/// Who the engine is among the processes and files of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub runner_pid: u32,
    pub engine_pid: u32,
    /// Files and processes of others belong to the engine's user too.
    pub shares_user: bool,
    /// Landlock keeps the engine's signals among its own processes.
    pub signals_are_scoped: bool,
}

/// Installs the filters in this thread and whatever it executes. Sets `no_new_privs`, without which the kernel refuses.
pub fn install(place: Place) -> Result<(), SeccompError> {
    for program in programs(place)? {
        seccompiler::apply_filter(&program).map_err(SeccompError::Install)?;
    }
    Ok(())
}

fn programs(place: Place) -> Result<Vec<BpfProgram>, SeccompError> {
    let deny = compile(denied(place).map_err(SeccompError::Compile)?, libc::EPERM)?;
    let unseen = [libc::SYS_clone3, libc::SYS_openat2].map(|number| (number, vec![]));
    let pretend_old = compile(BTreeMap::from(unseen), libc::ENOSYS)?;
    Ok(vec![foreign_numbers(), pretend_old, deny])
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<BpfProgram, SeccompError> {
    let processor = std::env::consts::ARCH.try_into().map_err(SeccompError::Processor)?;
    let answer = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, processor)
        .and_then(BpfProgram::try_from)
        .map_err(SeccompError::Compile)
}

/// On x86-64 the kernel may also know the calls of the x32 interface: the same calls under other numbers, from 2^30 on,
/// which a list of numbers would let through.
fn foreign_numbers() -> BpfProgram {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_NOT_BELOW: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32_BIT: u32 = 0x4000_0000;
    let statement = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    vec![
        statement(LOAD_WORD, 0),
        sock_filter { code: JUMP_IF_NOT_BELOW, jt: 0, jf: 1, k: X32_BIT },
        statement(RETURN, u32::from(SeccompAction::Errno(libc::EPERM.unsigned_abs()))),
        statement(RETURN, u32::from(SeccompAction::Allow)),
    ]
}

/// An empty list of rules denies the call; else one rule that matches denies it.
fn denied(place: Place) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|number| (*number, vec![])).collect();
    if place.shares_user {
        rules.extend(DENIED_TO_OWNERS.iter().map(|number| (*number, vec![])));
    }
    let when =
        |argument, op, value: u64| SeccompRule::new(vec![SeccompCondition::new(argument, Len::Dword, op, value)?]);
    let low_half = |value: i64| u64::from(value.cast_unsigned() as u32);

    let mut namespaces = Vec::new();
    for flag in NAMESPACES {
        let flag = low_half(i64::from(*flag));
        namespaces.push(when(0, Op::MaskedEq(flag), flag)?);
    }
    rules.insert(libc::SYS_clone, namespaces);

    // Runtimes talk to their own children through pairs of stream sockets. A datagram socket can be pointed at any other.
    const SOCKET_TYPE: u64 = 0xf;
    let datagram = low_half(i64::from(libc::SOCK_DGRAM));
    let raw = low_half(i64::from(libc::SOCK_RAW));
    rules.insert(
        libc::SYS_socketpair,
        vec![
            when(0, Op::Ne, low_half(i64::from(libc::AF_UNIX)))?,
            when(1, Op::MaskedEq(SOCKET_TYPE), datagram)?,
            // The kernel turns a raw local socket into a datagram socket.
            when(1, Op::MaskedEq(SOCKET_TYPE), raw)?,
        ],
    );

    // A file that is opened for reading only can be cut all the same, and Landlock knows that from version 3 on only.
    let (mode_and_cut, cut) = (i64::from(libc::O_ACCMODE | libc::O_TRUNC), i64::from(libc::O_TRUNC));
    let cuts = |argument| when(argument, Op::MaskedEq(low_half(mode_and_cut)), low_half(cut));
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![cuts(1)?]);
    rules.insert(libc::SYS_openat, vec![cuts(2)?]);

    let mut controls = Vec::new();
    for request in SET_OWNER_BY_IOCTL.iter().chain(SET_FLAGS.iter().filter(|_| place.shares_user)) {
        controls.push(when(1, Op::Eq, *request)?);
    }
    rules.insert(libc::SYS_ioctl, controls);
    rules.insert(
        libc::SYS_fcntl,
        SET_OWNER_BY_FCNTL.iter().map(|command| when(1, Op::Eq, *command)).collect::<Result<_, _>>()?,
    );

    for (number, argument) in OF_ONESELF {
        rules.insert(*number, vec![when(*argument, Op::Ne, 0)?]);
    }
    for (number, which) in WHOLE_USER {
        rules.entry(*number).or_default().push(when(0, Op::Eq, *which)?);
    }
    signals(place, &mut rules)?;
    Ok(rules)
}

/// Who may be signalled. -1 is every process of the user, -n a process group, 0 the engine's own.
fn signals(place: Place, rules: &mut BTreeMap<i64, Vec<SeccompRule>>) -> Result<(), BackendError> {
    let low_half = |value: i64| u64::from(value.cast_unsigned() as u32);
    let target = |op, value: i64| SeccompCondition::new(0, Len::Dword, op, low_half(value));
    let (runner, engine) = (i64::from(place.runner_pid), i64::from(place.engine_pid));
    rules.insert(libc::SYS_pidfd_open, vec![SeccompRule::new(vec![target(Op::Eq, runner)?])?]);
    if place.shares_user && !place.signals_are_scoped {
        // Nothing tells the user's processes from the engine's, except for its first one. Runtimes signal their own threads.
        let itself = target(Op::Ne, engine)?;
        rules.insert(libc::SYS_kill, vec![SeccompRule::new(vec![itself.clone(), target(Op::Ne, 0)?])?]);
        rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![itself])?]);
        return Ok(());
    }
    let mut of_others = Vec::new();
    for one in [runner, -runner, -1] {
        of_others.push(SeccompRule::new(vec![target(Op::Eq, one)?])?);
    }
    rules.insert(libc::SYS_kill, of_others);
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![target(Op::Eq, runner)?])?]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> [Place; 4] {
        [(false, false), (false, true), (true, false), (true, true)].map(|(shares_user, signals_are_scoped)| Place {
            runner_pid: 4711,
            engine_pid: 4712,
            shares_user,
            signals_are_scoped,
        })
    }

    #[test]
    fn the_filters_compile_and_fit_the_kernel() {
        for place in places() {
            let programs = programs(place).unwrap();
            assert_eq!(programs.len(), 3);
            // BPF_MAXINSNS
            assert!(programs.iter().all(|program| (1..4096).contains(&program.len())));
        }
    }

    #[test]
    fn a_call_is_denied_either_wholly_or_by_argument() {
        let by_argument = [
            libc::SYS_clone,
            libc::SYS_socketpair,
            libc::SYS_kill,
            libc::SYS_tgkill,
            libc::SYS_openat,
            libc::SYS_ioctl,
            libc::SYS_fcntl,
            libc::SYS_prlimit64,
        ];
        assert!(by_argument.iter().all(|number| !DENIED.contains(number) && !DENIED_TO_OWNERS.contains(number)));
        for place in places() {
            let rules = denied(place).unwrap();
            assert!(by_argument.iter().all(|number| !rules[number].is_empty()));
            assert!(DENIED.iter().all(|number| rules[number].is_empty()));
            assert_eq!(DENIED_TO_OWNERS.iter().all(|number| rules.contains_key(number)), place.shares_user);
        }
    }
}
