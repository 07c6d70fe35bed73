"""The data that is compared on: which there is, and how it is made once."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

FIRST = datetime.date(2024, 1, 1)
KEYS = {"int": ["id"], "text": ["id"], "composite": ["store_id", "item"], "narrow": ["id"], "source": ["id"]}
PAYLOAD = ["name", "status", "price", "stock", "category", "changed_on", "listed"]
PAYLOADS = {"narrow": ["status", "price", "stock"], "source": [*PAYLOAD[:-1], "updated_at"]}


@dataclass(frozen=True)
class Dataset:
    """A lake with a table of `rows` rows, or with `events` the events of a day that refer to such a table.

    With shape `source` it is no lake, but the table's files in each format, sorted and unsorted.
    """

    days: int
    rows: int
    shape: str = "int"
    events: int | None = None

    def small(self) -> Dataset:
        """One that is made and run in no time."""
        return Dataset(min(self.days, max(self.days // 20, 4)), self.rows // 500, self.shape, self.events and self.events // 500)

    @property
    def key(self) -> list[str]:
        return KEYS[self.shape]

    @property
    def payload(self) -> list[str]:
        return PAYLOADS.get(self.shape, PAYLOAD)

    def date(self, day: int) -> str:
        return str(FIRST + datetime.timedelta(days=day))

    def arguments(self) -> list[str]:
        sizes = ["--days", str(self.days), "--rows", str(self.rows)]
        if self.events:
            return ["events", *sizes, "--events", str(self.events)]
        if self.shape == "source":
            return ["sources", *sizes]
        return ["lake", *sizes, "--shape", self.shape]


DATASETS = {
    "60x1m": Dataset(60, 1_000_000),
    "365x100k": Dataset(365, 100_000),
    "20x5m": Dataset(20, 5_000_000),
    "text-60x1m": Dataset(60, 1_000_000, "text"),
    "composite-60x1m": Dataset(60, 1_000_000, "composite"),
    "366x1m": Dataset(366, 1_000_000),
    "narrow-5x50m": Dataset(5, 50_000_000, "narrow"),
    "events-60x500k": Dataset(60, 1_000_000, events=500_000),
    "events-60x83k": Dataset(60, 1_000_000, events=83_334),
    "events-365x100k": Dataset(365, 100_000, events=100_000),
    "events-1x20m": Dataset(1, 1_000_000, events=20_000_000),
    "sources-2x5m": Dataset(2, 5_000_000, "source"),
}


class Store:
    """A folder that holds datasets, each beside a stamp that says what it was made by."""

    def __init__(self, folder: Path, maker: Path, is_small: bool) -> None:
        self.folder = folder
        self.maker = maker
        self.is_small = is_small
        self.version = subprocess.run([maker, "stamp"], check=True, capture_output=True, text=True).stdout.strip()

    def dataset(self, name: str) -> Dataset:
        return DATASETS[name].small() if self.is_small else DATASETS[name]

    def path(self, name: str) -> Path:
        """Where a dataset lies, after it was made if it was not there."""
        path = self.folder / name
        stamp = self.folder / f"{name}.stamp"
        arguments = self.dataset(name).arguments()
        expected = " ".join([self.version, *arguments])
        if not stamp.exists() or stamp.read_text() != expected:
            print(f"making data {name}", flush=True)
            stamp.unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)
            subprocess.run([self.maker, *arguments, "--out", path], check=True)
            stamp.write_text(expected)
        return path
