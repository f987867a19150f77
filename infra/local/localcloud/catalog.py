"""engines/catalog.json: what Terraform must know about each engine, taken from the engine.toml files."""

from __future__ import annotations

import json
import tomllib

from localcloud.console import say
from localcloud.stack import REPOSITORY, Problem

FILE = REPOSITORY / "engines" / "catalog.json"
_FIELDS = ("lambda", "lambda_memory_mib", "size", "timeout_seconds")


def render() -> str:
    """The file's content. Terraform cannot read TOML, hence this copy."""
    engines = {}
    for manifest in sorted((REPOSITORY / "engines").glob("*/engine.toml")):
        try:
            limits = tomllib.loads(manifest.read_text())["limits"]
            engines[manifest.parent.name] = {field: limits[field] for field in _FIELDS}
        except (tomllib.TOMLDecodeError, KeyError) as error:
            raise Problem(f"{manifest.relative_to(REPOSITORY)} cannot be used: {error}") from error
    return json.dumps(engines, indent=2) + "\n"


def engines() -> list[str]:
    """Name of every engine."""
    return sorted(manifest.parent.name for manifest in (REPOSITORY / "engines").glob("*/engine.toml"))


def current() -> bool:
    """Whether the file says what the manifests say."""
    return FILE.is_file() and FILE.read_text() == render()


def write() -> None:
    """Bring the file up to date."""
    if not current():
        FILE.write_text(render())
        say(f"wrote {FILE.relative_to(REPOSITORY)}")
