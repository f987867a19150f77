"""`dunlin scan --local` beside AWS's ASH, with the same engines on the same repositories, and beside the slowest engine alone.

REPOS=<folders> takes other repositories; without it, four weak applications are cloned once. ASH=<program> is an installed
ASH. DUNLIN=<program> is another build of dunlin; without it, the one of `make package` is taken.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localcloud.console import say

from dunlinbench import measure, peers
from dunlinbench.measure import Run
from dunlinbench.report import HOME, REPOSITORY, Problem, Row, at_least, skipped, told

PART = "local"
# Engines that write SARIF which ASH can read, and that take a folder. Foxguard's SARIF misses what ASH's reader wants; hadolint
# and shellcheck want lists of files.
ENGINES = ("eslint", "gitleaks", "ruff", "trivy", "zizmor")
_REPOSITORIES = ("adeyosemanputra/pygoat", "OWASP/NodeGoat", "bridgecrewio/terragoat", "juice-shop/juice-shop")
_ROUNDS = int(os.environ.get("ROUNDS", "3"))
_INSTALLED = REPOSITORY / ".local" / "engines"
# 0: clean; 1: findings at the threshold; 2: an engine left files out, as it says.
_GOOD = (0, 1, 2)


@dataclass
class _Measured:
    """Rounds on one repository."""

    # One more run of each, watched.
    memory: float = 0
    ash_memory: float = 0
    ours: list[Run] = field(default_factory=list)
    again: list[Run] = field(default_factory=list)
    changed: list[Run] = field(default_factory=list)
    ash: list[Run] = field(default_factory=list)
    alone: dict[str, list[Run]] = field(default_factory=dict)
    found: Counter[str] = field(default_factory=Counter)
    ash_found: Counter[str] = field(default_factory=Counter)


def run() -> list[Row]:
    """Rounds of ASH, ours, ours again, one changed file, each engine alone; medians."""
    dunlin, ash = _dunlin(), peers.ash()
    rows: list[Row] = []
    for repository in _repositories():
        measured = _Measured()
        for number in range(_ROUNDS):
            say(f"{repository.name}: round {number + 1} of {_ROUNDS}")
            _round(repository, dunlin, ash.program, measured)
        say(f"{repository.name}: memory")
        _memory(repository, dunlin, ash.program, measured)
        rows += _rows(repository.name, measured, ash)
    return rows


def _scratch() -> Path:
    scratch = HOME / "local"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return scratch


def _scan(repository: Path, dunlin: Path, scratch: Path, *, watched: bool = False) -> Run:
    variables = measure.clean_environment(XDG_CACHE_HOME=str(scratch / "cache"), DUNLIN_ENGINES_DIR=str(_INSTALLED))
    command = [dunlin, "scan", "--local", "--no-progress", "--engines", ",".join(ENGINES), "--fail-on", "none", "--format",
               "json", "--output", scratch / "report.json", "--name", repository.name, repository]
    return measure.run(command, env=variables, good=_GOOD, watched=watched)


def _memory(repository: Path, dunlin: Path, ash: Path | None, measured: _Measured) -> None:
    scratch = _scratch()
    measured.memory = _scan(repository, dunlin, scratch, watched=True).peak_mib
    if ash is not None:
        measured.ash_memory = _ash(ash, repository, scratch, watched=True)[0].peak_mib
    shutil.rmtree(scratch)


def _round(repository: Path, dunlin: Path, ash: Path | None, measured: _Measured) -> None:
    scratch = _scratch()
    if ash is not None:
        done, measured.ash_found = _ash(ash, repository, scratch)
        measured.ash.append(done)
    measured.ours.append(_scan(repository, dunlin, scratch))
    head = json.loads((scratch / "report.json").read_text())
    if lost := [e["engine"] for e in head["scan"]["engines"] if e["outcome"] not in ("assessed", "partly_assessed")]:
        raise Problem(f"{repository.name}: {', '.join(lost)} did not finish under dunlin: {measured.ours[-1].output[-1000:]}")
    measured.found = Counter(finding["engine"] for finding in head["findings"])
    measured.again.append(_scan(repository, dunlin, scratch))
    _expect_known(measured.again[-1], repository, 0)
    readme = repository / "README.md"
    before = readme.read_bytes()
    try:
        readme.write_bytes(before + b"\nA line more.\n")
        measured.changed.append(_scan(repository, dunlin, scratch))
        # Of these engines, only gitleaks reads text that is no code.
        _expect_known(measured.changed[-1], repository, 1)
    finally:
        readme.write_bytes(before)
    for engine in (e["engine"] for e in head["scan"]["engines"]):
        measured.alone.setdefault(engine, []).append(_alone(engine, repository, scratch))
    shutil.rmtree(scratch)


def _expect_known(done: Run, repository: Path, running: int) -> None:
    """The repetition is only worth its time if it ran what it had to run and nothing else."""
    told_of = re.search(r"(\d+) of (\d+) results were known", done.output)
    if told_of is None or int(told_of[1]) + running != int(told_of[2]):
        raise Problem(f"{repository.name}: {running} engines should have run again, dunlin says: {done.output[-500:]}")


def _alone(engine: str, repository: Path, scratch: Path) -> Run:
    """The engine's own command, in the repository, without anything around it."""
    manifest = tomllib.loads((REPOSITORY / "engines" / engine / "engine.toml").read_text())
    place, out = _INSTALLED / engine, scratch / f"{engine}.alone"
    values = {"{engine}": str(place), "{out}": str(out), "{tmp}": str(scratch)}
    words = manifest["run"]["command"]
    for name, value in values.items():
        words = [word.replace(name, value) for word in words]
    variables = measure.clean_environment(**manifest["run"].get("env", {}))
    variables["PATH"] = f"{place / 'bin'}:{variables['PATH']}"
    good = manifest["exit"]["done"] + manifest["exit"].get("findings", [])
    return measure.run(words, cwd=repository, env=variables, good=good, watched=False)


