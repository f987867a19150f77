"""Finding, measuring and ending process trees through /proc.

A job's or a function's processes are found in two ways at once: by session (everything is started as the leader of a
new session, and what an engine starts stays in it unless it calls setsid) and by descent from the leader. A process is
named by pid and start time together, because a pid alone may have been given to somebody else since.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path



@dataclass(frozen=True)
class Process:
    """One line of /proc/<pid>/stat."""

    pid: int
    parent: int
    session: int
    start: int
    state: str

    @property
    def key(self) -> tuple[int, int]:
        """What names the process for its whole life."""
        return (self.pid, self.start)


def read(pid: int) -> Process | None:
    """The process with this pid, or None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, UnicodeDecodeError):
        return None
    # The command is in parentheses and may hold spaces and parentheses itself.
    fields = text[text.rfind(")") + 2 :].split()
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0])


def snapshot() -> list[Process]:
    """Every process that is not a zombie."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := read(int(name))) and process.state not in "ZX":
            found.append(process)
    return found


def alive(pid: int, start: int | None = None) -> bool:
    """Whether the process runs, and is still the one that started at `start`."""
    process = read(pid)
    return process is not None and process.state not in "ZX" and (start is None or process.start == start)


def tree(leader: int, processes: Iterable[Process] | None = None) -> list[Process]:
    """The leader, its descendants, and whatever shares the leader's session."""
    every = list(snapshot() if processes is None else processes)
    members: dict[int, Process] = {p.pid: p for p in every if p.pid == leader or p.session == leader}
    grown = True
    while grown:
        grown = False
        for process in every:
            if process.pid not in members and process.parent in members:
                members[process.pid] = process
                grown = True
    return list(members.values())


def memory_kib(pid: int) -> int:
    """Memory that belongs to the process alone or to shared segments: pages of files on disk do not count."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")):
                total += int(line.split()[1])
    except (OSError, UnicodeDecodeError, IndexError, ValueError):
        return 0
    return total


def tree_memory_kib(members: Iterable[Process]) -> int:
    """Memory of a set of processes."""
    return sum(memory_kib(process.pid) for process in members)


def signal_all(members: Iterable[Process], number: int) -> None:
    """Signal each process that is still the same one."""
    for process in members:
        if alive(process.pid, process.start):
            try:
                os.kill(process.pid, number)
            except (ProcessLookupError, PermissionError):
                continue


def kill_tree(leader: int, extra: Iterable[Process] = ()) -> None:
    """SIGKILL everything of a tree, looking again until nothing is left (a fork may be under way)."""
    seen = list(extra)
    for _ in range(50):
        members = [p for p in tree(leader) if p.pid != os.getpid()]
        members += [p for p in seen if alive(p.pid, p.start)]
        if not members:
            return
        signal_all(members, signal.SIGKILL)
        time.sleep(0.02)


def argv(pid: int) -> list[str]:
    """The words of the command line, whole: what a process is recognised by. Empty when there is none."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
    return [os.fsdecode(word) for word in words[:-1]]


def command(pid: int) -> str:
    """The command line for messages, hence cut."""
    return " ".join(argv(pid)).strip()[:200]


def boot_id() -> str:
    """Which start of the machine this is: pids and start times mean something else after the next one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def listener(port: int) -> int | None:
    """The pid that listens on a TCP port of this machine, when we may see it."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            for descriptor in os.scandir(f"/proc/{name}/fd"):
                if os.readlink(descriptor.path) in inodes:
                    return int(name)
        except OSError:
            continue
    return None
