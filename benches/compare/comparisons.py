"""What is compared with what."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data import Dataset, Store
from tools import HERE, Tools


def nothing() -> None:
    pass


@dataclass
class Contender:
    name: str
    command: list[str]
    # What must hold before each run, and what makes a result that can be compared. Neither is timed.
    before: Callable[[], None] = nothing
    after: Callable[[], None] = nothing
    result: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    # Run in every round, however long it takes.
    always: bool = False


@dataclass
class Comparison:
    """Contenders for one task; the first is asof, and its result is the one that others are compared with.

    Floors do a part of the task that nobody can do without.
    """

    kind: str
    title: str
    contenders: list[Contender]
    floors: list[Contender]
    most_rounds: int = 100


class Bench:
    """Makes comparisons; all that they write goes below `work`."""

    def __init__(self, tools: Tools, store: Store, work: Path) -> None:
        self.tools = tools
        self.store = store
        self.work = work

    def comparisons(self) -> dict[str, Callable[[], Comparison]]:
        """By name, what makes them, which may take its time."""
        return {
            "compact-60x1m": lambda: self.compaction("60x1m", methods=["daily", "groups", "window"]),
            "compact-365x100k": lambda: self.compaction("365x100k", methods=["daily", "groups", "window"]),
            "compact-20x5m": lambda: self.compaction("20x5m"),
            "compact-text-60x1m": lambda: self.compaction("text-60x1m"),
            "compact-composite-60x1m": lambda: self.compaction("composite-60x1m"),
            "compact-365x1m": lambda: self.compaction("366x1m", methods=[], days=365),
            "compact-narrow-5x50m": lambda: self.compaction("narrow-5x50m", memory="2GiB"),
            "migrate-60x1m": lambda: self.compaction("60x1m", methods=["daily", "groups"], external=True),
            "migrate-20x5m": lambda: self.compaction("20x5m", external=True),
            "migrate-text-60x1m": lambda: self.compaction("text-60x1m", external=True),
            "incremental-366x1m": lambda: self.night("366x1m"),
            "backfill-intervals-60x500k": lambda: self.backfill("60x1m", "events-60x500k", "intervals"),
            "backfill-snapshots-60x500k": lambda: self.backfill("60x1m", "events-60x500k", "snapshots"),
            "backfill-intervals-365x100k": lambda: self.backfill("365x100k", "events-365x100k", "intervals"),
            "backfill-snapshots-365x100k": lambda: self.backfill("365x100k", "events-365x100k", "snapshots"),
            "decode-60x1m": lambda: self.decoding("60x1m"),
        }

    def asof(self, lake: Path, *arguments: object) -> list[str]:
        return [str(self.tools.asof), "--lake", str(lake), "--no-progress", *map(str, arguments)]

    def prepare(self, command: list[str], **environment: str) -> None:
        subprocess.run(command, cwd=self.work, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)

    def remove(self, path: Path) -> Callable[[], None]:
        def remove() -> None:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

        return remove

    def floor(self, method: str, lake: Path, last: str) -> Contender:
        return Contender(method, self.tools.script("floor.py", method, lake, "--to", last), always=True)

    def compaction(
        self,
        name: str,
        methods: list[str] | None = None,
        days: int | None = None,
        memory: str | None = None,
        external: bool = False,
    ) -> Comparison:
        """Every snapshot to intervals, from nothing; if they are taken for another tool's, by their rows alone."""
        lake, dataset = self.store.path(name), self.store.dataset(name)
        days = min(days or dataset.days, dataset.days)
        last = dataset.date(days - 1)
        limits = (["--to", last] if days < dataset.days else []) + (["--memory", memory] if memory else [])
        command, result = self.asof(lake, "compact", "item", "--full", *limits), lake / "item/intervals/item.parquet"
        if external:
            result = self.work / "asof.parquet"
            copies = ["--snapshots", lake / "item/snapshots", "--layout", "snapshot_date=%Y-%m-%d", "--key", ",".join(dataset.key)]
            command = self.asof(self.work / "no-lake", "compact", *copies, "--out", result, "--full", *limits)
        # Intervals that stand in a lake are what a night finds there; those of a migration are new.
        before = self.remove(result) if external else nothing
        contenders = [Contender("asof" + (f" --memory {memory}" if memory else ""), command, before=before, result=result, always=True)]
        columns = ["--key", ",".join(dataset.key), "--payload", ",".join(dataset.payload), "--to", last]
        on = "key" if dataset.shape in ("int", "narrow") else "hashed-key"
        scripts = [(f"polars, day by day, on {on.replace('-', ' ')}", "compact_polars.py", on)]
        names = {"daily": "DuckDB, day by day", "groups": "DuckDB, groups and islands", "window": "DuckDB, window functions"}
        chosen = ["daily", "groups"] if methods is None else methods
        scripts += [(names[method], "compact_duckdb.py", method) for method in chosen]
        for number, (title, script, method) in enumerate(scripts):
            out = self.work / f"{number}.parquet"
            command = self.tools.script(script, method, lake, out, *columns)
            contenders.append(Contender(title, command, before=self.remove(out), result=out))
        floors = [self.floor("polars_decode", lake, last), self.floor("polars_hash", lake, last)]
        is_long = days * dataset.rows > 200_000_000
        title = f"{days} days of {describe(dataset)}" + (", written by another tool" if external else "")
        return Comparison("migrate" if external else "compact", title, contenders, floors, 3 if is_long else 100)

    def night(self, name: str) -> Comparison:
        """One more snapshot to intervals that are there."""
        lake, dataset = self.store.path(name), self.store.dataset(name)
        day, last = dataset.date(dataset.days - 1), dataset.date(dataset.days - 2)
        snapshot = lake / f"item/snapshots/snapshot_date={day}/item.parquet"
        intervals = lake / "item/intervals/item.parquet"
        before, table, history = (self.work / name for name in ["before.parquet", "table.duckdb", "history.duckdb"])
        # What the night before left: the intervals, and the fingerprints of the snapshots until then.
        hint = intervals.with_name("_item.json")
        hint.unlink(missing_ok=True)
        self.prepare(self.asof(lake, "compact", "item", "--full", "--to", last))
        shutil.copy(intervals, before)
        hint_before = shutil.copy(hint, self.work / "before.json")

        def as_before() -> None:
            shutil.copy(before, intervals)
            shutil.copy(hint_before, hint)

        self.prepare(self.tools.script("increment_duckdb.py", "load", before, table))
        self.prepare(self.tools.dbt_script("dbt_table.py", "load", before, history))
        results = [self.work / f"{number}.parquet" for number in range(4)]
        live = self.work / "live.duckdb"
        floor = ["polars_night", lake, "--intervals", before, "--out", self.work / "floor.parquet"]
        contenders = [
            Contender("asof", self.asof(lake, "compact", "item"), before=as_before, result=intervals, always=True),
            Contender(
                "polars, from Parquet to Parquet",
                self.tools.script("increment_polars.py", before, snapshot, day, results[0]),
                result=results[0],
            ),
            Contender(
                "DuckDB, from Parquet to Parquet",
                self.tools.script("increment_duckdb.py", "parquet", before, snapshot, day, results[1]),
                result=results[1],
            ),
            Contender(
                "DuckDB, a table changed in place",
                self.tools.script("increment_duckdb.py", "table", live, snapshot, day),
                before=copy(table, live),
                after=lambda: self.prepare(self.tools.script("increment_duckdb.py", "export", live, results[2])),
                result=results[2],
            ),
            self.dbt(history, live, snapshot, day, results[3]),
        ]
        title = f"one more day after {dataset.days - 1} of {describe(dataset)}"
        return Comparison("incremental", title, contenders, [Contender("polars_night", self.tools.script("floor.py", *floor), always=True)])

    def dbt(self, history: Path, live: Path, snapshot: Path, day: str, result: Path) -> Contender:
        project = self.work / "dbt"
        shutil.copytree(HERE / "peers/dbt", project, dirs_exist_ok=True)
        options = ["--quiet", "--no-version-check", "--project-dir", str(project), "--profiles-dir", str(project)]
        environment = {
            "COMPARE_DATABASE": str(live),
            "COMPARE_SNAPSHOT": str(snapshot),
            "COMPARE_CORES": str(os.cpu_count()),
            "DO_NOT_TRACK": "1",
        }
        # What a project has after its first run: dbt does not parse all of it again.
        self.prepare([str(self.tools.dbt), "parse", *options], **environment)
        return Contender(
            "dbt snapshot, on DuckDB",
            [str(self.tools.dbt), "snapshot", *options],
            before=copy(history, live),
            after=lambda: self.prepare(self.tools.dbt_script("dbt_table.py", "export", live, result, "--day", day)),
            result=result,
            environment=environment,
            always=True,
        )

    def backfill(self, name: str, events_name: str, using: str) -> Comparison:
        """The events of each day, joined to the active rows of that day."""
        lake, events = self.store.path(name), self.store.path(events_name)
        dataset, of_day = self.store.dataset(name), self.store.dataset(events_name).events
        self.prepare(self.asof(lake, "compact", "item"))
        outs = [self.work / f"out-{number}" for number in range(5)]
        job = ["--events", events, "--events-layout", "date=%Y-%m-%d", "--table", "item", "--on", "item_id=id", "--how", "inner"]
        job += ["--where", "status = 'ACTIVE'", "--select", "name,status,price,category", "--out", outs[0]]
        dates = ["--from", dataset.date(0), "--to", dataset.date(dataset.days - 1)]
        command = self.asof(lake, "backfill", *job, *dates, "--using", using)
        contenders = [Contender(f"asof --using {using}", command, before=self.remove(outs[0]), result=outs[0], always=True)]
        scripts = {
            "snapshots": {
                "polars, a join a day": ("backfill_polars.py", "snapshots"),
                "DuckDB, a query a day": ("backfill_duckdb.py", "snapshots"),
            },
            "intervals": {
                "polars, a join a day": ("backfill_polars.py", "intervals"),
                "DuckDB, a query a day": ("backfill_duckdb.py", "loop"),
                "DuckDB, one range join": ("backfill_duckdb.py", "range"),
                "DuckDB, one ASOF join": ("backfill_duckdb.py", "asof"),
            },
        }
        for out, (title, (script, method)) in zip(outs[1:], scripts[using].items()):
            command = self.tools.script(script, method, lake, events, out)
            contenders.append(Contender(title, command, before=self.remove(out), result=out))
        return Comparison("backfill", f"{dataset.days} days of {number(of_day)} events, {describe(dataset)}, by {using}", contenders, [])

    def decoding(self, name: str) -> Comparison:
        """Reading every column of every snapshot, and doing nothing with it but what is said."""
        lake, dataset = self.store.path(name), self.store.dataset(name)
        last = dataset.date(dataset.days - 1)
        own = Contender("asof_decode", [str(self.tools.maker), "decode", str(lake / "item/snapshots")], always=True)
        methods = ["polars_decode", "pyarrow_decode", "duckdb_decode", "polars_hash", "duckdb_hash"]
        return Comparison("decode", f"{dataset.days} days of {describe(dataset)}", [], [own, *(self.floor(m, lake, last) for m in methods)])


def copy(source: Path, target: Path) -> Callable[[], None]:
    def copy() -> None:
        shutil.copy(source, target)

    return copy


def number(count: int) -> str:
    return f"{count:,}"


def describe(dataset: Dataset) -> str:
    key = {"int": "integer key", "narrow": "integer key", "text": "text key", "composite": "key of two columns"}[dataset.shape]
    return f"{number(dataset.rows)} rows ({key}, {len(dataset.key) + len(dataset.payload)} columns)"
