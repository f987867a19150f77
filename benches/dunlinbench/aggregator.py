"""The aggregator on 20,000 and 200,000 findings in 50 job results, beside two tools that merge the same findings as 50 SARIF
files into one.

The aggregator does its whole work: results are read from an S3 server over a folder, findings are matched and written to a
Postgres with its default settings, and SARIF, JSON and CSV are written. The peers read files and write one file; what does no more
than that here is the end of `dunlin scan --local`: the same rules, without a database.

Beside them stands what keeping costs at least: the rows that a first scan has written, copied into tables without keys and indexes.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path

from localcloud.console import run as run_tool
from localcloud.console import say, step

from dunlinbench import database, measure, peers, prices
from dunlinbench.functions import Running
from dunlinbench.made import JOBS, Scan, write_results
from dunlinbench.report import HOME, REPOSITORY, Problem, Row, at_least, below, skipped, told
from dunlinbench.stub import ObjectServer

PART = "aggregator"
_SMALL, _LARGE = 20_000, 200_000
_ROUNDS = int(os.environ.get("ROUNDS", "3"))
# Growth of the peak from the small to the large scan that still counts as flat.
_FLAT = 1.5
# What a scan writes for each finding, and the column that says which scan it was.
_KEPT = {"findings": "first_seen_scan", "finding_events": "scan_id", "scan_findings": "scan_id"}


def run() -> list[Row]:
    """Rounds of: each peer, a first scan, the same findings again. Every round begins with an empty database."""
    home = HOME / "aggregator"
    bucket = home / "s3" / "data"
    with step("making the findings"):
        for count in (_SMALL, _LARGE):
            write_results(Scan(count, 0), bucket, home / f"sarif-{count}")
    with step("building what merges without a database, optimised"):
        run_tool(["cargo", "build", "--release", "--quiet", "-p", "dunlin-aggregation", "--example", "merge"], what="cargo build",
                 cwd=REPOSITORY, show=True)
    merges: list[measure.Run] = []
    least: list[float] = []
    tools = {"sarif-tools": peers.sarif_tools(), "sarif-multitool": peers.multitool()}
    ours: dict[tuple[int, int], list[tuple[float, float]]] = {}
    theirs: dict[str, list[measure.Run]] = {name: [] for name in tools}
    for number in range(_ROUNDS):
        for name, peer in tools.items():
            if peer.program is not None:
                say(f"round {number + 1} of {_ROUNDS}: {name}")
                theirs[name].append(_merge(name, peer.program, home))
        merges.append(_merge_here(bucket, home))
        say(f"round {number + 1} of {_ROUNDS}: aggregator")
        with database.fresh() as (postgres, password, _):
            objects = ObjectServer(home / "s3", password)
            variables = {**postgres, **objects.environment}
            with Running("migrate", variables) as migrate:
                _, ok, answer = migrate.ask(b"{}")
                if not ok:
                    raise Problem(f"the bench's database could not be migrated: {answer}")
            for count in (_SMALL, _LARGE):
                for repetition in (0, 1):
                    taken = _aggregate(Scan(count, repetition), bucket, variables)
                    ours.setdefault((count, repetition), []).append(taken)
                    if (count, repetition) == (_LARGE, 0):
                        least.append(_keep_only(postgres, password, Scan(count, repetition).id))
            objects.close()
    shutil.rmtree(bucket / "reports", ignore_errors=True)
    return _rows(ours, merges, theirs, tools, least)


def _keep_only(postgres: dict[str, str], password: str, scan: str) -> float:
    """Seconds that Postgres takes for the rows of a first scan when nothing is asked of it: one transaction, binary, bare tables."""
    environment = prices.environment_of(postgres, password)
    with tempfile.TemporaryDirectory() as folder:
        prices.psql(environment, *[f"\\copy (select * from {table} where {column} = '{scan}') to '{folder}/{table}' (format binary)"
                                   for table, column in _KEPT.items()],
                    *[f"create table bare_{table} as select * from {table} limit 0" for table in _KEPT])
        taken, _ = prices.psql(environment, "begin", *[f"\\copy bare_{table} from '{folder}/{table}' (format binary)" for table in _KEPT],
                               "commit")
        prices.psql(environment, *[f"drop table bare_{table}" for table in _KEPT])
    return taken


def _aggregate(scan: Scan, bucket: Path, variables: dict[str, str]) -> tuple[float, float]:
    """Seconds from the event to the answer, and the most memory in MiB, of a fresh process."""
    scan.write_plan(bucket)
    with Running("aggregator", variables) as function:
        # The cold start is measured elsewhere.
        function.api.polled.get(timeout=30)
        began = function.clock()
        at, ok, answer = function.ask(json.dumps(scan.event()).encode())
        peak = function.resident_mib("VmHWM")
        said = function.said()
    if not ok or answer["state"] != "complete" or answer["summary"]["findings"] != scan.findings:
        raise Problem(f"the aggregator answered {json.dumps(answer)[:500]}; it said: {said[-2000:]}")
    sarif, whole, table = scan.reports(bucket)
    if whole.read_bytes()[-40:].decode().strip().endswith(f'"count":{scan.findings}}}') is False:
        raise Problem(f"{whole} does not end with {scan.findings} findings")
    for report in (sarif, table):
        if not report.is_file():
            raise Problem(f"the aggregator left no {report.name}")
    return at - began, peak


def _merge(name: str, program: Path, home: Path) -> measure.Run:
    sources, out = home / f"sarif-{_LARGE}", home / f"{name}.sarif"
    out.unlink(missing_ok=True)
    if name == "sarif-tools":
        command = [program, "copy", "--output", out, sources]
    else:
        command = [program, "merge", f"{sources}/*.sarif", "--output-directory", home, "--output-file", out.name,
                   "--log", "ForceOverwrite"]
    done = measure.run(command, env=measure.clean_environment(DOTNET_SYSTEM_GLOBALIZATION_INVARIANT="1"))
    merged = sum(len(part.get("results") or []) for part in json.loads(out.read_text())["runs"])
    out.unlink()
    if merged != _LARGE:
        # Not a failure of the bench: it is what the peer does with these files, and it is told.
        say(f"{name} kept {merged} of {_LARGE} results")
    return done


def _merge_here(bucket: Path, home: Path) -> measure.Run:
    scan, out = Scan(_LARGE, 0), home / "merged.sarif"
    scan.write_plan(bucket)
    plan, results = scan.places(bucket)
    out.unlink(missing_ok=True)
    done = measure.run([REPOSITORY / "target" / "release" / "examples" / "merge", plan, results, out], env=measure.clean_environment())
    merged = json.loads(out.read_text())["runs"]
    if sum(len(part["results"]) for part in merged) != _LARGE:
        raise Problem(f"{_LARGE} findings were merged to {done.output.strip()}")
    out.unlink()
    return done


def _rows(ours: dict[tuple[int, int], list[tuple[float, float]]], merges: list[measure.Run], theirs: dict[str, list[measure.Run]],
          tools: dict[str, peers.Peer], least: list[float]) -> list[Row]:
    def seconds(key: tuple[int, int]) -> float:
        return statistics.median(taken[0] for taken in ours[key])

    first, again = seconds((_LARGE, 0)), seconds((_LARGE, 1))
    small = max(peak for repetition in (0, 1) for _, peak in ours[_SMALL, repetition])
    large = max(peak for repetition in (0, 1) for _, peak in ours[_LARGE, repetition])
    rows = [
        told(PART, f"{_LARGE:,} findings in {JOBS} results, first scan", f"{first:.1f} s, {_LARGE / first:,.0f} a second",
             rounds=ours[_LARGE, 0]),
        told(PART, "the same findings in a second scan", f"{again:.1f} s, {_LARGE / again:,.0f} a second",
             rounds=ours[_LARGE, 1]),
        told(PART, f"{_SMALL:,} findings, first scan", f"{seconds((_SMALL, 0)):.2f} s", rounds=ours[_SMALL, 0]),
        below(PART, f"most memory with {_LARGE:,} findings", large, 128, "MiB", digits=0),
        Row(PART, f"growth of memory from {_SMALL:,} to {_LARGE:,}", f"{large / small:.2f} times ({small:.0f} MiB)",
            f"at most {_FLAT} times", large / small <= _FLAT, {"small": small, "large": large}),
    ]
    here = statistics.median(done.seconds for done in merges)
    rows.append(told(PART, "merging alone, without a database: 50 results to one SARIF file",
                     f"{here:.2f} s, {max(done.peak_mib for done in merges):.0f} MiB", rounds=[done.seconds for done in merges]))
    keeping = statistics.median(least)
    rows.append(told(PART, "what keeping takes at least: COPY BINARY of the rows of a first scan into tables without anything",
                     f"{keeping:.2f} s", rounds=least))
    for name, peer in tools.items():
        what = f"against {name} merging the same"
        if peer.program is None:
            rows.append(skipped(PART, f"merging {what}", peer.how))
            continue
        merged = statistics.median(done.seconds for done in theirs[name])
        memory = max(done.peak_mib for done in theirs[name])
        detail, rounds = f"{name}: {merged:.1f} s, {memory:.0f} MiB", [done.seconds for done in theirs[name]]
        rows.append(at_least(PART, f"merging alone {what}", merged / here, 10, detail, rounds=rounds))
        rows.append(at_least(PART, f"first scan, kept with its history, {what}", merged / first, 10,
                             f"{detail}; merging and then that copy: {merged / (here + keeping):.1f} times", rounds=rounds))
    return rows
