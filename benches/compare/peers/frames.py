"""What the scripts that give frames share: their arguments, the events, and the clock.

The time is that from the call to the frame. It excludes starting Python, loading libraries and reading the events, which cost the
same everywhere.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl

from snapshots import partitions

COLUMNS = ["name", "status", "price", "category"]


def arguments(*methods: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("method", choices=methods)
    parser.add_argument("lake", type=Path)
    parser.add_argument("--date", type=date.fromisoformat, help="of the copy that is read")
    parser.add_argument("--events", type=Path, help="the events that are joined")
    parser.add_argument("--out", type=Path, help="where to write the frame, to be compared")
    return parser.parse_args()


def events_of(folder: Path) -> pl.DataFrame:
    """The events of all dates, each with its date."""
    dated = [pl.scan_parquet(path, hive_partitioning=False).with_columns(date=day) for day, path in partitions(folder).items()]
    return pl.concat(dated).collect().rechunk()


def timed(make: Callable[[], pl.DataFrame], out: Path | None) -> None:
    begun = time.perf_counter()
    frame = make()
    print(json.dumps({"wall": time.perf_counter() - begun}))
    if out:
        frame.write_parquet(out)
