"""A Postgres of the bench's own, with its default settings: what is committed is on the disk."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from localcloud import postgres
from localcloud.stack import Stack


class Fresh(NamedTuple):
    """An empty database."""

    # Point a function at it.
    variables: dict[str, str]
    # The one that a function asks Secrets Manager for.
    password: str
    # What the server says.
    log: Path


@contextlib.contextmanager
def fresh() -> Iterator[Fresh]:
    """A server for as long as the block takes."""
    port = int(os.environ.get("DUNLIN_PG_PORT") or _free_port())
    stack = Stack("bench", 0, port)
    stack.home.mkdir(parents=True, exist_ok=True)
    server = postgres.Server(stack)
    server.stop()
    server.remove()
    server.start()
    try:
        variables = {"DATABASE_HOST": "127.0.0.1", "DATABASE_PORT": str(port), "DATABASE_NAME": postgres.DATABASE,
                     "DATABASE_USER": postgres.USER, "DATABASE_AUTH": "secret:bench"}
        yield Fresh(variables, postgres.password_of(stack), server.data / "server.log")
    finally:
        server.stop()
        server.remove()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
