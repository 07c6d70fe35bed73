"""What the scripts are told, and the dated copies of a lake, for scripts that know nothing of asof."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

OPEN_END = date(9999, 12, 31)


def arguments(*methods: str) -> argparse.ArgumentParser:
    """What compactions are told; `methods` are those that a script can choose from."""
    parser = argparse.ArgumentParser()
    parser.add_argument("method", choices=methods)
    parser.add_argument("lake", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--key", type=lambda names: names.split(","), required=True)
    parser.add_argument("--payload", type=lambda names: names.split(","), required=True)
    parser.add_argument("--to", type=date.fromisoformat, default=date.max)
    return parser


def snapshots(lake: Path, last: date = date.max) -> dict[date, Path]:
    """The file of each date, ascending."""
    folders = sorted((lake / "item/snapshots").iterdir())
    dated = {date.fromisoformat(folder.name.removeprefix("snapshot_date=")): folder / "item.parquet" for folder in folders}
    return {day: path for day, path in dated.items() if day <= last}


def partitions(events: Path) -> dict[date, Path]:
    """The events of each date, ascending."""
    folders = sorted(events.iterdir())
    return {date.fromisoformat(folder.name.removeprefix("date=")): folder / "events.parquet" for folder in folders}


def snapshot_arguments(*methods: str) -> argparse.ArgumentParser:
    """What a script that makes a copy is told; `methods` are those that it can choose from."""
    parser = argparse.ArgumentParser()
    parser.add_argument("method", choices=methods)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--is-sorted", action="store_true", help="the source is in order of its key, which is checked")
    parser.add_argument("--before", type=Path, help="the copy of the day before")
    return parser


def job_arguments(*methods: str) -> argparse.ArgumentParser:
    """What runs of a job for each date are told; `methods` are those that a script can choose from."""
    parser = argparse.ArgumentParser()
    parser.add_argument("method", choices=methods)
    parser.add_argument("job")
    for name in ["lake", "events", "out"]:
        parser.add_argument(name, type=Path)
    parser.add_argument("--to", type=date.fromisoformat, default=date.max)
    return parser


def jobs_of(options: argparse.Namespace) -> list[tuple[date, Path, Path]]:
    """Each date with its events and its copy."""
    copies, events = snapshots(options.lake, options.to), partitions(options.events)
    return [(day, events[day], copy) for day, copy in copies.items() if day in events]
