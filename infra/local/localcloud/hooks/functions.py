"""Functions: a clean environment, memory limits, and no process left when one ends.

The emulator hands its own environment to every function, has no memory limit, and ends only the first process of a
function that ran out of time: an engine started by it would live on.
"""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from localcloud import processes
from localcloud.settings import Settings

logger = logging.getLogger("lambda")
_KEEP = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"}
_SECONDS = 0.2


class _Functions:
    """The bootstraps that run, with what each may use."""

    def __init__(self, started: Callable[[int], None]):
        self._started = started
        self._lock = threading.Lock()
        self._live: dict[int, tuple[str, int]] = {}

    def popen(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a bootstrap as the leader of its own session and keep an eye on it."""
        environment = options.get("env") or {}
        process = subprocess.Popen(command, start_new_session=True, **options)
        self._started(process.pid)
        name = environment.get("AWS_LAMBDA_FUNCTION_NAME", "")
        with self._lock:
            self._live[process.pid] = (name, int(environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 0)))
        return process

    def watch(self) -> None:
        """Enforce memory and clear up, for as long as the emulator runs."""
        while True:
            time.sleep(_SECONDS)
            with self._lock:
                live = dict(self._live)
            every = processes.snapshot() if live else []
            running = {process.pid for process in every}
            for pid, (name, memory_mib) in live.items():
                members = processes.tree(pid, every)
                if pid not in running:
                    processes.signal_all(members, 9)
                    if not members:
                        with self._lock:
                            self._live.pop(pid, None)
                elif memory_mib and processes.tree_memory_kib(members) > memory_mib * 1024:
                    logger.warning("function %s used more than its %s MB and was killed", name, memory_mib)
                    processes.kill_tree(pid, members)

    def kill_all(self) -> None:
        """End every function's processes."""
        with self._lock:
            live = list(self._live)
        lambda_runtime.reset()
        for pid in live:
            processes.kill_tree(pid)


class _Subprocess(ModuleType):
    """`subprocess` as the emulator's Lambda runtime sees it, with our Popen."""

    def __init__(self, functions: _Functions):
        super().__init__("subprocess")
        self.Popen = functions.popen

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)


def install(settings: Settings, started: Callable[[int], None]) -> Callable[[], None]:
    """Put the hooks in place; the answer ends all functions."""
    functions = _Functions(started)
    lambda_runtime.subprocess = _Subprocess(functions)
    lambda_svc._provided_worker_env = _clean(settings, lambda_svc._provided_worker_env)
    threading.Thread(target=functions.watch, daemon=True, name="function-watch").start()
    return functions.kill_all


def _clean(settings: Settings, build: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    temporary = settings.scratch / "functions"
    temporary.mkdir(parents=True, exist_ok=True)

    @functools.wraps(build)
    def run(config: dict[str, Any], code_dir: str, port: int) -> dict[str, str]:
        environment = build(config, code_dir, port)
        own = (config.get("Environment") or {}).get("Variables") or {}
        inherited = {name for name in environment if os.environ.get(name) == environment[name]}
        cleaned = {name: value for name, value in environment.items()
                   if name in own or name in _KEEP or name not in inherited}
        system = {"PATH": settings.function_path, "LANG": "C.UTF-8", "TZ": ":UTC", "TMPDIR": str(temporary)}
        return {**system, **cleaned}

    return run
