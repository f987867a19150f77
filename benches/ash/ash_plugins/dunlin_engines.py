"""Dunlin's engines as scanners of ASH, so that both run the same programs with the same arguments and rules.

ASH loads this module by `--ash-plugin-modules ash_plugins.dunlin_engines`. DUNLIN_ENGINES names the folder with the manifests,
DUNLIN_INSTALLED the one with the installed engines. The scanners keep to the shape of ASH's own Trivy plugin.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from automated_security_helper.base.options import ScannerOptionsBase
from automated_security_helper.base.scanner_plugin import ScannerPluginBase, ScannerPluginConfigBase
from automated_security_helper.core.enums import ScannerToolType
from automated_security_helper.models.core import ToolArgs
from automated_security_helper.plugins.decorators import ash_scanner_plugin
from automated_security_helper.schemas.sarif_schema_model import SarifReport
from automated_security_helper.utils.sarif_utils import attach_scanner_details

_MANIFESTS = Path(os.environ["DUNLIN_ENGINES"])
_INSTALLED = Path(os.environ["DUNLIN_INSTALLED"])


def _scanner(manifest: dict[str, Any]) -> type:
    name = manifest["name"]
    run = manifest["run"]
    place = _INSTALLED / name

    # The annotation is read when the class is made, so it cannot be postponed as the module's others are.
    config = type(f"{name.title()}Config", (ScannerPluginConfigBase,), {
        "__annotations__": {"name": Literal[name], "enabled": bool, "options": ScannerOptionsBase},
        "name": name, "enabled": True, "options": ScannerOptionsBase(), "__module__": __name__})

    def model_post_init(self: Any, context: Any) -> None:
        if self.config is None:
            self.config = config()
        self.command = run["command"][0]
        self.tool_type = ScannerToolType.SAST
        self.tool_version = manifest["version"]
        self.args = ToolArgs(format_arg=None, format_arg_value=None, output_arg=None, scan_path_arg=None, extra_args=[])
        base.model_post_init(self, context)

    def validate(self: Any) -> bool:
        return (place / "bin").is_dir()

    def scan(self: Any, target: Path, target_type: str, config: Any = None, *_: Any, **__: Any) -> Any:
        if not self._pre_scan(target=target, target_type=target_type, config=config):
            self._post_scan(target=target, target_type=target_type)
            return False
        folder = self.results_dir.joinpath(target_type)
        folder.mkdir(exist_ok=True, parents=True)
        report, scratch = folder / "results_sarif.sarif", folder / "tmp"
        scratch.mkdir(exist_ok=True)
        words = [word.replace("{engine}", str(place)).replace("{out}", str(report)).replace("{tmp}", str(scratch))
                 for word in run["command"]]
        if run.get("stdout_report"):
            words = ["sh", "-c", 'out=$1; shift; exec "$@" > "$out"', "sh", str(report), *words]
        environment = {**os.environ, **run.get("env", {}), "PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
        self._run_subprocess(command=words, results_dir=folder, cwd=target, env=environment)
        self._post_scan(target=target, target_type=target_type)
        if not report.is_file():
            return None
        sarif = SarifReport.model_validate(json.loads(report.read_text(encoding="utf-8")))
        return attach_scanner_details(sarif_report=sarif, scanner_name=name, scanner_version=manifest["version"],
                                      invocation_details={"command_line": " ".join(words), "exit_code": self.exit_code})

    base = ScannerPluginBase[config]
    made = type(f"{name.title()}Scanner", (base,), {
        "model_post_init": model_post_init, "validate_plugin_dependencies": validate, "scan": scan,
        "__module__": __name__, "__doc__": f"Dunlin's engine {name}."})
    return ash_scanner_plugin(made)


ASH_SCANNERS = [
    _scanner(manifest)
    for name in os.environ["DUNLIN_ENGINE_NAMES"].split(",")
    for manifest in [tomllib.loads((_MANIFESTS / name / "engine.toml").read_text())]
]
# ASH finds plugins among the names of a module.
globals().update({scanner.__name__: scanner for scanner in ASH_SCANNERS})
ASH_REPORTERS: list[type] = []
ASH_CONVERTERS: list[type] = []
