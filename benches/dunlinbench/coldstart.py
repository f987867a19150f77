"""Cold start of each function: from the start of its process, as `make package` built it, to its first answer."""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

from localcloud import functions as known

from dunlinbench import database
from dunlinbench.functions import PACKAGES, Running
from dunlinbench.report import REPOSITORY, Problem, Row, below, told
from dunlinbench.stub import ObjectServer

PART = "coldstart"
_STARTS = 20
_LIMIT_MS = 50.0
_LIMIT_MB = 10.0
# One sample event a function. Where the answer is an error, it is the one that this event must give on an empty stack, and what
# it took is the whole way there.
_EVENTS = {
    "aggregator": ("two-engines", "connects to Postgres, finds no plan"),
    "api": ("get-scan", "connects to Postgres, answers 404"),
    "dispatcher": ("one-scan", "starts an execution"),
    "inspector": ("ended", "connects to Postgres, registers the batch, finds no file"),
    "intake": ("create-scan", "stores and sends the scan, answers 202"),
    "migrate": ("run", "connects to Postgres, finds the schema up to date"),
    "loader": ("range", "connects to Postgres, finds no such range"),
    "notifier": ("complete", "asks for the webhook's secret"),
    "planner": ("small-python", "asks for the snapshot's list, finds none"),
    "publisher": ("fail", "connects to Postgres, ends the batch"),
    "recorder": ("register", "connects to Postgres, registers the scan"),
    "runner": ("not-a-job", "refuses the input"),
    "source": ("private-address", "refuses the address"),
}
_VARIABLES = {
    "PRICE_STATE_MACHINE_ARN": "arn:aws:states:eu-central-1:000000000000:stateMachine:bench-price-batch",
    "STATE_MACHINE_ARN": "arn:aws:states:eu-central-1:000000000000:stateMachine:bench",
    "SCANS_QUEUE_URL": "http://127.0.0.1:1/000000000000/scans", "SECRETS_PREFIX": "dunlin/bench",
    "AUTH_ENDPOINT": "http://127.0.0.1:1", "AUTH_CLIENT_ID": "bench", "AUTH_ISSUER": "http://127.0.0.1:1/bench",
    "RUNNER_FUNCTION_PREFIX": "dunlin-bench-runner", "JOB_DEFINITION_PREFIX": "dunlin-bench",
    "JOB_QUEUE_ARNS": "arn:aws:batch:eu-central-1:000000000000:job-queue/bench",
    "ENGINES_DIR": str(REPOSITORY / ".local" / "engines"),
}


def run() -> list[Row]:
    """All functions, in turns: 20 starts each, one function after the other in every turn."""
    names = known.names()
    if missing := sorted(set(names) - set(_EVENTS)):
        raise Problem(f"benches/dunlinbench/coldstart.py names no event for {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder, database.fresh() as (postgres, password, _):
        objects = ObjectServer(Path(folder), password)
        variables = {**_VARIABLES, **postgres, **objects.environment}
        with Running("migrate", variables) as migrate:
            _, ok, answer = migrate.ask(b"{}")
            if not ok:
                raise Problem(f"the bench's database could not be migrated: {answer}")
        samples: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in names}
        for _ in range(_STARTS):
            for name in names:
                samples[name].append(_start(name, variables))
        objects.close()
    return [row for name in names for row in _rows(name, samples[name])]


def _start(name: str, variables: dict[str, str]) -> tuple[float, float, float, float]:
    """Milliseconds to the first poll and to the first answer, MiB and milliseconds of processor time afterwards."""
    event, _ = _EVENTS[name]
    content = (REPOSITORY / "events" / name / f"{event}.json").read_bytes()
    with Running(name, variables) as function:
        at, ok, answer = function.ask(content, 60)
        kind = answer.get("errorType", "") if isinstance(answer, dict) and not ok else ""
        if not ok and not kind.startswith(f"{name.capitalize()}."):
            raise Problem(f"{name} did not answer as a function does: {json.dumps(answer)[:500]}; {function.said()[-1500:]}")
        ready = function.api.polled.get(timeout=1)
        memory, cpu = function.resident_mib("VmRSS"), function.cpu_ms()
    return (ready - function.began) * 1000, (at - function.began) * 1000, memory, cpu


def _rows(name: str, samples: list[tuple[float, float, float, float]]) -> list[Row]:
    ready = statistics.median(sample[0] for sample in samples)
    answers = [sample[1] for sample in samples]
    memory = statistics.median(sample[2] for sample in samples)
    cpu = statistics.median(sample[3] for sample in samples)
    archive = (PACKAGES / f"{name}.zip").stat().st_size / 1e6
    event, what = _EVENTS[name]
    start = below(PART, f"{name}: cold start (`{event}`: {what})", statistics.median(answers), _LIMIT_MS, "ms",
                  ready_ms=ready, answers_ms=answers, cpu_ms=cpu)
    start = Row(**{**vars(start), "figure": f"{start.figure}, at most {max(answers):.0f}; ready after {ready:.1f}; "
                                               f"processor {cpu:.1f}"})
    size = f"{archive:.1f} MB, {memory:.0f} MiB in memory"
    if name == "runner":
        return [start, told(PART, "runner: package, memory after the first answer", size, megabytes=archive, mib=memory)]
    package = below(PART, f"{name}: package, memory after the first answer", archive, _LIMIT_MB, "MB", mib=memory)
    return [start, Row(**{**vars(package), "figure": size})]
