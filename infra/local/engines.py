#!/usr/bin/env python3
"""Installs the scanner engines, each into a folder of its own.

    engines.py install [ENGINE ...]   install what is missing or out of date (all engines without a name)
    engines.py check [ENGINE ...]     run each engine once and compare its version with its manifest
    engines.py list                   name every engine

An engine is installed into <into>/<engine>: the programs in `bin`, its configuration in `config`, its rules in `rules`. The
same layout is in the engine images. Needs Python 3.11 with pip; npm for engines that come from npm. Linux, x86-64.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ("engine.toml", "requirements.txt", "package.json", "package-lock.json")
FOLDERS = ("config", "rules")
STAMP = ".installed"
# Goes up when this file lays an engine out in another way.
LAYOUT = "1"


class Failure(Exception):
    """Something that the person who started this can act on."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["install", "check", "list"])
    parser.add_argument("engines", nargs="*", metavar="ENGINE")
    parser.add_argument("--into", type=Path, default=ROOT / ".local" / "engines", help="default: .local/engines")
    parser.add_argument("--from", dest="source", type=Path, default=ROOT / "engines", help="default: engines")
    given = parser.parse_args()
    try:
        manifests = read_manifests(given.source, given.engines)
        if given.verb == "list":
            for manifest in manifests:
                print(f"{manifest['name']} {manifest['version']}")
        elif given.verb == "install":
            for manifest in manifests:
                install(manifest, given.source / manifest["name"], given.into.resolve())
        else:
            for manifest in manifests:
                print(f"{manifest['name']} {check(manifest, given.into.resolve() / manifest['name'])}")
    except Failure as failure:
        print(f"engines: {failure}", file=sys.stderr)
        return 1
    return 0


def read_manifests(source: Path, names: list[str]) -> list[dict]:
    known = sorted(path.parent.name for path in source.glob("*/engine.toml"))
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise Failure(f"no engine is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [tomllib.loads((source / name / "engine.toml").read_text()) for name in known if not names or name in names]


def install(manifest: dict, folder: Path, into: Path) -> None:
    name, version = manifest["name"], manifest["version"]
    place, digest = into / name, digest_of(folder)
    if stamp_of(place) == digest:
        print(f"{name} {version} is installed")
        return
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Failure("the pinned packages are for linux on x86-64")
    print(f"{name} {version}: installing ...", flush=True)
    into.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that the last step is a rename: a half-installed engine never has the name of one.
    fresh = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=into))
    try:
        for part in FOLDERS:
            if (folder / part).is_dir():
                shutil.copytree(folder / part, fresh / part)
        if "pip" in manifest["local"]:
            with_pip(folder / manifest["local"]["pip"], fresh)
        else:
            with_npm(folder, fresh)
        (fresh / "bin").mkdir()
        for program, target in manifest["local"]["executables"].items():
            if not (fresh / target).is_file():
                raise Failure(f"{name}: {target} is not in the package")
            (fresh / target).chmod(0o755)
            # Relative: the folder may be mounted anywhere.
            (fresh / "bin" / program).symlink_to(Path("..") / target)
        readable(fresh)
        found = check(manifest, fresh)
        (fresh / STAMP).write_text(digest)
        replace(fresh, place)
        print(f"{name} {found}")
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def replace(fresh: Path, place: Path) -> None:
    old = place.with_name(f".{place.name}-old-{os.getpid()}")
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def with_pip(requirements: Path, into: Path) -> None:
    run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps"]
        + ["--require-hashes", "--only-binary", ":all:", "--no-compile", "--target", str(into / "lib")]
        + ["--requirement", str(requirements)],
        "pip is needed: install python3-pip",
    )


def with_npm(folder: Path, into: Path) -> None:
    for part in ("package.json", "package-lock.json"):
        shutil.copy(folder / part, into / part)
    # No scripts: nothing of a package runs before it is used.
    run(
        ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(into)],
        "npm is needed: install Node.js 20 or later",
    )


def run(command: list[str], missing: str) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Failure(missing) from error
    if "No module named pip" in done.stderr:
        raise Failure(missing)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise Failure(f"{' '.join(command[:4])} ... ended with {done.returncode}:\n  " + "\n  ".join(words))


def check(manifest: dict, place: Path) -> str:
    """The version that the installed engine gives."""
    program, *arguments = manifest["run"]["version_command"]
    path = Path(program) if "/" in program else place / "bin" / program
    command = [str(path)] + [argument.replace("{engine}", str(place)) for argument in arguments]
    with tempfile.TemporaryDirectory() as home:
        environment = {"PATH": "/usr/bin:/bin", "HOME": home, "TMPDIR": home}
        try:
            done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=120)
        except FileNotFoundError as error:
            raise Failure(f"{manifest['name']} is not installed in {place}") from error
    said = (done.stdout + done.stderr).strip()
    if done.returncode != 0 or manifest["version"] not in said:
        raise Failure(f"{manifest['name']}: wanted version {manifest['version']}, it says: {said[:300]}")
    return manifest["version"]


def digest_of(folder: Path) -> str:
    digest = hashlib.sha256(LAYOUT.encode())
    paths = [folder / name for name in FILES if (folder / name).is_file()]
    for part in FOLDERS:
        paths += [path for path in sorted((folder / part).rglob("*")) if path.is_file()]
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def stamp_of(place: Path) -> str | None:
    try:
        return (place / STAMP).read_text().strip()
    except OSError:
        return None


def readable(folder: Path) -> None:
    """Engines run as another user."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o555 if path.is_dir() or mode & 0o100 else mode | 0o444)


if __name__ == "__main__":
    sys.exit(main())
