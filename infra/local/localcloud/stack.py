"""Where a stack keeps its things, and which ports it uses."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
REGION = "eu-central-1"
ACCOUNT = "000000000000"
_PORTS = {"dev": (4566, 54329), "test": (4666, 54429)}
_ENVIRONMENTS = {"dev": "local", "test": "test"}


class Problem(Exception):
    """Something the person at the keyboard can act on; the text is the whole message."""


def _port(variable: str, default: int) -> int:
    value = os.environ.get(variable, "")
    if not value:
        return default
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise Problem(f"{variable} must be a port number, not {value!r}")
    return int(value)


@dataclass(frozen=True)
class Stack:
    """One local cloud. `dev` is for people, `test` for the test suite; they never touch each other."""

    name: str
    port: int
    postgres_port: int

    @classmethod
    def of(cls, name: str) -> Stack:
        """The stack with that name, on its own ports or on those in DUNLIN_PORT and DUNLIN_PG_PORT."""
        if name not in _PORTS:
            raise Problem(f"there is no stack {name!r}; choose one of {', '.join(_PORTS)}")
        port, postgres_port = _PORTS[name]
        return cls(name, _port("DUNLIN_PORT", port), _port("DUNLIN_PG_PORT", postgres_port))

    @property
    def environment(self) -> str:
        """The name inside resource names: `dunlin-<environment>-...`."""
        return _ENVIRONMENTS[self.name]

    @property
    def label(self) -> str:
        """A name that no stack of another working copy has: of containers, and of the emulator that answers."""
        return f"{self.name}-{hashlib.sha256(str(self.home).encode()).hexdigest()[:8]}"

    @property
    def home(self) -> Path:
        """The stack's data."""
        return REPOSITORY / ".local" / self.name

    @property
    def endpoint(self) -> str:
        """The emulator."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def scratch(self) -> Path:
        """Where functions and jobs unpack what they scan. Outside of the working copy: engines look for a repository, and
        for what it ignores, in every folder above."""
        return Path("/var/tmp") / f"dunlin-{self.label}"

    @property
    def state_file(self) -> Path:
        """What is running: pids and start times."""
        return self.home / "running.json"

    @property
    def env_file(self) -> Path:
        """Shell assignments for people, tests and the Makefile."""
        return self.home / "env"

    @property
    def cli_config(self) -> Path:
        """The command line's configuration, with the demo user's session; a person's own stays untouched."""
        return self.home / "cli.toml"

    @property
    def functions(self) -> Path:
        """One zip per function."""
        return self.home / "functions"

    @property
    def emulator_config(self) -> Path:
        """What the launcher needs to know to run Batch jobs."""
        return self.home / "emulator.json"

    @property
    def emulator_log(self) -> Path:
        """Standard output and error of the emulator."""
        return self.home / "emulator.log"

    @property
    def terraform_state(self) -> Path:
        """Terraform's state of this stack."""
        return self.home / "terraform.tfstate"


def tools() -> Path:
    """Programs that both stacks share."""
    return REPOSITORY / ".local" / "tools"


def engines() -> Path:
    """Installed scanner engines, shared by both stacks."""
    return REPOSITORY / ".local" / "engines"


def require_python() -> None:
    """Stop early on a Python that cannot run this."""
    if sys.version_info < (3, 11):
        raise Problem(f"python 3.11 or newer is needed, this is {sys.version.split()[0]}")
