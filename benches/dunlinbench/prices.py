"""A batch of prices from a local file to rows that readers see, beside `psql \\copy` into a table with the same constraints, and
beside the least that Postgres can do: COPY BINARY into a bare table.

Both get the same file and the same server, in turns. Dunlin's part are the steps that its functions take (inspect, load ranges
over two connections, publish; all in the first when the file is small), every row checked; `psql` leaves the checks to two foreign keys and a primary key. pgloader is
Debian's package of that name, installed when it is missing; PGLOADER=<program> is another one.

Then what has no peer here: ten million rows over one, two and four connections, and the memory that a file of a gigabyte takes.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from localcloud import price_files, tools
from localcloud.console import run as run_tool
from localcloud.console import say, step
from localcloud.stack import Problem as CloudProblem

from dunlinbench import database, measure
from dunlinbench.report import HOME, REPOSITORY, Problem, Row, at_least, below, skipped, told

PART = "prices"
_SIZES = {10_000: 4, 1_000_000: 10}
_ROUNDS = int(os.environ.get("ROUNDS", "3"))
_CONNECTIONS = 2
_LARGE = 10_000_000
# A gigabyte, at 27 bytes a row. A function has 1,024 MB, and shall need no more than a tenth of it.
_LARGEST = 37_000_000
_MEMORY_MIB = 100

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
    program, home = build(), places()
    pgloader = _pgloader()
    rows: list[Row] = []
    for size, limit in _SIZES.items():
        ours: list[dict[str, float]] = []
        copies: list[float] = []
        bare: list[float] = []
        loads: list[float] = []
        for number in range(_ROUNDS):
            say(f"{size:,} rows: round {number + 1} of {_ROUNDS}")
            # Another file each time: the same content would be the same batch.
            file = generate(program, home, size, seed=number + 1)
            with database.fresh() as (postgres, password, _):
                environment = environment_of(postgres, password)
                ask(program, environment, "migrate")
                copies.append(_copy(file, home, environment))
                ours.append(ask(program, environment, "load", file, _CONNECTIONS))
                bare.append(_bare(environment, size))
                if pgloader:
                    loads.append(_pgload(pgloader, file, home, environment))
            file.unlink()
        rows += _rows(size, limit, ours, copies, bare, loads)
    return [*rows, *_large(program, home)]


def _large(program: Path, home: Path) -> list[Row]:
    rows: list[Row] = []
    with database.fresh() as (postgres, password, _):
        environment = environment_of(postgres, password)
        ask(program, environment, "migrate")
        for connections in (1, 2, 4):
            file = generate(program, home, _LARGE, seed=connections)
            with step(f"{_LARGE:,} rows over {connections}"):
                ours = ask(program, environment, "load", file, connections)
            file.unlink()
            rows.append(told(PART, f"{_LARGE:,} rows, ranges loaded over {connections} connection{'s' * (connections > 1)}",
                             f"{ours['seconds']:.1f} s, {_LARGE / ours['seconds']:,.0f} rows/s ({_parts(ours['inspect'], ours['load'], ours['publish'])})",
                             **ours))
        file = generate(program, home, _LARGEST, seed=9)
        size = file.stat().st_size
        with step(f"{_LARGEST:,} rows over 1"):
            ours = ask(program, environment, "load", file, 1)
        file.unlink()
    rows.append(below(PART, f"{_LARGEST:,} rows, a file of {size / 1e9:.2f} GB, in {ours['seconds']:.0f} s: peak memory of all steps in one process",
                      ours["peak_kib"] / 1024, _MEMORY_MIB, "MiB", **ours))
    return rows


def _parts(inspect: float, load: float, publish: float) -> str:
    if not load:
        return "all of it by the inspector, because the file is small"
    return f"inspect {inspect:.3f}, load {load:.3f}, publish {publish:.3f}"


def build() -> Path:
    """The program that takes the functions' steps, optimised."""
    with step("building the loader, optimised"):
        run_tool(["cargo", "build", "--release", "--quiet", "-p", "dunlin-ingest", "--example", "prices"], what="cargo build",
                 cwd=REPOSITORY, show=True)
    return REPOSITORY / "target" / "release" / "examples" / "prices"


