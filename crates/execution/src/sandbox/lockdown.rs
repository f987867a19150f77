//! `runner sandbox`: gives up every right it can and becomes the engine.

use super::{
    policy::{Identity, Layers, Policy, ProcessLimits, Status},
    restrict, syscalls,
};
use crate::supervise::meter;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::{
    process::{Resource, Rlimit, Signal, getppid, getrlimit, nice, set_parent_process_death_signal, setrlimit, setsid},
    thread::{
        CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
    },
};
use std::{
    ffi::OsString,
    fs::File,
    io::Write,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

/// Of 19. On a machine that is not busy it changes nothing.
const NICENESS: i32 = 10;

/// What is said when a step of the lockdown fails; the cause is appended.
type Refusal = String;

/// Does not return when all goes well: the process is the engine from then on. `arguments` are the policy, `--`, the program
/// and its arguments.
pub fn become_engine(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let policy = arguments.next().and_then(|text| serde_json::from_slice::<Policy>(text.as_encoded_bytes()).ok());
    let separator = arguments.next();
    let program = arguments.next();
    let (Some(policy), Some("--"), Some(program)) = (policy, separator.as_deref().and_then(|s| s.to_str()), program)
    else {
        return ExitCode::from(64);
    };
    close_inherited_files();
    // Closed by the kernel when the engine starts, like every file that the standard library opens.
    let Ok(mut status) = File::options().append(true).open(&policy.status_file) else {
        return ExitCode::from(64);
    };
    // The lockdown closes /proc.
    let memory_bytes = meter::high_water("self").unwrap_or(0);
    let said = match lock_down(&policy) {
        Err(refusal) => Status::Refused(refusal),
        Ok(layers) => {
            let told = say(&mut status, &Status::Locked { layers, memory_bytes });
            if told.is_err() {
                return ExitCode::from(70);
            }
            // From here on only what the policy allows is possible, for this code too.
            let error = Command::new(&program).args(arguments).exec();
            Status::NotExecuted(format!("{}: {error}", program.display()))
        }
    };
    let _ = say(&mut status, &said);
    ExitCode::from(70)
}

fn say(status: &mut File, what: &Status) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    status.write_all(&line)
}

/// Whoever started the runner may have left files open for its children (the Lambda environment does with its log).
fn close_inherited_files() {
    let Ok(folder) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    for fd in open {
        // The folder itself was one of them, and is closed already.
        let _ = nix::unistd::close(fd);
    }
}

fn lock_down(policy: &Policy) -> Result<Layers, Refusal> {
    let because = |step: &str| {
        let step = step.to_owned();
        move |error: rustix::io::Errno| format!("{step}: {error}")
    };
    // A session of its own: no terminal, and one name for everything that the engine starts.
    setsid().map_err(because("new session"))?;
    // When memory runs out, the kernel shall take the engine and not the runner. Not everywhere permitted, never needed.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // Against hundreds of processes of an engine gone wild, the runner shall get its turn.
    let _ = nice(NICENESS);
    limit(&policy.limits).map_err(because("limits"))?;
    take_identity(policy.identity)?;
    // After the change of identity, which clears it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(because("death signal"))?;
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get().unsigned_abs() != policy.runner_pid) {
        return Err("the runner is gone".to_owned());
    }
    set_no_new_privs(true).map_err(because("no_new_privs"))?;
    let landlock = restrict::restrict(policy).map_err(|error| format!("landlock: {error}"))?;
    if landlock == 0 && policy.identity == Identity::Powerless {
        return Err("the engine's files are for root only, and without landlock no engine runs as root".to_owned());
    }
    if landlock == 0 && policy.landlock_required {
        return Err(
            "this kernel has no landlock, and without it the engine could read everything that the user can".to_owned()
        );
    }
    let place = syscalls::Place {
        runner_pid: policy.runner_pid,
        engine_pid: std::process::id(),
        shares_user: !matches!(policy.identity, Identity::Become { .. }),
        signals_are_scoped: landlock >= restrict::SCOPES_SIGNALS,
    };
    syscalls::install(place).map_err(|error| match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    })?;
    Ok(Layers { landlock, identity: policy.identity })
}

fn limit(limits: &ProcessLimits) -> rustix::io::Result<()> {
    // Only downwards: what the container or Lambda has set already is not ours to raise.
    let within = |resource, current: u64, maximum: u64| {
        let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        setrlimit(resource, Rlimit { current: Some(current.min(most)), maximum: Some(maximum.min(most)) })
    };
    let set = |resource, value: u64| within(resource, value, value);
    set(Resource::Core, 0)?;
    // One second before the hard end the kernel sends SIGXCPU, which a runtime may report.
    within(Resource::Cpu, limits.cpu_seconds, limits.cpu_seconds.saturating_add(1))?;
    set(Resource::Fsize, limits.file_bytes)?;
    set(Resource::Nofile, limits.open_files)?;
    set(Resource::Nproc, limits.processes)
}

fn take_identity(identity: Identity) -> Result<(), Refusal> {
    let fail = |step: &str, error: &dyn std::fmt::Display| format!("{step}: {error}");
    match identity {
        Identity::Inherit => Ok(()),
        Identity::Become { id } => {
            setgroups(&[]).map_err(|e| fail("drop groups", &e))?;
            setgid(Gid::from_raw(id)).map_err(|e| fail("become group", &e))?;
            setuid(Uid::from_raw(id)).map_err(|e| fail("become user", &e))
        }
        Identity::Powerless => {
            setgroups(&[]).map_err(|e| fail("drop groups", &e))?;
            clear_ambient_capability_set().map_err(|e| fail("ambient capabilities", &e))?;
            for capability in CapabilitySet::all() {
                // The kernel may know fewer than this crate.
                match remove_capability_from_bounding_set(capability) {
                    Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                    Err(error) => return Err(fail("bounding set", &error)),
                }
            }
            // Being root gives nothing any more, now or after an exec.
            let bits = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
            set_capabilities_secure_bits(bits).map_err(|e| fail("secure bits", &e))?;
            let none = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
                .map_err(|e| fail("capabilities", &e))
        }
    }
}
