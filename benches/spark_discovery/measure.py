"""Finds the files of a range, with asof and with Spark: how long it takes, and what is asked of the file system."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyspark
from lakes import FILES, LAST, LAYOUT, YEARS, Cell, make
from pyspark.sql import DataFrame, SparkSession

# Into how many tasks, at most, Spark divides the listing of paths, if they are more than 32: then it is a job of its own.
PARALLELISM = "spark.sql.sources.parallelPartitionDiscovery.parallelism"
FEW_TASKS = 8
# The JVM compiles what it runs often; before that it takes several times as long.
WARM_UP = 30

# The ways that are a process of asof.
OF_ASOF = ("partitions", "plan")
COLUMNS = "id BIGINT, amount DOUBLE"
OF_PATH = "year INT, month INT, day INT"
TRACE = ["strace", "-f", "-qq", "-e", "trace=%file,getdents64"]
CALL = re.compile(r'^(?:\[pid +)?(?:\d+\]? +)?(\w+)\([^"]*"([^"]*)"')


class Measure:
    def __init__(self, asof: Path, folder: Path) -> None:
        self.asof = asof
        self.folder = folder
        self.trace = folder / "trace"
        settings = {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": "2g",
            "spark.sql.warehouse.dir": folder / "warehouse",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
        builder = SparkSession.builder.master("local[2]")
        for name, value in settings.items():
            builder = builder.config(name, str(value))
        self.spark = builder.getOrCreate()
        self.spark.sparkContext.setLogLevel("ERROR")
        self.java = self.spark._jvm.java.lang.ProcessHandle.current().pid()
        self.make_lakes()
        self.warm_up(Cell("one", 10, 90))

    def versions(self) -> dict[str, str]:
        asof = subprocess.run([self.asof, "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
        java = self.spark._jvm.java.lang.System.getProperty("java.version")
        return {"asof": asof, "Spark": pyspark.__version__, "Java": java}

    def make_lakes(self) -> None:
        example = self.folder / "example"
        rows = self.spark.range(2).selectExpr("id", "id / 2 AS amount").coalesce(1)
        rows.write.mode("overwrite").parquet(str(example), compression="zstd")
        content = next(example.glob("*.parquet")).read_bytes()
        shutil.rmtree(example)
        for kind in FILES:
            for years in YEARS:
                make(self.folder / f"{kind}-{years}", kind, years, content)

    def warm_up(self, cell: Cell) -> None:
        lake = self.folder / cell.lake
        files = self.check(cell, lake)
        self.set_tasks("files, few tasks")
        for _ in range(WARM_UP):
            self.discovery(cell, lake)
            self.given(files)

    def cell(self, cell: Cell, rounds: int) -> dict:
        lake = self.folder / cell.lake
        files = self.check(cell, lake)
        ways: dict[str, Callable[[], object]] = {
            "partitions": lambda: self.partitions(cell, lake),
            "plan": lambda: self.plan(cell, lake),
            "discovery": lambda: self.discovery(cell, lake),
            "files": lambda: self.given(files),
            "files, few tasks": lambda: self.given(files),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        inside: list[float] = []
        for number in range(-1, rounds):
            for way, run in ways.items():
                self.set_tasks(way)
                begin = time.perf_counter()
                said = run()
                took = time.perf_counter() - begin
                # The round before the first is to warm up.
                if number >= 0:
                    seconds[way].append(took)
                    if way == "partitions":
                        inside.append(json.loads(said)["seconds"])
        seconds["inside"] = inside
        counts = {}
        for way, run in ways.items():
            self.set_tasks(way)
            counts[way] = self.counts_of_asof(cell, lake, way) if way in OF_ASOF else self.counts_of_java(lake, run)
        for way, counted in counts.items():
            print(f"  {way:<18} {sorted(seconds[way])[rounds // 2] * 1000:8.1f} ms  {counted}", flush=True)
        return {"seconds": seconds, "counts": counts}

    def set_tasks(self, way: str) -> None:
        if way == "files, few tasks":
            self.spark.conf.set(PARALLELISM, FEW_TASKS)
        else:
            self.spark.conf.unset(PARALLELISM)

    # With asof: a process of its own, from its start to its end.

    def partitions_command(self, cell: Cell, lake: Path) -> list[str]:
        search = ["--layout", LAYOUT, "--from", str(cell.first), "--to", str(LAST)]
        return [str(self.asof), "--json", "partitions", str(lake), *search]

    def plan_command(self, cell: Cell, lake: Path) -> list[str]:
        config = self.folder / "asof.toml"
        config.write_text(f"""
            lake = "none"
            events.events = {{ path = "{lake}", layout = "{LAYOUT}" }}
            jobs.count = {{ sql = "SELECT count(*) AS n FROM events", output = "out" }}
        """)
        return [str(self.asof), "--json", "--config", str(config), "plan", "count", "--from", str(cell.first), "--to", str(LAST)]

    def partitions(self, cell: Cell, lake: Path) -> bytes:
        return subprocess.run(self.partitions_command(cell, lake), check=True, stdout=subprocess.PIPE, cwd=self.folder).stdout

    def plan(self, cell: Cell, lake: Path) -> bytes:
        return subprocess.run(self.plan_command(cell, lake), check=True, stdout=subprocess.PIPE, cwd=self.folder).stdout

    # With Spark: until it knows which files each task reads, which is just before it reads the first.

    def discovery(self, cell: Cell, lake: Path) -> int:
        is_in_range = f"make_date(year, month, day) BETWEEN DATE'{cell.first}' AND DATE'{LAST}'"
        return chosen(self.spark.read.schema(f"{COLUMNS}, {OF_PATH}").parquet(str(lake)).where(is_in_range))

    def given(self, files: list[str]) -> int:
        return chosen(self.spark.read.schema(COLUMNS).parquet(*files))

    def check(self, cell: Cell, lake: Path) -> list[str]:
        """The files of the range, which all must find."""
        found = json.loads(self.partitions(cell, lake))
        plan = json.loads(self.plan(cell, lake))
        files = [file["path"] for date in plan["dates"] for relation in date["relations"] for file in relation["files"]]
        numbers = [found["files"], len(files), self.discovery(cell, lake), self.given(files)]
        if numbers != [cell.files] * len(numbers):
            raise SystemExit(f"{cell.name}: not all found {cell.files} files: {numbers}")
        return files

    # What is asked of the file system.

    def counts_of_asof(self, cell: Cell, lake: Path, way: str) -> dict[str, int]:
        command = self.partitions_command(cell, lake) if way == "partitions" else self.plan_command(cell, lake)
        trace = [*TRACE, "-o", str(self.trace), *command]
        subprocess.run(trace, check=True, stdout=subprocess.DEVNULL, cwd=self.folder)
        return self.counted(lake)

    def counts_of_java(self, lake: Path, run: Callable[[], object]) -> dict[str, int]:
        """Follows the JVM and all its threads, for as long as this one call takes."""
        # Not quiet, since it says when it follows.
        command = [word for word in TRACE if word != "-qq"] + ["-o", str(self.trace), "-p", str(self.java)]
        strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while "attached" not in (line := strace.stderr.readline()):
            if not line:
                raise SystemExit("strace cannot follow the JVM: it may need the right to trace other processes")
        try:
            run()
        finally:
            strace.send_signal(signal.SIGINT)
            strace.communicate()
        return self.counted(lake)

    def counted(self, lake: Path) -> dict[str, int]:
        counts = {"folders": 0, "looks": 0, "opened": 0}
        with self.trace.open(errors="replace") as trace:
            for line in trace:
                call = CALL.match(line)
                if not call or not f"{call[2]}/".startswith(f"{lake}/"):
                    continue
                if not call[1].startswith("open"):
                    counts["looks"] += 1
                elif "O_DIRECTORY" in line:
                    counts["folders"] += 1
                else:
                    counts["opened"] += 1
        self.trace.unlink()
        return counts


def chosen(frame: DataFrame) -> int:
    """How many files Spark will read. Not `frame.inputFiles()`: that gives all files of the lake, whatever the range."""
    execution = frame._jdf.queryExecution()
    execution.toRdd().getNumPartitions()
    scan = execution.executedPlan().collectLeaves().head()
    return scan.metrics().apply("numFiles").value()
