//! The seccomp filters. A list of what is denied, not of what is allowed: engines are whole runtimes (Go, Node.js, Python),
//! and each of their releases calls something new.
//!
//! Denied calls answer EPERM rather than kill, because runtimes probe and fall back. `clone3` answers ENOSYS: its flags are
//! behind a pointer, where a filter cannot see them, and every C library then falls back to `clone`.

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

/// Installs the filters in this thread and whatever it executes. Sets `no_new_privs`, without which the kernel refuses.
pub fn install(runner_pid: u32) -> Result<(), SeccompError> {
    for program in programs(runner_pid)? {
        seccompiler::apply_filter(&program).map_err(SeccompError::Install)?;
    }
    Ok(())
}

fn programs(runner_pid: u32) -> Result<Vec<BpfProgram>, SeccompError> {
    let deny = compile(denied(runner_pid).map_err(SeccompError::Compile)?, libc::EPERM)?;
    let pretend_old = compile(BTreeMap::from([(libc::SYS_clone3, vec![])]), libc::ENOSYS)?;
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
fn denied(runner_pid: u32) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|number| (*number, vec![])).collect();
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

    // The engine may have the runner's user. -1 is every process of that user, -n a process group.
    let runner = i64::from(runner_pid);
    let targets = [runner, -runner, -1].map(low_half);
    let mut signals = Vec::new();
    for target in targets {
        signals.push(when(0, Op::Eq, target)?);
    }
    rules.insert(libc::SYS_kill, signals);
    for number in [libc::SYS_tgkill, libc::SYS_pidfd_open, libc::SYS_prlimit64] {
        rules.insert(number, vec![when(0, Op::Eq, low_half(runner))?]);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_and_fit_the_kernel() {
        let programs = programs(4711).unwrap();
        assert_eq!(programs.len(), 3);
        // BPF_MAXINSNS
        assert!(programs.iter().all(|program| (1..4096).contains(&program.len())));
    }

    #[test]
    fn a_call_is_denied_either_wholly_or_by_argument() {
        let by_argument = [libc::SYS_clone, libc::SYS_socketpair, libc::SYS_kill, libc::SYS_tgkill];
        assert!(by_argument.iter().all(|number| !DENIED.contains(number)));
        let rules = denied(4711).unwrap();
        assert!(by_argument.iter().all(|number| !rules[number].is_empty()));
        assert!(DENIED.iter().all(|number| rules[number].is_empty()));
    }
}
