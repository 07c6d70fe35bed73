"""The lakes: a folder a date, with copies of one small Parquet file."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LAYOUT = "year=%Y/month=%m/day=%d"
LAST = datetime.date(2025, 12, 31)
# How many files a date has.
FILES = {"one": 1, "many": 24}
YEARS = (1, 3, 10)
DAYS = (1, 7, 30, 90)


@dataclass(frozen=True)
class Cell:
    kind: str
    years: int
    days: int

    @property
    def name(self) -> str:
        return f"{self.lake}-{self.days}"

    @property
    def lake(self) -> str:
        return f"{self.kind}-{self.years}"

    @property
    def files(self) -> int:
        """How many files the range has."""
        return self.days * FILES[self.kind]

    @property
    def first(self) -> datetime.date:
        """The first date of the range, which ends with the lake."""
        return LAST - datetime.timedelta(self.days - 1)


def cells() -> list[Cell]:
    return [Cell(kind, years, days) for kind in FILES for years in YEARS for days in DAYS]


def dates(years: int) -> Iterator[datetime.date]:
    date = datetime.date(LAST.year - years + 1, 1, 1)
    while date <= LAST:
        yield date
        date += datetime.timedelta(1)


def make(folder: Path, kind: str, years: int, content: bytes) -> None:
    """Makes a lake, unless it is there."""
    if folder.exists():
        return
    unfinished = folder.with_name("unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for date in dates(years):
        partition = unfinished / date.strftime(LAYOUT)
        partition.mkdir(parents=True)
        for number in range(FILES[kind]):
            (partition / f"part-{number:05}.parquet").write_bytes(content)
    unfinished.rename(folder)
