"""Whether the installed emulator is the one these hooks were written for."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version

PINNED = "1.5.33"
# Every name a hook replaces or calls. A new version that renames one is refused with a sentence, not found by accident.
_NEEDED = {
    "ministack.app": ("main", "app", "AUTH", "_build_persistence_save_dict", "save_all"),
    "ministack.core.iam_actions": ("extract_resource_arn",),
    "ministack.core.lambda_runtime": ("subprocess", "ProvidedWorker", "kill_workers", "reset", "_collect"),
    "ministack.core.responses": ("get_account_id", "get_region", "set_request_account_id", "set_request_region",
                                 "error_response_json"),
    "ministack.services.batch": ("_DISPATCH", "_compute_envs", "_job_queues", "_job_definitions", "_jobs",
                                 "handle_request", "get_state", "load_persisted_state", "reset"),
    "ministack.services.cloudwatch_logs": ("_create_log_group", "_create_log_stream", "_put_log_events",
                                           "_log_groups"),
    "ministack.services.eventbridge": ("_put_events",),
    "ministack.services.lambda_svc": ("_provided_worker_env", "executions_in_flight"),
    "ministack.services.tagging": ("_RESOURCE_TAG_COLLECTORS", "resource_tags"),
    "ministack.services.stepfunctions": (
        "_SERVICE_DISPATCH", "_ExecutionError", "_executions", "_state_machines", "_run_execution", "_fail_execution",
        "_stop_execution", "_execute_task", "_execute_pass", "_execute_choice", "_execute_wait", "_execute_parallel",
        "_execute_map", "_invoke_resource", "_invoke_resource_with_timeout", "_scaled_sleep", "_add_event",
        "_emit_execution_status_event", "_jsonata_state_field", "_state_query_language"),
}


class HookError(Exception):
    """The emulator is not the one expected; the text says what to do."""


def verify() -> None:
    """Raise HookError unless the pinned emulator is installed and has every hook."""
    try:
        found = version("ministack")
    except PackageNotFoundError as error:
        raise HookError("ministack is not installed here; run `make up`, which installs it") from error
    if found != PINNED:
        raise HookError(f"ministack {found} is installed, but the local cloud is written for {PINNED}; "
                        "remove .local/tools/venv and run `make up`")
    missing = []
    for module, names in _NEEDED.items():
        loaded = importlib.import_module(module)
        missing += [f"{module}.{name}" for name in names if not hasattr(loaded, name)]
    if missing:
        raise HookError(f"ministack {found} lacks what the launcher hooks into: {', '.join(missing)}; "
                        "its files were changed, remove .local/tools/venv and run `make up`")
