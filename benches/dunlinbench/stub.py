"""What a function speaks to when it is measured alone: the Lambda Runtime API, S3 over a folder, and the calls of Secrets
Manager, SQS and Step Functions that a first answer needs. All answer at once, so what is left is the function's own time.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dunlinbench.report import Problem


_MACHINE = "arn:aws:states:eu-central-1:000000000000:execution:bench"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Answers are small and somebody waits for each.
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def log_message(self, format: str, *args: object) -> None:
        return

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: Any

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A function that is stopped leaves its long poll in the middle.
        return


class _Service:
    handler: type[_Handler]

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), self.handler)
        self._server.owner = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class _Runtime(_Handler):
    def do_GET(self) -> None:
        owner: RuntimeApi = self.server.owner  # type: ignore[attr-defined]
        owner.polled.put(time.monotonic())
        event = owner.events.get()
        if event is None:
            return
        self.answer(200, event, Content_Type="application/json", Lambda_Runtime_Aws_Request_Id=str(uuid.uuid4()),
                    Lambda_Runtime_Deadline_Ms=str(int(time.time() * 1000) + 900_000),
                    Lambda_Runtime_Invoked_Function_Arn="arn:aws:lambda:eu-central-1:000000000000:function:bench",
                    Lambda_Runtime_Trace_Id="Root=1-00000000-000000000000000000000000")

    def do_POST(self) -> None:
        owner: RuntimeApi = self.server.owner  # type: ignore[attr-defined]
        body = self.body()
        owner.answers.put((time.monotonic(), self.path.rsplit("/", 1)[-1], body))
        self.answer(202)


class RuntimeApi(_Service):
    """Gives events to one function, and notes when each was answered."""

    handler = _Runtime

    def __init__(self) -> None:
        self.events: queue.Queue[bytes | None] = queue.Queue()
        self.polled: queue.Queue[float] = queue.Queue()
        self.answers: queue.Queue[tuple[float, str, bytes]] = queue.Queue()
        super().__init__()

    def close(self) -> None:
        """Stop, waking whoever polls."""
        for _ in range(4):
            self.events.put(None)
        super().close()

    def wait(self, seconds: float) -> tuple[float, bool, Any]:
        """When the next answer came, whether it is a success, and what it says."""
        try:
            at, kind, body = self.answers.get(timeout=seconds)
        except queue.Empty:
            raise Problem(f"the function did not answer within {seconds:.0f} s") from None
        return at, kind == "response", json.loads(body)


class _Objects(_Handler):
    def _file(self) -> Path:
        owner: ObjectServer = self.server.owner  # type: ignore[attr-defined]
        return owner.file(urllib.parse.unquote(urllib.parse.urlsplit(self.path).path))

    def do_GET(self) -> None:
        file = self._file()
        if not file.is_file():
            self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>",
                        Content_Type="application/xml")
            return
        size = file.stat().st_size
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.send_header("ETag", '"0"')
        self.end_headers()
        if self.command == "GET":
            with file.open("rb") as source:
                self.wfile.flush()
                self.connection.sendfile(source)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        file = self._file()
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        left = int(self.headers.get("Content-Length") or 0)
        with fresh.open("wb") as out:
            while left:
                part = self.rfile.read(min(left, 1 << 20))
                if not part:
                    return
                out.write(part)
                left -= len(part)
        os.replace(fresh, file)
        self.answer(200, ETag='"0"')

    def do_POST(self) -> None:
        owner: ObjectServer = self.server.owner  # type: ignore[attr-defined]
        self.body()
        answers = {
            "secretsmanager.GetSecretValue": {"Name": "bench", "SecretString": json.dumps({"password": owner.password})},
            "AmazonSQS.SendMessage": {"MessageId": str(uuid.uuid4()), "MD5OfMessageBody": "0" * 32},
            "AWSStepFunctions.StartExecution": {"executionArn": f"{_MACHINE}:bench", "startDate": 0},
        }
        answer = answers.get(self.headers.get("X-Amz-Target", ""))
        if answer is None:
            self.answer(400, b'{"__type":"UnknownOperationException"}', Content_Type="application/x-amz-json-1.0")
            return
        self.answer(200, json.dumps(answer).encode(), Content_Type="application/x-amz-json-1.0")


class ObjectServer(_Service):
    """S3 by path (`/<bucket>/<key>`) over a folder, without checking who asks."""

    handler = _Objects

    def __init__(self, folder: Path, password: str) -> None:
        self.folder = folder
        self.password = password
        super().__init__()

    def file(self, path: str) -> Path:
        """The file of an object."""
        file = (self.folder / path.lstrip("/")).resolve()
        if not file.is_relative_to(self.folder.resolve()):
            raise Problem(f"{path} leads out of the folder")
        return file

    def empty(self, prefix: str) -> None:
        """Forget objects."""
        shutil.rmtree(self.folder / prefix, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """What points a function here."""
        endpoint = f"http://127.0.0.1:{self.port}"
        return {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test", "S3_FORCE_PATH_STYLE": "true", "DATA_BUCKET": "data"}
