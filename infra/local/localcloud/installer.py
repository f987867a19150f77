"""The scanner engines in .local/engines, installed by `dunlin engines install`: one way for people, images and the local cloud."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localcloud import functions
from localcloud import stack as places
from localcloud.console import run, step
from localcloud.stack import REPOSITORY, Problem


def build() -> None:
    """Compile the command line alone.

    Within the workspace: its dependencies get the features that everything else builds them with, and are built once.
    """
    with step("building the command line"):
        run(["cargo", "build", "--workspace", "--bin", "dunlin", "--quiet"], what="cargo build", cwd=REPOSITORY, show=True)


def install(names: Sequence[str] = (), into: Path | None = None) -> None:
    """Install what is missing or out of date; all engines without a name."""
    program = functions.target() / "debug" / "dunlin"
    if not program.is_file():
        raise Problem(f"{program} is missing: build it with `cargo build -p dunlin-cli`")
    run([program, "engines", "install", *names, "--into", into or places.engines()],
        what="installing the engines", show=True)
