"""A job as Batch shows it: in DescribeJobs, in ListJobs, in events, and as the result of a state machine's task."""

from __future__ import annotations

import time
from typing import Any

Job = dict[str, Any]
STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
ENDED = ("SUCCEEDED", "FAILED")
# Maps whose keys are the caller's own words.
_FREE_MAPS = {"tags", "parameters", "options"}


def now_ms() -> int:
    """Milliseconds since 1970, Batch's unit of time."""
    return int(time.time() * 1000)


def of(job: Job) -> dict[str, Any]:
    """The job without the emulator's own notes (their names begin with an underscore)."""
    return {key: value for key, value in job.items() if not key.startswith("_")}


def summary(job: Job) -> dict[str, Any]:
    """What ListJobs answers for one job."""
    wanted = ("jobArn", "jobId", "jobName", "createdAt", "status", "statusReason", "startedAt", "stoppedAt",
              "jobDefinition")
    short = {key: job[key] for key in wanted if key in job}
    container = {key: job["container"][key] for key in ("exitCode", "reason") if key in job["container"]}
    return {**short, "container": container} if container else short


def pascal(value: Any, free: bool = False) -> Any:
    """Keys in the spelling Step Functions uses."""
    if isinstance(value, list):
        return [pascal(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        (key if free else key[:1].upper() + key[1:]): pascal(item, key.lower() in _FREE_MAPS)
        for key, item in value.items()
    }


def camel(value: Any, free: bool = False) -> Any:
    """Keys in the spelling Batch's API uses."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        (key if free else key[:1].lower() + key[1:]): camel(item, key.lower() in _FREE_MAPS)
        for key, item in value.items()
    }


def requirement(container: dict[str, Any], kind: str) -> float:
    """VCPU or MEMORY of a container, from its resource requirements or the older fields."""
    for entry in container.get("resourceRequirements") or []:
        if entry.get("type") == kind:
            return float(entry["value"])
    return float(container.get({"VCPU": "vcpus", "MEMORY": "memory"}.get(kind, ""), 0) or 0)
