"""Starting and stopping the emulator, and ending what it started."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localcloud import processes, stack as places, tools
from localcloud.batch import container
from localcloud.console import say, step, uninterrupted
from localcloud.postgres import taken
from localcloud.settings import MODES, Settings
from localcloud.stack import ACCOUNT, REGION, Problem, Stack

_LOCAL = Path(__file__).resolve().parents[1]
_START_SECONDS = 60
_STOP_SECONDS = 40


@contextlib.contextmanager
def alone(stack: Stack) -> Iterator[None]:
    """Only one command changes a stack at a time."""
    stack.home.mkdir(parents=True, exist_ok=True)
    with (stack.home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another command is changing the {stack.name} stack; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Emulator:
    """The emulator process of one stack."""

    def __init__(self, stack: Stack):
        self._stack = stack

    @property
    def pid(self) -> int | None:
        """Its process, checked to be the one that was started here."""
        noted = _read(self._stack.state_file).get("emulator") or {}
        pid, start = int(noted.get("pid") or 0), noted.get("start")
        # A note without it was written by an older version of this, since the last start of the machine or not at all.
        booted = noted.get("boot", processes.boot_id())
        if not pid or booted != processes.boot_id() or not processes.alive(pid, start):
            return None
        # By what it was told to run, whole: a path may be long.
        return pid if str(self._stack.emulator_config) in processes.argv(pid) else None

    def start(self, mode: str) -> bool:
        """Start it unless it runs with these settings already. True when it was (re)started."""
        if mode not in MODES:
            raise Problem(f"DUNLIN_BATCH_MODE must be one of {', '.join(MODES)}, not {mode!r}")
        stack = self._stack
        home = stack.home
        settings = Settings(
            stack=stack.label, programs=home / "bin", engines=places.engines(), scratch=stack.scratch,
            sessions=home / "sessions", batch_mode=mode)
        identity = _identity(settings, stack)
        if self.pid is not None:
            if _read(stack.state_file).get("identity") == identity and self.healthy():
                return False
            if _read(stack.state_file).get("port") != stack.port:
                # Before the one that works is stopped.
                self._check_port()
            say("the emulator runs with other settings or older code: restarting it")
            self.stop()
        clear_leftovers(stack)
        self._check_port()
        for folder in ("state", "s3", "bin"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        _make_scratch(stack.scratch)
        settings.write(stack.emulator_config)
        if stack.emulator_log.is_file():
            stack.emulator_log.replace(stack.emulator_log.with_suffix(".log.1"))
        with step(f"starting the AWS emulator on port {stack.port}"):
            # An interruption in between would leave a process that nobody knows of.
            with stack.emulator_log.open("w") as log, uninterrupted():
                process = subprocess.Popen(
                    [tools.venv_python(), str(_LOCAL / "emulator.py"), str(stack.emulator_config)],
                    cwd=home, env=_environment(stack), stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, start_new_session=True)
                started = processes.read(process.pid)
                _write(stack.state_file, {
                    "emulator": {"pid": process.pid, "start": started.start if started else None,
                                 "boot": processes.boot_id()},
                    "port": stack.port, "postgres_port": stack.postgres_port, "identity": identity})
            self._await(process)
        return True

    def stop(self) -> None:
        """Stop it, giving it time to save its state, and end whatever it leaves."""
        pid = self.pid
        if pid is not None:
            with step("stopping the AWS emulator"):
                os.kill(pid, signal.SIGTERM)
                until = time.monotonic() + _STOP_SECONDS
                while processes.alive(pid) and time.monotonic() < until:
                    time.sleep(0.05)
                if processes.alive(pid):
                    say(f"the emulator (pid {pid}) did not end within {_STOP_SECONDS}s and is killed")
                    processes.kill_tree(pid)
        clear_leftovers(self._stack)
        self._stack.state_file.unlink(missing_ok=True)

    def healthy(self) -> bool:
        """Whether it answers, and is this stack's."""
        answer = self.request("GET", "/_dunlin/health")
        return answer is not None and answer.get("stack") == self._stack.label

    def request(self, method: str, path: str) -> dict[str, Any] | None:
        """One of the launcher's own requests; None when it does not answer."""
        wanted = urllib.request.Request(self._stack.endpoint + path, method=method)
        try:
            # No proxy may come between us and the loopback address.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(wanted, timeout=10) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except (OSError, ValueError, urllib.error.URLError):
            return None

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            if process.poll() is not None:
                break
            if self.healthy():
                return
            time.sleep(0.1)
        tail = self._stack.emulator_log.read_text(errors="replace")[-3000:]
        self.stop()
        raise Problem(f"the emulator did not start; the end of {self._stack.emulator_log}:\n{tail}")

    def _check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self._stack.port))
            except OSError:
                raise Problem(taken(self._stack.port, "DUNLIN_PORT")) from None


def clear_leftovers(stack: Stack) -> None:
    """End processes and containers of functions and jobs whose emulator is gone."""
    noted = stack.home / "sessions"
    if noted.is_file():
        sessions: dict[int, int] = {}
        boot = processes.boot_id()
        for line in noted.read_text().splitlines():
            match line.split():
                case [session, start, noted_boot] if session.isdigit() and start.isdigit() and noted_boot == boot:
                    sessions[int(session)] = int(start)
        # A session number may have been given out again since: whatever is ours began at or after our note of it,
        # and a new leader with that number has another start time.
        every = processes.snapshot()
        leaders = {process.pid: process.start for process in every}
        for process in every:
            start = sessions.get(process.session)
            if start is not None and leaders.get(process.session, start) == start and process.start >= start:
                processes.signal_all([process], signal.SIGKILL)
        noted.unlink()
    container.remove_all(stack.label)
    shutil.rmtree(stack.scratch, ignore_errors=True)


def _make_scratch(folder: Path) -> None:
    """Ours alone to write: anybody may make a folder of that name there."""
    folder.mkdir(mode=0o755, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise Problem(f"{folder} belongs to another user; remove it")


def _environment(stack: Stack) -> dict[str, str]:
    """The emulator's whole environment: nothing of the person's own, because functions inherit from it."""
    home = stack.home
    return {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(stack.scratch),
        "PYTHONUNBUFFERED": "1",
        "AUTH": "true",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(home / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(home / "s3"),
        "GATEWAY_PORT": str(stack.port),
        "BIND_HOST": "127.0.0.1",
        "AWS_ENDPOINT_URL": stack.endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        **({"DUNLIN_BATCH_VCPUS": vcpus} if (vcpus := os.environ.get("DUNLIN_BATCH_VCPUS")) else {}),
    }


def _identity(settings: Settings, stack: Stack) -> str:
    """What a running emulator was started from. PATH is not part of it: it differs from one terminal to the next."""
    environment = sorted(item for item in _environment(stack).items() if item[0] != "PATH")
    digest = hashlib.sha256(repr((settings, stack, environment)).encode())
    for file in [_LOCAL / "emulator.py", _LOCAL / "requirements.txt", *sorted((_LOCAL / "localcloud").rglob("*.py"))]:
        if file.parent.name in ("batch", "hooks") or file.name in ("emulator.py", "requirements.txt", "settings.py",
                                                                  "processes.py"):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _write(file: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(content) + "\n")
    fresh.replace(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
