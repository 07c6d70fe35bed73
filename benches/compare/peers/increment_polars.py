"""One more snapshot into intervals that are there already, with polars: the open ones are joined in full to the snapshot."""

import argparse
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from hashed import hashed
from snapshots import OPEN_END

KEY = "id"
PAYLOAD = ["name", "status", "price", "stock", "category", "changed_on", "listed"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("intervals", type=Path)
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("day", type=date.fromisoformat)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    old = pl.read_parquet(options.intervals)
    new = pl.read_parquet(options.snapshot, hive_partitioning=False)
    narrow = [KEY, hashed(PAYLOAD).alias("row_hash"), pl.int_range(pl.len(), dtype=pl.UInt32).alias("row")]
    is_open = pl.col("active_end") == OPEN_END
    open_rows = old.lazy().with_columns(narrow[1:]).filter(is_open).select(KEY, "row_hash", "row")
    both = new.lazy().select(narrow).join(open_rows, on=KEY, how="full", suffix="_old")
    changed = both.filter(pl.col("row_hash").ne_missing(pl.col("row_hash_old"))).select("row", "row_old").collect()
    ended = pl.Series(values=[options.day - timedelta(days=1)], dtype=pl.Date)
    ends = old["active_end"].scatter(changed["row_old"].drop_nulls(), ended[0])
    started = new[changed["row"].drop_nulls()].with_columns(active_start=options.day, active_end=OPEN_END)
    result = pl.concat([old.with_columns(ends), started]).sort(KEY, "active_start")
    result.write_parquet(options.out, compression="zstd")


main()
