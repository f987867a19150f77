"""`make package`: release builds of all functions by cargo-lambda, as the zips that Terraform takes for AWS.

    python3 infra/local/package.py x86_64|arm64

Writes target/lambda/<function>.zip. Runners go to AWS as images (`make images`), yet the zip of the runner is made too:
the same code must build for both. The images also take target/lambda/dunlin/bootstrap: the command line installs engines.
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


def main() -> int:
    """Build, then zip."""
    architecture = sys.argv[1] if len(sys.argv) > 1 else "x86_64"
    try:
        if architecture not in _TARGETS:
            raise Problem(f"ARCH must be one of {', '.join(_TARGETS)}, not {architecture!r}")
        folder = tools.cargo_lambda()
        out = REPOSITORY / "target" / "lambda"
        packages = [word for name in functions.names() for word in ("--package", functions.package(name))]
        packages += ["--package", "dunlin-cli"]
        with step(f"building {len(functions.names())} functions and the command line for {architecture}"):
            done = subprocess.run(
                [folder / "cargo-lambda", "lambda", "build", "--release", _TARGETS[architecture], *packages,
                 "--lambda-dir", out],
                cwd=REPOSITORY, env={**os.environ, "PATH": f"{folder}:{os.environ.get('PATH', '')}"}, check=False,
                stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Problem(f"cargo lambda build failed (exit code {done.returncode})")
        for name in functions.names():
            archive = out / f"{name}.zip"
            functions.write_zip(out / name / "bootstrap", archive)
            with zipfile.ZipFile(archive) as packed:
                size = packed.getinfo("bootstrap").file_size
            say(f"{archive.relative_to(REPOSITORY)}: {archive.stat().st_size >> 20} MiB, {size >> 20} MiB unpacked")
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
