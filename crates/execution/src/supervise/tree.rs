//! Every process that the engine started, however it tried to get away.
//!
//! The runner is a subreaper: a process whose parent dies becomes the runner's child, whatever its session or group. The
//! runner starts nothing but engines, one at a time, so all its descendants are the engine's. A process that was given others
//! by whoever started it says so before ([`Before`]).

use rustix::process::{Pid, Signal, WaitOptions, getpgrp, kill_process, kill_process_group, waitpid};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    time::{Duration, Instant},
};

/// How long killing goes on before it is given up.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    /// In ticks since the machine started: with the number it names one process.
    pub started: u64,
    pub zombie: bool,
    /// By a signal: it runs no further.
    pub stopped: bool,
    /// Resident memory, in pages.
    pub resident_pages: u64,
}

/// The descendants of this process, zombies included.
pub fn descendants() -> Vec<Process> {
    let mut by_parent: HashMap<i32, Vec<Process>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // Gone in between is fine.
        if let Some(process) = fs::read(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse_stat(pid, &stat)) {
            by_parent.entry(process.parent).or_default().push(process);
        }
    }
    let mut found: Vec<Process> = Vec::new();
    let mut above = vec![std::process::id().cast_signed()];
    while let Some(parent) = above.pop() {
        for process in by_parent.remove(&parent).unwrap_or_default() {
            above.push(process.pid);
            found.push(process);
        }
    }
    found
}

/// The descendants that were there at one moment: a shell's, which becomes this program while its other children go on.
#[derive(Debug, Default)]
pub struct Before {
    processes: HashSet<(i32, u64)>,
}

impl Before {
    pub fn now() -> Self {
        Self { processes: descendants().iter().map(|process| (process.pid, process.started)).collect() }
    }

    /// Keeps, of all `descendants`, the ones that are neither in here nor below one that is; answers the groups of the others.
    /// `descendants` have parents before children.
    fn part(&self, descendants: &mut Vec<Process>) -> BTreeSet<i32> {
        let (mut spared, mut groups) = (HashSet::new(), BTreeSet::new());
        descendants.retain(|process| {
            let spare = self.processes.contains(&(process.pid, process.started)) || spared.contains(&process.parent);
            if spare {
                spared.insert(process.pid);
                groups.insert(process.group);
            }
            !spare
        });
        groups
    }
}

/// `pid (name) state ppid ...`; the name may hold anything, brackets and newlines too (proc(5)).
fn parse_stat(pid: i32, stat: &[u8]) -> Option<Process> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end_of_name + 2..)?).ok()?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    // State is field 3, the start field 22, resident memory field 24.
    let started = fields.nth(22 - 6)?.parse().ok()?;
    let resident_pages = fields.nth(24 - 23)?.parse().unwrap_or(0);
    let zombie = matches!(state, "Z" | "X");
    Some(Process { pid, parent, group, started, zombie, stopped: state == "T", resident_pages })
}

/// Kills and reaps everything; answers how many are still there, which is 0 unless the kernel itself is stuck.
///
/// `keep` is a child that somebody else waits for: it is killed, and reaped by its owner. What was there `before` is spared,
/// with all that it starts.
pub fn kill_all(keep: Option<i32>, before: &Before) -> usize {
    let begin = Instant::now();
    // First stop, then kill: what is stopped cannot start more, so even a fork bomb comes to an end.
    for signal in [Signal::STOP, Signal::KILL] {
        let mut last_time = 0;
        loop {
            reap_orphans(keep);
            let mut alive = descendants();
            let spared = before.part(&mut alive);
            alive.retain(|process| !process.zombie);
            send(signal, &alive, &spared);
            let settled = match signal {
                // Twice: a child may appear behind the back of one look.
                Signal::STOP => alive.len() == last_time && alive.iter().all(|process| process.stopped),
                _ => alive.is_empty(),
            };
            if settled {
                break;
            }
            // What sleeps in the kernel does not stop, and is killed all the same.
            if signal == Signal::STOP && begin.elapsed() > PATIENCE / 4 {
                break;
            }
            if begin.elapsed() > PATIENCE {
                tracing::error!(processes = alive.len(), "processes of the engine cannot be killed");
                return alive.len();
            }
            last_time = alive.len();
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    reap_orphans(keep);
    0
}

/// By group first: one call reaches hundreds at the same moment, and a fork bomb leaves the runner little time for many.
fn send(signal: Signal, processes: &[Process], spared: &BTreeSet<i32>) {
    let groups: BTreeSet<i32> = processes.iter().map(|process| process.group).collect();
    let groups = groups.difference(spared).copied();
    let own = getpgrp();
    for group in groups.filter_map(Pid::from_raw).filter(|group| *group != own && *group != Pid::INIT) {
        let _ = kill_process_group(group, signal);
    }
    for pid in processes.iter().filter_map(|process| Pid::from_raw(process.pid)) {
        let _ = kill_process(pid, signal);
    }
}

/// Collects the dead that became children of the runner, so that they do not fill the table of processes.
pub fn reap_orphans(keep: Option<i32>) {
    reap(&descendants(), keep);
}

/// [`reap_orphans`] among `descendants`.
pub fn reap(descendants: &[Process], keep: Option<i32>) {
    let runner = std::process::id().cast_signed();
    for process in descendants {
        if process.parent == runner
            && process.zombie
            && Some(process.pid) != keep
            && let Some(pid) = Pid::from_raw(process.pid)
        {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_be_called_anything() {
        let rest = "S 41 7 7 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 12345 10000000 1234 18446744073709551615";
        for name in ["sh", "a b", "evil) R 1 1 1", "(((", "new\nline"] {
            let process = parse_stat(7, format!("7 ({name}) {rest}").as_bytes()).unwrap();
            assert_eq!(
                process,
                Process {
                    pid: 7,
                    parent: 41,
                    group: 7,
                    started: 12345,
                    zombie: false,
                    stopped: false,
                    resident_pages: 1234
                },
                "{name:?}"
            );
        }
        assert_eq!(parse_stat(7, b"7 (cut"), None);
    }

    #[test]
    fn what_was_there_before_is_spared_with_all_below_it() {
        let process = |pid, parent, group, started| Process {
            pid,
            parent,
            group,
            started,
            zombie: false,
            stopped: false,
            resident_pages: 0,
        };
        let before = Before { processes: HashSet::from([(10, 1), (20, 1)]) };
        // 20 has ended, and its number is another's now.
        let mut all = vec![
            process(10, 1, 10, 1),
            process(20, 1, 20, 9),
            process(11, 10, 11, 5),
            process(12, 11, 11, 6),
            process(21, 20, 11, 9),
        ];
        assert_eq!(before.part(&mut all), BTreeSet::from([10, 11]));
        assert_eq!(all.iter().map(|process| process.pid).collect::<Vec<_>>(), [20, 21]);
    }

    #[test]
    fn this_machine_is_read() {
        let stat = fs::read("/proc/self/stat").unwrap();
        let own = parse_stat(std::process::id().cast_signed(), &stat).unwrap();
        assert_eq!(own.parent, rustix::process::getppid().unwrap().as_raw_nonzero().get());
        assert!(own.resident_pages > 100);
    }
}
