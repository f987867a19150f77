"""Starts the AWS emulator with what it lacks: a real Batch, its tasks in Step Functions, and functions that end cleanly.

    python emulator.py <settings file>

The environment decides the rest (port, folders), as the emulator itself defines it; `cloud.py up` sets it.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from localcloud import processes  # noqa: E402
from localcloud.hooks import checks  # noqa: E402
from localcloud.settings import Settings  # noqa: E402


def main() -> int:
    """Check, hook, run."""
    if len(sys.argv) != 2:
        print("usage: emulator.py <settings file>", file=sys.stderr)
        return 2
    settings = Settings.read(Path(sys.argv[1]))
    try:
        checks.verify()
    except checks.HookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    # The hooks import the emulator, which must only happen once it is known to be the right one.
    from ministack import app

    from ministack.services import lambda_svc

    from localcloud.hooks import control, functions, permissions, stepfunctions
    from localcloud.hooks.batch import Batch
    from localcloud.hooks.orphans import Orphans

    settings.scratch.mkdir(parents=True, exist_ok=True)

    def note(pid: int) -> None:
        """Write a session down, so that `down` can end it even if this process is killed."""
        process = processes.read(pid)
        if process is not None:
            with settings.sessions.open("a") as file:
                file.write(f"{process.session} {process.start} {processes.boot_id()}\n")

    orphans = Orphans(lambda: batch.scheduler.busy() or lambda_svc.executions_in_flight()[0] > 0, note)
    batch = Batch(settings, orphans.started)
    batch.install()
    orphans.install()
    permissions.install()
    stepfunctions.install(batch)
    kill_functions = functions.install(settings, orphans.started)

    def kill_everything() -> None:
        kill_functions()
        orphans.kill_all()

    app.app = control.Application(app.app, settings, batch, kill_everything)
    # The emulator reads its own command line.
    sys.argv = ["ministack"]
    app.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
