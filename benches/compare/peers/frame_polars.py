"""Frames of polars, by polars alone.

read       the file of one copy.
intervals  joins each event by `join_asof` to the latest interval that began by its date; one that ended earlier is no match.
snapshots  joins the events of each date to the copy of that date, one thread per date.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import polars as pl

from frames import COLUMNS, arguments, events_of, timed
from snapshots import snapshots


def main() -> None:
    options = arguments("read", "intervals", "snapshots")
    copies = snapshots(options.lake)
    events = events_of(options.events) if options.events else None

    def read() -> pl.DataFrame:
        return pl.read_parquet(copies[options.date], hive_partitioning=False)

    def by_intervals() -> pl.DataFrame:
        # The events are sorted by date, and the intervals by start within each key, as `join_asof` needs them.
        intervals = pl.scan_parquet(options.lake / "item/intervals/item.parquet").select("id", *COLUMNS, "active_start", "active_end")
        joined = events.lazy().join_asof(
            intervals, left_on="date", right_on="active_start", by_left="item_id", by_right="id", strategy="backward", check_sortedness=False
        )
        is_over = pl.col("active_end") < pl.col("date")
        columns = [pl.when(is_over).then(None).otherwise(pl.col(name)).alias(name) for name in COLUMNS]
        return joined.with_columns(columns).drop("active_start", "active_end").collect()

    def by_snapshots() -> pl.DataFrame:
        def of_date(dated: tuple[tuple[date], pl.DataFrame]) -> pl.DataFrame:
            (day,), of_day = dated
            item = pl.scan_parquet(copies[day], hive_partitioning=False).select("id", *COLUMNS)
            return of_day.lazy().join(item, left_on="item_id", right_on="id", how="left", maintain_order="left").collect()

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return pl.concat(threads.map(of_date, events.partition_by("date", as_dict=True, maintain_order=True).items()))

    timed({"read": read, "intervals": by_intervals, "snapshots": by_snapshots}[options.method], options.out)


main()