def places() -> Path:
    """A folder with the files of regions and ports."""
    home = HOME / "prices"
    home.mkdir(parents=True, exist_ok=True)
    price_files.write_regions(home / "regions.csv")
    price_files.write_ports(home / "ports.csv")
    return home


def generate(program: Path, home: Path, rows: int, *, seed: int) -> Path:
    """A file of prices; another seed makes another one."""
    file = home / f"prices-{rows}-{seed}.csv"
    run_tool([program, "generate", str(rows), str(seed), home / "ports.csv", file], what="writing a file of prices")
    return file


def ask(program: Path, environment: dict[str, str], *words: object) -> Any:
    """What a command of the program prints."""
    done = subprocess.run([program, *map(str, words)], env=environment, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Problem(f"`prices {words[0]}` ended with exit code {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def environment_of(postgres: dict[str, str], password: str) -> dict[str, str]:
    """For the program, and for psql."""
    names = {"PGHOST": "DATABASE_HOST", "PGPORT": "DATABASE_PORT", "PGDATABASE": "DATABASE_NAME", "PGUSER": "DATABASE_USER"}
    return measure.clean_environment(PGPASSWORD=password, **postgres,
                                     **{name: postgres[other] for name, other in names.items()})


@functools.cache
def _psql() -> str:
    """The program itself: Debian's `psql` is a script in front of it, which takes some 30 ms to find it."""
    program = tools.postgres_programs() / "psql"
    return str(program) if program.is_file() else "psql"


def psql(environment: dict[str, str], *commands: str) -> tuple[float, str]:
    """Seconds that the commands took, and what they printed."""
    program = _psql()
    words = [word for command in commands for word in ("-c", command)]
    began = time.monotonic()
    done = subprocess.run([program, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *words], env=environment, check=False,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    took = time.monotonic() - began
    if done.returncode != 0:
        raise Problem(f"psql: {done.stderr.strip()[-1000:]}")
    return took, done.stdout


def _prepare_peer(home: Path, environment: dict[str, str]) -> None:
    psql(environment, _TABLE, f"\\copy peer_ports (region, code, name) from '{home / 'ports.csv'}' csv header")


def _copy(file: Path, home: Path, environment: dict[str, str]) -> float:
    _prepare_peer(home, environment)
    return psql(environment, f"\\copy peer_prices from '{file}' csv header")[0]


def _bare(environment: dict[str, str], size: int) -> float:
    """The batch's own rows, out and in again, in the format in which they came."""
    with tempfile.NamedTemporaryFile() as file:
        table = psql(environment, "select 'price_rows_' || max(number) from price_batches where kind = 'prices'")[1].strip()
        psql(environment, f"\\copy {table} to '{file.name}' (format binary)", _BARE)
        took, _ = psql(environment, f"\\copy bare from '{file.name}' (format binary)")
    count = psql(environment, "select count(*) from bare")[1].strip()
    if int(count) != size:
        raise Problem(f"{count} of {size} rows were published")
    return took


def _pgloader() -> str | None:
    """None where it cannot be installed."""
    if named := os.environ.get("PGLOADER"):
        return named
    if not shutil.which("pgloader"):
        try:
            tools.apt(["pgloader"], "pgloader")
        except CloudProblem as problem:
            say(f"pgloader is left out: {problem}")
            return None
    return "pgloader"


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
    parts = _parts(middle("inspect"), middle("load"), middle("publish"))
    rows = [
        told(PART, f"{what}: from file to visible, every row checked", f"{seconds:.3f} s, {size / seconds:,.0f} rows/s ({parts})",
             rounds=ours),
        at_least(PART, f"{what}: `psql \\copy` into the constrained table", copied / seconds, limit,
                 f"{copied:.2f} s, {size / copied:,.0f} rows/s", rounds=copies),
        told(PART, f"{what}: of the bare limit, COPY BINARY into a table without anything", f"{least / seconds * 100:.0f} percent "
             f"({least:.3f} s, {size / least:,.0f} rows/s)", rounds=bare),
    ]
    peer = f"{what}: pgloader into the constrained table"
    if not loads:
        return [*rows, skipped(PART, peer, "install pgloader, or set PGLOADER to the program")]
    loaded = statistics.median(loads)
    return [*rows, told(PART, peer, f"{loaded / seconds:.1f} times ({loaded:.2f} s)", rounds=loads)]
