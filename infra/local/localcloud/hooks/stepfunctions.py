"""Step Functions: Batch tasks, and what AWS does when an execution is stopped, times out, or loses its host.

The emulator goes on after StopExecution with whatever a Map has begun, turns an aborted execution into a failed one
when a branch fails late, has no timeout for a whole execution, and says nothing about executions that a restart ended.
"""

from __future__ import annotations

import contextvars
import functools
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core import responses
from ministack.services import stepfunctions as sfn

from localcloud.batch import detail
from localcloud.batch.resources import ClientError
from localcloud.hooks.batch import Batch

logger = logging.getLogger("stepfunctions")
_execution: contextvars.ContextVar[str] = contextvars.ContextVar("dunlin_execution", default="")
_deadline: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("dunlin_task_over", default=None)
_closing = threading.Event()
_HANDLERS = ("_execute_task", "_execute_pass", "_execute_choice", "_execute_wait", "_execute_parallel", "_execute_map")


class ExecutionStopped(Exception):
    """The execution ended while one of its branches was still at work. No Retry and no Catch may see this."""


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], ExecutionStopped))


def _over(arn: str) -> bool:
    execution = sfn._executions.get(arn) if arn else None
    return execution is not None and execution["status"] != "RUNNING"


def _check(arn: str) -> None:
    """Do not go on with an execution that has ended, nor with any while the emulator closes."""
    if _closing.is_set():
        # The state is being saved as it is; this thread must change nothing any more.
        threading.Event().wait()
    if _over(arn):
        raise ExecutionStopped(arn)


def freeze() -> None:
    """Let no execution take another step (the emulator closes)."""
    _closing.set()


def install(batch: Batch) -> None:
    """Put the hooks in place."""
    logger.addFilter(_Quiet())
    sfn._SERVICE_DISPATCH["arn:aws:states:::batch:submitJob"] = functools.partial(_submit, batch)
    for name in _HANDLERS:
        setattr(sfn, name, _guarded(getattr(sfn, name)))
    sfn._run_execution = _with_timeout(batch, sfn._run_execution)
    sfn._fail_execution = _only_running(sfn._fail_execution)
    sfn._stop_execution = _and_its_jobs(batch, sfn._stop_execution)
    sfn._scaled_sleep = _interruptible
    sfn._invoke_resource = _checked(sfn._invoke_resource)
    sfn._invoke_resource_with_timeout = _ending_task(sfn._invoke_resource_with_timeout)


# -- stopping -----------------------------------------------------------------------------------------------------


def _guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    def run(state: dict[str, Any], raw_input: Any, *rest: Any) -> Any:
        context = rest[-1] if rest else None
        arn = (context or {}).get("Execution", {}).get("Id", "")
        _execution.set(arn)
        _check(arn)
        timeout = state.get("TimeoutSeconds")
        if isinstance(timeout, str) and sfn._state_query_language(state, context) == "JSONata":
            seconds = sfn._jsonata_state_field(state, "TimeoutSeconds", "number", raw_input, context)
            state = {**state, "TimeoutSeconds": seconds}
        answer = handler(state, raw_input, *rest)
        _check(arn)
        return answer

    return run


