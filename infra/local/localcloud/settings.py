"""What `cloud.py` tells the launcher, in a file, so that no setting can leak into a function's environment."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

MODES = ("auto", "container", "process")


@dataclass(frozen=True)
class Settings:
    """Settings of one emulator process."""

    stack: str
    # Of Batch jobs: `runner`, and those of functions that run there too.
    programs: Path
    engines: Path
    scratch: Path
    sessions: Path
    batch_mode: str = "auto"
    function_path: str = "/usr/local/bin:/usr/bin:/bin"

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read what `write` wrote."""
        raw = json.loads(path.read_text())
        if raw["batch_mode"] not in MODES:
            raise ValueError(f"batch_mode must be one of {', '.join(MODES)}, not {raw['batch_mode']!r}")
        paths = {name: Path(raw.pop(name)) for name in ("programs", "engines", "scratch", "sessions")}
        return cls(**raw, **paths)

    def write(self, path: Path) -> None:
        """Write the file the launcher reads."""
        path.write_text(json.dumps({k: str(v) for k, v in asdict(self).items()}, indent=2) + "\n")
