"""`make test` and `make lint`: every check of the repository, announced and timed, with one line of counts at the end.

The test stack is always taken down again, also when a step fails or is interrupted.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from localcloud import stack as places  # noqa: E402
from localcloud import processes, tools  # noqa: E402
from localcloud.console import say  # noqa: E402
from localcloud.stack import REPOSITORY, Problem, Stack  # noqa: E402

# Not among the tests that cargo runs unasked (tests/Cargo.toml): they need the test stack.
_END_TO_END = ["cargo", "test", "--workspace", "--test", "e2e"]
_CLOUD = [sys.executable, str(Path(__file__).resolve().parent / "cloud.py")]
_END_SECONDS = 10
_RUST = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed")
_PYTHON_RAN = re.compile(r"^Ran (\d+) tests? in")
_PYTHON_BAD = re.compile(r"(?:failures|errors)=(\d+)")


class Failed(Exception):
    """A step did not pass."""


class Suite:
    """Runs steps and counts tests."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.steps: list[tuple[str, float]] = []

    def step(self, name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None,
             counts: bool = False) -> None:
        """One command, shown as it runs."""
        say(f"==> {name}")
        began = time.monotonic()
        process = subprocess.Popen([str(word) for word in command], cwd=REPOSITORY, text=True, errors="replace",
                                   env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE if counts else None,
                                   stderr=subprocess.STDOUT if counts else None, start_new_session=True)
        try:
            if counts:
                assert process.stdout is not None
                for line in process.stdout:
                    print(line, end="", flush=True)
                    self._count(line)
            code = process.wait()
        except BaseException:
            # cargo's tests and what they started; the stack they use is about to be taken away under them.
            end_session(process)
            raise
        self.steps.append((name, time.monotonic() - began))
        if code != 0:
            raise Failed(f"{name} failed (exit code {code})")

    def _count(self, line: str) -> None:
        if found := _RUST.match(line):
            self.passed += int(found.group(1))
            self.failed += int(found.group(2))
        elif found := _PYTHON_RAN.match(line):
            self.passed += int(found.group(1))
        elif line.startswith("FAILED ("):
            bad = sum(int(number) for number in _PYTHON_BAD.findall(line))
            self.failed += bad
            self.passed -= bad


def end_session(process: subprocess.Popen[str]) -> None:
    """SIGTERM to a step and all it started, SIGKILL to what is left after a while."""
    processes.signal_all(processes.tree(process.pid), signal.SIGTERM)
    until = time.monotonic() + _END_SECONDS
    while processes.tree(process.pid) and time.monotonic() < until:
        process.poll()
        time.sleep(0.05)
    processes.kill_tree(process.pid)
    process.wait()


def containers_wanted() -> bool:
    """Whether to test images as containers. Without root it cannot be done, and nothing is left out in silence."""
    if os.environ.get("DUNLIN_TEST_CONTAINERS") == "no":
        return False
    if os.geteuid() != 0:
        raise Problem("two end-to-end tests build images and run them as containers, which needs root; run `make test` "
                      "as root, or all the rest with `DUNLIN_TEST_CONTAINERS=no make test`")
    return True


def lint(suite: Suite) -> None:
    """Formatting, clippy, Python's syntax, Terraform."""
    suite.step("cargo fmt", ["cargo", "fmt", "--all", "--check"])
    for name, targets in (("cargo clippy", "--all-targets"), ("cargo clippy of the end-to-end tests", "--test=e2e")):
        suite.step(name, ["cargo", "clippy", "--workspace", targets, "--quiet", "--", "-D", "warnings"])
    suite.step("python syntax", [sys.executable, "-W", "error", "-m", "compileall", "-q", "infra/local"])
    suite.step("engine catalogue", [*_CLOUD, "catalog", "--check"])
    terraform = tools.terraform()
    environment = {**tools.terraform_environment(), "TF_DATA_DIR": str(places.tools() / "terraform-validate")}
    root = "-chdir=infra/terraform"
    suite.step("terraform fmt", [terraform, root, "fmt", "-check", "-recursive", "-diff"], environment)
    suite.step("terraform init", [terraform, root, "init", "-backend=false", "-input=false", "-no-color"], environment)
    suite.step("terraform validate", [terraform, root, "validate", "-no-color"], environment)


def test(suite: Suite) -> None:
    """Everything."""
    leave_out = [] if containers_wanted() else ["--skip", "containers::"]
    lint(suite)
    suite.step("tests of the local cloud", [sys.executable, "-m", "unittest", "discover", "-s", "infra/local/tests",
                                            "-t", "infra/local"], counts=True)
    stack = Stack.of("test")
    try:
        # As processes, so that tests can put misbehaving engines in their place; one test asks for containers.
        suite.step("test stack up", [*_CLOUD, "up", "--stack", "test"], {"DUNLIN_BATCH_MODE": "process"})
        values = stack_environment(stack)
        # All of cargo's steps select the workspace: another choice of packages means other features of what they depend on,
        # and compiles everything once more.
        suite.step("unit and integration tests", ["cargo", "test", "--workspace", "--no-fail-fast"], values, counts=True)
        # The end-to-end tests share one stack: its Postgres is stopped and its queues are counted by some of them.
        suite.step("end-to-end tests", [*_END_TO_END, "--no-fail-fast", "--", "--test-threads=1", *leave_out], values,
                   counts=True)
        if leave_out:
            say("left out, as DUNLIN_TEST_CONTAINERS=no says: the end-to-end tests of containers")
        # Last: it leaves scans of nothing behind, and credentials under made-up names.
        suite.step("the API against its document", [sys.executable, "infra/local/apicheck.py", "--stack", "test"])
    except Failed:
        keep_logs(stack)
        raise
    finally:
        suite.step("test stack down", [*_CLOUD, "down", "--stack", "test"])


def stack_environment(stack: Stack) -> dict[str, str]:
    """What tests need to know of the stack; its Postgres also serves the tests that make databases of their own."""
    import shlex

    words = (line.removeprefix("export ") for line in stack.env_file.read_text().splitlines())
    values = dict(shlex.split(word)[0].split("=", 1) for word in words if word)
    return {**values, "STACK": stack.name, "DUNLIN_TEST_DATABASE_URL": values["DATABASE_URL"],
            "DUNLIN_STACK_ENV": str(stack.env_file)}


def keep_logs(stack: Stack) -> None:
    """What the functions said, for whoever has to find out why."""
    file = stack.home / "failed.log"
    with file.open("w") as out:
        subprocess.run([*_CLOUD, "logs", "--stack", "test"], cwd=REPOSITORY, stdout=out, stderr=subprocess.STDOUT,
                       stdin=subprocess.DEVNULL, check=False)
    say(f"the functions' logs are in {file}, the emulator's in {stack.emulator_log}")


def main() -> int:
    """`suite.py test` or `suite.py lint`."""
    what = sys.argv[1] if len(sys.argv) > 1 else "test"
    if what not in ("test", "lint"):
        print("usage: suite.py test|lint", file=sys.stderr)
        return 2
    # An interrupted run must still take the stack down.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    suite = Suite()
    problem = ""
    try:
        places.require_python()
        (lint if what == "lint" else test)(suite)
    except (Failed, Problem) as error:
        problem = str(error)
    except KeyboardInterrupt:
        problem = "interrupted"
    for name, seconds in suite.steps:
        print(f"{seconds:7.1f}s  {name}")
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        if what == "test":
            print(f"{suite.passed} passed, {max(suite.failed, 1)} failed")
        return 1
    if what == "test":
        print(f"{suite.passed} passed, {suite.failed} failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
