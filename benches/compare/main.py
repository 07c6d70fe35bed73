"""Compares asof with what else does its work; see docs/benchmarks/compare.md."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import document
import machine
import server
import tools
from comparisons import OF_SERVER, Bench, Comparison, Contender
from data import Store
from measure import Failed, measure

# In which comparisons a result is a folder with a file a date, and not one file.
OF_DATES = ("backfill", "sql")
# A peer that takes longer than this, or so many times as long as the best of the peers, is run once.
LONG_SECONDS = 60
LONG_RATIO = 4


class Differs(Exception):
    """A peer whose result is another one."""


class Rounds:
    """Runs the contenders of one comparison in turn, and remembers what came out."""

    def __init__(self, comparison: Comparison, bench: Bench) -> None:
        self.comparison = comparison
        self.bench = bench
        self.runs: dict[str, list[dict]] = {contender.name: [] for contender in self.all()}
        self.status: dict[str, str] = {}
        # What asof said that a snapshot changed.
        self.changes: list[str] = []

    def all(self) -> list[Contender]:
        return self.comparison.contenders + self.comparison.floors

    def run(self, rounds: int) -> dict:
        for number in range(rounds):
            # Each begins a round once. asof begins the first, which the others are compared with.
            first = number % len(self.all())
            for contender in self.all()[first:] + self.all()[:first]:
                if contender.name not in self.status:
                    self.run_one(contender, is_first=number == 0)
            if number == 0:
                self.leave_out_the_slow()
        return {
            "kind": self.comparison.kind,
            "title": self.comparison.title,
            "on": str(datetime.date.today()),
            "contenders": [self.outcome(contender) for contender in self.comparison.contenders],
            "floors": [self.outcome(floor) for floor in self.comparison.floors],
        }

    def run_one(self, contender: Contender, is_first: bool) -> None:
        contender.before()
        try:
            run = measure(contender.command, self.bench.work, os.environ | contender.environment)
        except Failed as failure:
            print(f"  {contender.name:<36} FAILED: {failure}", flush=True)
            self.status[contender.name] = f"failed: {failure}"
            return
        self.runs[contender.name].append(run.numbers() | parts(run.said))
        print(f"  {contender.name:<36} {run.wall:8.2f} s {run.cpu:8.2f} s CPU {run.peak_mib:8.0f} MiB", flush=True)
        if is_first:
            self.hold_against_asof(contender, counted_changes(run.said))

    def hold_against_asof(self, contender: Contender, changes: list[str]) -> None:
        reference = next(iter(self.comparison.contenders), contender)
        if contender is reference:
            self.changes = changes
        if contender.result is None or contender is reference or reference.name in self.status:
            return
        if changes != self.changes:
            raise Differs(f"{self.comparison.title}: {contender.name} counts {changes}, asof {self.changes}")
        contender.after()
        what = "folders" if self.comparison.kind in OF_DATES else "file"
        command = [self.bench.tools.python, tools.HERE / "check.py", what, reference.result, contender.result]
        check = subprocess.run(command, capture_output=True, text=True)
        if check.returncode != 0:
            raise Differs(f"{self.comparison.title}: {contender.name} and asof differ: {check.stderr.strip()}")

    def leave_out_the_slow(self) -> None:
        peers = [peer for peer in self.comparison.contenders if not peer.is_asof and self.runs[peer.name]]
        walls = {peer.name: self.runs[peer.name][0]["wall"] for peer in peers}
        best = min(walls.values(), default=0)
        for peer in peers:
            is_slow = walls[peer.name] > LONG_SECONDS or walls[peer.name] > LONG_RATIO * best
            if is_slow and walls[peer.name] > best and not peer.always:
                self.status[peer.name] = "once"

    def outcome(self, contender: Contender) -> dict:
        return {"name": contender.name, "status": self.status.get(contender.name, "all"), "runs": self.runs[contender.name]}


def parts(said: str) -> dict[str, float]:
    """The parts of its time that a process tells in its last line, if it does."""
    lines = said.splitlines()
    return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}


def counted_changes(said: str) -> list[str]:
    """The rows that were added, changed and removed, if a process counts them."""
    return re.findall(r"[+~-]\d+ (?:added|changed|removed)", said.replace(",", ""))


def main() -> None:
    options = arguments()
    cache = Path(os.environ.get("ASOF_BENCH_DATA") or Path.home() / ".cache/asof-bench").resolve()
    folder = cache / options.size
    results_path = folder / "results.json"
    where = options.document or (document.PATH if options.size == "full" else folder / "compare.md")
    results = json.loads(results_path.read_text()) if results_path.exists() else {"comparisons": {}}
    if not options.render:
        folder.mkdir(parents=True, exist_ok=True)
        compare(options, cache, folder, results, results_path)
    where.write_text(document.render(results))
    print(f"wrote {where}")
    failed = [name for name, result in results["comparisons"].items() for one in result["contenders"][:1] if not one["runs"]]
    if failed:
        sys.exit(f"asof failed: {', '.join(failed)}")


def compare(options: argparse.Namespace, cache: Path, folder: Path, results: dict, results_path: Path) -> None:
    """Runs what was asked for, and keeps what came out after each comparison."""
    used = tools.prepare(cache, options.asof, not options.dev)
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    # Whoever spills does it here, on the disk that the data is on.
    os.environ["TMPDIR"] = str(work)
    for name in ["ASOF_CONFIG", "ASOF_LAKE", "ASOF_NOW"]:
        os.environ.pop(name, None)
    bench = Bench(used, Store(folder, used.maker, options.size == "small"), work)
    makers = bench.comparisons()
    names = options.only or [name for name in makers if name != OF_SERVER or server.POSTGRES]
    if unknown := set(names) - set(makers):
        sys.exit(f"no such comparison: {', '.join(sorted(unknown))}; there are {', '.join(makers)}")
    if os.getloadavg()[0] > 0.5:
        print(f"the machine is busy (load {os.getloadavg()[0]:.1f}); times are worth little", flush=True)
    results |= {"machine": machine.describe(), "versions": used.versions(), "size": options.size}
    for name in names:
        print(name, flush=True)
        comparison = makers[name]()
        try:
            outcome = Rounds(comparison, bench).run(min(options.rounds, comparison.most_rounds))
        except Differs as difference:
            sys.exit(f"RESULTS DIFFER: {difference}\nboth are in {work}")
        results["comparisons"][name] = outcome
        results["comparisons"] = {each: results["comparisons"][each] for each in makers if each in results["comparisons"]}
        results_path.write_text(json.dumps(results, indent=1))
    shutil.rmtree(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/compare/run", description=__doc__)
    parser.add_argument("--size", choices=["small", "full"], default="full", help="small: a try of everything, in a few minutes")
    parser.add_argument("--only", type=lambda text: text.split(","), help="the comparisons to run, by commas; the others stay as they were")
    parser.add_argument("--rounds", type=int, default=5, help="how many times each is run")
    parser.add_argument("--asof", type=Path, help="the program to measure, instead of this checkout's release build")
    parser.add_argument("--dev", action="store_true", help="build in the dev profile, to try the benchmark itself; only with --size small")
    parser.add_argument("--document", type=Path, help="where to write it (default: docs/benchmarks/compare.md; beside the data if small)")
    parser.add_argument("--render", action="store_true", help="run nothing; write the document of what came out before")
    options = parser.parse_args()
    if options.dev and options.size != "small":
        parser.error("--dev is for --size small")
    return options


main()
