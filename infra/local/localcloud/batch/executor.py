"""Running one attempt of a job: start it, watch its time and memory, end it, leave nothing behind.

Two kinds of attempt exist (processes in process.py, containers in container.py). Both are watched by `supervise`, so a
limit means the same in both.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from localcloud import processes
from localcloud.processes import Process

EXITED = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"
SPOT = "Your Spot Task was interrupted."
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
GRACE_SECONDS = 30.0
_POLL_SECONDS = 0.1


class Stop(Enum):
    """Why an attempt is ended from outside."""

    TERMINATED = "terminated"
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"


class StartFailure(Exception):
    """The attempt never ran. `reason` becomes the container's reason, which retry conditions can match."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Task:
    """What to run, with everything a job definition and its overrides decide."""

    job_id: str
    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    # The ARN of the role whose credentials it gets, as Fargate hands them out; an engine's job has none.
    role: str | None
    vcpus: float
    memory_mib: int
    timeout_seconds: int | None
    log: Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended, in Batch's words."""

    exit_code: int | None
    reason: str | None
    status_reason: str
    peak_kib: int
    stop: Stop | None

    @property
    def succeeded(self) -> bool:
        """Only an exit code of zero that nobody forced counts."""
        return self.stop is None and self.exit_code == 0 and self.reason is None


class Attempt(Protocol):
    """One started process tree."""

    # "container" or "process": shown in the task's ARN.
    kind: str

    def start(self) -> None:
        """Start it, or raise StartFailure."""

    def poll(self) -> int | None:
        """The exit code (128 + signal when one killed it), or None while it runs."""

    def members(self) -> list[Process]:
        """The processes that count towards its memory."""

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""

    def kill(self) -> None:
        """End it and everything it started, now."""

    def cleanup(self) -> None:
        """End what is left, remove its temporary files, pass on the last output."""


@dataclass
class Control:
    """How other threads reach a running attempt. The first request to stop wins."""

    _wanted: Stop | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    event: threading.Event = field(default_factory=threading.Event)

    def stop(self, why: Stop) -> None:
        """Ask for the attempt to be ended."""
        with self._lock:
            if self._wanted is None:
                self._wanted = why
        self.event.set()

    @property
    def wanted(self) -> Stop | None:
        """The request, if there is one."""
        return self._wanted


def supervise(attempt: Attempt, task: Task, control: Control, grace_seconds: float = GRACE_SECONDS) -> Outcome:
    """Wait for a started attempt to end, enforcing its limits. Leaves no process of it behind."""
    began = time.monotonic()
    limit_kib = task.memory_mib * 1024
    peak = 0
    killed_for_memory = False
    asked_at: float | None = None
    try:
        while (code := attempt.poll()) is None:
            used = processes.tree_memory_kib(attempt.members())
            peak = max(peak, used)
            now = time.monotonic()
            if limit_kib and used > limit_kib and not killed_for_memory:
                killed_for_memory = True
                attempt.kill()
            if task.timeout_seconds and now - began > task.timeout_seconds:
                control.stop(Stop.TIMEOUT)
            if control.wanted and asked_at is None:
                asked_at = now
                attempt.terminate()
            if asked_at is not None and now - asked_at > (2.0 if control.wanted is Stop.SHUTDOWN else grace_seconds):
                attempt.kill()
            if asked_at is None:
                control.event.wait(_POLL_SECONDS)
            else:
                time.sleep(_POLL_SECONDS)
    finally:
        attempt.cleanup()
    if killed_for_memory or _killed_by_cgroup(code, peak, limit_kib, control):
        return Outcome(128 + signal.SIGKILL, OUT_OF_MEMORY, EXITED, peak, None)
    # An attempt that had already ended well when the request came is a success.
    stop = control.wanted if asked_at is not None else None
    words = {Stop.TIMEOUT: TIMED_OUT, Stop.INTERRUPTED: SPOT}
    return Outcome(code, None, words.get(stop, EXITED) if stop else EXITED, peak, stop)


def _killed_by_cgroup(code: int | None, peak_kib: int, limit_kib: int, control: Control) -> bool:
    """A container's own memory limit kills without telling us: SIGKILL near the limit that nobody asked for."""
    return code == 137 and control.wanted is None and limit_kib > 0 and peak_kib > 0.8 * limit_kib
