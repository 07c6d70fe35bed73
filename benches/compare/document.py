"""The document: what was measured, what came out, and whether it is as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from textwrap import fill

from tools import CHECKOUT, HERE

PATH = CHECKOUT / "docs/benchmarks/compare.md"


@dataclass
class Outcome:
    """What came out for one contender."""

    name: str
    status: str
    runs: list[dict[str, float]]

    def median(self, what: str) -> float:
        return median(run[what] for run in self.runs)

    @property
    def is_asof(self) -> bool:
        return self.name.split()[0] == "asof"

    @property
    def wall(self) -> float:
        return self.median("wall")

    @property
    def peak(self) -> float:
        return max(run["peak_mib"] for run in self.runs)


class Result:
    """What came out of one comparison."""

    def __init__(self, name: str, result: dict) -> None:
        self.name = name
        self.kind = result["kind"]
        self.title = result["title"]
        self.on = result["on"]
        self.contenders = [Outcome(**one) for one in result["contenders"]]
        self.floors = [Outcome(**one) for one in result["floors"]]

    @property
    def asof(self) -> Outcome | None:
        """asof, if it takes part and did its work."""
        return next((one for one in self.contenders[:1] if one.runs), None)

    @property
    def best(self) -> Outcome | None:
        """The fastest of the others."""
        return self.fastest("")

    def fastest(self, start: str) -> Outcome | None:
        """The fastest of the others whose names begin so."""
        others = (one for one in self.contenders if one.runs and not one.is_asof and one.name.startswith(start))
        return min(others, key=lambda one: one.wall, default=None)

    @property
    def others(self) -> float:
        """How many cores other processes kept busy."""
        return median(run["others"] for one in self.contenders + self.floors for run in one.runs)

    def named(self, start: str) -> Outcome | None:
        return next((one for one in self.contenders + self.floors if one.name.startswith(start) and one.runs), None)


@dataclass
class Demand:
    what: str
    measured: str
    limit: str
    holds: bool


def render(results: dict) -> str:
    outcomes = [Result(name, result) for name, result in results["comparisons"].items()]
    text = (HERE / "document.md").read_text()
    parts = {
        "machine": machine(results, outcomes),
        "summary": summary(outcomes),
        "demands": demands_table(outcomes),
        "tables": "\n\n".join(table(outcome) for outcome in outcomes),
    }
    for name, part in parts.items():
        text = text.replace(f"<!-- {name} -->", part)
    return text


def machine(results: dict, outcomes: list[Result]) -> str:
    on = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    days = sorted({outcome.on for outcome in outcomes})
    lines = [
        f"- {on['processor']}, {on['cores']} cores, {on['memory']} of memory, {on['system']}",
        f"- {versions}",
        f"- measured on {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else ""),
    ]
    busy = [f"{outcome.name} ({outcome.others:.1f} cores)" for outcome in outcomes if outcome.others > 0.2]
    if busy:
        lines.append(f"- **other processes were at work** beside: {', '.join(busy)}")
    if results["size"] == "small":
        lines.append("- **small data, to try the benchmark itself**: start-up is most of the times, and they say nothing")
    return wrapped(lines)


def summary(outcomes: list[Result]) -> str:
    """Where asof is ahead and where it is not, in words."""
    ahead, behind, failed = [], [], []
    for outcome in outcomes:
        if outcome.contenders and not outcome.asof:
            failed.append(f"- {outcome.name}: {outcome.contenders[0].status}")
        if not outcome.asof or not outcome.best:
            continue
        asof, best = outcome.asof, outcome.best
        memory = f"It holds {asof.peak:,.0f} MiB at most, the other {best.peak:,.0f} MiB."
        if asof.wall < best.wall:
            ahead.append(f"- {outcome.name}: {best.wall / asof.wall:.2f} times as fast as the best other ({best.name}). {memory}")
        else:
            behind.append(f"- {outcome.name}: takes {asof.wall / best.wall:.2f} times as long as the best other ({best.name}). {memory}")
    sections = {"asof is faster than the best of the others in:": ahead, "asof is slower in:": behind, "asof failed in:": failed}
    return "\n\n".join(f"{title}\n\n{wrapped(lines)}" for title, lines in sections.items() if lines)


def wrapped(items: list[str], indent: str = "  ") -> str:
    """Items of a list, or paragraphs, in lines no longer than those of other documents."""
    return "\n".join(fill(item, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) for item in items)


def demands_table(outcomes: list[Result]) -> str:
    by_name = {outcome.name: outcome for outcome in outcomes}
    demands = [demand for outcome in outcomes if outcome.asof for demand in demands_of(outcome)]
    demands += memory_demands(by_name)
    demands += night_demands(by_name)
    lines = ["| | measured | wanted | |", "| --- | ---: | ---: | --- |"]
    lines += [f"| {one.what} | {one.measured} | {one.limit} | {'yes' if one.holds else '**no**'} |" for one in demands]
    return "\n".join(lines)


def demands_of(outcome: Result) -> Iterator[Demand]:
    asof, best = outcome.asof, outcome.best
    faster_by = {"compact": 8, "backfill": 2}.get(outcome.kind)
    if floor := outcome.named("asof_floor"):
        # Instead of a ratio to the others; the document says why.
        allowed = sum(floor.median(part) for part in ["decode", "changes", "encode"])
        what = "decoding the first copy, reading the changes and encoding the intervals"
        yield at_most(f"{outcome.name}: time / {what}", asof.wall / allowed, 1.3)
    elif faster_by and best:
        yield at_least(f"{outcome.name}: times as fast as the best other, {best.name}", best.wall / asof.wall, faster_by)
    if outcome.kind in ("compact", "migrate"):
        if floor := outcome.named("polars_hash"):
            yield at_most(f"{outcome.name}: time / decoding and hashing with polars", asof.wall / floor.wall, 1.5)
        most = 2560 if "narrow" in outcome.name else 512
        yield below(outcome.name, asof, most)
    if outcome.kind == "snapshot" and best and not outcome.name.endswith("-second"):
        is_sorted = outcome.name.endswith("-sorted")
        yield at_most(f"{outcome.name}: time / the faster of the others, {best.name}", asof.wall / best.wall, 0.7 if is_sorted else 1)
        if not is_sorted:
            yield below(outcome.name, asof, 600)
        if limited := outcome.named("asof --memory 256MiB"):
            name = f"{outcome.name}, --memory 256MiB"
            yield at_most(f"{name}: time / the faster of the others, {best.name}", limited.wall / best.wall, 2)
            yield below(name, limited, 256)
    if outcome.kind == "database" and best:
        yield at_most(f"{outcome.name}: time / {best.name}", asof.wall / best.wall, 1)
        yield below(outcome.name, asof, 512)
    if outcome.kind == "frame" and best:
        yield at_most(f"{outcome.name}: time / {best.name}", asof.wall / best.wall, 1.2 if "as-of" in outcome.name else 1)
    if outcome.kind == "sql":
        yield from sql_demands(outcome)
    if outcome.kind == "incremental":
        if floor := outcome.named("polars_night"):
            allowed = 3 * floor.median("decode") + floor.median("encode")
            yield at_most(f"{outcome.name}: time / decoding a snapshot three times and encoding the intervals", asof.wall / allowed, 1)
        if dbt := outcome.named("dbt"):
            yield at_least(f"{outcome.name}: times as fast as dbt snapshot", dbt.wall / asof.wall, 5)


def memory_demands(outcomes: dict[str, Result]) -> Iterator[Demand]:
    of_days = [outcomes.get(f"compact-{days}x1m") for days in (60, 365)]
    if all(outcome and outcome.asof for outcome in of_days):
        few, many = (outcome.asof.peak for outcome in of_days)
        yield at_most("peak memory of 365 days / of 60 days, 1,000,000 rows", many / few, 1.25)


def night_demands(outcomes: dict[str, Result]) -> Iterator[Demand]:
    for name, second in outcomes.items():
        first = outcomes.get(name.removesuffix("-second"))
        if second.kind == "snapshot" and first is not second and first and first.asof and second.asof:
            yield at_most(f"{name}: time / the first night's", second.asof.wall / first.asof.wall, 1.15)


# The most that a job may take, as a part of the time of the best script for a tool.
SQL_LIMITS = {
    "sql-join-30x500k": {"DuckDB": 0.8, "polars": 1},
    "sql-group-30x500k": {"DuckDB": 1},
    "sql-group-1x20m": {"DuckDB": 1.2},
}


def sql_demands(outcome: Result) -> Iterator[Demand]:
    for tool, limit in SQL_LIMITS.get(outcome.name, {}).items():
        if best := outcome.fastest(tool):
            yield at_most(f"{outcome.name}: time / {best.name}", outcome.asof.wall / best.wall, limit)
    if outcome.name == "sql-group-1x20m":
        yield below(outcome.name, outcome.asof, 300)


def below(name: str, one: Outcome, most: int) -> Demand:
    return Demand(f"{name}: peak memory", f"{one.peak:,.0f} MiB", f"below {most:,} MiB", one.peak < most)


def at_least(what: str, ratio: float, limit: float) -> Demand:
    return Demand(what, f"{ratio:.2f}", f"at least {limit:g}", ratio >= limit)


def at_most(what: str, ratio: float, limit: float) -> Demand:
    return Demand(what, f"{ratio:.2f}", f"at most {limit:g}", ratio <= limit)


def table(outcome: Result) -> str:
    lines = [f"### {outcome.name}", "", f"{outcome.title[0].upper()}{outcome.title[1:]}.", ""]
    lines += ["| | median s | least to most | / asof | CPU s | peak MiB | runs |", "| --- | ---: | ---: | ---: | ---: | ---: | --- |"]
    ranked = sorted(outcome.contenders, key=lambda one: one.wall if one.runs else float("inf"))
    lines += [row(one, outcome.asof) for one in [*ranked, *outcome.floors]]
    if notes := [f"{one.name}: {one.status}." for one in [*ranked, *outcome.floors] if one.status.startswith("failed")]:
        lines += ["", *notes]
    for floor in outcome.floors:
        if floor.runs and "changes" in floor.runs[0]:
            decode, changes, encode = (floor.median(part) for part in ["decode", "changes", "encode"])
            note = f"asof's library decodes the first copy in {decode:.2f} s, reads the changes in {changes:.2f} s and encodes the " \
                   f"intervals in {encode:.2f} s."
        elif floor.runs and "encode" in floor.runs[0]:
            decode, encode = floor.median("decode"), floor.median("encode")
            note = f"{label(floor)} decodes the snapshot in {decode:.2f} s and encodes the intervals in {encode:.2f} s."
        else:
            continue
        lines += ["", wrapped([f"Without its start and the reading of the intervals, {note}"], indent="")]
    return "\n".join(lines)


def row(one: Outcome, asof: Outcome | None) -> str:
    if not one.runs:
        return f"| {label(one)} | | | | | | failed |"
    walls = [run["wall"] for run in one.runs]
    spread = f"{min(walls):.2f} to {max(walls):.2f}" if len(walls) > 1 else ""
    ratio = f"{one.wall / asof.wall:.2f}" if asof else ""
    runs = {"all": str(len(walls)), "once": "once"}.get(one.status, "failed later")
    return f"| {label(one)} | {one.wall:.2f} | {spread} | {ratio} | {one.median('cpu'):.2f} | {one.peak:,.0f} | {runs} |"


def label(one: Outcome) -> str:
    """How it is called in the document: the parts of the work are set apart from those that do all of it."""
    names = {
        "polars_decode": "*decoding alone, polars*",
        "polars_hash": "*decoding and hashing rows, polars*",
        "pyarrow_decode": "*decoding alone, pyarrow*",
        "duckdb_decode": "*decoding alone, DuckDB*",
        "duckdb_hash": "*decoding and hashing rows, DuckDB*",
        "asof_floor": "*first copy, changes, intervals: asof's own*",
        "asof_decode": "*decoding alone, as asof reads*",
        "polars_night": "*decoding and encoding, polars*",
    }
    return f"**{one.name}**" if one.is_asof else names.get(one.name, one.name)
