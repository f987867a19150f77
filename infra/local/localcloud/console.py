"""Progress on the terminal: what is being done, and how long it took."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from localcloud.stack import Problem

_BEGAN = time.monotonic()


def say(text: str) -> None:
    """One line, with the seconds since the command began."""
    print(f"[{time.monotonic() - _BEGAN:6.1f}s] {text}", flush=True)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the block is over."""
    waiting: list[int] = []
    before = {number: signal.signal(number, lambda number, _: waiting.append(number))
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in waiting:
        signal.raise_signal(number)


def sentence(error: Exception) -> str | None:
    """What to tell a person about a failure of the machine or of the emulator; None for a mistake in this program."""
    if isinstance(error, Problem):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, subprocess.TimeoutExpired):
        words = error.cmd if isinstance(error.cmd, (list, tuple)) else [error.cmd]
        return f"{' '.join(map(str, words))} did not end within {error.timeout:.0f}s"
    if type(error).__module__.startswith("botocore"):
        return f"the emulator did not do what it was asked: {error} (`make logs FN=emulator` has its log)"
    return None


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a step that may take a while, and say what it took when that was long."""
    say(f"{text} ...")
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    if took >= 2:
        say(f"{text}: done in {took:.0f}s")


def run(command: Sequence[str | Path], *, what: str, cwd: Path | None = None, env: Mapping[str, str] | None = None,
        show: bool = False) -> str:
    """Run a program to its end. Its output is shown as it comes, or else only when it fails."""
    try:
        done = subprocess.run([str(word) for word in command], cwd=cwd, env=env, text=True, check=False,
                              stdin=subprocess.DEVNULL, stdout=None if show else subprocess.PIPE,
                              stderr=None if show else subprocess.STDOUT)
    except FileNotFoundError as error:
        raise Problem(f"{what} failed: {command[0]} is not installed") from error
    if done.returncode != 0:
        if done.stdout:
            print(done.stdout[-8000:], file=sys.stderr)
        raise Problem(f"{what} failed (exit code {done.returncode})")
    return done.stdout or ""
