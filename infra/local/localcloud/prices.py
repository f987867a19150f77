"""`make prices`: what a data team does on a day with prices, through the API, as a person would."""

from __future__ import annotations

import csv
import subprocess
import tempfile
import time
from pathlib import Path

from localcloud import price_files
from localcloud.console import say, step
from localcloud.runner import command_line, environment
from localcloud.stack import Problem, Stack

_ROWS = 1_000_000
_ROWS_WITH_BAD_ONES = 50_000


def demonstrate(stack: Stack) -> None:
    """Seed ports, publish a million prices, ask for rates; then a batch with 37 bad rows, all of them named."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        regions, ports, prices, bad = (home / name for name in ("regions.csv", "ports.csv", "prices.csv", "bad.csv"))
        with step(f"writing regions, ports and {_ROWS:,} prices"):
            price_files.write_regions(regions)
            price_files.write_ports(ports)
            # Another file each time: the same content would be the same batch.
            price_files.write_prices(prices, _ROWS, seed=int(time.time()))
            expected = price_files.write_prices_with_bad_rows(bad, _ROWS_WITH_BAD_ONES, seed=int(time.time()))
        for kind, file in (("regions", regions), ("ports", ports)):
            say(f"dunlin prices send {file.name} --kind {kind}")
            _send(stack, file, kind, good=(0,))
        say(f"dunlin prices send {prices.name} --kind prices ({prices.stat().st_size >> 20} MiB)")
        began = time.monotonic()
        _send(stack, prices, "prices", good=(0,))
        took = time.monotonic() - began
        say(f"{_ROWS:,} prices were sent, checked and published in {took:.1f} s ({_ROWS / took:,.0f} rows/s)")

        for places in (("china_main", "north_europe_main"), ("ZZ001", "scandinavia")):
            say(f"dunlin prices rates {' '.join(places)} --from 2025-03-01 --to 2025-03-07")
            _run(stack, "rates", *places, "--from", "2025-03-01", "--to", "2025-03-07", good=(0,))

        say(f"dunlin prices send {bad.name} --kind prices (with {len(expected)} bad rows)")
        named = home / "bad-rows.csv"
        _send(stack, bad, "prices", "--bad-rows", str(named), good=(1,))
        with named.open(newline="") as report:
            lines = {int(row["line"]) for row in csv.DictReader(report)}
        if lines != set(expected):
            raise Problem(f"bad are the lines {sorted(expected)}, and named were {sorted(lines)}")
        say(f"all {len(expected)} bad rows were named, by line, column, value and reason")


def _send(stack: Stack, file: Path, kind: str, *more: str, good: tuple[int, ...]) -> None:
    _run(stack, "send", str(file), "--kind", kind, "--name", f"demonstration: {file.name}", *more, good=good)


def _run(stack: Stack, *arguments: str, good: tuple[int, ...]) -> None:
    done = subprocess.run([command_line(), "prices", *arguments], env=environment(stack), stdin=subprocess.DEVNULL, check=False)
    if done.returncode not in good:
        raise Problem(f"dunlin prices {' '.join(arguments)} ended with exit code {done.returncode}; "
                      "`make logs` shows what the functions said")
