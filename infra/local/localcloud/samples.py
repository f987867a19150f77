"""Sample events, and what `events/needs.json` says must be there before one makes sense."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from pathlib import Path
from typing import Any

from localcloud import aws
from localcloud.console import say
from localcloud.stack import ACCOUNT, REPOSITORY, Problem, Stack

EVENTS = REPOSITORY / "events"
# The scan that the sample events are of.
_SCAN = "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01"


def event_file(function: str, event: str) -> Path:
    """The sample event, or a Problem that lists those there are."""
    folder = EVENTS / function
    file = folder / f"{event}.json"
    if not file.is_file():
        there = ", ".join(sorted(entry.stem for entry in folder.glob("*.json"))) or "none"
        raise Problem(f"there is no event {event!r} for {function!r}; there are: {there}")
    return file


class Samples:
    """The events of one new scan. Each is prepared once, however many others need it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._needs = json.loads((EVENTS / "needs.json").read_text())
        self._scan = _new_scan()
        self._answers: dict[str, Any] = {}

    def prepare(self, function: str, event: str) -> Any:
        """The event, once everything it needs is in the stack."""
        needs = self._needs.get(f"{function}/{event}", {})
        for key, folder in needs.get("upload", {}).items():
            self._upload(key, EVENTS / folder)
        for name in needs.get("before", []):
            self._before(name)
        content = json.loads(self._renamed(event_file(function, event).read_text()))
        for place, source in needs.get("set", {}).items():
            name, _, pointer = source.partition("#")
            *parents, last = _steps(place)
            _find(content, parents)[last] = _find(self._answers[name], _steps(pointer))
        return content

    def _before(self, name: str) -> None:
        if name in self._answers:
            return
        function, event = name.split("/")
        content = self.prepare(function, event)
        say(f"first {function} on events/{name}.json")
        answer = aws.client(self._stack, "lambda").invoke(
            FunctionName=function_name(self._stack, function), Payload=json.dumps(content))
        text = answer["Payload"].read().decode()
        if answer.get("FunctionError"):
            raise Problem(f"the stack's {function} failed on {event}: {text}")
        self._answers[name] = json.loads(text)

    def _upload(self, key: str, source: Path) -> None:
        """A file as it is, a folder packed. What is known of the object is the answer of that name, for `set`."""
        if key in self._answers:
            return
        body = self._renamed(source.read_text()).encode() if source.is_file() else self._packed(source)
        say(f"put {source.relative_to(REPOSITORY)} as {self._renamed(key)}")
        put = aws.client(self._stack, "s3").put_object(
            Bucket=f"dunlin-{self._stack.environment}-data-{ACCOUNT}", Key=self._renamed(key), Body=body)
        self._answers[key] = {"etag": put["ETag"].strip('"'), "bytes": len(body)}

    def _packed(self, folder: Path) -> bytes:
        body = io.BytesIO()
        with tarfile.open(fileobj=body, mode="w:gz") as archive:
            for file in sorted(file for file in folder.rglob("*") if file.is_file()):
                text = self._renamed(file.read_text()).encode()
                entry = tarfile.TarInfo(str(file.relative_to(folder)))
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text))
        return body.getvalue()

    def _renamed(self, text: str) -> str:
        # A trace id is the same without dashes.
        return text.replace(_SCAN, self._scan).replace(_SCAN.replace("-", ""), self._scan.replace("-", ""))


def function_name(stack: Stack, function: str) -> str:
    """The Lambda function in the stack. There is one runner per engine; any will do, as the ticket names the engine."""
    prefix = f"dunlin-{stack.environment}-{function}"
    pages = aws.client(stack, "lambda").get_paginator("list_functions").paginate()
    found = sorted(f["FunctionName"] for page in pages for f in page["Functions"])
    name = next((name for name in found if name == prefix or name.startswith(f"{prefix}-")), None)
    if name is None:
        raise Problem(f"the {stack.name} stack has no function {function!r}: run `make up`")
    return name


def _steps(pointer: str) -> list[str | int]:
    return [int(step) if step.isdigit() else step for step in pointer.split("/")[1:]]


def _find(content: Any, steps: list[str | int]) -> Any:
    for step in steps:
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError) as error:
            raise Problem(f"events/needs.json asks for {step!r}, which is not in {json.dumps(content)[:500]}") from error
    return content


def _new_scan() -> str:
    """Scan ids are UUIDs of version 7, which this Python may not make; only the version has to be right."""
    digits = uuid.uuid4().hex
    return str(uuid.UUID(f"{digits[:12]}7{digits[13:]}"))
