"""What Dunlin adds to the jobs of a scan on the local cloud: a scan whose jobs do next to nothing, from the command line to the
result, hop by hop; beside it a Map of the emulator alone.

Ruff reads one Python file in about 20 ms, so a scan of that file is a scan with one trivial job. For 6 and 40 jobs the Map of the
state machine gets the same item 6 and 40 times: each is a whole job with its own ticket, sandbox and engine, and everything
else is as it is. The state machine is put back afterwards.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localcloud import aws, runner
from localcloud.console import say
from localcloud.services import Emulator
from localcloud.stack import Stack

from dunlinbench.report import Problem, Row, told

PART = "orchestration"
_JOBS = (1, 6, 40)
_ROUNDS = int(os.environ.get("ROUNDS", "3"))
_MAP = "Run jobs"


def run() -> list[Row]:
    """Rounds of 1, 6 and 40 jobs, and of the bare Map."""
    stack = Stack.of(os.environ.get("STACK", "dev"))
    if not Emulator(stack).healthy():
        raise Problem(f"the {stack.name} stack is down: run `make up`")
    values = _values(stack)
    runner.login(stack, values)
    machine = values["STATE_MACHINE_ARN"]
    scans: dict[int, list[_Scan]] = defaultdict(list)
    bare: dict[int, list[float]] = defaultdict(list)
    for number in range(_ROUNDS + 1):
        for jobs in _JOBS:
            say(f"round {number} of {_ROUNDS}: {jobs} jobs" if number else f"warming up: {jobs} jobs")
            with _repeated(stack, machine, jobs):
                scan = _scan(stack, machine)
            taken = _bare_map(stack, jobs)
            if number:
                scans[jobs].append(scan)
                bare[jobs].append(taken)
    return [row for jobs in _JOBS for row in _rows(jobs, scans[jobs], bare[jobs])]


class _Scan:
    """One scan: seconds for the person, seconds of its engine, and seconds of each state."""

    def __init__(self, seconds: float, execution: float, states: dict[str, float], engine: float) -> None:
        self.seconds, self.execution, self.states, self.engine = seconds, execution, states, engine


def _values(stack: Stack) -> dict[str, str]:
    import shlex

    words = shlex.split(stack.env_file.read_text())
    return dict(word.split("=", 1) for word in words if "=" in word)


@contextmanager
def _repeated(stack: Stack, machine: str, jobs: int) -> Iterator[None]:
    """The state machine with its one job repeated."""
    sfn = aws.client(stack, "stepfunctions")
    before = sfn.describe_state_machine(stateMachineArn=machine)["definition"]
    definition = json.loads(before)
    if definition["States"][_MAP]["Items"] != "{% $jobs %}":
        raise Problem(f"the Map {_MAP!r} of the state machine takes other items than this bench knows")
    definition["States"][_MAP]["Items"] = "{% [[1.." + str(jobs) + "].($jobs[0])] %}"
    sfn.update_state_machine(stateMachineArn=machine, definition=json.dumps(definition))
    try:
        yield
    finally:
        sfn.update_state_machine(stateMachineArn=machine, definition=before)


def _scan(stack: Stack, machine: str) -> _Scan:
    sfn = aws.client(stack, "stepfunctions")
    before = {e["executionArn"] for e in sfn.list_executions(stateMachineArn=machine, maxResults=1000)["executions"]}
    with tempfile.TemporaryDirectory() as folder:
        # New code, or its result is known and no job runs.
        (Path(folder) / "app.py").write_text(f"import os\nos.system(input())  # {uuid.uuid4()}\n")
        seconds = runner.scan(stack, folder, "--all-files", "--name", "bench", "--engines", "ruff",
                               "--no-progress", quiet=True)
    started = [e for e in sfn.list_executions(stateMachineArn=machine, maxResults=1000)["executions"]
               if e["executionArn"] not in before]
    if len(started) != 1:
        raise Problem(f"{len(started)} executions began during one scan: something else uses the {stack.name} stack")
    arn = started[0]["executionArn"]
    done = sfn.describe_execution(executionArn=arn)
    events = [event for page in sfn.get_paginator("get_execution_history").paginate(executionArn=arn)
              for event in page["events"]]
    execution = (done["stopDate"] - done["startDate"]).total_seconds()
    return _Scan(seconds, execution, _states(events), _engine_seconds(stack, arn.rsplit(":", 1)[-1]))


def _states(events: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds in each state of the outer machine; states inside the Map add up over its iterations."""
    entered: dict[str, list[Any]] = defaultdict(list)
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        if name := (event.get("stateEnteredEventDetails") or {}).get("name"):
            entered[name].append(event["timestamp"])
        if (name := (event.get("stateExitedEventDetails") or {}).get("name")) and entered[name]:
            spent[name] += (event["timestamp"] - entered[name].pop(0)).total_seconds()
    return dict(spent)


