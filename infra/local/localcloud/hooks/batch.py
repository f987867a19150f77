"""Puts the real Batch in the place of the emulator's stub."""

from __future__ import annotations

import contextvars
import copy
import dataclasses
import json
import logging
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from ministack.core import lambda_runtime, responses
from ministack.services import batch as stub
from ministack.services import cloudwatch_logs, eventbridge

from localcloud.batch import container, detail
from localcloud.batch.api import Jobs
from localcloud.batch.executor import Attempt, Task
from localcloud.batch.process import ProcessAttempt
from localcloud.batch.resources import ClientError, Resources
from localcloud.batch.scheduler import Scheduler
from localcloud.settings import MODES, Settings

logger = logging.getLogger("batch")
_LOG_GROUP = "/aws/batch/job"
Answer = tuple[int, dict[str, str], bytes]


def _program(image: str) -> str:
    """What an image's entry point is: `dunlin/function/<name>` has that function's program, an engine the runner."""
    folder, _, name = image.rpartition("/")
    return name.split(":")[0] if folder.endswith("/function") else "runner"


def _arn(resource: str) -> str:
    return f"arn:aws:batch:{responses.get_region()}:{responses.get_account_id()}:{resource}"


class EmulatorWorld:
    """The scheduler's surroundings inside the emulator."""

    def __init__(self, settings: Settings, resources: Resources, started: Callable[[int], None]):
        self._settings = settings
        self.mode = settings.batch_mode
        self._resources = resources
        self._started = started

    def jobs(self) -> list[detail.Job]:
        """Jobs of every account and region."""
        return list(stub._jobs._data.values())

    def forget(self, job: detail.Job) -> None:
        """Drop an ended job."""
        for key in [key for key, value in stub._jobs._data.items() if value is job]:
            stub._jobs._data.pop(key, None)

    def priority(self, job: detail.Job) -> int:
        """The priority of its queue, read in the job's own account and region."""
        _, _, _, region, account, _ = job["jobQueue"].split(":", 5)
        queue = stub._job_queues.get_scoped(account, region, job["jobQueue"].rsplit("/", 1)[-1], {})
        return int(queue.get("priority", 0))

    def announce(self, job: detail.Job) -> None:
        """The documented event, on the default bus."""
        eventbridge._put_events({"Entries": [{
            "Source": "aws.batch",
            "DetailType": "Batch Job State Change",
            "Detail": json.dumps(detail.of(job)),
            "Resources": [job["jobArn"]],
        }]}, allow_aws_source=True)

    def log(self, job: detail.Job, stream: str, line: str) -> None:
        """One line of output, to the group the definition names."""
        options = (job["container"].get("logConfiguration") or {}).get("options") or {}
        group = options.get("awslogs-group") or _LOG_GROUP
        names = {"logGroupName": group, "logStreamName": stream}
        existing = cloudwatch_logs._log_groups.get(group)
        if existing is None:
            cloudwatch_logs._create_log_group(names)
            existing = cloudwatch_logs._log_groups[group]
        if stream not in existing["streams"]:
            cloudwatch_logs._create_log_stream(names)
        cloudwatch_logs._put_log_events({**names, "logEvents": [{"timestamp": detail.now_ms(), "message": line}]})

    def attempt(self, task: Task, number: int) -> Attempt:
        """A container where one can be had, else a process; a stack may insist on either."""
        mode = self.mode
        task = self._with_credentials(task)
        if mode == "container" or (mode == "auto" and container.image_present(task.image)):
            return container.ContainerAttempt(task, self._settings.stack, number, self._settings.scratch, self._started)
        base = {"ENGINES_DIR": str(self._settings.engines)}
        return ProcessAttempt(task, self._settings.programs / _program(task.image), base, self._settings.scratch,
                              self._started)

    def _with_credentials(self, task: Task) -> Task:
        """Those of the job's role, in its environment. A container of Fargate asks for them at an address of its own."""
        if task.role is None:
            return task
        # The emulator hands out credentials to functions only, and knows an account by a function's ARN.
        arn = f"arn:aws:lambda:{responses.get_region()}:{responses.get_account_id()}:function:{task.job_id}"
        job = {"Role": task.role, "FunctionArn": arn, "FunctionName": task.job_id}
        given = {**lambda_runtime.execution_credentials(job), "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]}
        return dataclasses.replace(task, environment={**given, **task.environment})


class Batch:
    """The service: wiring, requests, and state."""

    def __init__(self, settings: Settings, started: Callable[[int], None]):
        self._resources = Resources(stub._compute_envs, stub._job_queues, stub._job_definitions, stub._jobs, _arn)
        self._world = EmulatorWorld(settings, self._resources, started)
        self.scheduler = Scheduler(self._world)
        self.jobs = Jobs(self._resources, self.scheduler)
        resources, jobs = self._resources, self.jobs
        self._calls: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "createcomputeenvironment": resources.create_environment,
            "updatecomputeenvironment": resources.update_environment,
            "deletecomputeenvironment": resources.delete_environment,
            "describecomputeenvironments": resources.describe_environments,
            "createjobqueue": resources.create_queue,
            "updatejobqueue": resources.update_queue,
            "deletejobqueue": resources.delete_queue,
            "describejobqueues": resources.describe_queues,
            "registerjobdefinition": resources.register,
            "deregisterjobdefinition": resources.deregister,
            "describejobdefinitions": resources.describe_definitions,
            "submitjob": jobs.submit,
            "describejobs": jobs.describe,
            "listjobs": jobs.list,
            "terminatejob": jobs.terminate,
            "canceljob": jobs.cancel,
        }

    @property
    def mode(self) -> str:
        """Whether attempts run as containers, as processes, or as what can be had."""
        return self._world.mode

    def set_mode(self, mode: str) -> None:
        """For the attempts to come."""
        if mode not in MODES:
            raise ClientError(f"the mode must be one of {', '.join(MODES)}, not {mode!r}")
        self._world.mode = mode

    def install(self) -> None:
        """Take over the stub's requests and its saved state."""
        stub.handle_request = self.handle
        stub.get_state = self._state
        stub.reset = self._reset

    async def handle(self, method: str, path: str, headers: dict[str, str], body: bytes,
                     query_params: dict[str, Any]) -> Answer:
        """One request to the Batch API."""
        try:
            if path.startswith("/v1/tags/"):
                return _json(self._tags(method, unquote(path.removeprefix("/v1/tags/")), body, query_params))
            call = self._calls.get(path.rstrip("/").lower().removeprefix("/v1/")) if method == "POST" else None
            if call is None:
                raise ClientError(f"the local Batch does not know {method} {path}")
            with self.scheduler.lock:
                return _json(call(json.loads(body or b"{}")))
        except ClientError as error:
            return _refused(str(error))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            logger.warning("batch request %s could not be read", path, exc_info=True)
            return _refused(f"Error executing request, Exception : {error}")

    def _tags(self, method: str, arn: str, body: bytes, query: dict[str, Any]) -> dict[str, Any]:
        tags = self._resources.tags(arn)
        if method == "POST":
            tags.update(json.loads(body or b"{}").get("tags") or {})
        elif method == "DELETE":
            for key in query.get("tagKeys") or []:
                tags.pop(key, None)
        else:
            return {"tags": tags}
        return {}

    def _state(self) -> dict[str, Any]:
        with self.scheduler.lock:
            return {
                "compute_envs": copy.deepcopy(stub._compute_envs),
                "job_queues": copy.deepcopy(stub._job_queues),
                "job_definitions": copy.deepcopy(stub._job_definitions),
                "jobs": copy.deepcopy(stub._jobs),
            }

    def _reset(self) -> None:
        with self.scheduler.lock:
            for job in list(stub._jobs._data.values()):
                self.scheduler.terminate(job, "reset")
            for store in (stub._compute_envs, stub._job_queues, stub._job_definitions, stub._jobs):
                store.clear()

    def resume(self, abandoned: Callable[[detail.Job], bool]) -> None:
        """Go on after a restart with the jobs that were saved."""
        self.scheduler.resume(context_of, abandoned)


def context_of(job: detail.Job) -> contextvars.Context:
    """A context with the account and region in the job's ARN."""
    _, _, _, region, account, _ = job["jobArn"].split(":", 5)

    def settle() -> contextvars.Context:
        responses.set_request_account_id(account)
        responses.set_request_region(region)
        return contextvars.copy_context()

    return contextvars.copy_context().run(settle)


def _json(answer: dict[str, Any]) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def _refused(message: str) -> Answer:
    answer: Answer = responses.error_response_json("ClientException", message, 400)
    return answer