def _checked(invoke: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(invoke)
    def run(resource: str, input_data: Any) -> Any:
        # A retry of a task whose execution was stopped meanwhile.
        _check(_execution.get())
        return invoke(resource, input_data)

    return run


def _interruptible(seconds: float) -> None:
    """Sleep before a retry or in a Wait, unless the execution ends first."""
    arn = _execution.get()
    until = time.monotonic() + max(0.0, seconds) * sfn._SFN_WAIT_SCALE
    while (left := until - time.monotonic()) > 0:
        _check(arn)
        time.sleep(min(left, 0.1))


def _only_running(fail: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(fail)
    def run(execution: dict[str, Any], error: str, cause: str) -> None:
        if _closing.is_set():
            threading.Event().wait()
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    return run


def _and_its_jobs(batch: Batch, stop: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(stop)
    def run(data: dict[str, Any]) -> Any:
        answer = stop(data)
        if answer[0] == 200:
            _terminate_jobs(batch, str(data.get("executionArn")), "the state machine execution was stopped")
        return answer

    return run


def _terminate_jobs(batch: Batch, arn: str, reason: str) -> None:
    for job in batch.scheduler.world.jobs():
        if job.get("_execution") == arn:
            batch.scheduler.terminate(job, reason)


# -- timeouts -----------------------------------------------------------------------------------------------------


def _with_timeout(batch: Batch, run_execution: Callable[[str], None]) -> Callable[[str], None]:
    @functools.wraps(run_execution)
    def run(arn: str) -> None:
        _execution.set(arn)
        execution = sfn._executions.get(arn) or {}
        machine = sfn._state_machines.get(execution.get("stateMachineArn", "")) or {}
        timer = None
        try:
            seconds = json.loads(machine.get("definition", "{}")).get("TimeoutSeconds")
        except ValueError:
            seconds = None
        if isinstance(seconds, (int, float)) and seconds > 0:
            context = contextvars.copy_context()
            timer = threading.Timer(seconds, lambda: context.run(_time_out, batch, arn))
            timer.daemon = True
            timer.start()
        try:
            run_execution(arn)
        finally:
            if timer is not None:
                timer.cancel()

    return run


def _time_out(batch: Batch, arn: str) -> None:
    execution = sfn._executions.get(arn)
    if _closing.is_set() or execution is None or execution["status"] != "RUNNING":
        return
    execution["status"] = "TIMED_OUT"
    execution["error"] = "States.Timeout"
    execution["stopDate"] = sfn.now_iso()
    sfn._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {"error": "States.Timeout"}})
    sfn._emit_execution_status_event(execution)
    _terminate_jobs(batch, arn, "the state machine execution timed out")


def _ending_task(invoke: Callable[..., Any]) -> Callable[..., Any]:
    """Tell a task's own thread when its state has stopped waiting for it."""

    @functools.wraps(invoke)
    def run(resource: str, input_data: Any, timeout: float) -> Any:
        over = threading.Event()
        token = _deadline.set(over)
        try:
            return invoke(resource, input_data, timeout)
        except sfn._ExecutionError as error:
            if error.error == "States.Timeout":
                over.set()
            raise
        finally:
            _deadline.reset(token)

    return run


# -- batch:submitJob and batch:submitJob.sync -----------------------------------------------------------------------


def _submit(batch: Batch, resource: str, input_data: Any) -> Any:
    request = detail.camel(input_data)
    waits = resource.endswith(".sync")
    arn = _execution.get()
    if waits:
        overrides = request.setdefault("containerOverrides", {})
        # Step Functions marks the jobs it waits for in just this way.
        marked = [*(overrides.get("environment") or []),
                  {"name": "MANAGED_BY_AWS", "value": "STARTED_BY_STEP_FUNCTIONS"}]
        overrides["environment"] = marked
    try:
        with batch.scheduler.lock:
            answer = batch.jobs.submit(request, {"_execution": arn} if waits else None)
            job = batch.jobs.get(answer["jobId"])
    except ClientError as error:
        raise sfn._ExecutionError("Batch.ClientException", str(error)) from error
    if not waits or job is None:
        return detail.pascal(answer)
    late = _deadline.get()
    ended = batch.scheduler.wait(
        job, lambda: _closing.is_set() or _over(arn) or (late is not None and late.is_set()))
    if not ended:
        if not _closing.is_set():
            batch.scheduler.terminate(job, "the state machine no longer waits for this job")
        _check(arn)
        raise ExecutionStopped(arn)
    with batch.scheduler.lock:
        result = detail.pascal(json.loads(json.dumps(detail.of(job))))
    if job["status"] == "FAILED":
        raise sfn._ExecutionError("States.TaskFailed", json.dumps(result))
    return result


# -- after a restart ----------------------------------------------------------------------------------------------


def announce_interrupted() -> None:
    """Tell the event bus about executions that were running when the emulator ended: nobody else does."""
    for (account, region, arn), execution in list(sfn._executions._data.items()):
        if execution.get("error") != "States.ServiceRestart" or execution.get("_announced"):
            continue
        execution["_announced"] = True

        def tell(account: str = account, region: str = region, execution: dict[str, Any] = execution) -> None:
            responses.set_request_account_id(account)
            responses.set_request_region(region)
            sfn._add_event(execution, "ExecutionFailed", {"executionFailedEventDetails": {
                "error": execution["error"], "cause": execution["cause"]}})
            sfn._emit_execution_status_event(execution)

        contextvars.copy_context().run(tell)
        logger.info("execution %s was interrupted by a restart and has failed", arn)


def abandoned(job: detail.Job) -> bool:
    """Whether the execution that waited for the job has ended."""
    arn = job.get("_execution")
    if not arn:
        return False
    for (_, _, key), execution in list(sfn._executions._data.items()):
        if key == arn:
            return bool(execution["status"] != "RUNNING")
    return True
