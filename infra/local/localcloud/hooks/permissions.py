"""IAM: which resource a Batch request is about, and its tags. The emulator knows the actions of Batch but neither."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from ministack.core import iam_actions
from ministack.services import batch as stub
from ministack.services import tagging

# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbatch.html: what a request's resource is.
_FIELDS = {
    "/v1/submitjob": ("jobQueue", "job-queue"),
    "/v1/terminatejob": ("jobId", "job"),
    "/v1/canceljob": ("jobId", "job"),
}


def install() -> None:
    """Put the hook in place."""
    iam_actions.extract_resource_arn = _with_batch(iam_actions.extract_resource_arn)
    # For `aws:ResourceTag/...`, the only way to tell one's own jobs from others: their ids are not known before.
    tagging._RESOURCE_TAG_COLLECTORS["batch"] = _job_tags


def _job_tags() -> list[tuple[str, list[dict[str, str]]]]:
    return [(job["jobArn"], [{"Key": key, "Value": value} for key, value in (job.get("tags") or {}).items()])
            for job in list(stub._jobs._data.values())]


def _with_batch(extract: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(extract)
    def run(service: str, method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any],
            region: str, account_id: str) -> str:
        if service != "batch":
            return extract(service, method, path, headers, body, query_params, region, account_id)
        if path.startswith("/v1/tags/"):
            return unquote(path.removeprefix("/v1/tags/"))
        field, kind = _FIELDS.get(path.rstrip("/").lower(), ("", ""))
        if not field:
            return "*"
        try:
            value = str(json.loads(body or b"{}").get(field, ""))
        except (ValueError, AttributeError):
            return "*"
        return value if value.startswith("arn:") else f"arn:aws:batch:{region}:{account_id}:{kind}/{value}"

    return run
