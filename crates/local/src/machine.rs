//! What this machine has for engines.

use std::{fs, thread};

/// Left to everything else that runs here.
const RESERVE: u64 = 512 << 20;
/// Where the kernel does not say it.
const UNKNOWN_MEMORY: u64 = 4 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Engines at once.
    pub processors: usize,
    /// For all engines together.
    pub memory_bytes: u64,
}

impl Room {
    pub fn of_this_machine() -> Self {
        let available = meminfo_available(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
        let container = container_left();
        let free = [available, container].into_iter().flatten().min().unwrap_or(UNKNOWN_MEMORY);
        Self {
            // Heeds affinity and the quota of a container.
            processors: thread::available_parallelism().map_or(1, |count| count.get()),
            memory_bytes: free.saturating_sub(RESERVE).max(free / 2),
        }
    }
}

fn meminfo_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

/// What the container's control group still allows (cgroups(7), versions 2 and 1).
fn container_left() -> Option<u64> {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let pair = |limit: &str, used: &str| Some(number(limit)?.saturating_sub(number(used)?));
    pair("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current")
        .or_else(|| pair("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_is_available() {
        let text = "MemTotal:       24600000 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(meminfo_available(text), Some(20_000_000 << 10));
        assert_eq!(meminfo_available("MemTotal: 1 kB\n"), None);
        let room = Room::of_this_machine();
        assert!(room.processors >= 1 && room.memory_bytes > 64 << 20, "{room:?}");
    }
}
