"""Holds the running API against its own document with schemathesis: every operation, requests that fit the document and
requests that do not, with a fixed seed. Afterwards every scan that was accepted on the way must have ended.

    python3 infra/local/apicheck.py [--stack test] [--examples 10]

Ends with 1 when the API and the document disagree, and prints the request that shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from localcloud import tools  # noqa: E402
from localcloud.console import say  # noqa: E402
from localcloud.stack import REPOSITORY, Problem, Stack  # noqa: E402

SEED = 20261121
_USERS = ("DEMO", "OTHER")
_ENDS = {"complete", "partial", "failed", "cancelled"}
_PATIENCE_SECONDS = 180


class _Nowhere(BaseHTTPRequestHandler):
    """Knows no repository."""

    def do_GET(self) -> None:  # noqa: N802
        self.send_response(404)
        self.send_header("content-length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""


def environment_of(stack: Stack) -> dict[str, str]:
    """The stack's own words about itself."""
    import shlex

    if not stack.env_file.is_file():
        raise Problem(f"the stack {stack.name} does not run: make up STACK={stack.name}")
    lines = (shlex.split(line.removeprefix("export ")) for line in stack.env_file.read_text().splitlines())
    return dict(line[0].split("=", 1) for line in lines if line)


def call(method: str, url: str, headers: dict[str, str], body: Any = None) -> tuple[int, Any]:
    """One request with an answer in JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            status, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text else None


def token_of(values: dict[str, str], user: str) -> str:
    """An ID token of the stack's user pool."""
    body = {"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": values["USER_POOL_CLIENT_ID"],
            "AuthParameters": {"USERNAME": values[f"{user}_USER"], "PASSWORD": values[f"{user}_PASSWORD"]}}
    _, answer = call("POST", values["AUTH_ENDPOINT"], {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "AWSCognitoIdentityProviderService.InitiateAuth"}, body)
    token: str = answer["AuthenticationResult"]["IdToken"]
    return token


def configuration(hooks: Path, auth: Path) -> str:
    """Every check but two, in every phase."""
    return "\n".join([
        f'hooks = "{hooks}"',
        f"seed = {SEED}",
        "max-redirects = 0",
        "request-timeout = 30",
        "[generation]",
        'database = "none"',
        "[checks]",
        "object_level_authorization.enabled = true",
        # A gateway of AWS (an HTTP API) answers 404 for a method that a path does not have, and cannot be told otherwise.
        "unsupported_method.enabled = false",
        "allow_header_conformance.enabled = false",
        # Two organisations that must not see each other's scans.
        "[auth.wfc]",
        f'path = "{auth}"',
        'peers = ["demo", "other"]',
        # DELETE of a scan cancels it: it stays to be read.
        "[[operations]]",
        'include-path-regex = "^/v1/scans/"',
        "checks.use_after_free.enabled = false",
        # Which places there are, and that the last day is not before the first one, no schema can say.
        "[[operations]]",
        'include-path = "/v1/rates"',
        "checks.positive_data_acceptance.enabled = false",
        "",
    ])


def run(values: dict[str, str], examples: int, tokens: dict[str, str], nowhere: str) -> int:
    """schemathesis on the document that the API serves."""
    program = tools.schemathesis()
    base = values["DUNLIN_API_URL"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        auth = folder / "auth.json"
        auth.write_text(json.dumps({"auth": [
            {"name": user.lower(), "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}]}
            for user, token in tokens.items()]}))
        auth.chmod(0o600)
        hooks = Path(__file__).resolve().parent / "apicheck" / "hooks.py"
        (folder / "schemathesis.toml").write_text(configuration(hooks, auth))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SCHEMATHESIS_")}
        return subprocess.run(
            [program, "--config-file", folder / "schemathesis.toml", "run", REPOSITORY / "openapi" / "dunlin.json",
             "--url", base, "--max-examples", str(examples), "--workers", "2", "--continue-on-failure", "--no-color"],
            cwd=folder, env={**kept, "APICHECK_NOWHERE": nowhere, "COLUMNS": "160"}, stdin=subprocess.DEVNULL,
            check=False).returncode


def unended(base: str, headers: dict[str, str], since: str) -> list[str]:
    """Scans that were accepted after `since` and have not ended."""
    found, cursor = [], ""
    while True:
        status, page = call("GET", f"{base}/v1/scans?limit=200{cursor}", headers)
        if status != 200:
            raise Problem(f"the list of scans answers {status}: {page}")
        for scan in page["items"]:
            if scan["accepted_at"] < since:
                return found
            if scan["status"] not in _ENDS:
                found.append(f"{scan['id']} is {scan['status']}")
        if not page.get("next_cursor"):
            return found
        cursor = f"&cursor={page['next_cursor']}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="hold the running API against openapi/dunlin.json")
    parser.add_argument("--stack", default="test")
    parser.add_argument("--examples", type=int, default=10, help="requests for each operation and phase, at most")
    arguments = parser.parse_args()
    try:
        return check(Stack.of(arguments.stack), arguments.examples)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


def check(stack: Stack, examples: int) -> int:
    """The whole check; answers the exit code."""
    values = environment_of(stack)
    base = values["DUNLIN_API_URL"]
    tokens = {user: token_of(values, user) for user in _USERS}
    headers = {user: {"authorization": f"Bearer {token}", "content-type": "application/json"}
               for user, token in tokens.items()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Nowhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        code = run(values, examples, tokens, f"http://127.0.0.1:{server.server_port}")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        left: list[str] = []
        for user in _USERS:
            while (left := unended(base, headers[user], since)) and time.monotonic() < deadline:
                time.sleep(1)
            if left:
                print(f"error: accepted and never ended: {', '.join(left[:5])}", file=sys.stderr)
                code = code or 1
    finally:
        server.shutdown()
        for user in _USERS:
            # Later scans of this stack must not be told to a server that is gone.
            call("DELETE", f"{base}/v1/webhook", headers[user])
    if code == 0:
        say("the API does what openapi/dunlin.json says, and every scan that was accepted has ended")
    return code


if __name__ == "__main__":
    sys.exit(main())
