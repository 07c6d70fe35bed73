"""Runs a job of `jobs.py` for each date with DuckDB, on the events and the copy of that date.

together  a query for each date, a date a thread, on as many as there are cores.
in-turn   a query for each date, one after the other, each on all cores.
at-once   one query for all dates, written by partition.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from connect import connect
from jobs import of_all_dates, of_one_date
from snapshots import job_arguments, jobs_of

PARQUET = "FORMAT parquet, COMPRESSION zstd"


def dated(paths: list[Path], column: str) -> str:
    return f"read_parquet({[str(path) for path in paths]}, hive_partitioning = true, hive_types = {{'{column}': DATE}})"


def main() -> None:
    options = job_arguments("together", "in-turn", "at-once").parse_args()
    database = connect()

    def run(day: date, events: Path, item: Path) -> None:
        folder = options.out / f"date={day}"
        folder.mkdir(parents=True)
        database.cursor().execute(f"""
            COPY (
                WITH events AS (FROM read_parquet('{events}', hive_partitioning = false)),
                    item AS (FROM read_parquet('{item}', hive_partitioning = false))
                {of_one_date(options.job)}
            ) TO '{folder}/events.parquet' ({PARQUET})
        """)

    if options.method == "at-once":
        _, events, items = zip(*jobs_of(options))
        database.execute(f"""
            COPY (
                WITH events AS (FROM {dated(events, "date")}), item AS (FROM {dated(items, "snapshot_date")})
                {of_all_dates(options.job)}
            ) TO '{options.out}' ({PARQUET}, PARTITION_BY (date))
        """)
        return
    with ThreadPoolExecutor(os.cpu_count() if options.method == "together" else 1) as threads:
        list(threads.map(lambda job: run(*job), jobs_of(options)))


main()
