"""What Dunlin is measured against. Packages that a registry has are installed by name and version, once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcloud.console import say

from dunlinbench.report import HOME, Problem

ASH_VERSION = "3.5.9"
SARIF_TOOLS_VERSION = "3.0.5"
MULTITOOL_VERSION = "5.7.0"


@dataclass(frozen=True)
class Peer:
    """A program, or why it is not there and how to get it."""

    program: Path | None
    how: str


def sarif_tools() -> Peer:
    """`sarif-tools` from PyPI."""
    place = HOME / "sarif-tools"
    program = place / "bin" / "sarif"
    package = f"sarif-tools=={SARIF_TOOLS_VERSION}"
    if not program.is_file():
        problem = _install([[sys.executable, "-m", "venv", str(place)],
                            [str(place / "bin" / "pip"), "install", "--quiet", package]], package)
        if problem:
            return Peer(None, problem)
    return Peer(program, f"pip install {package}")


def multitool() -> Peer:
    """`@microsoft/sarif-multitool` from npm, with its binary for Linux."""
    place = HOME / "multitool"
    program = place / "node_modules" / ".bin" / "sarif-multitool"
    packages = [f"@microsoft/sarif-multitool@{MULTITOOL_VERSION}", f"@microsoft/sarif-multitool-linux@{MULTITOOL_VERSION}"]
    if not program.exists():
        if not shutil.which("npm"):
            return Peer(None, "npm is needed to install it: install Node.js 20 or later")
        place.mkdir(parents=True, exist_ok=True)
        problem = _install([["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix",
                             str(place), *packages]], packages[0])
        if problem:
            return Peer(None, problem)
        for binary in place.glob("node_modules/@microsoft/sarif-multitool-linux/Sarif.Multitool"):
            binary.chmod(0o755)
    return Peer(program, f"npm install {' '.join(packages)}")


def ash() -> Peer:
    """AWS's ASH, which no registry has under its own name: ASH=<program>, or where the words below put it."""
    place = HOME / "ash"
    how = (f"not installed: git clone --branch v{ASH_VERSION} https://github.com/awslabs/automated-security-helper, then "
           f"python3 -m venv .local/bench/ash and .local/bench/ash/bin/pip install ./automated-security-helper, or ASH=<program>")
    given = os.environ.get("ASH")
    program = Path(given).resolve() if given else place / "bin" / "ash"
    if not program.is_file():
        if given:
            raise Problem(f"ASH={given} is no file")
        return Peer(None, how)
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if ASH_VERSION not in said.stdout:
        raise Problem(f"{program} is not ASH {ASH_VERSION}: it says {said.stdout.strip()[-200:]!r}")
    return Peer(program, f"pip install of the checkout of v{ASH_VERSION}")


def _install(commands: Sequence[Sequence[str]], what: str) -> str:
    """What went wrong, or nothing."""
    say(f"installing {what} below .local/bench")
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            return f"{command[0]} is needed to install {what}"
        if done.returncode != 0:
            return f"{what} cannot be installed: {(done.stderr or done.stdout).strip()[-300:]}"
    return ""
