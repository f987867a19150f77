"""Compute environments, queues, job definitions and tags, with the calls Terraform makes on them."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from typing import Any

from localcloud.batch import detail

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")
Record = dict[str, Any]
Store = MutableMapping[str, Any]


class ClientError(Exception):
    """A request Batch refuses with ClientException."""


def _name(request: Record, field: str) -> str:
    value = request.get(field) or ""
    if not _NAME.match(value):
        raise ClientError(f"{field} must be 1 to 128 letters, digits, hyphens and underscores, not {value!r}")
    return str(value)


def _short(reference: str) -> str:
    """The name in a reference that is a name or an ARN."""
    return reference.rsplit("/", 1)[-1] if reference.startswith("arn:") else reference


class Resources:
    """Everything but jobs. The stores belong to the emulator, which scopes and saves them."""

    def __init__(self, environments: Store, queues: Store, definitions: Store, jobs: Store,
                 arn: Callable[[str], str]):
        self._environments = environments
        self._queues = queues
        self._definitions = definitions
        self.jobs = jobs
        self.arn = arn

    # -- compute environments -------------------------------------------------------------------------------------

    def create_environment(self, request: Record) -> Record:
        """CreateComputeEnvironment: ready at once."""
        name = _name(request, "computeEnvironmentName")
        if name in self._environments:
            raise ClientError(f"Object already exists: {name}")
        record = {
            "computeEnvironmentName": name,
            "computeEnvironmentArn": self.arn(f"compute-environment/{name}"),
            "ecsClusterArn": self.arn(f"cluster/{name}").replace(":batch:", ":ecs:"),
            "type": request.get("type", "MANAGED"), "state": request.get("state", "ENABLED"),
            "status": "VALID", "statusReason": "ComputeEnvironment Healthy",
            "computeResources": request.get("computeResources") or {},
            "serviceRole": request.get("serviceRole", ""), "containerOrchestrationType": "ECS",
            "tags": request.get("tags") or {},
        }
        self._environments[name] = record
        return {key: record[key] for key in ("computeEnvironmentName", "computeEnvironmentArn")}

    def update_environment(self, request: Record) -> Record:
        """UpdateComputeEnvironment."""
        record = self._environment(request.get("computeEnvironment") or "")
        for field in ("state", "serviceRole", "updatePolicy", "unmanagedvCpus"):
            if field in request:
                record[field] = request[field]
        record["computeResources"] = {**record["computeResources"], **(request.get("computeResources") or {})}
        return {key: record[key] for key in ("computeEnvironmentName", "computeEnvironmentArn")}

    def delete_environment(self, request: Record) -> Record:
        """DeleteComputeEnvironment: only when disabled and in no queue."""
        record = self._environment(request.get("computeEnvironment") or "")
        if record["state"] != "DISABLED":
            raise ClientError("Cannot delete, found existing enabled ComputeEnvironment")
        for queue in self._queues.values():
            if any(_short(o["computeEnvironment"]) == record["computeEnvironmentName"]
                   for o in queue["computeEnvironmentOrder"]):
                raise ClientError("Cannot delete, found existing JobQueue relationship")
        del self._environments[record["computeEnvironmentName"]]
        return {}

    def describe_environments(self, request: Record) -> Record:
        """DescribeComputeEnvironments: those named, or all."""
        names = [_short(name) for name in request.get("computeEnvironments") or []]
        found = [r for r in self._environments.values() if not names or r["computeEnvironmentName"] in names]
        return {"computeEnvironments": found}

    def _environment(self, reference: str) -> Record:
        record = self._environments.get(_short(reference))
        if record is None:
            raise ClientError(f"{reference} does not exist")
        return record

    # -- queues ---------------------------------------------------------------------------------------------------

    def create_queue(self, request: Record) -> Record:
        """CreateJobQueue on existing compute environments."""
        name = _name(request, "jobQueueName")
        if name in self._queues:
            raise ClientError(f"Object already exists: {name}")
        order = request.get("computeEnvironmentOrder") or []
        if not order:
            raise ClientError("At least one compute environment is required")
        for entry in order:
            self._environment(entry.get("computeEnvironment") or "")
        record = {
            "jobQueueName": name, "jobQueueArn": self.arn(f"job-queue/{name}"),
            "state": request.get("state", "ENABLED"), "status": "VALID", "statusReason": "JobQueue Healthy",
            "priority": int(request.get("priority", 1)), "computeEnvironmentOrder": order,
            "jobStateTimeLimitActions": request.get("jobStateTimeLimitActions") or [],
            "tags": request.get("tags") or {},
        }
        if request.get("schedulingPolicyArn"):
            raise ClientError("schedulingPolicyArn is not supported by the local Batch")
        self._queues[name] = record
        return {key: record[key] for key in ("jobQueueName", "jobQueueArn")}

    def update_queue(self, request: Record) -> Record:
        """UpdateJobQueue."""
        record = self.queue(request.get("jobQueue") or "")
        for field in ("state", "priority", "computeEnvironmentOrder", "jobStateTimeLimitActions"):
            if field in request:
                record[field] = request[field]
        return {key: record[key] for key in ("jobQueueName", "jobQueueArn")}

    def delete_queue(self, request: Record) -> Record:
        """DeleteJobQueue: only when disabled."""
        record = self.queue(request.get("jobQueue") or "")
        if record["state"] != "DISABLED":
            raise ClientError("Cannot delete, JobQueue must be disabled first")
        del self._queues[record["jobQueueName"]]
        return {}

    def describe_queues(self, request: Record) -> Record:
        """DescribeJobQueues: those named, or all."""
        names = [_short(name) for name in request.get("jobQueues") or []]
        return {"jobQueues": [r for r in self._queues.values() if not names or r["jobQueueName"] in names]}

    def queue(self, reference: str) -> Record:
        """A queue by name or ARN."""
        record = self._queues.get(_short(reference))
        if record is None:
            raise ClientError(f"JobQueue {reference} not found")
        return record

    def priority(self, job: detail.Job) -> int:
        """The priority of a job's queue, 0 when the queue is gone."""
        return int(self._queues.get(_short(job["jobQueue"]), {}).get("priority", 0))

    def on_spot(self, job: detail.Job) -> bool:
        """Whether the first compute environment of the job's queue sells interruptible capacity."""
        queue = self._queues.get(_short(job["jobQueue"]), {})
        for entry in sorted(queue.get("computeEnvironmentOrder", []), key=lambda e: e.get("order", 0)):
            environment = self._environments.get(_short(entry["computeEnvironment"]), {})
            return "SPOT" in str(environment.get("computeResources", {}).get("type", ""))
        return False

    # -- definitions ----------------------------------------------------------------------------------------------

    def register(self, request: Record) -> Record:
        """RegisterJobDefinition: each call makes a revision."""
        name = _name(request, "jobDefinitionName")
        if request.get("type", "container") != "container" or not request.get("containerProperties"):
            raise ClientError("the local Batch runs job definitions of type container with containerProperties only")
        revisions = self._definitions.setdefault(name, [])
        revision = max((r["revision"] for r in revisions), default=0) + 1
        kept = ("parameters", "retryStrategy", "timeout", "platformCapabilities", "propagateTags",
                "schedulingPriority")
        record = {
            "jobDefinitionName": name, "jobDefinitionArn": self.arn(f"job-definition/{name}:{revision}"),
            "revision": revision, "status": "ACTIVE", "type": "container",
            "containerProperties": request["containerProperties"], "tags": request.get("tags") or {},
            "containerOrchestrationType": "ECS",
            **{field: request[field] for field in kept if request.get(field) is not None},
        }
        revisions.append(record)
        return {key: record[key] for key in ("jobDefinitionName", "jobDefinitionArn", "revision")}

    def deregister(self, request: Record) -> Record:
        """DeregisterJobDefinition: the revision stays and can no longer be submitted."""
        self._revision(request.get("jobDefinition") or "")["status"] = "INACTIVE"
        return {}

    def describe_definitions(self, request: Record) -> Record:
        """DescribeJobDefinitions by ARN or name:revision, by name, and by status."""
        every = [record for revisions in self._definitions.values() for record in revisions]
        if request.get("jobDefinitions"):
            wanted = {_short(reference) for reference in request["jobDefinitions"]}
            every = [r for r in every if {f"{r['jobDefinitionName']}:{r['revision']}", r["jobDefinitionName"]} & wanted]
        if request.get("jobDefinitionName"):
            every = [r for r in every if r["jobDefinitionName"] == request["jobDefinitionName"]]
        if request.get("status"):
            every = [r for r in every if r["status"] == request["status"]]
        return {"jobDefinitions": sorted(every, key=lambda r: (r["jobDefinitionName"], -r["revision"]))}

    def definition(self, reference: str) -> Record:
        """An active definition; without a revision, the newest active one."""
        short = _short(reference)
        if ":" in short:
            record = self._revision(short)
            if record["status"] != "ACTIVE":
                raise ClientError(f"JobDefinition {reference} is not active")
            return record
        active = [r for r in self._definitions.get(short, []) if r["status"] == "ACTIVE"]
        if not active:
            raise ClientError(f"JobDefinition {reference} not found")
        return max(active, key=lambda r: r["revision"])

    def _revision(self, reference: str) -> Record:
        name, _, revision = _short(reference).partition(":")
        for record in self._definitions.get(name, []):
            if str(record["revision"]) == revision:
                return record
        raise ClientError(f"JobDefinition {reference} not found")

    # -- tags -----------------------------------------------------------------------------------------------------

    def tags(self, arn: str) -> dict[str, str]:
        """The tags of a resource, to read or to change."""
        kind, _, name = arn.rsplit(":batch:", 1)[-1].split(":", 2)[-1].partition("/")
        stores: dict[str, Callable[[], Record | None]] = {
            "compute-environment": lambda: self._environments.get(name),
            "job-queue": lambda: self._queues.get(name),
            "job-definition": lambda: self._revision(name),
            "job": lambda: self.jobs.get(name),
        }
        record = stores[kind]() if kind in stores else None
        if record is None:
            raise ClientError(f"Resource {arn} not found")
        tags: dict[str, str] = record.setdefault("tags", {})
        return tags
