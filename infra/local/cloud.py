"""The local cloud: `python3 infra/local/cloud.py up|run|prices|down|reset|status|logs|redrive|env|plan`.

docs/local-cloud.md explains it. Needs Python 3.11 and installs the rest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from localcloud import stack as places  # noqa: E402
from localcloud import tools  # noqa: E402
from localcloud.console import say, sentence, step  # noqa: E402
from localcloud.postgres import Server  # noqa: E402
from localcloud.services import Emulator, alone  # noqa: E402
from localcloud.stack import REPOSITORY, Problem, Stack  # noqa: E402

_NEEDS_EMULATOR_LIBRARIES = {"up", "run", "status", "logs", "redrive"}


def up(stack: Stack, arguments: argparse.Namespace) -> None:
    """Everything running and up to date; harmless when it is already."""
    start(stack, build=not arguments.no_build)


def demonstrate(stack: Stack, arguments: argparse.Namespace) -> None:
    """Up, then scan the weak application and this repository."""
    from localcloud import runner

    runner.demonstrate(stack, start(stack, build=True))


def prices(stack: Stack, arguments: argparse.Namespace) -> None:
    """Up, then publish a batch of a million prices, and have one with bad rows rejected."""
    from localcloud import prices as demonstration

    start(stack, build=True)
    demonstration.demonstrate(stack)


def plan(stack: Stack, arguments: argparse.Namespace) -> None:
    """What Terraform would make in AWS, against the emulator's addresses."""
    from localcloud import deploy

    require_running(stack)
    print(deploy.Terraform(stack).plan_for_aws(), end="")


def start(stack: Stack, *, build: bool) -> dict[str, str]:
    """Build, start and deploy; answers the stack's addresses."""
    from localcloud import catalog as engines_catalog
    from localcloud import deploy, functions, installer, runner

    # What changes no stack needs no lock: `down` need not wait for a compiler.
    engines_catalog.write()
    if build:
        functions.build()
    installer.install()
    with alone(stack):
        functions.pack(stack)
        Server(stack).start()
        emulator = Emulator(stack)
        emulator.start(os.environ.get("DUNLIN_BATCH_MODE", "auto"))
        values = deploy.ensure(stack)
        runner.login(stack, values)
        # From here on a crash of the emulator loses what happened since, not what was deployed.
        if emulator.request("POST", "/_dunlin/save") is None:
            say("the emulator's state could not be saved; it will be when it stops")
    print(f"""
  API       {values["DUNLIN_API_URL"]}
  user      {values["DEMO_USER"]}
  password  {values["DEMO_PASSWORD"]}
  settings  {stack.env_file} (`. {os.path.relpath(stack.env_file)}`)
""", flush=True)
    return values


def down(stack: Stack, arguments: argparse.Namespace) -> None:
    """Stop everything; the data stay."""
    with alone(stack):
        Emulator(stack).stop()
        Server(stack).stop()
    say(f"the {stack.name} stack is down; its data are in {stack.home}")


def reset(stack: Stack, arguments: argparse.Namespace) -> None:
    """Stop everything and delete the data."""
    with alone(stack):
        Emulator(stack).stop()
        server = Server(stack)
        server.stop()
        with step("deleting the data"):
            server.remove()
            for entry in stack.home.iterdir():
                if entry.name != "lock":
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    say(f"the {stack.name} stack is empty")


def status(stack: Stack, arguments: argparse.Namespace) -> None:
    """What runs, and what it is doing."""
    from localcloud import aws

    emulator, server = Emulator(stack), Server(stack)
    healthy = emulator.pid is not None and emulator.healthy()
    print(f"stack     {stack.name}")
    print(f"emulator  {f'pid {emulator.pid}' if emulator.pid else 'down'}, port {stack.port}"
          f"{', answers' if healthy else ''}")
    print(f"postgres  {f'pid {server.pid()}' if server.running() else 'down'}, port {server.port() if server.running() else stack.postgres_port}")
    if not healthy:
        return
    for queue, (waiting, flying) in sorted(aws.depths(stack).items()):
        print(f"queue     {queue}: {waiting} waiting, {flying} in flight")
    values = read_env(stack)
    if machine := values.get("STATE_MACHINE_ARN"):
        names = aws.running(stack, machine)
        print(f"running   {len(names)} executions{': ' + ', '.join(names) if names else ''}")
    for queue, state, name in aws.jobs(stack):
        print(f"job       {name} {state} on {queue}")