def _engine_seconds(stack: Stack, scan: str) -> float:
    """What the engine took, as its job says."""
    from localcloud.stack import ACCOUNT

    s3 = aws.client(stack, "s3")
    bucket = f"dunlin-{stack.environment}-data-{ACCOUNT}"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="reports/")
    key = next((entry["Key"] for page in pages for entry in page.get("Contents", [])
                if scan in entry["Key"] and entry["Key"].endswith("report.json")), None)
    if key is None:
        raise Problem(f"scan {scan} left no report")
    report = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    took = [engine.get("duration_ms") for engine in report["scan"]["engines"]]
    if None in took or not took:
        raise Problem(f"the report of scan {scan} does not say how long its engine took; is the stack up to date (`make up`)?")
    return float(max(took)) / 1000


def _bare_map(stack: Stack, jobs: int) -> float:
    """Seconds of an execution that is only a Map over a function with nothing to do."""
    sfn = aws.client(stack, "stepfunctions")
    name = f"dunlin-{stack.environment}-bench"
    definition = {"StartAt": "Map", "States": {"Map": {
        "Type": "Map", "End": True, "MaxConcurrency": 40, "ItemsPath": "$.items",
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "Nothing", "States": {"Nothing": {
            "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True,
            "Parameters": {"FunctionName": f"dunlin-{stack.environment}-dispatcher", "Payload": {"Records": []}}}}}}}}
    role = sfn.describe_state_machine(stateMachineArn=_values(stack)["STATE_MACHINE_ARN"])["roleArn"]
    arn = sfn.create_state_machine(name=f"{name}-{uuid.uuid4().hex[:8]}", roleArn=role,
                                   definition=json.dumps(definition))["stateMachineArn"]
    try:
        execution = sfn.start_execution(stateMachineArn=arn, input=json.dumps({"items": list(range(jobs))}))["executionArn"]
        until = time.monotonic() + 120
        while (done := sfn.describe_execution(executionArn=execution))["status"] == "RUNNING":
            if time.monotonic() > until:
                raise Problem("the bare Map did not end within 120 s")
            time.sleep(0.02)
        if done["status"] != "SUCCEEDED":
            raise Problem(f"the bare Map ended {done['status']}: {done.get('cause', '')[:500]}")
        return float((done["stopDate"] - done["startDate"]).total_seconds())
    finally:
        sfn.delete_state_machine(stateMachineArn=arn)


def _rows(jobs: int, scans: list[_Scan], bare: list[float]) -> list[Row]:
    total = statistics.median(scan.seconds for scan in scans)
    engine = statistics.median(scan.engine for scan in scans)
    execution = statistics.median(scan.execution for scan in scans)
    spent = {state: statistics.median(scan.states.get(state, 0.0) for scan in scans) for state in scans[0].states}
    inner = {name for name in spent if name not in _outer(spent)}
    hops = ", ".join(f"{state} {seconds:.2f}" for state, seconds in spent.items() if state not in inner and seconds >= 0.01)
    return [
        told(PART, f"{jobs} trivial job{'s' if jobs > 1 else ''}: command to result, less the engine",
             f"{total - engine:.2f} s (engine {engine:.2f} s)", seconds=[scan.seconds for scan in scans], engine=engine),
        told(PART, f"{jobs}: the hops", f"before and after the execution {total - execution:.2f}, {hops}", states=spent),
        told(PART, f"{jobs}: the emulator's bare Map over a function that does nothing", f"{statistics.median(bare):.2f} s",
             seconds=bare),
    ]


def _outer(spent: dict[str, float]) -> set[str]:
    """States of the outer machine, in the repository's own definition."""
    from dunlinbench.report import REPOSITORY

    machine = json.loads((REPOSITORY / "statemachines" / "scan.asl.json").read_text())
    return set(machine["States"]) & set(spent)
