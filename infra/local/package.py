"""`make package`: release builds of all functions by cargo-lambda, as the zips that Terraform takes for AWS.

    python3 infra/local/package.py x86_64|arm64

Writes target/lambda/<function>.zip, and for the images target/images/<program>/bootstrap of the runner, the command line (it
installs engines) and the loader. Engines are x86-64 programs, so these are, whatever the functions are built for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from localcloud import functions, tools  # noqa: E402
from localcloud.console import say, step  # noqa: E402
from localcloud.stack import REPOSITORY, Problem  # noqa: E402

_TARGETS = {"x86_64": "--x86-64", "arm64": "--arm64"}


def build(names: list[str], architecture: str, out: Path) -> None:
    """Release builds as <out>/<function>/bootstrap."""
    folder = tools.cargo_lambda()
    packages = [word for name in names
                for word in ("--package", "dunlin-cli" if name == "dunlin" else functions.package(name))]
    with step(f"building {', '.join(names)} for {architecture}"):
        done = subprocess.run(
            [folder / "cargo-lambda", "lambda", "build", "--release", _TARGETS[architecture], *packages,
             "--lambda-dir", out],
            cwd=REPOSITORY, env={**os.environ, "PATH": f"{folder}:{os.environ.get('PATH', '')}"}, check=False,
            stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Problem(f"cargo lambda build failed (exit code {done.returncode})")


def main() -> int:
    """Build, check, then zip."""
    architecture = sys.argv[1] if len(sys.argv) > 1 else "x86_64"
    try:
        if architecture not in _TARGETS:
            raise Problem(f"ARCH must be one of {', '.join(_TARGETS)}, not {architecture!r}")
        zipped = [name for name in functions.names() if name != "runner"]
        out = REPOSITORY / "target" / "lambda"
        build(zipped, architecture, out)
        for name in zipped:
            archive = out / f"{name}.zip"
            functions.write_zip(functions.require(out / name / "bootstrap", architecture), archive)
            with zipfile.ZipFile(archive) as packed:
                size = packed.getinfo("bootstrap").file_size
            say(f"{archive.relative_to(REPOSITORY)}: {archive.stat().st_size >> 20} MiB, {size >> 20} MiB unpacked")
        images = REPOSITORY / "target" / "images"
        programs = ["runner", "dunlin", "loader"]
        build(programs, "x86_64", images)
        for name in programs:
            program = functions.require(images / name / "bootstrap", "x86_64")
            say(f"{program.relative_to(REPOSITORY)}: {program.stat().st_size >> 20} MiB, for the images")
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
