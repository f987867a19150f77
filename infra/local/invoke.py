"""`make invoke FN=planner EVENT=small-python`: one function, compiled by cargo-lambda, with the environment it has in the
running stack, on one sample event. Ends with 1 when the function answered with an error.

    python3 infra/local/invoke.py <function> <event> [--stack dev|test]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from localcloud import processes, samples, tools  # noqa: E402
from localcloud.console import say, sentence  # noqa: E402
from localcloud.services import Emulator  # noqa: E402
from localcloud.stack import REGION, REPOSITORY, Problem, Stack  # noqa: E402

_COMPILE_SECONDS = 900


def function_environment(stack: Stack, name: str) -> dict[str, str]:
    """The variables the function has in the stack, and the emulator's own credentials."""
    from localcloud import aws

    configuration = aws.client(stack, "lambda").get_function_configuration(FunctionName=name)
    variables: dict[str, str] = configuration.get("Environment", {}).get("Variables", {})
    return {**variables, "AWS_ENDPOINT_URL": stack.endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def invoke(function: str, event: Path, variables: dict[str, str]) -> str:
    """Compile, start, send, stop; answers what the function said."""
    program = tools.cargo_lambda() / "cargo-lambda"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {**kept, **variables, "PATH": f"{program.parent}:{kept.get('PATH', '')}"}
    with tempfile.TemporaryFile("w+") as log:
        watch = subprocess.Popen(
            [program, "lambda", "watch", "--ignore-changes", "--wait", "--invoke-address", "127.0.0.1",
             "--invoke-port", port],
            cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True)
        try:
            _await(watch, int(port))
            done = subprocess.run(
                [program, "lambda", "invoke", function, "--data-file", event, "--invoke-address", "127.0.0.1",
                 "--invoke-port", port, "--skip-cache"],
                cwd=REPOSITORY, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
                timeout=_COMPILE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Problem(f"{function} did not answer within {_COMPILE_SECONDS}s") from error
        finally:
            watch.send_signal(signal.SIGTERM)
            processes.kill_tree(watch.pid)
            watch.wait()
            log.seek(0)
            print(log.read(), file=sys.stderr, end="")
    if done.returncode != 0:
        raise Problem(f"{function} failed on {event.name}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _await(watch: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if watch.poll() is not None:
            raise Problem(f"cargo lambda watch ended with exit code {watch.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise Problem("cargo lambda watch did not start within 60s")


def main() -> int:
    """Parse, check, invoke."""
    parser = argparse.ArgumentParser(prog="invoke.py", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("function")
    parser.add_argument("event")
    parser.add_argument("--stack", default=os.environ.get("STACK", "dev"))
    arguments = parser.parse_args()
    try:
        samples.event_file(arguments.function, arguments.event)
        python = tools.ensure_venv()
        if Path(sys.prefix).resolve() != python.parent.parent.resolve():
            os.execv(python, [str(python), *sys.argv])
        stack = Stack.of(arguments.stack)
        if not Emulator(stack).healthy():
            raise Problem(f"the {stack.name} stack is down: run `make up`")
        content = samples.Samples(stack).prepare(arguments.function, arguments.event)
        variables = function_environment(stack, samples.function_name(stack, arguments.function))
        say(f"{arguments.function} on events/{arguments.function}/{arguments.event}.json")
        with tempfile.TemporaryDirectory() as folder:
            event = Path(folder) / f"{arguments.event}.json"
            event.write_text(json.dumps(content))
            answer = invoke(arguments.function, event, variables)
        try:
            print(json.dumps(json.loads(answer), indent=2))
        except ValueError:
            print(answer, end="")
    except Exception as error:
        text = sentence(error)
        if text is None:
            raise
        print(f"error: {text}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
