"""Compares what `asof describe`, `diff --summary` and `--out` say of files of pyarrow and DuckDB with what polars and DuckDB
compute from the same files. Prints what differs as one JSON document.

Argument: the asof program. Runs in an empty folder.
"""

import datetime as dt
import decimal
import json
import math
import random
import subprocess
import sys

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

ASOF = sys.argv[1]
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
ROWS = 6000
failures = []
compared = 0


def asof(*arguments):
    done = subprocess.run([ASOF, "--lake", "lake", "--json", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"asof {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def equal(what, found, expected):
    global compared
    compared += 1
    if isinstance(expected, float) and isinstance(found, float):
        same = math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    else:
        same = found == expected
    if not same:
        failures.append(f"{what}: {found!r}, expected {expected!r}")


def typed(kind, value):
    """What asof prints, as the value of polars that it is."""
    if value is None:
        return None
    if kind.is_float():
        return "NaN" if value == "NaN" else float(value)
    if kind.is_integer():
        return int(value)
    if kind.is_decimal():
        return decimal.Decimal(value)
    if kind == pl.Boolean:
        return value == "true"
    if kind == pl.Binary:
        return bytes.fromhex(value)
    if kind == pl.Date:
        return dt.date.fromisoformat(value)
    if isinstance(kind, pl.Datetime):
        return dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
    if kind == pl.Time:
        return dt.time.fromisoformat(value)
    return value


def plain(value):
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def check_values(what, kind, values, told):
    """Nulls, different values, extremes and the mean."""
    filled = values.drop_nulls()
    equal(f"{what} nulls", told["nulls"], values.null_count())
    equal(f"{what} distinct", told["distinct"], filled.n_unique())
    if kind.is_float():
        equal(f"{what} nans", told["nans"], filled.is_nan().sum())
        filled = filled.filter(~filled.is_nan())
    if kind.is_nested():
        equal(f"{what} min", told["min"], None)
        return
    equal(f"{what} min", typed(kind, told["min"]), filled.min())
    equal(f"{what} max", typed(kind, told["max"]), filled.max())
    if kind.is_numeric():
        equal(f"{what} mean", told["mean"], float(filled.cast(pl.Float64).mean()))


def counts_of(values):
    counted = values.drop_nulls().value_counts()
    return {plain(value): number for value, number in counted.iter_rows()}


def table(day):
    """A day's rows. Each day changes some of the rows of the day before, and some columns never change."""
    value = random.Random(7)
    base = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
    rows = []
    for key in range(ROWS):
        row = {
            "id": key,
            "status": value.choice(["ACTIVE", "ACTIVE", "PASSIVE", None]),
            "price": decimal.Decimal(value.randrange(-5000, 5000)).scaleb(-2),
            "weight": value.choice([None, math.nan, 0.0, -0.0, round(value.uniform(-9, 9), 3)]),
            "born": dt.date(1970, 1, 1) + dt.timedelta(days=value.randrange(20000)),
            "seen": base + dt.timedelta(microseconds=value.randrange(10**12)),
            "noon": dt.time(12, value.randrange(60)),
            "flag": value.choice([True, False, None]),
            "hash": value.randbytes(value.randrange(3)),
            "tags": value.choice([None, [], ["a"], ["a", None], ["b"]]),
            "size": value.choice([None, {"w": 1, "h": None}, {"w": 2, "h": 2.5}]),
            "note": value.choice(["", "größe", "a longer text than a view holds inline", None]),
            "big": value.choice([None, 2**63 - 1, -(2**63), 0]),
        }
        rows.append(row)
    for later in range(1, day + 1):
        change = random.Random(later)
        for row in change.sample(rows, 400):
            row["price"] += later
            row["status"] = change.choice(["ACTIVE", "GONE", None])
            row["weight"] = change.choice([None, math.nan, 0.0, -0.0])
            row["tags"] = change.choice([None, ["a"], ["c"]])
        gone = {row["id"] for row in change.sample(rows, 50)}
        rows = [row for row in rows if row["id"] not in gone]
        new = dict(change.choice(rows))
        rows.append({**new, "id": ROWS + later})
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("status", pa.dictionary(pa.int32(), pa.string())),
            ("price", pa.decimal128(9, 2)),
            ("weight", pa.float64()),
            ("born", pa.date32()),
            ("seen", pa.timestamp("us", "UTC")),
            ("noon", pa.time64("us")),
            ("flag", pa.bool_()),
            ("hash", pa.binary()),
            ("tags", pa.list_(pa.string())),
            ("size", pa.struct([("w", pa.int32()), ("h", pa.float64())])),
            ("note", pa.large_string()),
            ("big", pa.int64()),
        ]
    )
    random.Random(day).shuffle(rows)
    return pa.Table.from_pylist(rows, schema=schema)