def logs(stack: Stack, arguments: argparse.Namespace) -> None:
    """Logs of one function, of Batch jobs (`jobs`), or of everything."""
    from localcloud import aws, functions
    from localcloud import catalog as engines_catalog

    if arguments.function == "emulator":
        print(stack.emulator_log.read_text(errors="replace"), end="")
        return
    require_running(stack)
    name = arguments.function or ""
    known = sorted([*functions.names(), *(f"runner-{engine}" for engine in engines_catalog.engines()), "jobs", "emulator"])
    if name and name not in known:
        raise Problem(f"there are no logs of {name!r}; there are those of {', '.join(known)}")
    prefix = f"/dunlin/{stack.environment}/jobs" if name == "jobs" else f"/aws/lambda/dunlin-{stack.environment}-{name}"
    groups = [prefix] if name else [prefix, f"/dunlin/{stack.environment}/jobs"]
    lines = sorted(line for group in groups for line in aws.log_lines(stack, group, arguments.minutes * 60))
    for stamp, group, text in lines:
        clock = datetime.fromtimestamp(stamp / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
        print(f"{clock} {group.rsplit('/', 1)[-1].removeprefix(f'dunlin-{stack.environment}-')}: {text.rstrip()}")
    if not lines:
        say(f"no log lines in the last {arguments.minutes} minutes")


def redrive(stack: Stack, arguments: argparse.Namespace) -> None:
    """Put dead letters back on their queues."""
    from localcloud import aws

    require_running(stack)
    for queue, count in sorted(aws.redrive(stack).items()):
        say(f"{queue}: {count} message{'' if count == 1 else 's'} put back")


def env(stack: Stack, arguments: argparse.Namespace) -> None:
    """Print the stack's addresses as shell assignments."""
    if not stack.env_file.is_file():
        raise Problem(f"the {stack.name} stack was never up: run `make up`")
    print(stack.env_file.read_text(), end="")


def postgres(stack: Stack, arguments: argparse.Namespace) -> None:
    """Stop or start Postgres alone."""
    with alone(stack):
        server = Server(stack)
        server.start() if arguments.action == "start" else server.stop()


def install(stack: Stack, arguments: argparse.Namespace) -> None:
    """Install a tool and print where its programs are."""
    folders = {"cargo-lambda": tools.cargo_lambda, "postgres": tools.postgres_programs,
               "emulator": lambda: tools.ensure_venv().parent, "terraform": lambda: tools.terraform().parent}
    print(folders[arguments.tool]())


def catalog(stack: Stack, arguments: argparse.Namespace) -> None:
    """Write engines/catalog.json from the engine.toml files, or only check it."""
    from localcloud import catalog as engines_catalog

    if not arguments.check:
        engines_catalog.write()
    elif not engines_catalog.current():
        raise Problem("engines/catalog.json is not what the engine.toml files say: run `make engines`")


def engines(stack: Stack, arguments: argparse.Namespace) -> None:
    """Install the scanner engines, and list them for Terraform."""
    from localcloud import catalog as engines_catalog
    from localcloud import installer

    engines_catalog.write()
    installer.build()
    installer.install(arguments.engines, arguments.into)


def require_running(stack: Stack) -> None:
    """Stop with a sentence when the emulator is down."""
    if not Emulator(stack).healthy():
        raise Problem(f"the {stack.name} stack is down: run `make up`")


def read_env(stack: Stack) -> dict[str, str]:
    """The stack's addresses, empty before the first `up`."""
    import shlex

    if not stack.env_file.is_file():
        return {}
    words = shlex.split(stack.env_file.read_text())
    return dict(word.split("=", 1) for word in words if "=" in word)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cloud.py", description="The local cloud of Dunlin.")
    commands = parser.add_subparsers(dest="command", required=True)
    for function in (up, demonstrate, prices, down, reset, status, logs, redrive, env, postgres, plan):
        name = "run" if function is demonstrate else function.__name__
        command = commands.add_parser(name, help=(function.__doc__ or "").splitlines()[0])
        command.set_defaults(run=function)
        command.add_argument("--stack", default=os.environ.get("STACK", "dev"), help="dev (default) or test")
        if function is up:
            command.add_argument("--no-build", action="store_true", help="use the binaries that are there")
        if function is logs:
            command.add_argument("function", nargs="?", help="a function's name, `jobs`, or `emulator`")
            command.add_argument("--minutes", type=int, default=60, help="how far back (default: 60)")
        if function is postgres:
            command.add_argument("action", choices=["start", "stop"])
    command = commands.add_parser("catalog", help="Write engines/catalog.json from the engine.toml files.")
    command.set_defaults(run=catalog, stack="dev")
    command.add_argument("--check", action="store_true", help="change nothing, fail when it is out of date")
    command = commands.add_parser("engines", help="Install the scanner engines, and list them for Terraform.")
    command.set_defaults(run=engines, stack="dev")
    command.add_argument("engines", nargs="*", metavar="ENGINE", help="which ones (default: all)")
    command.add_argument("--into", type=Path, help="another folder than .local/engines")
    command = commands.add_parser("tools", help="Install a tool and print the folder with its programs.")
    command.set_defaults(run=install, stack="dev")
    command.add_argument("tool", choices=["cargo-lambda", "postgres", "emulator", "terraform"])
    return parser


def main() -> int:
    """Run one command; a failure that a person can act on is told in one sentence."""
    arguments = _parser().parse_args()
    try:
        places.require_python()
        if arguments.command in _NEEDS_EMULATOR_LIBRARIES:
            python = tools.ensure_venv()
            if Path(sys.prefix).resolve() != python.parent.parent.resolve():
                os.execv(python, [str(python), *sys.argv])
        arguments.run(Stack.of(arguments.stack), arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        text = sentence(error)
        if text is None:
            raise
        print(f"error: {text}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
