"""`make run`: log in with the demo user and scan two repositories, as a person would."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from localcloud import functions
from localcloud.console import say
from localcloud.stack import REPOSITORY, Problem, Stack

# 0: clean; 1: findings at or above --fail-on; 2: an engine could not read every file, which the command itself has said.
_GOOD = (0, 1, 2)


def command_line() -> Path:
    """The `dunlin` program."""
    program = functions.target() / "debug" / "dunlin"
    if not program.is_file():
        raise Problem(f"there is no {program}: run `make up` first, which builds it")
    return program


def environment(stack: Stack) -> dict[str, str]:
    """The command line's environment."""
    return {**os.environ, "DUNLIN_CONFIG": str(stack.cli_config)}


def login(stack: Stack, values: Mapping[str, str]) -> None:
    """Sign in with the demo user."""
    done = subprocess.run(
        [command_line(), "login", "--endpoint", values["DUNLIN_API_URL"], "--username", values["DEMO_USER"],
         "--password-stdin"],
        env=environment(stack), input=values["DEMO_PASSWORD"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"dunlin login failed (exit code {done.returncode}): {(done.stderr or done.stdout).strip()}")


def scan(stack: Stack, *arguments: str, quiet: bool = False) -> float:
    """One scan; answers the seconds it took."""
    began = time.monotonic()
    done = subprocess.run([command_line(), "scan", *arguments], cwd=REPOSITORY, env=environment(stack), check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL if quiet else None)
    if done.returncode not in _GOOD:
        raise Problem(f"dunlin scan {' '.join(arguments)} ended with exit code {done.returncode}; "
                      "`make logs` shows what the functions said")
    return time.monotonic() - began


def demonstrate(stack: Stack, values: Mapping[str, str]) -> None:
    """The small application with known weaknesses, then this repository."""
    for target, arguments in (("tests/apps/weak-app", ["--name", "weak-app"]), (".", [])):
        say(f"dunlin scan {target}")
        took = scan(stack, target, *arguments)
        say(f"scanned {target} in {took:.1f}s")
