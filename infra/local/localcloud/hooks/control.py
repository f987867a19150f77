"""The launcher's own requests and its part in starting and closing, wrapped around the emulator's application.

`GET /_dunlin/health`, `POST /_dunlin/save` and, for tests, `POST /_dunlin/batch/interrupt {"jobId": ...}` and
`POST /_dunlin/batch/mode {"mode": "container"}`. They exist only here, on the loopback address; nothing in AWS answers them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from ministack import app as emulator

from localcloud.batch.resources import ClientError
from localcloud.hooks import stepfunctions
from localcloud.hooks.batch import Batch, context_of
from localcloud.settings import Settings

logger = logging.getLogger("launcher")
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """The emulator's ASGI application with ours in front."""

    def __init__(self, inner: Callable[..., Awaitable[None]], settings: Settings, batch: Batch,
                 kill_everything: Callable[[], None]):
        self._inner = inner
        self._settings = settings
        self._batch = batch
        self._kill_everything = kill_everything

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One connection's worth of ASGI."""
        if scope["type"] == "lifespan":
            await self._inner(scope, self._closing(receive), self._opening(send))
        elif scope["type"] == "http" and scope["path"].startswith("/_dunlin/"):
            status, answer = await self._own(scope["method"], scope["path"], await _body(receive))
            await send({"type": "http.response.start", "status": status,
                        "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
        else:
            await self._inner(scope, receive, send)

    def _opening(self, send: Send) -> Send:
        async def run(message: dict[str, Any]) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                threading.Thread(target=self._after_restore, daemon=True, name="after-restore").start()
            elif message["type"] == "lifespan.shutdown.complete":
                # Threads of executions that never end would keep the process alive.
                threading.Timer(0.5, lambda: os._exit(0)).start()

        return run

    def _closing(self, receive: Receive) -> Receive:
        async def run() -> dict[str, Any]:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                stepfunctions.freeze()
                await asyncio.to_thread(self._batch.scheduler.shutdown)
                await asyncio.to_thread(self._kill_everything)
            return message

        return run

    def _after_restore(self) -> None:
        try:
            self._batch.resume(stepfunctions.abandoned)
            stepfunctions.announce_interrupted()
        except Exception:
            logger.exception("what was interrupted by the last stop could not be cleared up")

    async def _own(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if (method, path) == ("GET", "/_dunlin/health"):
            return 200, {"stack": self._settings.stack, "pid": os.getpid(), "batch": self._batch.mode}
        if (method, path) == ("POST", "/_dunlin/save"):
            emulator.save_all(emulator._build_persistence_save_dict())
            return 200, {"saved": True}
        if (method, path) == ("POST", "/_dunlin/batch/interrupt"):
            try:
                job = str(json.loads(body or b"{}").get("jobId") or "")
                found = next((j for j in self._batch.scheduler.world.jobs() if j["jobId"] == job), None)
                if found is None:
                    raise ClientError(f"there is no job {job!r}")
                context_of(found).run(self._batch.jobs.interrupt, job)
            except (ClientError, ValueError, AttributeError) as error:
                return 400, {"error": str(error)}
            return 200, {"interrupted": job}
        if (method, path) == ("POST", "/_dunlin/batch/mode"):
            try:
                self._batch.set_mode(str(json.loads(body or b"{}").get("mode") or ""))
            except (ClientError, ValueError, AttributeError) as error:
                return 400, {"error": str(error)}
            return 200, {"mode": self._batch.mode}
        return 404, {"error": f"there is no {method} {path}"}


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
