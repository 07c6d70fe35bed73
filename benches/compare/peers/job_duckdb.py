"""Runs a job of `jobs.py` for each date with DuckDB, on the events and the copy of that date.

together  a date a thread, on as many as there are cores.
in-turn   one date after the other, each on all cores.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from connect import connect
from jobs import JOBS
from snapshots import job_arguments, jobs_of


def main() -> None:
    options = job_arguments("together", "in-turn").parse_args()
    database = connect()

    def run(day: date, events: Path, item: Path) -> None:
        folder = options.out / f"date={day}"
        folder.mkdir(parents=True)
        database.cursor().execute(f"""
            COPY (
                WITH events AS (FROM read_parquet('{events}', hive_partitioning = false)),
                    item AS (FROM read_parquet('{item}', hive_partitioning = false))
                {JOBS[options.job]}
            ) TO '{folder}/events.parquet' (FORMAT parquet, COMPRESSION zstd)
        """)

    with ThreadPoolExecutor(os.cpu_count() if options.method == "together" else 1) as threads:
        list(threads.map(lambda job: run(*job), jobs_of(options)))


main()
