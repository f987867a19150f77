"""Questions about rates over a hundred million prices, as `GET /v1/rates` asks them, and what the server does for one of them.

Ten batches of ten million rows, each over the same year and the same ports: about 10 GB with their indexes.
"""

from __future__ import annotations

import re
import statistics

from localcloud.console import say, step

from dunlinbench import database, prices
from dunlinbench.report import Problem, Row, told

PART = "rates"
_BATCHES = 10
_ROWS = 10_000_000
_QUESTIONS = 300
_PLAN = ["alter system set session_preload_libraries = 'auto_explain'", "alter system set auto_explain.log_min_duration = 0",
         "alter system set auto_explain.log_analyze = on", "alter system set auto_explain.log_timing = off",
         "select pg_reload_conf()"]


def run() -> list[Row]:
    """Load, let the server settle, ask; then the plan of one question."""
    program, home = prices.build(), prices.places()
    with database.fresh() as (postgres, password, log):
        environment = prices.environment_of(postgres, password)
        _explainable(environment)
        prices.ask(program, environment, "migrate")
        for number in range(_BATCHES):
            file = prices.generate(program, home, _ROWS, seed=100 + number)
            with step(f"loading batch {number + 1} of {_BATCHES}"):
                prices.ask(program, environment, "load", file, 2)
            file.unlink()
        with step("vacuum, as the server does by itself"):
            prices.psql(environment, "vacuum (freeze) prices")
        size = prices.psql(environment, "select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'prices'::regclass")[1]
        ports = home / "ports.csv"
        # Once for the caches, which a database of 20 GB has too.
        prices.ask(program, environment, "rates", 50, 1, ports)
        with step(f"{_QUESTIONS} questions of each kind"):
            asked = prices.ask(program, environment, "rates", _QUESTIONS, 2, ports)
        if not asked["days_with_an_average"]:
            raise Problem("no day had an average: the questions are not those of the data")
        prices.psql(environment, *_PLAN)
        prices.ask(program, environment, "rates", 1, 3, ports)
        plan = _plan(log.read_text())
    say(plan)
    rows = [told(PART, "prices, in batches; on the disk with their indexes",
                 f"{_BATCHES * _ROWS:,}, {_BATCHES}; {int(size) / 1e9:.1f} GB", gigabytes=int(size) / 1e9)]
    for kind, seconds in asked["seconds"].items():
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        rows.append(told(PART, f"30 days, {kind}", f"p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms", p50=cuts[49],
                         p99=cuts[98], plan=plan))
    scans = re.findall(r"(Index Only Scan|Index Scan|Bitmap Heap Scan|Seq Scan)", plan)
    fetches = sum(int(number) for number in re.findall(r"Heap Fetches: ([0-9]+)", plan))
    rows.append(told(PART, "plan of a question between two regions",
                     f"{len(scans)} times {', '.join(sorted(set(scans)))}, {fetches} heap fetches"))
    return rows


def _explainable(environment: dict[str, str]) -> None:
    """Said before minutes are spent."""
    try:
        prices.psql(environment, "load 'auto_explain'")
    except Problem as problem:
        raise Problem(f"this server cannot write plans down: install auto_explain (of Debian's package postgresql-contrib, or part of "
                      f"postgresql): {problem}") from problem


def _plan(log: str) -> str:
    """The last question's, without the lines before it."""
    at = log.rfind("round(avg(price)")
    begin = log.find("\n", at)
    lines = []
    for line in log[begin + 1:].splitlines():
        if not line.startswith("\t"):
            break
        lines.append(line.strip("\t"))
    if not lines:
        raise Problem("the server wrote no plan of the question into its log")
    return "\n".join(lines)
