"""Writes the Parquet files of this folder, each with the defaults of another program, and the rows that are in all of them.

    pip install pyarrow==26.0.1 duckdb==2.0.0 polars==2.1.0 fastparquet==2026.9.0 pandas==3.1.1 pyspark==4.3.0 numpy   # Spark needs Java
    python3 write.py <folder>
"""

from __future__ import annotations

import datetime
import decimal
import random
import shutil
import sys
from pathlib import Path

ROWS = 400
CODES = ["DEHAM", "NLRTM", "CNSHA"]


def rows() -> list[tuple[str, str, datetime.date, decimal.Decimal]]:
    """No row twice."""
    chance = random.Random(1)
    first = datetime.date(2026, 1, 1)
    return [(chance.choice(CODES), chance.choice(CODES), first + datetime.timedelta(days=chance.randrange(90)),
             decimal.Decimal(100_00 + 7 * n) / 100) for n in range(ROWS)]


def main() -> None:
    """One file for each program, and two more ways of the one that has most."""
    folder = Path(sys.argv[1])
    table = rows()
    columns = dict(zip(("orig_code", "dest_code", "day", "price"), map(list, zip(*table, strict=True)), strict=True))
    with (folder / "rows.csv").open("w", newline="") as out:
        out.write("orig_code,dest_code,day,price\n")
        out.writelines(f"{origin},{destination},{day},{price:.2f}\n" for origin, destination, day, price in table)

    import pyarrow
    import pyarrow.parquet
    arrow = pyarrow.table({**columns, "price": [float(price) for price in columns["price"]]})
    pyarrow.parquet.write_table(arrow, folder / "pyarrow.parquet")
    exact = pyarrow.table({**columns, "price": pyarrow.array(columns["price"], pyarrow.decimal128(12, 2))})
    pyarrow.parquet.write_table(exact, folder / "pyarrow-decimal-zstd.parquet", compression="zstd", data_page_version="2.0",
                                use_dictionary=False, row_group_size=150)
    pyarrow.parquet.write_table(exact, folder / "pyarrow-delta.parquet", compression="gzip", use_dictionary=False,
                                store_decimal_as_integer=True, column_encoding={
                                    "orig_code": "DELTA_BYTE_ARRAY", "dest_code": "DELTA_LENGTH_BYTE_ARRAY",
                                    "day": "DELTA_BINARY_PACKED", "price": "DELTA_BINARY_PACKED"})

    import duckdb
    duckdb.from_arrow(exact).write_parquet(str(folder / "duckdb.parquet"))

    import polars
    polars.DataFrame(columns).write_parquet(folder / "polars.parquet")

    import pandas
    frame = pandas.DataFrame({**columns, "day": [day.isoformat() for day in columns["day"]],
                              "price": [float(price) for price in columns["price"]]})
    frame.to_parquet(folder / "pandas-fastparquet.parquet", engine="fastparquet", index=False)

    from pyspark.sql import SparkSession
    from pyspark.sql.types import DateType, DecimalType, StringType, StructField, StructType
    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    schema = StructType([StructField("orig_code", StringType()), StructField("dest_code", StringType()),
                         StructField("day", DateType()), StructField("price", DecimalType(12, 2))])
    session.createDataFrame(table, schema).coalesce(1).write.mode("overwrite").parquet(str(folder / "spark"))
    session.stop()
    next((folder / "spark").glob("*.parquet")).replace(folder / "spark.parquet")
    shutil.rmtree(folder / "spark")


if __name__ == "__main__":
    main()
