"""Ends processes that got away: a daemon that left its session and lost its parent belongs to no job and no function.

The emulator asks the kernel to be the one who adopts them (a subreaper), so it sees them, and once nothing runs that they
could belong to, they are killed. A container would have ended them the same way.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Callable

from localcloud import processes
from localcloud.processes import Process

logger = logging.getLogger("launcher")
_PR_SET_CHILD_SUBREAPER = 36
_SECONDS = 0.5
# podman leaves one of these beside each container; it ends with the container.
_NOT_OURS = ("conmon", "podman")


class Orphans:
    """Watches for adopted processes."""

    def __init__(self, busy: Callable[[], bool], note: Callable[[int], None]):
        self._busy = busy
        self._note = note
        self._own: set[int] = set()
        self._seen: set[tuple[int, int]] = set()

    def started(self, pid: int) -> None:
        """A process that we started ourselves, and its session."""
        self._own.add(pid)
        self._note(pid)

    def install(self) -> None:
        """Become the one who adopts, where the kernel can."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            logger.warning("the kernel refuses to hand over orphans; a daemon that an engine starts may stay behind")
            return
        threading.Thread(target=self._watch, daemon=True, name="orphans").start()

    def kill_all(self) -> None:
        """End every adopted process, whatever runs."""
        self._end(self._adopted())

    def _watch(self) -> None:
        while True:
            time.sleep(_SECONDS)
            try:
                # One that was not there the last time may be a child of ours that we have not noted yet.
                found = [process for process in self._adopted() if process.key in self._seen]
                if found and not self._busy():
                    self._end(found)
            except Exception:
                logger.exception("orphans could not be looked after")

    def _adopted(self) -> list[Process]:
        me = os.getpid()
        mine = processes.read(me)
        every = [processes.read(int(name)) for name in os.listdir("/proc") if name.isdigit()]
        adopted = []
        for process in every:
            if process is None or process.parent != me or process.pid in self._own:
                continue
            if process.state == "Z":
                # Adopted and dead: nobody else will collect it. A child of ours is waited for by who started it.
                if process.key in self._seen and (mine is None or process.session != mine.session):
                    self._collect(process.pid)
                self._seen.add(process.key)
                continue
            if mine is not None and process.session == mine.session or process.session in self._own:
                continue
            if processes.command(process.pid).split(" ", 1)[0].rsplit("/", 1)[-1] in _NOT_OURS:
                continue
            if process.key not in self._seen:
                self._note(process.pid)
            adopted.append(process)
        self._seen |= {process.key for process in adopted}
        return adopted

    def _end(self, found: list[Process]) -> None:
        for process in found:
            logger.info("process %s (%s) outlived its job or function and is killed", process.pid,
                        processes.command(process.pid))
            for member in processes.tree(process.pid):
                processes.signal_all([member], signal.SIGKILL)

    @staticmethod
    def _collect(pid: int) -> None:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return
