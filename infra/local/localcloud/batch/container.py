"""An attempt as a container, through podman with runc.

The runner inside must reach the emulator's S3 on this machine's loopback, hence the host's network; the engine is cut
off by the runner's own sandbox. runc, because crun refuses some cgroup layouts; explicit ulimits, because without them
the defaults may lie above what this user may set.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from localcloud import processes
from localcloud.batch.executor import StartFailure, Task
from localcloud.batch.process import pump
from localcloud.processes import Process

LABEL = "dunlin.stack"
_START_SECONDS = 60
_BASE = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs")
_ULIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")


def engine_present() -> bool:
    """Whether this machine can run containers at all."""
    return shutil.which("podman") is not None and shutil.which("runc") is not None


def podman(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run podman and return what it said."""
    return subprocess.run([*_BASE, *arguments], capture_output=True, text=True, timeout=timeout, check=False,
                          stdin=subprocess.DEVNULL)


def image_present(image: str) -> bool:
    """Whether an image of this name is on this machine (nothing is ever pulled)."""
    return engine_present() and podman("image", "exists", image).returncode == 0


@functools.cache
def limits(image: str) -> tuple[str, ...]:
    """The limit options this machine's cgroups accept; the supervisor enforces memory wherever they do not."""
    accepted: list[str] = []
    for option in (("--memory", "256m"), ("--cpus", "1")):
        tried = podman("run", "--rm", "--pull", "never", "--network", "none", *_ULIMITS, *option,
                       "--entrypoint", "/bin/true", image)
        if tried.returncode == 0:
            accepted.append(option[0])
    return tuple(accepted)


def remove_all(stack: str) -> None:
    """End every container of a stack (used when the emulator that started them is gone)."""
    if not engine_present():
        return
    found = podman("ps", "-aq", "--filter", f"label={LABEL}={stack}").stdout.split()
    if found:
        podman("rm", "-f", "-t", "0", *found)


class ContainerAttempt:
    """Runs the job definition's image with the job's command."""

    kind = "container"

    def __init__(self, task: Task, stack: str, attempt: int, scratch: Path,
                 started: Callable[[int], None] = lambda pid: None):
        self._task = task
        self._stack = stack
        self._scratch = scratch
        self._folder: Path | None = None
        self._started = started
        self._name = f"dunlin-{stack}-{task.job_id}-{attempt}"
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def start(self) -> None:
        """Start the container in the foreground, so that its output and exit code are ours."""
        if not image_present(self._task.image):
            raise StartFailure(f"CannotPullContainerError: there is no image {self._task.image} on this machine")
        accepted = limits(self._task.image)
        # A folder on disk, as Fargate's own storage is: files in a tmpfs would count as the container's memory.
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f"job-{self._task.job_id[:8]}-", dir=self._scratch))
        self._folder.chmod(0o1777)
        bounded = []
        if "--memory" in accepted and self._task.memory_mib:
            # Equal values: no swap on top.
            size = f"{self._task.memory_mib}m"
            bounded += ["--memory", size, "--memory-swap", size]
        if "--cpus" in accepted:
            bounded += ["--cpus", str(min(self._task.vcpus, os.cpu_count() or 1))]
        # Values go through podman's own environment: on its command line every user of the machine could read them.
        environment = self._task.environment
        names = [word for name in environment for word in ("--env", name)]
        command = [
            *_BASE, "run", "--rm", "--pull", "never", "--name", self._name, "--label", f"{LABEL}={self._stack}",
            "--network", "host", *_ULIMITS, *bounded,
            "--read-only", "--volume", f"{self._folder}:/tmp:rw,exec", "--cap-drop", "all",
            "--cap-add", "SETUID", "--cap-add", "SETGID", "--cap-add", "KILL", "--cap-add", "CHOWN",
            "--cap-add", "DAC_OVERRIDE", "--cap-add", "FOWNER",
            "--init=false", "--stop-timeout", "30", *names, self._task.image, *self._task.command,
        ]
        try:
            self._process = subprocess.Popen(
                command,
                env={**{k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "XDG_RUNTIME_DIR")}, **environment},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                cwd=Path("/"),
            )
        except OSError as error:
            raise StartFailure(f"CannotStartContainerError: {error}") from error
        self._started(self._process.pid)
        assert self._process.stdout is not None
        pump(self._process.stdout, self._task.log)
        # Before the container runs there is nobody to send a signal to.
        until = time.monotonic() + _START_SECONDS
        while not self._first_process() and self._process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)

    def poll(self) -> int | None:
        """The container's exit code; podman's own failures (125 and up) never carry the job's."""
        assert self._process is not None
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def members(self) -> list[Process]:
        """The processes inside, found below the container's first one."""
        first = self._first_process()
        return processes.tree(first) if first else []

    def _first_process(self) -> int:
        if not self._init:
            answer = podman("inspect", "--format", "{{.State.Pid}}", self._name).stdout.strip()
            self._init = int(answer) if answer.isdigit() else 0
        return self._init

    def terminate(self) -> None:
        """SIGTERM to the container's first process."""
        podman("kill", "--signal", "TERM", self._name)

    def kill(self) -> None:
        """SIGKILL to the container."""
        podman("rm", "-f", "-t", "0", self._name)

    def cleanup(self) -> None:
        """Nothing stays, whatever happened to podman itself."""
        podman("rm", "-f", "-t", "0", "--ignore", self._name)
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
