"""`make bench`: what Dunlin costs in time and memory, beside its peers, in one run.

    python3 benches/bench.py [PART ...]

Prints a table, writes .local/bench/results.json and the tables of docs/performance.md, and ends with 1 when a limit is broken.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT / "benches"), str(_ROOT / "infra" / "local")]

from dunlinbench.report import Problem, Row, keep, machine, table  # noqa: E402
from localcloud import tools  # noqa: E402
from localcloud.console import say  # noqa: E402
from localcloud.stack import Problem as CloudProblem  # noqa: E402

# In this order. `build` compiles everything from nothing and takes minutes: it runs when it is named.
_PARTS = ("coldstart", "aggregator", "orchestration", "local", "prices", "rates")
_BY_NAME = (*_PARTS, "build")


def main() -> int:
    """Every part that was asked for; one that fails stops no other."""
    names = sys.argv[1:] or list(_PARTS)
    if unknown := [name for name in names if name not in _BY_NAME]:
        print(f"error: there is no part {unknown[0]!r}; there are {', '.join(_BY_NAME)}", file=sys.stderr)
        return 2
    try:
        # The stack's own Python: parts that speak to the emulator need its libraries.
        python = tools.ensure_venv()
    except CloudProblem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), *sys.argv])
    rows: list[Row] = []
    broken = False
    for name in names:
        say(f"{name} ({machine()})")
        load = os.getloadavg()[0]
        try:
            done = importlib.import_module(f"dunlinbench.{name}").run()
            keep(name, f"make bench ONLY={name}", done, load)
        except (Problem, CloudProblem) as problem:
            print(f"error: {name}: {problem}", file=sys.stderr)
            broken = True
            continue
        rows += done
        print(table(done), flush=True)
    failed = [row for row in rows if row.ok is False]
    print(f"\n{machine()}\n\n{table(rows)}")
    for row in failed:
        print(f"not ok: {row.what}: {row.figure}, {row.limit}", file=sys.stderr)
    return 1 if failed or broken else 0


if __name__ == "__main__":
    sys.exit(main())
