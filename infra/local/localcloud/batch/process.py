"""An attempt as a process: own session, clean environment, own temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from localcloud import processes
from localcloud.batch.executor import StartFailure, Task
from localcloud.processes import Process

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A shell sets the limits rather than a hook between fork and exec, which may deadlock in a process with threads.
_LIMITS = 'ulimit -c 0; ulimit -n 1024; exec "$@"'


def pump(stream: IO[bytes], write: Callable[[str], None]) -> threading.Thread:
    """Pass a process's output on, line by line, until it closes."""

    def run() -> None:
        for line in iter(lambda: stream.readline(64 * 1024), b""):
            write(line.decode("utf-8", errors="replace").rstrip("\r\n"))
        stream.close()

    thread = threading.Thread(target=run, daemon=True, name="batch-output")
    thread.start()
    return thread


class ProcessAttempt:
    """Runs `<program> <command...>` directly on this machine."""

    kind = "process"

    def __init__(self, task: Task, program: Path, base_environment: dict[str, str], scratch: Path,
                 started: Callable[[int], None] = lambda pid: None):
        self._task = task
        self._program = program
        self._base = base_environment
        self._scratch = scratch
        self._started = started
        self._process: subprocess.Popen[bytes] | None = None
        self._output: threading.Thread | None = None
        self._folder: Path | None = None
        # Everything ever seen in the tree: a process that left the session and lost its parent is still ours to end.
        self._seen: dict[tuple[int, int], Process] = {}

    def start(self) -> None:
        """Start the program."""
        if not os.access(self._program, os.X_OK):
            raise StartFailure(f"CannotStartContainerError: there is no program {self._program}")
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f"job-{self._task.job_id[:8]}-", dir=self._scratch))
        environment = {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),
            **self._base,
            **self._task.environment,
        }
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _LIMITS, "job", str(self._program), *self._task.command],
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self.cleanup()
            raise StartFailure(f"CannotStartContainerError: {error}") from error
        self._started(self._process.pid)
        assert self._process.stdout is not None
        self._output = pump(self._process.stdout, self._task.log)

    def poll(self) -> int | None:
        """The exit code, as a container reports it."""
        assert self._process is not None
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def members(self) -> list[Process]:
        """The tree as it is now."""
        assert self._process is not None
        found = processes.tree(self._process.pid)
        self._seen.update((process.key, process) for process in found)
        return found

    def terminate(self) -> None:
        """SIGTERM to the first process alone, as in a container: a runner ends its engine itself."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to everything."""
        if self._process is not None:
            processes.kill_tree(self._process.pid, list(self._seen.values()))

    def cleanup(self) -> None:
        """No process, no file."""
        self.kill()
        if self._process is not None:
            self._process.wait()
        if self._output is not None:
            # A daemon that got away may hold the pipe open; what it still writes is nobody's.
            self._output.join(timeout=1)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