def _ash(program: Path, repository: Path, scratch: Path, *, watched: bool = False) -> tuple[Run, Counter[str]]:
    """ASH, local and offline, its own scanners left out, with the engines as a plugin."""
    out = scratch / "ash"
    variables = measure.clean_environment(
        PYTHONPATH=str(REPOSITORY / "benches" / "ash"), DUNLIN_ENGINES=str(REPOSITORY / "engines"),
        DUNLIN_INSTALLED=str(_INSTALLED), DUNLIN_ENGINE_NAMES=",".join(ENGINES))
    scanners = [word for engine in ENGINES for word in ("--scanners", engine)]
    done = measure.run(
        [program, "scan", "--mode", "local", "--offline", "--source-dir", repository, "--output-dir", out, "--no-progress",
         "--no-color", "--no-fail-on-findings", "--ash-plugin-modules", "ash_plugins.dunlin_engines", *scanners],
        env=variables, watched=watched)
    sarif = json.loads((out / "reports" / "ash.sarif").read_text())
    return done, Counter(_scanner_of(result) for part in sarif["runs"] for result in part.get("results") or [])


def _scanner_of(result: Mapping[str, Any]) -> str:
    properties = result.get("properties") or {}
    return str(properties.get("scanner_name") or "unknown")


def _rows(name: str, measured: _Measured, ash: peers.Peer) -> list[Row]:
    ours = statistics.median(done.seconds for done in measured.ours)
    again = statistics.median(done.seconds for done in measured.again)
    changed = statistics.median(done.seconds for done in measured.changed)
    times = {engine: statistics.median(run.seconds for run in runs) for engine, runs in measured.alone.items()}
    slowest = max(times, key=lambda engine: times[engine])
    work = sum(statistics.median(run.processor_seconds for run in runs) for runs in measured.alone.values())
    processors = len(os.sched_getaffinity(0))
    rows: list[Row] = []
    found = _words(measured.found)
    what = f"{name}: ASH with the same engines"
    if ash.program is None:
        rows.append(skipped(PART, what, ash.how))
    else:
        theirs = statistics.median(done.seconds for done in measured.ash)
        rows.append(at_least(PART, what, theirs / ours, 3, f"{ours:.2f} s, {measured.memory:.0f} MiB against {theirs:.2f} s, "
                             f"{measured.ash_memory:.0f} MiB", ours=[r.seconds for r in measured.ours],
                             ash=[r.seconds for r in measured.ash]))
        fewer = [engine for engine, count in measured.ash_found.items() if measured.found[engine] < count]
        rows.append(Row(PART, f"{name}: findings", f"{found}; ASH: {_words(measured.ash_found)}", "not fewer of any engine",
                        not fewer, {"ours": dict(measured.found), "ash": dict(measured.ash_found)}))
    shared = work / processors
    alone = f"{slowest} alone takes {times[slowest]:.2f} s, all together {work:.2f} s of processor time"
    details = {"value": ours / times[slowest], "alone": times, "processor_seconds": work, "seconds": ours}
    if shared <= times[slowest]:
        rows.append(Row(PART, f"{name}: the slowest engine alone, beside which the others fit", f"{ours / times[slowest]:.2f} times: {alone}",
                        "at most 1.15 times", ours / times[slowest] <= 1.15, details))
    else:
        # No order of the engines takes less than their processor time shared by the processors.
        rows.append(told(PART, f"{name}: the others do not fit beside the slowest engine", f"{ours / shared:.2f} times the "
                         f"{shared:.2f} s that {processors} processors need: {alone}", **details))
    rows.append(at_least(PART, f"{name}: the same again", ours / again, 50, f"{again * 1000:.0f} ms", again=again))
    rows.append(told(PART, f"{name}: README.md changed (one engine reads it, and only that one runs)", f"{changed:.2f} s",
                     changed=changed))
    return rows


def _words(found: Counter[str]) -> str:
    return ", ".join(f"{engine} {count}" for engine, count in sorted(found.items())) or "none"


def _dunlin() -> Path:
    if given := os.environ.get("DUNLIN"):
        program = Path(given).resolve()
        if not program.is_file():
            raise Problem(f"DUNLIN={given} is no file")
        return program
    program = REPOSITORY / "target" / "images" / "dunlin" / "bootstrap"
    if not program.is_file():
        raise Problem(f"there is no {program.relative_to(REPOSITORY)}: run `make package` first")
    return program


def _repositories() -> list[Path]:
    if given := os.environ.get("REPOS"):
        paths = [Path(word).resolve() for word in given.split()]
        for path in paths:
            if not (path / "README.md").is_file():
                raise Problem(f"{path} is no repository with a README.md")
        return paths
    paths = []
    for repository in _REPOSITORIES:
        path = HOME / "repositories" / repository.split("/")[1]
        if not path.is_dir():
            say(f"cloning {repository}")
            done = subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"https://github.com/{repository}", path],
                                  capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                raise Problem(f"{repository} cannot be cloned ({done.stderr.strip()}); clone it elsewhere and give the folders "
                              "in REPOS")
        paths.append(path)
    return paths
