"""From SUBMITTED to SUCCEEDED or FAILED: which job runs when, with which retries, and who is told."""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from localcloud.batch import detail, retry
from localcloud.batch.executor import EXITED, Attempt, Control, Outcome, StartFailure, Stop, Task, supervise

logger = logging.getLogger("batch")
HOST_LOST = "Host EC2 (instance local) terminated."
_KEEP_ENDED = 2000


class World(Protocol):
    """What the scheduler needs from outside. The emulator gives the real one, tests a small one."""

    def jobs(self) -> list[detail.Job]:
        """All jobs of every account and region."""

    def forget(self, job: detail.Job) -> None:
        """Drop an ended job."""

    def priority(self, job: detail.Job) -> int:
        """The priority of the job's queue."""

    def announce(self, job: detail.Job) -> None:
        """Tell the event bus about the job's state."""

    def log(self, job: detail.Job, stream: str, line: str) -> None:
        """One line of a job's output."""

    def attempt(self, task: Task, number: int) -> Attempt:
        """How to run the task here."""


@dataclass
class _Running:
    control: Control
    vcpus: float
    memory_mib: int
    reason: str = ""


@dataclass
class Scheduler:
    """Runs jobs of all queues within the machine's processors and memory."""

    world: World
    vcpus: float = field(default_factory=lambda: float(os.environ.get("DUNLIN_BATCH_VCPUS") or os.cpu_count() or 1))
    memory_mib: int = field(default_factory=lambda: int(_machine_memory_mib() * 0.8))
    grace_seconds: float = 30.0

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._running: dict[str, _Running] = {}
        self._contexts: dict[str, contextvars.Context] = {}
        self._stopping = False
        self._thread: threading.Thread | None = None

    # -- what the API asks for ------------------------------------------------------------------------------------

    def submit(self, job: detail.Job) -> None:
        """Take a job that is already stored; its context carries the caller's account and region."""
        with self.lock:
            self._contexts[job["jobId"]] = contextvars.copy_context()
            self._ensure_thread()
            self.changed.notify_all()

    def terminate(self, job: detail.Job, reason: str) -> None:
        """End a job in any state; one that has ended stays as it is."""
        with self.lock:
            if job["status"] in detail.ENDED:
                return
            job["isTerminated"] = True
            job.setdefault("_terminate", reason)
            self._contexts.setdefault(job["jobId"], contextvars.copy_context())
            if running := self._running.get(job["jobId"]):
                running.control.stop(Stop.TERMINATED)
            self._ensure_thread()
            self.changed.notify_all()

    def cancel(self, job: detail.Job, reason: str) -> None:
        """End a job that has not started; one that has is left alone, as in AWS."""
        with self.lock:
            if job["status"] in ("SUBMITTED", "PENDING", "RUNNABLE"):
                job["isCancelled"] = True
                self.terminate(job, reason)

    def interrupt(self, job: detail.Job) -> bool:
        """Take the host away from a running job, as Spot does. False when it is not running."""
        with self.lock:
            running = self._running.get(job["jobId"])
            if running is None or job["status"] != "RUNNING":
                return False
            running.control.stop(Stop.INTERRUPTED)
            return True

    def busy(self) -> bool:
        """Whether any attempt runs."""
        with self.lock:
            return bool(self._running)

    def wait(self, job: detail.Job, given_up: Callable[[], bool]) -> bool:
        """Block until the job has ended (True) or the caller gives up (False)."""
        with self.lock:
            while job["status"] not in detail.ENDED:
                if given_up():
                    return False
                self.changed.wait(0.25)
            return True

    def shutdown(self) -> None:
        """End all processes; what ran is picked up by `resume` of the next start."""
        with self.lock:
            self._stopping = True
            for running in self._running.values():
                running.control.stop(Stop.SHUTDOWN)
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self._running, timeout=10)

    def resume(self, contexts: Callable[[detail.Job], contextvars.Context],
               abandoned: Callable[[detail.Job], bool]) -> None:
        """After a restart: jobs that ran have lost their host, jobs that waited go on waiting.

        An `abandoned` job belongs to a state machine execution that did not survive; nobody waits for it any more.
        """
        with self.lock:
            for job in self.world.jobs():
                if job["status"] in detail.ENDED:
                    continue
                self._contexts[job["jobId"]] = contexts(job)
                if job["status"] in ("STARTING", "RUNNING"):
                    job["_lost"] = True
                if abandoned(job):
                    job["_terminate"] = HOST_LOST
            self._ensure_thread()
            self.changed.notify_all()

    # -- the loop -------------------------------------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._loop, daemon=True, name="batch-scheduler")
            self._thread.start()

    def _loop(self) -> None:
        while True:
            with self.lock:
                if self._stopping:
                    return
            try:
                busy = self._step()
            except Exception:
                logger.exception("the batch scheduler stumbled and goes on")
                busy = False
            with self.lock:
                if self._stopping:
                    return
                if not busy:
                    self.changed.wait(1.0)

    def _step(self) -> bool:
        with self.lock:
            jobs = [job for job in self.world.jobs() if job["status"] not in detail.ENDED]
        moved = False
        for job in jobs:
            moved |= self._advance(job)
        with self.lock:
            waiting = [j for j in jobs if j["status"] == "RUNNABLE" and j["jobId"] not in self._running]
            starting = self._fitting(waiting)
            for job in starting:
                container = job["container"]
                self._running[job["jobId"]] = _Running(Control(), *self._share(container))
        for job in starting:
            threading.Thread(target=self._in_context, args=(job, self._run), daemon=True,
                             name=f"batch-{job['jobName']}").start()
        return moved or bool(starting)

    def _in_context(self, job: detail.Job, work: Callable[[detail.Job], None]) -> None:
        with self.lock:
            context = self._contexts.get(job["jobId"]) or contextvars.copy_context()
        context.copy().run(work, job)

    def _advance(self, job: detail.Job) -> bool:
        """Move a job that is not running."""
        with self.lock:
            if job["jobId"] in self._running:
                return False
            lost = job.pop("_lost", False)
            terminated = job.get("_terminate")
            status = job["status"]
        if lost:
            self._in_context(job, lambda j: self._attempt_over(j, Outcome(None, None, HOST_LOST, 0, None)))
            return True
        if terminated is not None:
            self._in_context(job, lambda j: self._end(j, "FAILED", terminated))
            return True
        if status == "SUBMITTED":
            for state in (None, "PENDING", "RUNNABLE"):
                self._in_context(job, lambda j, s=state: self._move(j, s))
            return True
        return False

    def _fitting(self, waiting: list[detail.Job]) -> list[detail.Job]:
        """The jobs to start now: by priority of their queue, then first come first served within a queue."""
        free_vcpus = self.vcpus - sum(r.vcpus for r in self._running.values())
        free_memory = self.memory_mib - sum(r.memory_mib for r in self._running.values())
        blocked: set[str] = set()
        chosen = []
        for job in sorted(waiting, key=lambda j: (-self.world.priority(j), j["createdAt"])):
            vcpus, memory = self._share(job["container"])
            if job["jobQueue"] in blocked:
                continue
            if vcpus > free_vcpus or memory > free_memory:
                blocked.add(job["jobQueue"])
                continue
            free_vcpus -= vcpus
            free_memory -= memory
            chosen.append(job)
        return chosen

    def _share(self, container: dict[str, Any]) -> tuple[float, int]:
        """What a job takes of this machine: never more than all of it, or it could never run."""
        return (min(detail.requirement(container, "VCPU") or 1.0, self.vcpus),
                min(int(detail.requirement(container, "MEMORY")), self.memory_mib))

    # -- one attempt ----------------------------------------------------------------------------------------------

    def _run(self, job: detail.Job) -> None:
        running = self._running[job["jobId"]]
        outcome = Outcome(None, None, "Task failed to start", 0, None)
        try:
            number = len(job["attempts"]) + 1
            stream = f"{job['jobDefinition'].rsplit('/', 1)[-1].rsplit(':', 1)[0]}/default/{job['jobId']}-{number}"
            # Output is read by another thread, which needs this job's account and region too.
            context = contextvars.copy_context()
            task = self._task(job, number, lambda line: context.run(self.world.log, job, stream, line))
            attempt = self.world.attempt(task, number)
            with self.lock:
                job["container"]["logStreamName"] = stream
                job["container"]["taskArn"] = f"arn:aws:ecs:local:task/{attempt.kind}/{job['jobId']}-{number}"
                job.pop("statusReason", None)
            self._move(job, "STARTING")
            attempt.start()
            with self.lock:
                job["startedAt"] = detail.now_ms()
            self._move(job, "RUNNING")
            outcome = supervise(attempt, task, running.control, self.grace_seconds)
        except StartFailure as failure:
            outcome = Outcome(None, failure.reason, "Task failed to start", 0, running.control.wanted)
        except Exception as error:
            logger.exception("job %s could not be run", job["jobId"])
            outcome = Outcome(None, f"InternalError: {error}", "Task failed to start", 0, running.control.wanted)
        finally:
            if outcome.stop is not Stop.SHUTDOWN:
                self._attempt_over(job, outcome)
            with self.lock:
                self._running.pop(job["jobId"], None)
                self.changed.notify_all()

    def _task(self, job: detail.Job, number: int, log: Callable[[str], None]) -> Task:
        container = job["container"]
        own = {
            "AWS_BATCH_JOB_ID": job["jobId"],
            "AWS_BATCH_JOB_ATTEMPT": str(number),
            "AWS_BATCH_JQ_NAME": job["jobQueue"].rsplit("/", 1)[-1],
        }
        given = {entry["name"]: entry["value"] for entry in container.get("environment", [])}
        return Task(
            job_id=job["jobId"], name=job["jobName"], image=container.get("image", ""),
            command=list(container.get("command", [])), environment={**given, **own},
            role=container.get("jobRoleArn") or None,
            vcpus=detail.requirement(container, "VCPU") or 1.0,
            memory_mib=int(detail.requirement(container, "MEMORY")),
            timeout_seconds=(job.get("timeout") or {}).get("attemptDurationSeconds"), log=log,
        )

    def _attempt_over(self, job: detail.Job, outcome: Outcome) -> None:
        stopped = detail.now_ms()
        with self.lock:
            container = job["container"]
            container.pop("exitCode", None)
            container.pop("reason", None)
            if outcome.exit_code is not None:
                container["exitCode"] = outcome.exit_code
            if outcome.reason is not None:
                container["reason"] = outcome.reason
            shown = ("exitCode", "reason", "logStreamName", "taskArn")
            job["attempts"].append({
                "container": {**{k: container[k] for k in shown if k in container}, "networkInterfaces": []},
                "startedAt": job.get("startedAt", stopped),
                "stoppedAt": stopped,
                "statusReason": outcome.status_reason,
            })
            terminated = job.get("_terminate")
        if outcome.succeeded:
            self._end(job, "SUCCEEDED", EXITED)
        elif terminated is not None:
            self._end(job, "FAILED", terminated)
        elif outcome.stop is not Stop.TIMEOUT and retry.again(
            job["retryStrategy"], len(job["attempts"]), exit_code=outcome.exit_code, reason=outcome.reason,
            status_reason=outcome.status_reason,
        ):
            with self.lock:
                job["statusReason"] = outcome.status_reason
                job.pop("startedAt", None)
            self._move(job, "RUNNABLE")
        else:
            self._end(job, "FAILED", outcome.status_reason)

    def _move(self, job: detail.Job, state: str | None) -> None:
        with self.lock:
            job["status"] = state or job["status"]
            self.changed.notify_all()
        try:
            self.world.announce(job)
        except Exception:
            # Delivery of events is best effort, as in AWS.
            logger.exception("the state of job %s could not be announced", job["jobId"])

    def _end(self, job: detail.Job, state: str, reason: str) -> None:
        with self.lock:
            job["statusReason"] = reason
            job["stoppedAt"] = detail.now_ms()
            job.pop("_terminate", None)
            self._contexts.pop(job["jobId"], None)
            self._trim()
        self._move(job, state)

    def _trim(self) -> None:
        ended = [job for job in self.world.jobs() if job["status"] in detail.ENDED]
        for job in sorted(ended, key=lambda j: j.get("stoppedAt", 0))[: max(0, len(ended) - _KEEP_ENDED)]:
            self.world.forget(job)


def _machine_memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)
