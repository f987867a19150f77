"""Batch's API on jobs: submit, describe, list, terminate, cancel. Resources are in resources.py."""

from __future__ import annotations

import re
import uuid
from typing import Any

from localcloud.batch import detail
from localcloud.batch.resources import ClientError, Resources
from localcloud.batch.scheduler import Scheduler

_JOB_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")
_REFERENCE = re.compile(r"^Ref::(\w+)$")
_NOT_HERE = ("dependsOn", "arrayProperties", "nodeOverrides", "eksPropertiesOverride", "ecsPropertiesOverride")
_PAGE = 100


class Jobs:
    """The job calls, on a scheduler and the resources it runs on."""

    def __init__(self, resources: Resources, scheduler: Scheduler):
        self._resources = resources
        self._scheduler = scheduler

    def submit(self, request: dict[str, Any], notes: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check a request, store the job and hand it to the scheduler. `notes` are the emulator's own."""
        name = request.get("jobName") or ""
        if not _JOB_NAME.match(name):
            raise ClientError(
                "Job name should match valid pattern: up to 128 letters, digits, hyphens and underscores, "
                f"beginning with a letter or digit. Got: {name!r}")
        for field in _NOT_HERE:
            if request.get(field):
                raise ClientError(f"{field} is not supported by the local Batch")
        queue = self._resources.queue(request.get("jobQueue") or "")
        if queue["state"] != "ENABLED":
            raise ClientError(f"Job Queue {queue['jobQueueName']} is disabled")
        definition = self._resources.definition(request.get("jobDefinition") or "")
        parameters = {**definition.get("parameters", {}), **(request.get("parameters") or {})}
        container = _container(definition["containerProperties"], request.get("containerOverrides") or {}, parameters)
        timeout = request.get("timeout") or definition.get("timeout")
        if timeout and int(timeout.get("attemptDurationSeconds") or 0) < 60:
            raise ClientError("Job timeout must be at least 60 seconds")
        strategy = request.get("retryStrategy") or definition.get("retryStrategy") or {"attempts": 1}
        if not 1 <= int(strategy.get("attempts") or 1) <= 10:
            raise ClientError("Retry attempts must be between 1 and 10")
        job_id = str(uuid.uuid4())
        tags = dict(request.get("tags") or {})
        if request.get("propagateTags") or definition.get("propagateTags"):
            tags = {**definition.get("tags", {}), **tags}
        job: detail.Job = {
            "jobArn": self._resources.arn(f"job/{job_id}"), "jobName": name, "jobId": job_id,
            "jobQueue": queue["jobQueueArn"], "status": "SUBMITTED", "attempts": [],
            "createdAt": detail.now_ms(),
            "retryStrategy": {"attempts": int(strategy.get("attempts") or 1),
                              "evaluateOnExit": strategy.get("evaluateOnExit") or []},
            "dependsOn": [], "jobDefinition": definition["jobDefinitionArn"], "parameters": parameters,
            "container": container, "tags": tags, "propagateTags": bool(request.get("propagateTags")),
            "platformCapabilities": definition.get("platformCapabilities", []), "eksAttempts": [],
            "isCancelled": False, "isTerminated": False, **(notes or {}),
        }
        if timeout:
            job["timeout"] = {"attemptDurationSeconds": int(timeout["attemptDurationSeconds"])}
        with self._scheduler.lock:
            self._resources.jobs[job_id] = job
        self._scheduler.submit(job)
        return {"jobArn": job["jobArn"], "jobName": name, "jobId": job_id}

    def get(self, identifier: str) -> detail.Job | None:
        """A job by id or ARN."""
        return self._resources.jobs.get(identifier.rsplit("/", 1)[-1])

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Details of up to 100 jobs; unknown ones are left out."""
        wanted = request.get("jobs") or []
        if not wanted or len(wanted) > 100:
            raise ClientError("jobs must name between 1 and 100 jobs")
        with self._scheduler.lock:
            return {"jobs": [detail.of(job) for name in wanted if (job := self.get(name))]}

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Jobs of a queue in one state (RUNNING unless another is named), or those a filter chooses in any state."""
        if not request.get("jobQueue"):
            raise ClientError("jobQueue is required by the local Batch")
        queue = self._resources.queue(request["jobQueue"])["jobQueueArn"]
        status = request.get("jobStatus") or "RUNNING"
        if status not in detail.STATES:
            raise ClientError(f"Invalid job status: {status}")
        filters = request.get("filters") or []
        with self._scheduler.lock:
            jobs = [job for job in self._resources.jobs.values() if job["jobQueue"] == queue]
            if filters:
                jobs = [job for job in jobs if all(_chosen(job, one) for one in filters)]
            else:
                jobs = [job for job in jobs if job["status"] == status]
            jobs.sort(key=lambda job: (-job["createdAt"], job["jobId"]))
            try:
                start = int(request.get("nextToken") or 0)
            except ValueError as error:
                raise ClientError("Invalid nextToken") from error
            size = min(int(request.get("maxResults") or _PAGE), _PAGE)
            answer: dict[str, Any] = {"jobSummaryList": [detail.summary(job) for job in jobs[start : start + size]]}
        if start + size < len(jobs):
            answer["nextToken"] = str(start + size)
        return answer

    def terminate(self, request: dict[str, Any]) -> dict[str, Any]:
        """End a job in any state. Unknown ids are no error, as in AWS."""
        if job := self._named(request):
            self._scheduler.terminate(job, request["reason"])
        return {}

    def cancel(self, request: dict[str, Any]) -> dict[str, Any]:
        """End a job that has not started."""
        if job := self._named(request):
            self._scheduler.cancel(job, request["reason"])
        return {}

    def interrupt(self, identifier: str) -> None:
        """For tests: a Spot interruption of a running job."""
        job = self.get(identifier)
        if job is None:
            raise ClientError(f"there is no job {identifier}")
        if not self._resources.on_spot(job):
            raise ClientError(f"job {identifier} does not run on spot capacity")
        if not self._scheduler.interrupt(job):
            raise ClientError(f"job {identifier} is {job['status']}, not RUNNING")

    def _named(self, request: dict[str, Any]) -> detail.Job | None:
        if not request.get("jobId") or not request.get("reason"):
            raise ClientError("jobId and reason are required")
        return self.get(request["jobId"])


def _container(properties: dict[str, Any], overrides: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """The definition's container with a job's overrides, merged as AWS merges them: by name and by type."""
    container = {
        "volumes": [], "mountPoints": [], "ulimits": [], "networkInterfaces": [], "secrets": [],
        **{key: value for key, value in properties.items() if value is not None},
    }
    environment = {entry["name"]: entry.get("value", "") for entry in container.get("environment") or []}
    environment.update({entry["name"]: entry.get("value", "") for entry in overrides.get("environment") or []})
    container["environment"] = [{"name": name, "value": value} for name, value in environment.items()]
    resources = {entry["type"]: entry["value"] for entry in container.get("resourceRequirements") or []}
    resources.update({entry["type"]: entry["value"] for entry in overrides.get("resourceRequirements") or []})
    for kind, value in resources.items():
        try:
            float(value)
        except (TypeError, ValueError) as error:
            raise ClientError(f"resource requirement {kind} must be a number, not {value!r}") from error
    container["resourceRequirements"] = [{"type": kind, "value": str(value)} for kind, value in resources.items()]
    command = overrides.get("command") or container.get("command") or []
    container["command"] = [
        parameters.get(match.group(1), word) if (match := _REFERENCE.match(word)) else word for word in command
    ]
    return container


def _chosen(job: detail.Job, one: dict[str, Any]) -> bool:
    name, values = one.get("name"), one.get("values") or []
    if name == "JOB_NAME":
        return any(_named_like(job["jobName"], value) for value in values)
    if name == "JOB_DEFINITION":
        full = job["jobDefinition"].rsplit("/", 1)[-1]
        return any(value in (full, full.rsplit(":", 1)[0], job["jobDefinition"]) for value in values)
    if name in ("BEFORE_CREATED_AT", "AFTER_CREATED_AT"):
        limit = int(values[0])
        return job["createdAt"] < limit if name == "BEFORE_CREATED_AT" else job["createdAt"] > limit
    raise ClientError(f"Invalid filter name: {name}")


def _named_like(name: str, pattern: str) -> bool:
    """AWS compares job names without regard to case; an asterisk at the end matches any ending."""
    name, pattern = name.lower(), pattern.lower()
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
