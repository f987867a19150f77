"""What contributors pay: building and testing from nothing and again, and the size of the dependency tree.

Works on a clone of the committed state with a target folder of its own, which is deleted afterwards.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from localcloud.console import run as run_tool
from localcloud.console import step

from dunlinbench.report import HOME, REPOSITORY, Row, told

PART = "build"


def run() -> list[Row]:
    """Several minutes on two cores."""
    clone = HOME / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    HOME.mkdir(parents=True, exist_ok=True)
    run_tool(["git", "clone", "--quiet", "--local", REPOSITORY, clone], what="git clone")
    # Downloads are the network's time, not the compiler's.
    run_tool(["cargo", "fetch", "--locked", "--quiet"], what="cargo fetch", cwd=clone)
    try:
        fresh = _timed(clone, "build", "--workspace", "--bins")
        touched = clone / "crates" / "core" / "src" / "lib.rs"
        os.utime(touched)
        again = _timed(clone, "build", "--workspace", "--bins")
        size = _size(clone / "target")
        tests = _timed(clone, "test", "--workspace", "--no-run")
        whole = _size(clone / "target")
        names = _unit_tests(clone)
        running = _timed(clone, "test", *(word for name in names for word in ("--package", name)))
    finally:
        shutil.rmtree(clone, ignore_errors=True)
    mine, others = _packages()
    return [
        told(PART, "`cargo build --workspace --bins` from nothing, sources downloaded", f"{fresh:.0f} s", seconds=fresh),
        told(PART, "again, after `crates/core` changed (every crate uses it)", f"{again:.0f} s", seconds=again),
        told(PART, "`cargo test --workspace --no-run` after that", f"{tests:.0f} s", seconds=tests),
        told(PART, f"running the tests of {', '.join(names)}, which need nothing else", f"{running:.0f} s", seconds=running),
        told(PART, "target folder after the build, and with tests", f"{size:.1f} GB, {whole:.1f} GB", gigabytes=whole),
        told(PART, "packages in the workspace, and third-party packages on Linux", f"{mine}, {others}", mine=mine, others=others),
    ]


def _timed(folder: Path, *words: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    with step(f"cargo {' '.join(words)}"):
        began = time.monotonic()
        run_tool(["cargo", *words, "--locked", "--quiet"], what=f"cargo {words[0]}", cwd=folder, env=environment)
        return time.monotonic() - began


def _size(folder: Path) -> float:
    """Gigabytes on the disk; a hard link counts once."""
    seen: dict[tuple[int, int], int] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values()) / 1e9


def _unit_tests(clone: Path) -> list[str]:
    """Packages whose tests need no server and no engine."""
    packages = json.loads(_cargo(clone, "metadata", "--no-deps", "--format-version", "1"))["packages"]
    return sorted(package["name"] for package in packages
                  if package["name"] in {"dunlin-core", "dunlin-contracts", "dunlin-prices", "dunlin-reports"})


def _packages() -> tuple[int, int]:
    text = _cargo(REPOSITORY, "tree", "--workspace", "--edges", "normal,build", "--prefix", "none", "--target",
                  "x86_64-unknown-linux-gnu", "--format", "{p}")
    every = {re.sub(r" \(\*\)$", "", line) for line in text.splitlines() if line}
    mine = {line for line in every if f"({REPOSITORY}" in line}
    return len(mine), len(every - mine)


def _cargo(folder: Path, *words: str) -> str:
    return subprocess.run(["cargo", *words, "--locked"], cwd=folder, capture_output=True, text=True, check=True,
                          stdin=subprocess.DEVNULL).stdout
