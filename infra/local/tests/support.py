"""A small world for the scheduler: a shell script as the runner, and events and logs in lists."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcloud import processes
from localcloud.batch import detail
from localcloud.batch.api import Jobs
from localcloud.batch.executor import Attempt, StartFailure, Task
from localcloud.batch.process import ProcessAttempt
from localcloud.batch.resources import Resources
from localcloud.batch.scheduler import Scheduler

RUNNER = """#!/bin/bash
echo "attempt $AWS_BATCH_JOB_ATTEMPT of $1"
case "$DO" in
  exit) exit "$CODE" ;;
  first-fails) [ "$AWS_BATCH_JOB_ATTEMPT" = 1 ] && exit "$CODE"; exit 0 ;;
  eat) exec python3 -c 'import time
held = []
while True: held.append(bytearray(10 << 20)); time.sleep(0.02)' ;;
  # A child in a group of its own, as the runner starts an engine, and one that ignores what it is told.
  hang) (trap "" TERM; exec sleep "$MARK") & set -m; sleep "$MARK" & wait ;;
  stubborn) trap "" TERM; while true; do sleep 0.1; done ;;
  leave) sleep "$MARK" & exit 0 ;;
  env) env; echo "files $(ulimit -n)"; touch "$TMPDIR/left" ;;
esac
"""
DEFINITION = {
    "image": "engine", "command": ["batch"],
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
}


class World:
    """What the scheduler calls."""

    def __init__(self, folder: Path, store: dict[str, detail.Job]):
        self.folder = folder
        self.store = store
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.fail_start = ""
        self.resources: Resources | None = None
        self.lock = threading.Lock()

    def jobs(self) -> list[detail.Job]:
        return list(self.store.values())

    def forget(self, job: detail.Job) -> None:
        self.store.pop(job["jobId"], None)

    def priority(self, job: detail.Job) -> int:
        assert self.resources is not None
        return self.resources.priority(job)

    def announce(self, job: detail.Job) -> None:
        with self.lock:
            self.events.append({"name": job["jobName"], "status": job["status"], "attempts": len(job["attempts"])})

    def log(self, job: detail.Job, stream: str, line: str) -> None:
        with self.lock:
            self.lines.append(line)

    def attempt(self, task: Task, number: int) -> Attempt:
        if self.fail_start:
            return _NeverStarts(self.fail_start)
        return ProcessAttempt(task, self.folder / "runner", {"ENGINES_DIR": "/engines"}, self.folder / "scratch")

    def states(self, name: str) -> list[str]:
        with self.lock:
            return [event["status"] for event in self.events if event["name"] == name]


class _NeverStarts:
    kind = "process"

    def __init__(self, reason: str):
        self._reason = reason

    def start(self) -> None:
        raise StartFailure(self._reason)

    def poll(self) -> int | None:
        return None

    def members(self) -> list[processes.Process]:
        return []

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def cleanup(self) -> None: ...


class BatchCase(unittest.TestCase):
    """Queues `low` and `high` on a spot and an on-demand environment, a definition `engine`, and a runner."""

    vcpus = 2.0

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="local-batch-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        runner = self.folder / "runner"
        runner.write_text(RUNNER)
        runner.chmod(0o755)
        store: dict[str, detail.Job] = {}
        self.world = World(self.folder, store)
        self.resources = Resources({}, {}, {}, store, lambda name: f"arn:aws:batch:r:1:{name}")
        self.world.resources = self.resources
        self.scheduler = Scheduler(self.world, vcpus=self.vcpus, memory_mib=8192, grace_seconds=1.0)
        self.addCleanup(self.scheduler.shutdown)
        self.jobs = Jobs(self.resources, self.scheduler)
        for name, kind in (("spot", "FARGATE_SPOT"), ("ondemand", "FARGATE")):
            self.resources.create_environment({"computeEnvironmentName": name, "computeResources": {"type": kind}})
        for name, environment, priority in (("low", "spot", 1), ("high", "ondemand", 10)):
            self.resources.create_queue({
                "jobQueueName": name, "priority": priority,
                "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": environment}]})
        self.resources.register({"jobDefinitionName": "engine", "containerProperties": DEFINITION})
        # A number of seconds that no other process on the machine sleeps for.
        self.mark = f"{86400 + id(self) % 100000}.{time.monotonic_ns() % 1000000}"

    def submit(self, do: str, *, name: str = "job", queue: str = "low", code: int = 0, memory: int | None = None,
               **request: Any) -> detail.Job:
        """Submit a job whose runner does one thing, and answer its record."""
        environment = {"DO": do, "CODE": str(code), "MARK": self.mark}
        overrides: dict[str, Any] = {"environment": [{"name": n, "value": v} for n, v in environment.items()]}
        if memory:
            overrides["resourceRequirements"] = [{"type": "MEMORY", "value": str(memory)}]
        answer = self.jobs.submit({"jobName": name, "jobQueue": queue, "jobDefinition": "engine",
                                   "containerOverrides": overrides, **request})
        job = self.jobs.get(answer["jobId"])
        assert job is not None
        return job

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
        """Wait for a condition."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                self.fail(f"not within {seconds}s: {what}")
            time.sleep(0.02)

    def ended(self, job: detail.Job, seconds: float = 20) -> detail.Job:
        """Wait for a job to end."""
        self.until(lambda: job["status"] in detail.ENDED and job["jobId"] not in self.scheduler._running,
                   f"job {job['jobName']} ends (it is {job['status']})", seconds)
        return job

    def running(self, job: detail.Job) -> detail.Job:
        """Wait for a job to run, with its children."""
        self.until(lambda: job["status"] == "RUNNING" and len(self.marked()) >= 2, f"job {job['jobName']} runs")
        return job

    def marked(self) -> list[int]:
        """Processes that the runner's `hang` and `leave` start."""
        return [p.pid for p in processes.snapshot() if processes.command(p.pid).endswith(f"sleep {self.mark}")]
