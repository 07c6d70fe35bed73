"""The dated copies of a lake, for scripts that know nothing of asof."""

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
