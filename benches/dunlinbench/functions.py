"""The functions' release binaries, as `make package` leaves them, and one of them running over the stub."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from localcloud import processes

from dunlinbench.measure import clean_environment, resident_kib
from dunlinbench.report import REPOSITORY, Problem
from dunlinbench.stub import RuntimeApi

PACKAGES = REPOSITORY / "target" / "lambda"


def binary(name: str) -> Path:
    """The optimised program of a function."""
    program = PACKAGES / name / "bootstrap"
    if not program.is_file():
        raise Problem(f"there is no {program.relative_to(REPOSITORY)}: run `make package` first")
    return program


class Running:
    """A function's process. Use it as a context."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.api = RuntimeApi()
        self._name = name
        self._log: IO[bytes] = tempfile.TemporaryFile()
        variables = clean_environment(
            AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{self.api.port}", AWS_LAMBDA_FUNCTION_NAME=name,
            AWS_LAMBDA_FUNCTION_MEMORY_SIZE="512", AWS_LAMBDA_FUNCTION_VERSION="1", **environment)
        program = binary(name)
        self.began = time.monotonic()
        self._process = subprocess.Popen([program], env=variables, stdin=subprocess.DEVNULL, stdout=self._log,
                                         stderr=subprocess.STDOUT, start_new_session=True)

    @staticmethod
    def clock() -> float:
        """The clock of `began` and of answers."""
        return time.monotonic()

    def ask(self, event: bytes, seconds: float = 900) -> tuple[float, bool, Any]:
        """When it answered (monotonic seconds), whether with success, and what it said."""
        self.api.events.put(event)
        try:
            return self.api.wait(seconds)
        except Problem as problem:
            raise Problem(f"{self._name}: {problem}; it said: {self.said()[-2000:]}") from None

    def resident_mib(self, field: str) -> float:
        """`VmRSS` or `VmHWM`."""
        return resident_kib(self._process.pid, field) / 1024

    def cpu_ms(self) -> float:
        """Processor time of all threads so far. It says what a start costs on a machine that is busy with other things."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6

    def said(self) -> str:
        """Its log."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        processes.kill_tree(self._process.pid)
        self._process.wait()
        self.api.close()
        self._log.close()
