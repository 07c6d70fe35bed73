"""Joins the events of each date to the rows of that date with polars, a date a thread.

snapshots  each date reads the columns that it needs of its own snapshot.
intervals  the active intervals are read once; each date takes those that hold on it.

Both collect and then write: sinking the join, and handing all dates to polars at once, took longer.
"""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import polars as pl

from snapshots import partitions

COLUMNS = ["id", "name", "status", "price", "category"]


def rows_from_snapshots(lake: Path, day: date) -> pl.LazyFrame:
    path = lake / f"item/snapshots/snapshot_date={day}/item.parquet"
    return pl.scan_parquet(path, hive_partitioning=False).select(COLUMNS).filter(pl.col("status") == "ACTIVE")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("method", choices=["snapshots", "intervals"])
    for name in ["lake", "events", "out"]:
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    if options.method == "intervals":
        scan = pl.scan_parquet(options.lake / "item/intervals/item.parquet").select(*COLUMNS, "active_start", "active_end")
        intervals = scan.filter(pl.col("status") == "ACTIVE").collect().lazy()

    def run(day: date, path: Path) -> None:
        if options.method == "snapshots":
            items = rows_from_snapshots(options.lake, day)
        else:
            items = intervals.filter(pl.col("active_start") <= day, pl.col("active_end") >= day).select(COLUMNS)
        events = pl.scan_parquet(path, hive_partitioning=False)
        folder = options.out / f"date={day}"
        folder.mkdir(parents=True)
        joined = events.join(items, left_on="item_id", right_on="id").collect()
        joined.write_parquet(folder / "events.parquet", compression="zstd")

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(lambda dated: run(*dated), partitions(options.events).items()))


main()
