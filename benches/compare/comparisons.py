"""What is compared with what."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import server
from data import Dataset, Store
from peers.jobs import JOBS, of_one_date
from tools import HERE, Tools

# What asof is told of the columns of text formats, as the other tools are.
TYPES = {
    "id": "int64",
    "name": "text",
    "status": "text",
    "price": "float64",
    "stock": "int32",
    "category": "text",
    "changed_on": "date",
    "updated_at": "timestamp(us)",
}
FORMATS = {"csv": "CSV", "ndjson": "NDJSON", "parquet": "Parquet"}
SMALL_MEMORY = "256MiB"
# The comparison that needs a database server.
OF_SERVER = "database-5m"


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

    @property
    def is_asof(self) -> bool:
        return self.name.split()[0] == "asof"


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
        snapshots = {
            f"snapshot-{ending}-{order}{'' if night == 1 else '-second'}": partial(self.snapshot, ending, order, night)
            for ending in FORMATS
            for order in ["unsorted", "sorted"]
            for night in [1, 2]
        }
        return snapshots | {
            OF_SERVER: self.database,
            "compact-60x1m": lambda: self.compaction("60x1m", methods=["daily", "groups", "window"]),
            "compact-365x100k": lambda: self.compaction("365x100k", methods=["daily", "groups", "window"]),
            "compact-20x5m": lambda: self.compaction("20x5m", own_floor=True),
            "compact-text-60x1m": lambda: self.compaction("text-60x1m"),
            "compact-composite-60x1m": lambda: self.compaction("composite-60x1m"),
            "compact-365x1m": lambda: self.compaction("366x1m", methods=[], days=365),
            "compact-narrow-5x50m": lambda: self.compaction("narrow-5x50m", memory="2GiB", own_floor=True),
            "migrate-60x1m": lambda: self.compaction("60x1m", methods=["daily", "groups"], external=True),
            "migrate-20x5m": lambda: self.compaction("20x5m", external=True),
            "migrate-text-60x1m": lambda: self.compaction("text-60x1m", external=True),
            "incremental-366x1m": lambda: self.night("366x1m"),
            "backfill-intervals-60x500k": lambda: self.backfill("60x1m", "events-60x500k", "intervals"),
            "backfill-snapshots-60x500k": lambda: self.backfill("60x1m", "events-60x500k", "snapshots"),
            "backfill-intervals-365x100k": lambda: self.backfill("365x100k", "events-365x100k", "intervals"),
            "backfill-snapshots-365x100k": lambda: self.backfill("365x100k", "events-365x100k", "snapshots"),
            **{f"sql-{job}-30x500k": partial(self.sql, job, "events-60x500k", 30) for job in JOBS},
            "sql-group-1x20m": partial(self.sql, "group", "events-1x20m", 1),
            "frame-as-of-1m": self.frame_as_of,
            "frame-join-60x83k": self.frame_join,
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

    def snapshot(self, ending: str, order: str, night: int) -> Comparison:
        """The first copy of a table, or the second one, which is compared with the first."""
        name = "sources-2x5m"
        folder, dataset = self.store.path(name) / order, self.store.dataset(name)
        sources = [folder / f"{dataset.date(day)}.{ending}" for day in range(2)]
        config = self.work / "snapshot.toml"
        types = [] if ending == "parquet" else [f'{column} = "{type}"' for column, type in TYPES.items()]
        config.write_text("\n".join(["[tables.item]", 'key = ["id"]', "[tables.item.types]", *types]))
        lake_before = self.work / "lake-before"

        def asof(lake: Path, day: int, *options: str) -> list[str]:
            copy = ["--config", config, "snapshot", "item", "--source", sources[day], "--date", dataset.date(day), "--backdate"]
            return self.asof(lake, *copy, *options)

        def contender(name: str, *options: str) -> Contender:
            lake = self.work / name.replace(" ", "")

            def before() -> None:
                shutil.rmtree(lake, ignore_errors=True)
                if night == 2:
                    shutil.copytree(lake_before, lake)

            result = lake / f"item/snapshots/snapshot_date={dataset.date(night - 1)}/item.parquet"
            return Contender(name, asof(lake, night - 1, *options), before=before, result=result, always=True)

        self.remove(lake_before)()
        if night == 2:
            self.prepare(asof(lake_before, 0))
        contenders = [contender("asof")]
        if night == 1 and order == "unsorted":
            contenders.append(contender(f"asof --memory {SMALL_MEMORY}", "--memory", SMALL_MEMORY))
        scripts = {
            "polars, in memory": ("snapshot_polars.py", "memory"),
            "polars, streaming": ("snapshot_polars.py", "streaming"),
            "DuckDB": ("snapshot_duckdb.py", "file"),
        }
        hints = ["--is-sorted"] if order == "sorted" else []
        for number, (title, (script, method)) in enumerate(scripts.items()):
            out, compared = self.work / f"{number}.parquet", []
            if night == 2:
                before = self.work / f"{number}-before.parquet"
                self.prepare(self.tools.script(script, method, sources[0], before, *hints))
                compared = ["--before", before]
            command = self.tools.script(script, method, sources[night - 1], out, *hints, *compared)
            contenders.append(Contender(title, command, before=self.remove(out), result=out))
        title = f"{describe(dataset)} from {FORMATS[ending]}, {order}" + (", the night after a first copy" if night == 2 else "")
        return Comparison("snapshot", title, contenders, [])

    def database(self) -> Comparison:
        """A copy of a table of PostgreSQL; CSV that psql wrote is what the others have."""
        if not server.POSTGRES:
            sys.exit(f"{OF_SERVER} needs a server: tests/servers/start benches/compare/run --only {OF_SERVER}")
        dataset = Dataset(1, 10_000 if self.store.is_small else 5_000_000, "source")
        server.fill(dataset.rows)
        lake, out = self.work / "lake", self.work / "psql.parquet"
        copy = ["snapshot", "item", "--source", server.POSTGRES, "--key", "id", "--date", dataset.date(0), "--backdate", "--memory", "512MiB"]
        result = lake / f"item/snapshots/snapshot_date={dataset.date(0)}/item.parquet"
        contenders = [
            Contender("asof --memory 512MiB", self.asof(lake, *copy), self.remove(lake), result=result, environment=server.LOGIN, always=True),
            Contender(
                "psql to CSV, DuckDB to Parquet",
                self.tools.script("snapshot_psql.py", server.POSTGRES, out),
                before=self.remove(out),
                result=out,
                environment=server.LOGIN,
                always=True,
            ),
        ]
        return Comparison("database", f"{describe(dataset)} from PostgreSQL, unsorted", contenders, [])

    def compaction(
        self,
        name: str,
        methods: list[str] | None = None,
        days: int | None = None,
        memory: str | None = None,
        external: bool = False,
        own_floor: bool = False,
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
        if own_floor:
            parts = [str(self.tools.maker), "floor", str(lake), "--out", str(self.work / "floor.parquet")]
            floors.append(Contender("asof_floor", parts, always=True))
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

    def sql(self, job: str, events_name: str, days: int) -> Comparison:
        """A job in SQL for each date, on the events of that date and a copy that another tool wrote."""
        name = "60x1m"
        lake, dataset = self.store.path(name), self.store.dataset(name)
        events, of_day = self.store.path(events_name), self.store.dataset(events_name).events
        days = min(days, dataset.days)
        last = dataset.date(days - 1)
        outs = [self.work / f"out-{number}" for number in range(6)]
        config = self.work / "sql.toml"
        config.write_text(f"""
            [tables.item]
            snapshots = "{lake}/item/snapshots"
            layout = "snapshot_date=%Y-%m-%d"
            key = ["id"]

            [events.events]
            path = "{events}"
            layout = "date=%Y-%m-%d"

            [jobs.job]
            sql = '''{of_one_date(job)}'''
            output = "{outs[0]}"
        """)
        dates = ["--from", dataset.date(0), "--to", last]
        command = self.asof(self.work / "no-lake", "--config", config, "backfill", "job", *dates)
        contenders = [Contender("asof", command, before=self.remove(outs[0]), result=outs[0], always=True)]
        scripts = {
            "polars, a query a day": ("job_polars.py", "together"),
            "polars, a query a day, streaming": ("job_polars.py", "streaming"),
            "DuckDB, a query a day": ("job_duckdb.py", "together"),
        }
        if days > 1:
            scripts["DuckDB, a query a day, in turn"] = ("job_duckdb.py", "in-turn")
            scripts["DuckDB, one query"] = ("job_duckdb.py", "at-once")
        for out, (title, (script, method)) in zip(outs[1:], scripts.items()):
            command = self.tools.script(script, method, job, lake, events, out, "--to", last)
            contenders.append(Contender(title, command, before=self.remove(out), result=out))
        what = {"join": "join", "group": "join and group by", "window": "join and window function", "semi": "semi-join"}[job]
        title = f"{what}, {days} {'day' if days == 1 else 'days'} of {number(of_day)} events, {describe(dataset)}"
        return Comparison("sql", title, contenders, [])

    def frame_as_of(self) -> Comparison:
        """One copy as a frame."""
        lake, dataset = self.store.path("60x1m"), self.store.dataset("60x1m")
        of_copy = [lake, "--date", dataset.date(dataset.days - 1)]
        return Comparison(
            "frame",
            f"a copy of {describe(dataset)} as a frame of polars",
            [
                self.framed("asof as_of", self.tools.frame_script("frame_asof.py", "as-of", *of_copy)),
                self.framed("polars read_parquet", self.tools.script("frame_polars.py", "read", *of_copy)),
            ],
            [],
        )

    def frame_join(self) -> Comparison:
        """Events in memory, each joined to the row as of its own date."""
        name, events_name = "60x1m", "events-60x83k"
        lake, dataset = self.store.path(name), self.store.dataset(name)
        self.prepare(self.asof(lake, "compact", "item"))
        data = [lake, "--events", self.store.path(events_name)]
        events = self.store.dataset(events_name)
        return Comparison(
            "frame",
            f"{number(events.days * events.events)} events of {events.days} dates, {describe(dataset)}",
            [
                self.framed("asof join", self.tools.frame_script("frame_asof.py", "join", *data)),
                self.framed("polars, join_asof to the intervals", self.tools.script("frame_polars.py", "intervals", *data)),
                self.framed("polars, a join a day to its copy", self.tools.script("frame_polars.py", "snapshots", *data)),
            ],
            [],
        )

    def framed(self, name: str, command: list[str]) -> Contender:
        """A script that times itself. An untimed run writes its frame for the comparison."""
        out = self.work / f"{''.join(filter(str.isalnum, name))}.parquet"
        self.prepare([*command, "--out", str(out)])
        return Contender(name, command, result=out, always=True)

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
    key = {"text": "text key", "composite": "key of two columns"}.get(dataset.shape, "integer key")
    return f"{number(dataset.rows)} rows ({key}, {len(dataset.key) + len(dataset.payload)} columns)"
