"""Whether two results are the same rows, in values and types. Exits with 1 and says where they are not.

file     two Parquet files with the same rows in the same order.
folders  two folders with a folder a date, each with one Parquet file of the same rows, in any order. Sums of floating-point numbers
         depend on the order in which they are added, so those numbers may differ by one part in a billion.
"""

import sys
from pathlib import Path

import polars as pl


def file(one: Path, other: Path) -> None:
    schema = pl.read_parquet_schema(one)
    if schema != pl.read_parquet_schema(other):
        sys.exit(f"columns differ: {schema} and {pl.read_parquet_schema(other)}")
    # A column at a time, since the largest results would not fit into memory twice.
    for column in schema:
        values = [pl.read_parquet(path, columns=[column]) for path in (one, other)]
        if not values[0].equals(values[1]):
            sys.exit(f"{values[0].height} and {values[1].height} rows, column {column} differs")


def folders(one: Path, other: Path) -> None:
    dates = [{folder.name: folder for folder in path.glob("date=*")} for path in (one, other)]
    if dates[0].keys() != dates[1].keys():
        sys.exit(f"dates differ: {len(dates[0])} and {len(dates[1])}")
    for date, folder in dates[0].items():
        rows = [read_one(path) for path in (folder, dates[1][date])]
        if rows[0].schema != rows[1].schema:
            sys.exit(f"{date}: columns differ: {rows[0].schema} and {rows[1].schema}")
        # All columns: a multiset. Those that may differ a little come last, where they decide least.
        order = sorted(rows[0].columns, key=lambda column: rows[0].schema[column].is_float())
        rows = [each.sort(order) for each in rows]
        if rows[0].height != rows[1].height or not all(is_same(rows[0][column], rows[1][column]) for column in order):
            sys.exit(f"{date} differs: {rows[0].height} and {rows[1].height} rows")


def is_same(one: pl.Series, other: pl.Series) -> bool:
    if not one.dtype.is_float() or one.equals(other):
        return one.equals(other)
    is_close = ((one - other).abs() <= 1e-9 * one.abs()).fill_null(False)
    return (is_close | one.eq_missing(other)).all()


def read_one(folder: Path) -> pl.DataFrame:
    files = list(folder.glob("*.parquet"))
    if len(files) != 1:
        sys.exit(f"{len(files)} files for {folder.name}, not one")
    return pl.read_parquet(files[0], hive_partitioning=False)


{"file": file, "folders": folders}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
