"""Joins the events of each date to the rows of that date with DuckDB.

snapshots  a query for each date and its snapshot, a date a thread.
loop       the active intervals are read once; a query for each date and those that hold on it, a date a thread.
range      one query for all dates: a join on the key with the date between the interval's, written by partition.
asof       the same as an ASOF join to the last interval that began.
"""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from connect import connect
from snapshots import partitions

COLUMNS = "events.*, name, status, price, category"
PARQUET = "FORMAT parquet, COMPRESSION zstd"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("method", choices=["snapshots", "loop", "range", "asof"])
    for name in ["lake", "events", "out"]:
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    database = connect()
    intervals = f"""
        (SELECT id, name, status, price, category, active_start, active_end FROM '{options.lake}/item/intervals/item.parquet'
        WHERE status = 'ACTIVE') items
    """
    if options.method in ("range", "asof"):
        events = f"read_parquet('{options.events}/*/*.parquet', hive_partitioning = true, hive_types = {{'date': DATE}}) events"
        if options.method == "range":
            join = f"JOIN {intervals} ON item_id = id AND date BETWEEN active_start AND active_end"
        else:
            join = f"ASOF JOIN {intervals} ON item_id = id AND date >= active_start WHERE date <= active_end"
        database.execute(f"COPY (SELECT {COLUMNS} FROM {events} {join}) TO '{options.out}' ({PARQUET}, PARTITION_BY (date))")
        return
    if options.method == "loop":
        database.execute(f"CREATE TABLE items AS FROM {intervals}")

    def run(day: date, path: Path) -> None:
        if options.method == "loop":
            items, condition = "items", f"DATE '{day}' BETWEEN active_start AND active_end"
        else:
            snapshot = options.lake / f"item/snapshots/snapshot_date={day}/item.parquet"
            items, condition = f"read_parquet('{snapshot}', hive_partitioning = false)", "status = 'ACTIVE'"
        folder = options.out / f"date={day}"
        folder.mkdir(parents=True)
        database.cursor().execute(f"""
            COPY (
                SELECT {COLUMNS} FROM read_parquet('{path}', hive_partitioning = false) events JOIN {items} ON item_id = id
                WHERE {condition}
            ) TO '{folder}/events.parquet' ({PARQUET})
        """)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(lambda dated: run(*dated), partitions(options.events).items()))


main()
