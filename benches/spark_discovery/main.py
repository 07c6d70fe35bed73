"""Compares asof's search with Spark's partition discovery; see docs/benchmarks/spark-discovery.md."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "compare"))

import document
import machine
import tools
from lakes import cells


def main() -> None:
    options = arguments()
    cache = Path(os.environ.get("ASOF_BENCH_DATA") or Path.home() / ".cache/asof-bench").resolve()
    folder = cache / "spark_discovery"
    results_path = folder / "results.json"
    results = json.loads(results_path.read_text()) if results_path.exists() else {"cells": {}}
    if not options.render:
        folder.mkdir(parents=True, exist_ok=True)
        run_in_environment(cache / "spark")
        compare(options, folder, results, results_path)
    options.document.write_text(document.render(results))
    print(f"wrote {options.document}")


def run_in_environment(environment: Path) -> None:
    """Starts this again with the Python that has pyspark, if it is another one."""
    python = tools.environment(environment, HERE / "requirements.txt")
    if Path(sys.prefix).resolve() != environment.resolve():
        os.execv(python, [str(python), __file__, *sys.argv[1:]])


def compare(options: argparse.Namespace, folder: Path, results: dict, results_path: Path) -> None:
    """Runs what was asked for, and keeps what came out after each cell."""
    from measure import Measure

    wanted = [cell for cell in cells() if not options.only or {cell.name, cell.lake, cell.kind} & set(options.only)]
    if not wanted:
        sys.exit(f"no such cell; there are {', '.join(cell.name for cell in cells())}")
    if not shutil.which("strace"):
        sys.exit("strace is not on the PATH\nhint: apt-get install strace")
    for name in ["ASOF_CONFIG", "ASOF_LAKE", "ASOF_NOW"]:
        os.environ.pop(name, None)
    asof = options.asof.resolve() if options.asof else tools.build(["asof"], is_release=True)["asof"]
    measure = Measure(asof, folder)
    results |= {"machine": machine.describe(), "versions": measure.versions()}
    for cell in wanted:
        print(cell.name, flush=True)
        results["cells"][cell.name] = {"on": str(datetime.date.today())} | measure.cell(cell, options.rounds)
        results_path.write_text(json.dumps(results, indent=1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/spark_discovery/run", description=__doc__)
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        help="what to run, by commas: cells such as one-10-7, or lakes such as one-10; the others stay as they were",
    )
    parser.add_argument("--rounds", type=int, default=7, help="how many times each is run")
    parser.add_argument("--asof", type=Path, help="the program to measure, instead of this checkout's release build")
    parser.add_argument("--document", type=Path, default=document.PATH, help="where to write it (default: docs/benchmarks/spark-discovery.md)")
    parser.add_argument("--render", action="store_true", help="run nothing; write the document of what came out before")
    return parser.parse_args()


main()
