"""The document: what was measured, and what came out."""

from __future__ import annotations

from statistics import median
from textwrap import fill

from lakes import FILES, Cell, cells, dates
from tools import CHECKOUT

HERE = CHECKOUT / "benches/spark_discovery"
PATH = CHECKOUT / "docs/benchmarks/spark-discovery.md"
FIGURES = ("folders", "looks")


class Outcome:
    """What came out for one cell."""

    def __init__(self, cell: Cell, result: dict) -> None:
        self.cell = cell
        self.on = result["on"]
        self.rounds = len(result["seconds"]["discovery"])
        self.times = {way: [seconds * 1000 for seconds in runs] for way, runs in result["seconds"].items()}
        self.counts = result["counts"]

    def ms(self, way: str) -> float:
        return median(self.times[way])

    def asked(self, way: str) -> int:
        """The calls of a way that name a path in the lake."""
        return sum(self.counts[way][what] for what in FIGURES)

    @property
    def by_files(self) -> float:
        """Until Spark knows its files, with asof's plan."""
        return self.ms("plan") + self.ms("files, few tasks")


def render(results: dict) -> str:
    outcomes = [Outcome(cell, results["cells"][cell.name]) for cell in cells() if cell.name in results["cells"]]
    text = (HERE / "document.md").read_text()
    parts = {
        "machine": machine(results, outcomes),
        "summary": summary(outcomes),
        "given": given(outcomes),
        "counts": counts(outcomes),
        "seconds": seconds(outcomes),
    }
    for name, part in parts.items():
        text = text.replace(f"<!-- {name} -->", part)
    return text


def machine(results: dict, outcomes: list[Outcome]) -> str:
    on = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    days = sorted({outcome.on for outcome in outcomes})
    rounds = sorted({outcome.rounds for outcome in outcomes})
    lines = [
        f"- {on['processor']}, {on['cores']} cores, {on['memory']} of memory, {on['system']}",
        f"- {versions}",
        f"- measured on {' to '.join(sorted({days[0], days[-1]}))}, {' to '.join(str(one) for one in sorted({rounds[0], rounds[-1]}))} runs of each",
    ]
    return wrapped(lines)


def summary(outcomes: list[Outcome]) -> str:
    """For each lake, over its ranges."""
    rows = []
    for lake, of_lake in by_lake(outcomes):
        first = of_lake[0]
        rows.append(
            [
                lake,
                number(sum(1 for _ in dates(first.cell.years)) * FILES[first.cell.kind]),
                span([one.counts["partitions"]["folders"] for one in of_lake]),
                span([one.counts["discovery"]["folders"] for one in of_lake]),
                span([one.asked("discovery") / one.asked("partitions") for one in of_lake], " ×"),
                span([one.ms("partitions") for one in of_lake]),
                span([one.ms("discovery") for one in of_lake]),
                span([one.ms("discovery") / one.ms("partitions") for one in of_lake], " ×"),
            ]
        )
    head = ["lake", "files", "folders, asof", "folders, Spark", "calls, Spark / asof", "ms, asof", "ms, Spark", "time, Spark / asof"]
    before = "`asof partitions`, beside Spark's discovery. Lakes called `one` have one file a date, those called `many` have 24. Where two"
    before += " numbers are given, they are the least and the most of the four ranges:"
    inside = span([one.ms("inside") for one in outcomes])
    after = f"Most of asof's time is the start of its process: the search itself takes {inside} ms. Spark's session runs already."
    return "\n\n".join([wrapped([before], ""), table(head, rows), wrapped([after], "")])


def given(outcomes: list[Outcome]) -> str:
    rows = []
    for lake, of_lake in by_lake(outcomes):
        for place, one in enumerate(of_lake):
            rows.append(
                [
                    "" if place else lake,
                    number(one.cell.days),
                    number(one.cell.files),
                    number(one.asked("files")),
                    number(one.ms("plan")),
                    number(one.ms("files")),
                    number(one.ms("files, few tasks")),
                    number(one.by_files),
                    number(one.ms("discovery")),
                    times(one.ms("discovery") / one.by_files),
                ]
            )
    head = ["lake", "days", "files", "calls, Spark", "ms, `asof plan`", "ms, Spark", "ms, Spark, 8 tasks", "ms, plan and 8 tasks", "ms, discovery"]
    ahead = [one for one in outcomes if one.by_files < one.ms("discovery")]
    slow = [one for one in outcomes if one.by_files >= one.ms("discovery")]
    slow_by_default = [one for one in outcomes if one.ms("plan") + one.ms("files") >= one.ms("discovery")]
    lines = [
        f"With 8 tasks, asof's plan and Spark's look at its files together take less time than Spark's discovery in {len(ahead)} of"
        f" {len(outcomes)} cells{but(slow)}.",
        f"With Spark's defaults they take less in {len(outcomes) - len(slow_by_default)}{but(slow_by_default)}.",
        "In brackets are the days of the ranges.",
    ]
    return wrapped([" ".join(lines)], "") + "\n\n" + table([*head, "discovery / plan and 8 tasks"], rows)


def but(slow: list[Outcome]) -> str:
    """Which cells are the exceptions."""
    names = [f"{lake} ({', '.join(str(one.cell.days) for one in of_lake)})" for lake, of_lake in by_lake(slow)]
    return f", and not in: {'; '.join(names)}" if names else ""


def counts(outcomes: list[Outcome]) -> str:
    rows = []
    for lake, of_lake in by_lake(outcomes):
        for place, one in enumerate(of_lake):
            figures = [one.counts[way][what] for way in ("partitions", "plan", "discovery", "files") for what in FIGURES]
            rows.append(["" if place else lake, number(one.cell.days), number(one.cell.files), *map(number, figures)])
    head = ["lake", "days", "files"]
    for way in ("`asof partitions`", "`asof plan`", "discovery", "given files"):
        head += [f"{way}: folders", "looks"]
    return table(head, rows)


def seconds(outcomes: list[Outcome]) -> str:
    rows = []
    ways = {
        "partitions": "`asof partitions`",
        "inside": "inside",
        "plan": "`asof plan`",
        "discovery": "discovery",
        "files": "given files",
        "files, few tasks": "given files, 8 tasks",
    }
    for lake, of_lake in by_lake(outcomes):
        for place, one in enumerate(of_lake):
            spread = [f"{number(one.ms(way))} ({number(min(one.times[way]))} to {number(max(one.times[way]))})" for way in ways]
            rows.append(["" if place else lake, number(one.cell.days), *spread])
    return table(["lake", "days", *ways.values()], rows)


def by_lake(outcomes: list[Outcome]) -> list[tuple[str, list[Outcome]]]:
    lakes: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        cell = outcome.cell
        lakes.setdefault(f"{cell.kind}, {cell.years} year{'' if cell.years == 1 else 's'}", []).append(outcome)
    return list(lakes.items())


def table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def span(numbers: list[float], after: str = "") -> str:
    """The least and the most."""
    show = times if after else number
    least, most = show(min(numbers)), show(max(numbers))
    return least if least == most else f"{least.removesuffix(after)} to {most}"


def times(ratio: float) -> str:
    return f"{number(ratio)} ×"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or isinstance(value, int) else f"{value:.2g}"


def wrapped(items: list[str], indent: str = "  ") -> str:
    """Items of a list, or paragraphs, in lines no longer than those of other documents."""
    return "\n".join(fill(item, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) for item in items)
