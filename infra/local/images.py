"""`make images`: builds the image of every engine and of the loader, or of those named. With them the local Batch runs containers.

    python3 infra/local/images.py [engine | loader ...]

Needs root and Debian: it installs podman, runc, buildah and mmdebstrap. The base image is pulled where a registry can be
reached, and made from Debian's packages where it cannot.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from localcloud import functions, tools  # noqa: E402
from localcloud.batch.container import podman  # noqa: E402
from localcloud.console import run, say, step  # noqa: E402
from localcloud.stack import REPOSITORY, Problem  # noqa: E402

BASE = "docker.io/library/debian:bookworm-slim"
_PACKAGES = ["podman", "runc", "buildah", "mmdebstrap"]
# Programs inside the build context; .dockerignore keeps the rest of the working tree out.
RUNNER = Path(".local/images/runner")
DUNLIN = Path(".local/images/dunlin")
LOADER = Path(".local/images/loader")
_HOST_ROOTS = "/run/host-roots.crt"


def dockerfiles() -> dict[str, str]:
    """Every engine with a Dockerfile, and the functions that run on Batch too."""
    found = [*(REPOSITORY / "engines").glob("*/Dockerfile"), *(REPOSITORY / "functions").glob("*/Dockerfile")]
    return {file.parent.name: str(file.relative_to(REPOSITORY)) for file in sorted(found)}


def ensure_programs() -> None:
    """The container tools."""
    if os.geteuid() != 0:
        raise Problem("building images needs root (the container tools are used without user namespaces)")
    missing = [name for name in _PACKAGES if not shutil.which(name)]
    if missing:
        tools.apt(missing, "container tools")


def ensure_base() -> None:
    """Debian, pulled or made."""
    if podman("image", "exists", BASE).returncode == 0:
        return
    with step(f"pulling {BASE}"):
        if podman("pull", "--quiet", BASE, timeout=300).returncode == 0:
            return
    say("no registry can be reached: making the base image from Debian's packages")
    with step(f"making {BASE}"), tempfile.TemporaryDirectory(prefix="dunlin-base-") as folder:
        archive = Path(folder) / "base.tar"
        # No package more than the registry's base has, or an image would work here and nowhere else; and only what
        # mmdebstrap brings: the machine's own apt configuration may name mirrors that others do not have.
        run(["mmdebstrap", "--variant=minbase", "bookworm", archive],
            what="making a Debian base with mmdebstrap")
        run(["podman", "import", "--quiet", "--change", "CMD=[\"/bin/bash\"]", archive, BASE],
            what="importing the base image")


def stage_programs() -> None:
    """The runner and the loader, the same builds that jobs use as a process, and `dunlin`, which installs engines in images.

    They are built against this machine's C library, so the base must not be older than this machine.
    """
    run(["cargo", "build", "--package", functions.package("runner"), "--bin", "runner",
         "--package", functions.package("loader"), "--bin", "loader", "--package", "dunlin-cli", "--bin", "dunlin", "--quiet"],
        what="building the runner, the loader and the command line", cwd=REPOSITORY, show=True)
    for program in (RUNNER, DUNLIN, LOADER):
        staged = REPOSITORY / program
        staged.parent.mkdir(parents=True, exist_ok=True)
        functions.strip(functions.require(functions.target() / "debug" / program.name, "x86_64"), staged)


def host_roots() -> list[str]:
    """Lets downloads trust what this machine trusts. A mount, which is there for the build and in no layer of the image."""
    candidates = [os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"]
    for candidate in filter(None, candidates):
        if Path(candidate).is_file():
            return ["--volume", f"{Path(candidate).resolve()}:{_HOST_ROOTS}:ro", "--build-arg", f"ROOTS={_HOST_ROOTS}"]
    return []


def build(image: str, dockerfile: str) -> str:
    """One image; answers its name, the one in the job definition."""
    is_engine = dockerfile.startswith("engines/")
    name = f"dunlin/{'engine' if is_engine else 'function'}/{image}"
    programs = {"RUNNER": RUNNER, "DUNLIN": DUNLIN} if is_engine else {image.upper(): Path(f".local/images/{image}")}
    command = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "build", "--pull=never",
               "--format", "docker", "--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000",
               *(word for variable, program in programs.items() for word in ("--build-arg", f"{variable}={program}")),
               *(host_roots() if is_engine else []),
               "--file", dockerfile, "--tag", name, "."]
    with step(f"building {name}"):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        print((done.stdout + done.stderr)[-6000:], file=sys.stderr)
        raise Problem(f"the image of {image} could not be built (exit code {done.returncode})")
    return name


def main() -> int:
    """Build all or the named ones."""
    try:
        there = dockerfiles()
        wanted = sys.argv[1:] or list(there)
        unknown = sorted(set(wanted) - set(there))
        if unknown:
            raise Problem(f"no Dockerfile for {', '.join(unknown)}; there are: {', '.join(there) or 'none'}")
        ensure_programs()
        stage_programs()
        ensure_base()
        for image in wanted:
            say(f"{build(image, there[image])} is ready")
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
