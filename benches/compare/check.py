"""Whether two results are the same rows, in values and types. Exits with 1 and says where they are not.

intervals  two Parquet files with the same rows in the same order.
outputs    two folders with a folder a date, each with one Parquet file of the same rows, in any order.
"""

import sys
from pathlib import Path

import polars as pl


def intervals(one: Path, other: Path) -> None:
    schema = pl.read_parquet_schema(one)
    if schema != pl.read_parquet_schema(other):
        sys.exit(f"columns differ: {schema} and {pl.read_parquet_schema(other)}")
    # A column at a time, since the largest results would not fit into memory twice.
    for column in schema:
        values = [pl.read_parquet(path, columns=[column]) for path in (one, other)]
        if not values[0].equals(values[1]):
            sys.exit(f"{values[0].height} and {values[1].height} rows, column {column} differs")


def outputs(one: Path, other: Path) -> None:
    dates = [{folder.name: folder for folder in path.glob("date=*")} for path in (one, other)]
    if dates[0].keys() != dates[1].keys():
        sys.exit(f"dates differ: {len(dates[0])} and {len(dates[1])}")
    for date, folder in dates[0].items():
        # All columns: a multiset.
        rows = [read_one(path).sort(pl.all()) for path in (folder, dates[1][date])]
        if rows[0].schema != rows[1].schema or not rows[0].equals(rows[1]):
            sys.exit(f"{date} differs: {rows[0].height} and {rows[1].height} rows")


def read_one(folder: Path) -> pl.DataFrame:
    files = list(folder.glob("*.parquet"))
    if len(files) != 1:
        sys.exit(f"{len(files)} files for {folder.name}, not one")
    return pl.read_parquet(files[0], hive_partitioning=False)


{"intervals": intervals, "outputs": outputs}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