for day, date in enumerate(DAYS):
    path = f"item_{date}.parquet"
    rows = table(day)
    if day == 1:
        # The same rows as another tool writes them.
        duckdb.sql(f"copy (select * from rows) to '{path}' (format parquet)")
    else:
        pq.write_table(rows, path, compression="zstd" if day else "snappy")
    asof("snapshot", "item", "--date", date, "--source", path, "--key", "id", "--backdate")
asof("compact", "item")


def frame(date):
    status = pl.col("status").cast(pl.String)
    return pl.read_parquet(f"item_{date}.parquet").with_columns(status).sort("id")


frames = {date: frame(date) for date in DAYS}
report = asof("describe", "item", "--top", "3")
columns = {column["name"]: column for column in report["columns"]}
last = frames[DAYS[-1]]
equal("rows", report["rows"], last.height)
equal("columns", list(columns), last.columns)
for name, kind in last.schema.items():
    told = columns[name]
    check_values(name, kind, last[name], told)
    if not kind.is_nested() and name != "id":
        counts = counts_of(last[name])
        found = {plain(typed(kind, one["value"])): one["rows"] for one in told["frequent"]}
        equal(f"{name} counts", sorted(found.values()), sorted(counts.values())[-3:])
        equal(f"{name} frequent", found, {value: counts.get(value) for value in found})

# Changes, by DuckDB: keys of neighbouring days whose values are distinct.
for name in last.columns[1:]:
    pairs = " union all ".join(
        f"select id, date '{after}' as day from 'item_{before}.parquet' a join 'item_{after}.parquet' b using (id) "
        f"where a.{name} is distinct from b.{name}"
        for before, after in zip(DAYS, DAYS[1:])
    )
    keys, changes, day = duckdb.sql(f"select count(distinct id), count(*), max(day) from ({pairs})").fetchall()[0]
    found = columns[name]["changes"]
    equal(f"{name} changes", found, {"keys": keys, "changes": changes, "last": day and str(day)})
keys = duckdb.sql("select count(distinct id) from 'item_*.parquet'").fetchall()[0][0]
equal("keys", report["history"]["keys"], keys)

# The summary of a difference, and the rows that differ.
for ending in ["parquet", "csv"]:
    summary = asof("diff", "item", DAYS[0], DAYS[2], "--summary", "--out", f"differ.{ending}")
before, after = f"'item_{DAYS[0]}.parquet'", f"'item_{DAYS[2]}.parquet'"
for told in summary["summary"]:
    name, kind = told["name"], last.schema[told["name"]]
    check_values(f"old {name}", kind, frames[DAYS[0]][name], told["old"])
    check_values(f"new {name}", kind, frames[DAYS[2]][name], told["new"])
    if name != "id":
        where = f"a.{name} is distinct from b.{name}"
        changed = duckdb.sql(f"select count(*) from {before} a join {after} b using (id) where {where}").fetchall()[0][0]
        equal(f"{name} changed", told["changed"], changed)
    if not kind.is_nested() and name != "id":
        old, new = counts_of(frames[DAYS[0]][name]), counts_of(frames[DAYS[2]][name])
        for one in told["frequent"]:
            value = plain(typed(kind, one["value"]))
            equal(f"{name} {value}", (one["old"], one["new"]), (old.get(value, 0), new.get(value, 0)))
kinds = dict(duckdb.sql("select _change_type, count(*) from 'differ.parquet' group by all").fetchall())
equal(
    "kinds",
    kinds,
    {
        "insert": summary["added"],
        "delete": summary["removed"],
        "update_preimage": summary["changed"],
        "update_postimage": summary["changed"],
    },
)
equal("schema", pl.read_parquet_schema("differ.parquet")["price"], pl.Decimal(9, 2))
for day, kinds in [(before, "('delete', 'update_preimage')"), (after, "('insert', 'update_postimage')")]:
    rows = f"select * exclude (_change_type) from 'differ.parquet' where _change_type in {kinds}"
    unexpected = duckdb.sql(f"select count(*) from ({rows} except select * replace (status::varchar as status) from {day})")
    equal(f"rows of {day}", unexpected.fetchall()[0][0], 0)
    names = duckdb.sql(f"select count(*) from read_csv('differ.csv') where _change_type in {kinds}").fetchall()[0][0]
    equal(f"rows of {day} in CSV", names, duckdb.sql(f"select count(*) from ({rows})").fetchall()[0][0])

# The history of a key, as the intervals have it.
key = duckdb.sql("select id from 'differ.parquet' where _change_type = 'update_preimage' order by id limit 1").fetchall()[0][0]
told = asof("history", "item", str(key), "--out", "history.parquet")
rows = pl.read_parquet("history.parquet").rows()
intervals = pl.read_parquet("lake/item/intervals/item.parquet")
equal("history", str(rows), str(intervals.filter(pl.col("id") == key).sort("active_start").rows()))
equal("intervals", len(rows), len(told["intervals"]))

print(json.dumps({"compared": compared, "failed": len(failures), "failures": failures[:20]}))
