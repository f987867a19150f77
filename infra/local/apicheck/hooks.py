"""What a schema cannot say, put right in requests that are meant to be valid, and nothing else.

A request that schemathesis makes to be refused goes out as it was made.
"""

from __future__ import annotations

import os
import re
import uuid
from typing import Any
from urllib.parse import quote

import schemathesis

# A server of the check that knows no repository: scans of it end at once, and no host of the internet is asked.
NOWHERE = os.environ["APICHECK_NOWHERE"]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Runs before each request."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    # A cursor is whatever the page before said; none can be made up.
    if case.query:
        case.query.pop("cursor", None)
    # A key that was used before belongs to another body.
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if isinstance(case.body, dict):
        if "target" in case.body and isinstance(case.body["target"], dict):
            _scan(case.body)
        elif "kind" in case.body and "bytes" in case.body:
            _price_batch(case.body)
        elif set(case.body) == {"url"}:
            case.body["url"] = _url(case.body["url"])


def _scan(body: dict[str, Any]) -> None:
    """A target that can be meant: one reference of the three, names that git allows, engines that there are."""
    target = body["target"]
    if "url" in target:
        target["url"] = _url(target["url"])
        named = [name for name in ("branch", "tag", "commit") if target.get(name) is not None]
        for name in named[1:]:
            del target[name]
    elif not str(target.get("repository", "")).strip():
        target["repository"] = f"r{len(str(target.get('repository')))}"
    for name in ("branch", "tag"):
        if isinstance(target.get(name), str):
            target[name] = "b" + re.sub(r"[^A-Za-z0-9]", "", target[name])[:200]
    if body.get("engines"):
        body["engines"] = ["ruff", "shellcheck"][: len(body["engines"])]


def _price_batch(body: dict[str, Any]) -> None:
    """A file of one piece, which nobody sends; and only prices are replaced."""
    body["bytes"] = int(body["bytes"]) % (1 << 20) + 1
    if body["kind"] != "prices":
        body.pop("replaces", None)


def _url(text: Any) -> str:
    path = str(text).partition("://")[2].partition("/")[2]
    return f"{NOWHERE}/{quote(path, safe='/-._~')[:1500]}"
