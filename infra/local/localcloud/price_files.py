"""Files of price batches that nobody sent: regions, ports, and prices between them. Equal arguments make equal files."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# slug, name, parent
REGIONS = [
    ("asia", "Asia", ""),
    ("china_main", "China Main", "asia"),
    ("south_east_asia", "South East Asia", "asia"),
    ("europe", "Europe", ""),
    ("north_europe_main", "North Europe Main", "europe"),
    ("baltic", "Baltic", "europe"),
    ("scandinavia", "Scandinavia", "europe"),
    ("north_america", "North America", ""),
]
PORTS_A_REGION = 40
_FIRST = datetime.date(2025, 1, 1)
# Different prices there are, in hundredths.
_PRICES = 900_000


@dataclass(frozen=True)
class Port:
    """One row of the file of ports."""

    code: str
    name: str
    region: str


def ports() -> list[Port]:
    """The same number in every region that has no region below it. Codes of ZZ are nobody's (UN/LOCODE)."""
    leaves = [slug for slug, _, _ in REGIONS if slug not in {parent for _, _, parent in REGIONS}]
    numbered = ((slug, n) for slug in leaves for n in range(PORTS_A_REGION))
    return [Port(f"ZZ{count:03d}", f"{slug.replace('_', ' ').title()} {n + 1}", slug)
            for count, (slug, n) in enumerate(numbered)]


def write_regions(file: Path) -> None:
    """CSV."""
    file.write_text("slug,name,parent\n" + "".join(f"{slug},{name},{parent}\n" for slug, name, parent in REGIONS))


def write_ports(file: Path) -> None:
    """CSV, in another order of columns than the documentation's."""
    file.write_text("region,code,name\n" + "".join(f"{port.region},{port.code},{port.name}\n" for port in ports()))


def write_prices(file: Path, rows: int, *, seed: int, days: int = 365) -> None:
    """CSV with CRLF at the end of lines, as RFC 4180 has it; no row twice."""
    with file.open("w", newline="") as out:
        out.write("orig_code,dest_code,day,price\r\n")
        for origin, destination, day, cents in _rows(rows, seed, days):
            out.write(f"{origin},{destination},{day},{cents // 100}.{cents % 100:02d}\r\n")


def _rows(count: int, seed: int, days: int) -> Iterator[tuple[str, str, str, int]]:
    """Of rows with the same price, each has days of its own, so that no two rows are equal."""
    chance = random.Random(seed)
    codes = [port.code for port in ports()]
    calendar = [(_FIRST + datetime.timedelta(days=n)).isoformat() for n in range(days)]
    turns = -(-count // _PRICES)
    for n in range(count):
        day = chance.randrange(days // turns) * turns + n // _PRICES
        yield chance.choice(codes), chance.choice(codes), calendar[day], 50_000 + (n * 7919) % _PRICES


# What can be wrong with a row, and how it is written. 37 rows, each with one fault but for the two that have two.
BAD_ROWS = [
    *[(f"XX{n:03d},ZZ001,2025-03-01,100.00", "unknown_port") for n in range(6)],
    *[(f"ZZ001,XX{n:03d},2025-03-01,100.00", "unknown_port") for n in range(4)],
    ("zz001,ZZ002,2025-03-01,100.00", "malformed_code"),
    ("ZZ0012,ZZ002,2025-03-01,100.00", "malformed_code"),
    ("ZZ001,,2025-03-01,100.00", "missing_value"),
    ("ZZ001,ZZ002,,100.00", "missing_value"),
    ("ZZ001,ZZ002,2025-03-01,", "missing_value"),
    ("ZZ001,ZZ002,2026-02-30,100.00", "invalid_date"),
    ("ZZ001,ZZ002,2025-02-29,100.00", "invalid_date"),
    ("ZZ001,ZZ002,01.03.2025,100.00", "invalid_date"),
    ("ZZ001,ZZ002,2025-13-01,100.00", "invalid_date"),
    ("ZZ001,ZZ002,1899-12-31,100.00", "invalid_date"),
    ("ZZ001,ZZ002,2025-03-01,cheap", "not_a_number"),
    ("ZZ001,ZZ002,2025-03-01,1e3", "not_a_number"),
    ("ZZ001,ZZ002,2025-03-01,NaN", "not_a_number"),
    ("ZZ001,ZZ002,2025-03-01,\"1,000.00\"", "not_a_number"),
    ("ZZ001,ZZ002,2025-03-01,-5", "not_positive"),
    ("ZZ001,ZZ002,2025-03-01,0", "not_positive"),
    ("ZZ001,ZZ002,2025-03-01,99999999999", "absurd_price"),
    ("ZZ001,ZZ002,2025-03-01,10000000.01", "absurd_price"),
    ("ZZ001,ZZ002,2025-03-01,100.001", "too_precise"),
    ("ZZ001,ZZ002,2025-03-01", "field_count"),
    ("ZZ001,ZZ002,2025-03-01,100.00,USD", "field_count"),
    ("ZZ001,ZZ002,2025-03-01,4711.11", "duplicate"),
    ("ZZ001,ZZ002,2025-03-01,4711.11", "duplicate"),
    ("ZZ003,ZZ004,2025-03-02,4711.12", "duplicate"),
    ("XX009,ZZ002,2026-02-31,100.00", "unknown_port"),
    ("ZZ001,ZZ002,2026-02-31,-1", "invalid_date"),
    ("ZZ001,ZZ002,2025-03-01, 100.00", "not_a_number"),
]


def write_prices_with_bad_rows(file: Path, rows: int, *, seed: int) -> dict[int, str]:
    """Good rows, and 37 bad ones spread among them. Answers {line: a reason of it}."""
    bad: dict[int, str] = {}
    step = max(1, rows // (len(BAD_ROWS) + 1))
    left = list(BAD_ROWS)
    line = 1
    with file.open("w", newline="") as out:
        out.write("orig_code,dest_code,day,price\r\n")
        # What the duplicates repeat: the first of each is good.
        for first in ("ZZ001,ZZ002,2025-03-01,4711.11", "ZZ003,ZZ004,2025-03-02,4711.12"):
            line += 1
            out.write(first + "\r\n")
        for n, (origin, destination, day, cents) in enumerate(_rows(rows, seed, 365)):
            if left and n % step == step - 1:
                text, reason = left.pop(0)
                line += 1
                bad[line] = reason
                out.write(text + "\r\n")
            line += 1
            out.write(f"{origin},{destination},{day},{cents // 100}.{cents % 100:02d}\r\n")
    if left:
        raise ValueError(f"{rows} rows have no room for {len(BAD_ROWS)} bad ones")
    return bad
