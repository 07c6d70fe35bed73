"""Runs a job of `jobs.py` for each date with polars, on the events and the copy of that date.

together   a date a thread, on as many as there are cores, in memory.
streaming  one date after the other, each on all cores, by the streaming engine.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import polars as pl

from snapshots import job_arguments, jobs_of


def active(item: pl.LazyFrame) -> pl.LazyFrame:
    return item.filter(pl.col("status") == "ACTIVE")


def join(events: pl.LazyFrame, item: pl.LazyFrame) -> pl.LazyFrame:
    return events.join(active(item).select("id", "name", "price"), left_on="item_id", right_on="id")


def group(events: pl.LazyFrame, item: pl.LazyFrame) -> pl.LazyFrame:
    joined = events.select("item_id", "kind", "quantity").join(item.select("id", "category", "price"), left_on="item_id", right_on="id")
    return joined.group_by("category", "kind").agg(
        events=pl.len().cast(pl.Int64),
        quantity=pl.col("quantity").cast(pl.Int64).sum(),
        revenue=(pl.col("quantity") * pl.col("price")).sum(),
    )


def window(events: pl.LazyFrame, item: pl.LazyFrame) -> pl.LazyFrame:
    # Events come in the order of their ids, which decides between equal values.
    joined = events.select("event_id", "item_id", "quantity").join(
        active(item).select("id", "category", "price"), left_on="item_id", right_on="id", maintain_order="left"
    )
    valued = joined.select("event_id", "item_id", "category", value=pl.col("quantity") * pl.col("price"))
    place = pl.col("value").rank("ordinal", descending=True).over("category")
    return valued.with_columns(place=place.cast(pl.Int64))


def semi(events: pl.LazyFrame, item: pl.LazyFrame) -> pl.LazyFrame:
    return events.join(active(item).select("id"), left_on="item_id", right_on="id", how="semi")


def main() -> None:
    options = job_arguments("together", "streaming").parse_args()
    job = {"join": join, "group": group, "window": window, "semi": semi}[options.job]

    def run(day: date, events: Path, item: Path) -> None:
        folder = options.out / f"date={day}"
        folder.mkdir(parents=True)
        result = job(pl.scan_parquet(events, hive_partitioning=False), pl.scan_parquet(item, hive_partitioning=False))
        if options.method == "streaming":
            result.sink_parquet(folder / "events.parquet", compression="zstd", engine="streaming")
        else:
            result.collect().write_parquet(folder / "events.parquet", compression="zstd")

    with ThreadPoolExecutor(os.cpu_count() if options.method == "together" else 1) as threads:
        list(threads.map(lambda job: run(*job), jobs_of(options)))


main()
