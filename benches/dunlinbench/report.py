"""Rows with a figure and its limit; the table, the JSON file and docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HOME = REPOSITORY / ".local" / "bench"
_PAGE = REPOSITORY / "docs" / "performance.md"
_RESULTS = HOME / "results.json"


class Problem(Exception):
    """Something the person at the keyboard can act on; the text is the whole message."""


@dataclass(frozen=True)
class Row:
    """One figure. `ok` is None where there is no limit, or where the figure could not be taken."""

    part: str
    what: str
    figure: str
    limit: str = ""
    ok: bool | None = None
    # Everything that was measured, for whoever wants to compute with it.
    raw: dict[str, object] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """`ok`, `not ok`, or nothing."""
        return "" if self.ok is None else "ok" if self.ok else "**not ok**"


def below(part: str, what: str, value: float, limit: float, unit: str, digits: int = 1, **raw: object) -> Row:
    """A figure that must stay under its limit."""
    return Row(part, what, f"{value:.{digits}f} {unit}", f"under {limit:g} {unit}", value < limit,
               {"value": value, **raw})


def at_least(part: str, what: str, value: float, limit: float, detail: str, **raw: object) -> Row:
    """A ratio that must reach its limit."""
    return Row(part, what, f"{value:.1f} times ({detail})", f"at least {limit:g} times", value >= limit,
               {"value": value, **raw})


def told(part: str, what: str, figure: str, **raw: object) -> Row:
    """A figure without a limit."""
    return Row(part, what, figure, raw=raw)


def skipped(part: str, what: str, why: str) -> Row:
    """A figure that was not taken, and what it needs. It is neither ok nor a failure, and it is shown."""
    return Row(part, what, f"not measured: {why}", raw={"skipped": why})


def machine() -> str:
    """Cores, memory, and how busy the machine is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return (f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release().split('-')[0]}, "
            f"load {os.getloadavg()[0]:.1f}")


def table(rows: Iterable[Row]) -> str:
    """Markdown."""
    lines = ["| what | figure | limit | |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.figure} | {row.limit} | {row.verdict} |" for row in rows]
    return "\n".join(lines) + "\n"


def keep(part: str, command: str, rows: list[Row], load_before: float) -> None:
    """The part's rows in the results file and between its markers in docs/performance.md."""
    HOME.mkdir(parents=True, exist_ok=True)
    results = json.loads(_RESULTS.read_text()) if _RESULTS.is_file() else {}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True,
                            check=False).stdout.strip()
    load = f"load {load_before:.1f} before, {os.getloadavg()[0]:.1f} after"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    results[part] = {"command": command, "commit": commit, "machine": machine(), "date": day, "load": load,
                     "rows": [asdict(row) for row in rows]}
    _RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    text = _PAGE.read_text()
    begin, end = f"<!-- bench {part} -->\n", f"<!-- end {part} -->"
    if begin not in text or end not in text:
        raise Problem(f"docs/performance.md has no place for {part}: it needs the lines {begin.strip()!r} and {end!r}")
    head, rest = text.split(begin, 1)
    tail = rest.split(end, 1)[1]
    busy = machine().rsplit(", load", 1)[0]
    words = f"`{command}` on {day}, commit {commit}; {busy}; {load}.\n\n"
    _PAGE.write_text(f"{head}{begin}{words}{table(rows)}{end}{tail}")
