"""A batch of prices from a local file to rows that readers see, beside `psql \\copy` into a table with the same constraints, and
beside the least that Postgres can do: COPY BINARY into a bare table.

Both get the same file and the same server, in turns. Dunlin's part are the steps that its functions take (inspect, load ranges
over two connections, publish), every row checked; `psql` leaves the checks to two foreign keys and a primary key. PGLOADER=<program>
is an installed pgloader; without it, the one on the PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from localcloud import price_files
from localcloud.console import run as run_tool
from localcloud.console import say, step

from dunlinbench import database, measure
from dunlinbench.functions import Running
from dunlinbench.report import HOME, REPOSITORY, Problem, Row, at_least, skipped, told
from dunlinbench.stub import ObjectServer

PART = "prices"
_SIZES = {10_000: 4, 1_000_000: 10}
_ROUNDS = int(os.environ.get("ROUNDS", "3"))
_CONNECTIONS = 2

_TABLE = """
drop table if exists peer_prices, peer_ports;
create table peer_ports (code text primary key, name text not null, region text not null);
create table peer_prices (
    orig_code text not null references peer_ports, dest_code text not null references peer_ports, day date not null,
    price numeric(12, 2) not null check (price > 0), primary key (orig_code, dest_code, day, price)
);
create index on peer_prices (day, orig_code, dest_code);
"""
_BARE = "drop table if exists bare; create table bare (batch int, orig int, dest int, day date, price bigint, line int)"


def run() -> list[Row]:
    """Rounds of: \\copy, ours, and the bare limit."""
    loader = _loader()
    home = HOME / "prices"
    home.mkdir(parents=True, exist_ok=True)
    with step("writing the files"):
        price_files.write_regions(home / "regions.csv")
        price_files.write_ports(home / "ports.csv")
    rows: list[Row] = []
    for size, limit in _SIZES.items():
        ours: list[dict[str, float]] = []
        copies: list[float] = []
        bare: list[float] = []
        loads: list[float] = []
        for number in range(_ROUNDS):
            say(f"{size:,} rows: round {number + 1} of {_ROUNDS}")
            # Another file each time: the same content would be the same batch.
            file = home / f"prices-{size}-{number}.csv"
            price_files.write_prices(file, size, seed=number + 1)
            with database.fresh() as (postgres, password):
                environment = _environment(postgres, password)
                _migrate(postgres, password)
                copies.append(_copy(file, home, environment))
                ours.append(_ours(loader, file, environment))
                bare.append(_bare(environment, size))
                if program := _pgloader():
                    loads.append(_pgload(program, file, home, environment))
            file.unlink()
        rows += _rows(size, limit, ours, copies, bare, loads)
    return rows


def _loader() -> Path:
    with step("building the loader, optimised"):
        run_tool(["cargo", "build", "--release", "--quiet", "-p", "dunlin-ingest", "--example", "load"], what="cargo build",
                 cwd=REPOSITORY, show=True)
    return REPOSITORY / "target" / "release" / "examples" / "load"


def _environment(postgres: dict[str, str], password: str) -> dict[str, str]:
    names = {"PGHOST": "DATABASE_HOST", "PGPORT": "DATABASE_PORT", "PGDATABASE": "DATABASE_NAME", "PGUSER": "DATABASE_USER"}
    return measure.clean_environment(PGPASSWORD=password, **postgres,
                                     **{name: postgres[other] for name, other in names.items()})


def _migrate(postgres: dict[str, str], password: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        objects = ObjectServer(Path(folder), password)
        with Running("migrate", {**postgres, **objects.environment}) as migrate:
            _, ok, answer = migrate.ask(b"{}")
        objects.close()
    if not ok:
        raise Problem(f"the bench's database could not be migrated: {answer}")


def _psql(environment: dict[str, str], *commands: str) -> tuple[float, str]:
    words = [word for command in commands for word in ("-c", command)]
    began = time.monotonic()
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *words], env=environment, check=False,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    took = time.monotonic() - began
    if done.returncode != 0:
        raise Problem(f"psql: {done.stderr.strip()[-1000:]}")
    return took, done.stdout


def _prepare_peer(home: Path, environment: dict[str, str]) -> None:
    _psql(environment, _TABLE, f"\\copy peer_ports (region, code, name) from '{home / 'ports.csv'}' csv header")


def _copy(file: Path, home: Path, environment: dict[str, str]) -> float:
    _prepare_peer(home, environment)
    return _psql(environment, f"\\copy peer_prices from '{file}' csv header")[0]


def _ours(loader: Path, file: Path, environment: dict[str, str]) -> dict[str, float]:
    done = subprocess.run([loader, file, str(_CONNECTIONS)], env=environment, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Problem(f"the loader ended with exit code {done.returncode}: {done.stderr[-2000:]}")
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _bare(environment: dict[str, str], size: int) -> float:
    """The batch's own rows, out and in again, in the format in which they came."""
    with tempfile.NamedTemporaryFile() as file:
        table = _psql(environment, "select 'price_rows_' || max(number) from price_batches where kind = 'prices'")[1].strip()
        _psql(environment, f"\\copy {table} to '{file.name}' (format binary)", _BARE)
        took, _ = _psql(environment, f"\\copy bare from '{file.name}' (format binary)")
    count = _psql(environment, "select count(*) from bare")[1].strip()
    if int(count) != size:
        raise Problem(f"{count} of {size} rows were published")
    return took


def _pgloader() -> str | None:
    return os.environ.get("PGLOADER") or shutil.which("pgloader")


def _pgload(program: str, file: Path, home: Path, environment: dict[str, str]) -> float:
    _prepare_peer(home, environment)
    e = environment
    target = f"postgresql://{e['PGUSER']}:{e['PGPASSWORD']}@{e['PGHOST']}:{e['PGPORT']}/{e['PGDATABASE']}?tablename=peer_prices"
    fields = "orig_code,dest_code,day,price"
    return measure.run([program, "--type", "csv", "--field", fields, "--with", "skip header = 1", "--with",
                        "fields terminated by ','", file, target], env=environment).seconds


def _rows(size: int, limit: int, ours: list[dict[str, float]], copies: list[float], bare: list[float],
          loads: list[float]) -> list[Row]:
    def middle(name: str) -> float:
        return statistics.median(one[name] for one in ours)

    seconds, copied = middle("seconds"), statistics.median(copies)
    least = statistics.median(bare)
    what = f"{size:,} rows"
    parts = f"inspect {middle('inspect'):.3f}, load {middle('load'):.3f}, publish {middle('publish'):.3f}"
    rows = [
        told(PART, f"{what}: from file to visible, every row checked", f"{seconds:.3f} s, {size / seconds:,.0f} rows/s ({parts})",
             rounds=ours),
        at_least(PART, f"{what}: `psql \\copy` into the constrained table", copied / seconds, limit,
                 f"{copied:.2f} s, {size / copied:,.0f} rows/s", rounds=copies),
        told(PART, f"{what}: of the bare limit, COPY BINARY into a table without anything", f"{least / seconds * 100:.0f} percent "
             f"({least:.3f} s, {size / least:,.0f} rows/s)", rounds=bare),
    ]
    if loads:
        loaded = statistics.median(loads)
        rows.append(told(PART, f"{what}: pgloader into the constrained table", f"{loaded / seconds:.1f} times ({loaded:.2f} s)",
                         rounds=loads))
    else:
        rows.append(skipped(PART, f"{what}: pgloader", "install the Debian package pgloader"))
    return rows
