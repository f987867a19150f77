"""Whether a failed attempt is followed by another one.

https://docs.aws.amazon.com/batch/latest/userguide/job_retries.html: conditions are tried in order, the first that
matches decides; when none matches, the job is retried; a job ended by its timeout or by TerminateJob never is.
"""

from __future__ import annotations

from typing import Any

_FIELDS = {"onStatusReason": "status_reason", "onReason": "reason", "onExitCode": "exit_code"}


def matches(pattern: str, value: str | None) -> bool:
    """AWS's pattern: the whole value, or its beginning when the pattern ends in an asterisk.

    A fact that is missing counts as empty, because AWS's own examples end a list with `onReason: "*"` for everything else.
    """
    value = value or ""
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def again(strategy: dict[str, Any], attempts_made: int, *, exit_code: int | None, reason: str | None,
          status_reason: str | None) -> bool:
    """Whether to run the job once more after `attempts_made` failed attempts."""
    if attempts_made >= int(strategy.get("attempts") or 1):
        return False
    facts = {
        "exit_code": None if exit_code is None else str(exit_code),
        "reason": reason,
        "status_reason": status_reason,
    }
    for condition in strategy.get("evaluateOnExit") or []:
        given = [(condition[field], facts[fact]) for field, fact in _FIELDS.items() if condition.get(field)]
        if given and all(matches(pattern, value) for pattern, value in given):
            return condition.get("action", "").upper() == "RETRY"
    return True
