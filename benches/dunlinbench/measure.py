"""Running a program: how long it took and how much memory it and its children had at most."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localcloud import processes

from dunlinbench.report import Problem

_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """One run of one program."""

    seconds: float
    # Processor time of the program and of everything it waited for.
    processor_seconds: float
    # 0 when nobody watched.
    peak_mib: float
    exit_code: int
    output: str


class Sampler(threading.Thread):
    """Watches a process tree. Samples miss what lives for less than their distance: a lower bound for children, while for
    the leader alone the kernel's own high-water mark is read."""

    def __init__(self, leader: int) -> None:
        super().__init__(daemon=True)
        self._leader = leader
        self._done = threading.Event()
        self.peak_kib = 0

    def run(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            members = processes.tree(self._leader)
            total = sum(resident_kib(process.pid, "VmRSS") for process in members)
            self.peak_kib = max(self.peak_kib, total, resident_kib(self._leader, "VmHWM"))

    def stop(self) -> float:
        """MiB."""
        self._done.set()
        self.join()
        return self.peak_kib / 1024


def resident_kib(pid: int, field: str) -> int:
    """`VmRSS` now, `VmHWM` at most, of one process."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    except (OSError, ValueError):
        return 0
    return 0


def run(command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None,
        good: Sequence[int] = (0,), timeout: float = 3600, watched: bool = True) -> Run:
    """To its end; a Problem when it ends with an exit code that is not good. Watching the memory takes a part of a processor, which
    whoever uses all of them misses: not for what is compared by its time."""
    words = [str(word) for word in command]
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        before = _children_seconds()
        began = time.monotonic()
        process = subprocess.Popen(words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        sampler = Sampler(process.pid)
        if watched:
            sampler.start()
        # `wait(timeout)` would look now and then, up to 50 ms late.
        late = threading.Timer(timeout, processes.kill_tree, [process.pid])
        late.daemon = True
        late.start()
        try:
            process.wait()
        finally:
            took = time.monotonic() - began
            peak = sampler.stop() if watched else 0
            late.cancel()
        if took >= timeout:
            raise Problem(f"{words[0]} did not end within {timeout:.0f} s")
        log.seek(0)
        output = log.read()
    if process.returncode not in good:
        raise Problem(f"{' '.join(words)[:300]} ended with exit code {process.returncode}:\n{output[-3000:]}")
    return Run(took, _children_seconds() - before, peak, process.returncode, output)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def clean_environment(**more: str) -> dict[str, str]:
    """Nothing of the person's own AWS configuration, and no proxy."""
    kept = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "HOME": os.environ.get("HOME", "/")}
    return {**kept, **more}
