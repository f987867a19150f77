"""A private Postgres server: own data, own port, own password, never a server that runs already."""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from localcloud import processes, tools
from localcloud.console import say, step
from localcloud.stack import Problem, Stack

USER = "dunlin"
DATABASE = "dunlin"


def password_of(stack: Stack) -> str:
    """The server's password, made once and readable by its owner only."""
    file = stack.home / "postgres.password"
    if not file.is_file():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_urlsafe(24))
    return file.read_text()


def url(stack: Stack) -> str:
    """How people and tests reach it."""
    return f"postgres://{USER}:{password_of(stack)}@127.0.0.1:{stack.postgres_port}/{DATABASE}"


@dataclass(frozen=True)
class Server:
    """The server of one stack."""

    stack: Stack

    @property
    def owner(self) -> pwd.struct_passwd | None:
        """Who it runs as when we are root, because Postgres refuses root; None when we are not."""
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise Problem("postgres cannot run as root and there is no user `postgres` or `nobody` to run it as; "
                      "create one, or run this as an ordinary user")

    @property
    def data(self) -> Path:
        """The data folder: in the stack's own, unless the owner could not get there."""
        inside = self.stack.home / "postgres"
        owner = self.owner
        if owner is None or _reachable(self.stack.home, owner):
            return inside
        key = hashlib.sha256(str(self.stack.home).encode()).hexdigest()[:12]
        return Path("/var/lib") / f"dunlin-{key}" / "postgres"

    def start(self) -> None:
        """Start it and wait until it answers; make its data first when there are none."""
        programs = tools.postgres_programs()
        if self.running():
            if self.port() == self.stack.postgres_port:
                # Again: an earlier start may have been interrupted before it.
                self._make_database(programs)
                return
            self._check_port()
            say(f"Postgres listens on port {self.port()}: restarting it on {self.stack.postgres_port}")
            self.stop()
        self._check_port()
        if not (self.data / "PG_VERSION").is_file():
            self._make(programs)
        log = self.data / "server.log"
        options = (f"-p {self.stack.postgres_port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
                   "-c max_connections=200")
        if self.stack.name == "test":
            # Data that only live for a test run need not survive a power cut.
            options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        with step(f"starting Postgres on port {self.stack.postgres_port}"):
            done = self._as_owner([programs / "pg_ctl", "-D", self.data, "-l", log, "-w", "-t", "60", "-o", options,
                                   "start"])
            if done.returncode != 0:
                tail = log.read_text(errors="replace")[-2000:] if log.is_file() else done.stdout
                raise Problem(f"postgres did not start; the end of {log}:\n{tail}")
        self._make_database(programs)

    def stop(self) -> None:
        """Stop it, closing connections."""
        if not self.running():
            return
        done = self._as_owner([tools.postgres_programs() / "pg_ctl", "-D", self.data, "-m", "fast", "-w", "-t", "30",
                               "stop"])
        if done.returncode != 0 and self.running():
            raise Problem(f"postgres (pid {self.pid()}) did not stop: {done.stdout.strip()}")
        say("stopped Postgres")

    def running(self) -> bool:
        """Whether it runs."""
        return self.pid() is not None

    def pid(self) -> int | None:
        """The server's process, checked to be a Postgres on our data."""
        pid = self._noted(0)
        return pid if pid and processes.alive(pid) and str(self.data) in processes.argv(pid) else None

    def port(self) -> int | None:
        """The port that the running server was started with."""
        return self._noted(3)

    def _noted(self, line: int) -> int | None:
        """A line of the server's own file (postmaster.pid: pid, data folder, start time, port, ...)."""
        try:
            return int((self.data / "postmaster.pid").read_text().splitlines()[line])
        except (OSError, ValueError, IndexError):
            return None

    def remove(self) -> None:
        """Delete its data."""
        shutil.rmtree(self.data, ignore_errors=True)
        if not self.data.is_relative_to(self.stack.home):
            shutil.rmtree(self.data.parent, ignore_errors=True)

    def _check_port(self) -> None:
        port = self.stack.postgres_port
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise Problem(taken(port, "DUNLIN_PG_PORT")) from None

    def _make(self, programs: Path) -> None:
        owner = self.owner
        with step("making a Postgres data folder"):
            self.data.mkdir(parents=True, exist_ok=True)
            if owner is not None:
                os.chown(self.data, owner.pw_uid, owner.pw_gid)
                if not self.data.is_relative_to(self.stack.home):
                    os.chmod(self.data.parent, 0o755)
            self.data.chmod(0o700)
            hand = self.data.parent / f".initdb-{secrets.token_hex(4)}"
            hand.write_text(password_of(self.stack))
            try:
                hand.chmod(0o600)
                if owner is not None:
                    os.chown(hand, owner.pw_uid, owner.pw_gid)
                done = self._as_owner([programs / "initdb", "-D", self.data, "-U", USER, "--pwfile", hand,
                                       "--auth", "scram-sha-256", "-E", "UTF8", "--locale", "C", "--no-instructions"])
            finally:
                hand.unlink()
            if done.returncode != 0:
                self.remove()
                raise Problem(f"initdb failed: {done.stdout.strip()}")

    def _make_database(self, programs: Path) -> None:
        """The database, by the server's own single statement client; initdb makes only `postgres`."""
        environment = {"PGPASSWORD": password_of(self.stack), "PATH": os.environ.get("PATH", "")}
        psql = shutil.which("psql") or str(programs / "psql")
        base = [psql, "-X", "-A", "-t", "-h", "127.0.0.1", "-p", str(self.stack.postgres_port), "-U", USER,
                "-d", "postgres", "-c"]
        for _ in range(50):
            there = subprocess.run([*base, f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"],
                                   env=environment, capture_output=True, text=True, check=False)
            if there.returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise Problem(f"postgres does not answer on port {self.stack.postgres_port}: {there.stderr.strip()}")
        if there.stdout.strip() != "1":
            made = subprocess.run([*base, f"CREATE DATABASE {DATABASE}"], env=environment, capture_output=True,
                                  text=True, check=False)
            if made.returncode != 0:
                raise Problem(f"the database could not be made: {made.stderr.strip()}")

    def _as_owner(self, command: list[str | Path]) -> subprocess.CompletedProcess[str]:
        owner = self.owner
        words = [str(word) for word in command]
        environment = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        # pg_ctl leaves the server with our output files, so they must not be a pipe we wait for: the log takes them.
        with (self.stack.home / "postgres.out").open("w+") as out:
            done = subprocess.run(words, cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=subprocess.STDOUT, text=True, check=False, start_new_session=True,
                                  user=owner.pw_uid if owner else None, group=owner.pw_gid if owner else None,
                                  extra_groups=[] if owner else None)
            out.seek(0)
            return subprocess.CompletedProcess(words, done.returncode, out.read(), "")


def taken(port: int, variable: str) -> str:
    """What to say about a port that somebody else listens on."""
    pid = processes.listener(port)
    who = f"process {pid} ({processes.command(pid)})" if pid else "another process (of a user whose files are closed)"
    return (f"port {port} is taken by {who}; stop it, or choose another port: "
            f"`{variable}=<port> make up` (and the same for later commands)")


def _reachable(folder: Path, owner: pwd.struct_passwd) -> bool:
    """Whether a user may pass through every folder down to this one."""
    for part in [folder, *folder.parents]:
        try:
            status = part.stat()
        except OSError:
            continue
        bit = 0o100 if status.st_uid == owner.pw_uid else 0o010 if status.st_gid == owner.pw_gid else 0o001
        if not status.st_mode & bit:
            return False
    return True
