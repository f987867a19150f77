"""Builds the functions and packs each as a zip that depends on nothing but its code."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

from localcloud.console import run, say, step
from localcloud.stack import REPOSITORY, Problem, Stack

# e_machine of an ELF header (elf.h).
_MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}


# Functions whose program is that of Batch jobs too.
ON_BATCH = ("loader", "runner")


def names() -> list[str]:
    """Every function is a folder under functions/, and a binary of the same name."""
    return sorted(folder.parent.name for folder in (REPOSITORY / "functions").glob("*/Cargo.toml"))


def package(name: str) -> str:
    """The Cargo package of a function."""
    manifest = tomllib.loads((REPOSITORY / "functions" / name / "Cargo.toml").read_text())
    found: str = manifest["package"]["name"]
    return found


def target() -> Path:
    """Cargo's target folder."""
    return Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target").resolve()


def build() -> None:
    """Compile every binary of the workspace."""
    if not shutil.which("cargo"):
        raise Problem("cargo is needed: install Rust from https://rustup.rs (rust-toolchain.toml names the version)")
    with step("building functions"):
        run(["cargo", "build", "--workspace", "--bins", "--quiet"], what="cargo build", cwd=REPOSITORY, show=True)


def pack(stack: Stack) -> None:
    """A zip per function with the binary as `bootstrap`, and a copy of the programs that are Batch jobs too."""
    stack.functions.mkdir(parents=True, exist_ok=True)
    stamps_file = stack.functions / "stamps.json"
    try:
        stamps: dict[str, str] = json.loads(stamps_file.read_text())
    except (OSError, ValueError):
        stamps = {}
    packed = []
    for name in names():
        binary = target() / "debug" / name
        if not binary.is_file():
            raise Problem(f"cargo built no binary {name}: {binary} is missing")
        status = binary.stat()
        stamp = f"{status.st_size}:{status.st_mtime_ns}"
        archive = stack.functions / f"{name}.zip"
        if stamps.get(name) == stamp and archive.is_file() and (name not in ON_BATCH or program(stack, name).is_file()):
            continue
        packed.append(name)
        _pack(binary, archive, program(stack, name) if name in ON_BATCH else None)
        stamps[name] = stamp
    for stale in set(stack.functions.glob("*.zip")) - {stack.functions / f"{name}.zip" for name in names()}:
        stale.unlink()
    stamps_file.write_text(json.dumps(stamps))
    if packed:
        say(f"packed {', '.join(packed)}")


def digests(stack: Stack) -> dict[str, str]:
    """The hash of every zip."""
    return {name: hashlib.sha256((stack.functions / f"{name}.zip").read_bytes()).hexdigest() for name in names()}


def program(stack: Stack, name: str) -> Path:
    """Where a Batch job finds a function's program."""
    return stack.home / "bin" / name


def _pack(binary: Path, archive: Path, copy: Path | None) -> None:
    small = archive.with_suffix(".stripped")
    strip(binary, small)
    write_zip(small, archive, level=1)
    if copy is not None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        # A new file in the old one's place: a job that runs keeps the one it started from.
        staged = copy.with_suffix(".new")
        shutil.copyfile(small, staged)
        staged.chmod(0o755)
        staged.replace(copy)
    small.unlink()


def require(binary: Path, architecture: str) -> Path:
    """The binary, checked to be a program for that processor: a wrong one would only fail where it is deployed."""
    head = binary.read_bytes()[:20] if binary.is_file() else b""
    machine = _MACHINES.get(int.from_bytes(head[18:20], "little")) if head[:4] == b"\x7fELF" else None
    if machine != architecture:
        raise Problem(f"{binary} is not a Linux program for {architecture}"
                      f"{f' but for {machine}' if machine else ''}")
    return binary


def strip(binary: Path, out: Path) -> None:
    """A copy without symbols, which are most of a debug binary; with them, ten functions take seconds to load."""
    if not shutil.which("strip") or subprocess.run(
        ["strip", "-o", str(out), str(binary)], capture_output=True, check=False
    ).returncode != 0:
        shutil.copyfile(binary, out)
    out.chmod(0o755)


def write_zip(binary: Path, archive: Path, level: int = 6) -> None:
    """A zip with the binary as `bootstrap`. The date is the first one a zip knows, so equal code makes an equal file."""
    fresh = archive.with_suffix(".new")
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(fresh, "w") as out:
        out.writestr(entry, binary.read_bytes(), compresslevel=level)
    fresh.replace(archive)
