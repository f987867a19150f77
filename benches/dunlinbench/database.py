"""A Postgres of the bench's own, with its default settings: what is committed is on the disk."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

from localcloud import postgres
from localcloud.stack import Stack



@contextlib.contextmanager
def fresh() -> Iterator[tuple[dict[str, str], str]]:
    """The variables that point a function at an empty database, and the password it asks Secrets Manager for."""
    port = int(os.environ.get("DUNLIN_PG_PORT") or _free_port())
    stack = Stack("bench", 0, port)
    stack.home.mkdir(parents=True, exist_ok=True)
    server = postgres.Server(stack)
    server.stop()
    server.remove()
    server.start()
    try:
        yield {"DATABASE_HOST": "127.0.0.1", "DATABASE_PORT": str(port), "DATABASE_NAME": postgres.DATABASE,
               "DATABASE_USER": postgres.USER, "DATABASE_AUTH": "secret:bench"}, postgres.password_of(stack)
    finally:
        server.stop()
        server.remove()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


