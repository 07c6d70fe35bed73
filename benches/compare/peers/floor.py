"""What no compaction can do without: decoding every column of every snapshot, and hashing every row of them.

Prints a JSON document of parts that are timed apart from the start of the process, if there are any.
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from snapshots import snapshots


def polars_decode(paths: list[Path]) -> None:
    import polars as pl

    for path in paths:
        pl.read_parquet(path, hive_partitioning=False)


def polars_hash(paths: list[Path]) -> None:
    import polars as pl

    for path in paths:
        pl.read_parquet(path, hive_partitioning=False).hash_rows(seed=1)


def pyarrow_decode(paths: list[Path]) -> None:
    from pyarrow.parquet import ParquetFile

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(lambda path: ParquetFile(path).read(use_threads=False).num_rows, paths))


def duckdb_hash(paths: list[Path]) -> None:
    from connect import connect

    files = ", ".join(f"'{path}'" for path in paths)
    connect().execute(f"SELECT max(hash(row)) FROM read_parquet([{files}], hive_partitioning = false) row").fetchall()


def duckdb_decode(paths: list[Path]) -> None:
    from connect import connect

    files = ", ".join(f"'{path}'" for path in paths)
    connect().execute(f"SELECT max(COLUMNS(*)) FROM read_parquet([{files}], hive_partitioning = false)").fetchall()


def polars_night(snapshot: Path, intervals: Path, out: Path) -> dict[str, float]:
    """Decodes one snapshot and encodes intervals, each timed alone."""
    import polars as pl

    times = {}
    rows = pl.read_parquet(intervals)
    begun = time.perf_counter()
    pl.read_parquet(snapshot, hive_partitioning=False)
    times["decode"] = time.perf_counter() - begun
    begun = time.perf_counter()
    rows.write_parquet(out, compression="zstd")
    times["encode"] = time.perf_counter() - begun
    return times


def main() -> None:
    readers = {reader.__name__: reader for reader in [polars_decode, polars_hash, pyarrow_decode, duckdb_decode, duckdb_hash]}
    parser = argparse.ArgumentParser()
    parser.add_argument("method", choices=[*readers, "polars_night"])
    parser.add_argument("lake", type=Path)
    parser.add_argument("--to", type=date.fromisoformat, default=date.max)
    parser.add_argument("--intervals", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    paths = list(snapshots(options.lake, options.to).values())
    if options.method == "polars_night":
        print(json.dumps(polars_night(paths[-1], options.intervals, options.out)))
    else:
        readers[options.method](paths)


main()
