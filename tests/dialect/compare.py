"""Runs generated expressions and a list of queries in asof and in DuckDB, and compares every value.

Usage: compare.py ASOF COUNT, in an empty folder. Prints a JSON document: how much was compared, how often each known
difference was met, and every difference that is not known. The generator is seeded, so each run compares the same.
"""

import concurrent.futures
import decimal
import datetime as dt
import json
import os
import random
import shutil
import subprocess
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

ASOF, COUNT = sys.argv[1], int(sys.argv[2])
BATCH = 25
D = decimal.Decimal

# Every way in which a result may differ from DuckDB's, with the section of docs/sql.md that explains it. A difference is known by
# what the expression uses and by the two results; "error" stands for a result that is one.
KNOWN = {
    "a_sum_has_the_type_of_its_column": ("Overflow", lambda sql, uses, ours, theirs: "sum(edge_" in sql and ours == "error"),
    "a_literal_is_int64": ("Overflow", lambda sql, uses, ours, theirs: (sql.endswith(" * 2") or "u32" in sql) and theirs == "error" and ours != "error"),
    "float32_functions": ("Numbers", lambda sql, uses, ours, theirs: "f32" in sql and is_close(ours, theirs, 1e-6)),
    "duckdb_does_not_compare_all_units": ("Dates and timestamps", lambda sql, uses, ours, theirs: theirs == "error" and "ns" in sql),
    "correlated_subqueries": ("What is not supported", lambda sql, uses, ours, theirs: "c.id < a.id" in sql and ours == "error"),
}


def is_close(ours, theirs, share):
    return isinstance(ours, float) and isinstance(theirs, float) and abs(ours - theirs) <= share * max(abs(ours), abs(theirs))


def rows():
    """Values in the middle of each type and nulls; `edge_` columns have the ends of the types."""
    us = [dt.datetime(2024, 2, 29, 12, 30, 45, 123456), dt.datetime(1999, 12, 31, 23, 59, 59), None, dt.datetime(9999, 12, 31), dt.datetime(1969, 12, 31, 23, 0), dt.datetime(1970, 1, 1)]
    ns = [1709209845123456789, None, 946684799000000000, 1, 0, 4102444800000000000]
    return pa.table({
        "id": pa.array([1, 2, 3, 4, 5, 6], pa.int64()),
        "i16": pa.array([1, -2, None, 300, 0, 77], pa.int16()),
        "i32": pa.array([7, -3, 0, None, 1000, 12], pa.int32()),
        "i64": pa.array([5, None, -9, 40000, 0, 3], pa.int64()),
        "u32": pa.array([1, 2, None, 4, 500, 0], pa.uint32()),
        "f64": pa.array([0.1, -2.5, None, 1e10, 0.0, 3.0], pa.float64()),
        "f32": pa.array([0.5, None, -1.25, 3.0, 8.0, 0.0], pa.float32()),
        "d2": pa.array([D("8.70"), D("-1.10"), None, D("0.00"), D("99.99"), D("3.00")], pa.decimal128(10, 2)),
        "d4": pa.array([D("0.0001"), None, D("-12.5000"), D("3.0000"), D("7.7777"), D("8.7000")], pa.decimal128(18, 4)),
        "s": pa.array(["abc", "", None, "Zürich", "a%b", "ABC"], pa.string()),
        "s2": pa.array(["b", "abc", "x", None, "%", " pad "], pa.string()),
        "b": pa.array([True, False, None, True, False, True], pa.bool_()),
        "b2": pa.array([None, False, True, True, False, False], pa.bool_()),
        "dt": pa.array([dt.date(2024, 2, 29), dt.date(9999, 12, 31), None, dt.date(1969, 7, 20), dt.date(2000, 1, 1), dt.date(2023, 12, 31)], pa.date32()),
        "us": pa.array(us, pa.timestamp("us")),
        "ns": pa.array(ns, pa.timestamp("ns")),
        "ms": pa.array([None, dt.datetime(2024, 2, 29), dt.datetime(2024, 1, 1), dt.datetime(9999, 12, 31), dt.datetime(1950, 6, 1, 1, 2, 3), dt.datetime(2000, 1, 1)], pa.timestamp("ms")),
        "edge_i16": pa.array([32767, -32768, 0, 1, -1, None], pa.int16()),
        "edge_i32": pa.array([2147483647, -2147483648, 0, 1, -1, None], pa.int32()),
        "edge_i64": pa.array([9223372036854775807, -9223372036854775808, 0, 1, -1, None], pa.int64()),
        "edge_u64": pa.array([18446744073709551615, 0, 1, 2, 3, None], pa.uint64()),
        "edge_d": pa.array([D("9" * 38), D("-" + "9" * 38), D(0), D(1), D(-1), None], pa.decimal128(38, 0)),
    })


class Expressions:
    """Generates an expression of a type as asof and DuckDB write it, with what it uses."""

    COLUMNS = {
        "int": ["i16", "i32", "i64", "u32", "id"], "float": ["f64", "f32"], "decimal": ["d2", "d4"], "text": ["s", "s2"],
        "bool": ["b", "b2"], "date": ["dt"], "time": ["us", "ns", "ms"],
    }
    LITERALS = {
        "int": ["0", "1", "7", "-3", "100"], "float": ["1e0", "2.5e-1", "-3e2"], "decimal": ["8.70", "0.1", "-1.10", "3.0", "12.345"],
        "text": ["'abc'", "''", "'a'", "'Z'", "'%'"], "bool": ["true", "false"],
        "date": ["date '2024-02-29'", "date '9999-12-31'", "date '1970-01-01'"],
        "time": ["timestamp '2024-02-29 12:30:45.123456'", "timestamp '9999-12-31 00:00:00'", "timestamp '1970-01-01 00:00:00'"],
    }
    NUMBERS = ["int", "float", "decimal"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def any(self, depth):
        return self.of(self.random.choice(list(self.COLUMNS)), depth)

    def of(self, kind, depth):
        choose = self.random.choice
        if depth == 0 or self.random.random() < 0.15:
            leaf = choose(self.COLUMNS[kind] if self.random.random() < 0.75 else self.LITERALS[kind])
            return leaf, leaf, set()
        return getattr(self, "of_" + kind)(depth - 1)

    def build(self, ours, parts, theirs=None, uses=()):
        texts = [part[0] for part in parts], [part[1] for part in parts]
        found = set(uses).union(*[part[2] for part in parts])
        return ours.format(*texts[0]), (theirs or ours).format(*texts[1]), found

    def same(self, kind, depth):
        """What every type has."""
        template = self.random.choice(["coalesce({}, {})", "case when {2} then {0} else {1} end", "nullif({}, {})", "case when {2} then {0} end",
                                       "greatest({}, {})", "least({}, {})"])
        if template.startswith(("greatest", "least")) and kind in ("bool",):
            template = "coalesce({}, {})"
        return self.build(template, [self.of(kind, depth), self.of(kind, depth), self.of("bool", depth)])

    def of_int(self, depth):
        pick = self.random.randrange(10)
        two = lambda: [self.of("int", depth), self.of("int", depth)]
        if pick < 4:
            return self.build(self.random.choice(["({} + {})", "({} - {})", "({} * {})"]), two())
        if pick == 4:
            return self.build("({} / nullif({}, 0))", two(), "({} // nullif({}, 0))", ["int/"])
        if pick == 5:
            return self.build("({} % nullif({}, 0))", two())
        if pick == 6:
            return self.build(self.random.choice(["abs({})", "(- {})", "cast({} as bigint)"]), [self.of("int", depth)])
        if pick == 7:
            return self.build(self.random.choice(["length({})", "ascii({})", "strpos({}, 'b')"]), [self.of("text", depth)])
        if pick == 8:
            part = self.random.choice(["year", "month", "day", "hour", "minute", "doy", "quarter", "dow", "week"])
            kind = "time" if part in ("hour", "minute") or self.random.random() < 0.5 else "date"
            return self.build("extract(" + part + " from {})", [self.of(kind, depth)])
        return self.same("int", depth)

    def of_float(self, depth):
        pick = self.random.randrange(7)
        if pick < 3:
            other = self.random.choice(self.NUMBERS)
            return self.build(self.random.choice(["({} + {})", "({} - {})", "({} * {})"]), [self.of("float", depth), self.of(other, depth)])
        if pick == 3:
            return self.build("({} / nullif({}, 0))", [self.of("float", depth), self.of(self.random.choice(self.NUMBERS), depth)])
        if pick == 4:
            kind = self.random.choice(self.NUMBERS)
            return self.build("cast({} as double)", [self.of(kind, depth)])
        if pick == 5:
            return self.build(self.random.choice(["abs({})", "floor({})", "ceil({})", "(- {})", "sqrt(abs({}))"]), [self.of("float", depth)])
        return self.same("float", depth)

    def of_decimal(self, depth):
        pick = self.random.randrange(6)
        if pick < 2:
            return self.build(self.random.choice(["({} + {})", "({} - {})"]), [self.of("decimal", depth), self.of("decimal", depth)])
        if pick == 2:
            return self.build("({} * {})", [self.of("decimal", 0), self.of("decimal", 0)])
        if pick == 3:
            return self.build("(- {})", [self.of("decimal", depth)])
        if pick == 4:
            return self.build("cast({} as decimal(18, 3))", [self.of(self.random.choice(["decimal", "int"]), 0)])
        return self.same("decimal", depth)

    def of_text(self, depth):
        pick = self.random.randrange(7)
        if pick == 0:
            return self.build("({} || {})", [self.of("text", depth), self.of("text", depth)])
        if pick == 1:
            return self.build(self.random.choice(["upper({})", "lower({})", "trim({})", "reverse({})"]), [self.of("text", depth)])
        if pick == 2:
            return self.build("substr({}, 1, 2)", [self.of("text", depth)])
        if pick == 3:
            return self.build("replace({}, 'b', {})", [self.of("text", depth), self.of("text", 0)])
        if pick == 4:
            return self.build("cast({} as varchar)", [self.of(self.random.choice(["int", "date"]), 0)])
        if pick == 5:
            return self.build("left({}, 2)", [self.of("text", depth)])
        return self.same("text", depth)

    def of_bool(self, depth):
        pick = self.random.randrange(10)
        operator = self.random.choice(["=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from"])
        if pick < 4:
            kinds = self.random.choice([("int", "int"), ("int", "decimal"), ("float", "decimal"), ("float", "int"), ("decimal", "decimal"), ("text", "text"),
                                        ("time", "time"), ("date", "time"), ("date", "date"), ("time", "date"), ("bool", "bool")])
            return self.build("({} " + operator + " {})", [self.of(kind, depth) for kind in kinds])
        if pick == 4:
            return self.build(self.random.choice(["({} and {})", "({} or {})"]), [self.of("bool", depth), self.of("bool", depth)])
        if pick == 5:
            return self.build(self.random.choice(["(not {})", "({} is true)", "({} is not false)", "({} is null)"]), [self.of("bool", depth)])
        if pick == 6:
            kind = self.random.choice(["int", "decimal", "float", "text", "date", "time"])
            return self.build("({} between {} and {})", [self.of(kind, depth), self.of(kind, 0), self.of(kind, 0)])
        if pick == 7:
            kind = self.random.choice(["int", "decimal", "text", "date", "time"])
            return self.build("({} in ({}, {}))", [self.of(kind, depth), self.of(kind, 0), self.of(kind, 0)])
        if pick == 8:
            return self.build(self.random.choice(["({} like 'a%')", "({} like '%b_')", "starts_with({}, 'a')"]), [self.of("text", depth)])
        return self.build("({} is not null)", [self.any(depth)])

    def of_date(self, depth):
        if self.random.random() < 0.5:
            return self.build(self.random.choice(["cast({} - interval '1 day' as date)", "cast({} - interval '2 months' as date)"]), [self.of("date", depth)])
        return self.same("date", depth)

    def of_time(self, depth):
        pick = self.random.randrange(4)
        if pick == 0:
            unit = self.random.choice(["year", "month", "day", "hour", "week", "quarter", "minute", "second"])
            return self.build("date_trunc('" + unit + "', {})", [self.of("time", depth)])
        if pick == 1:
            # DuckDB adds intervals to nanoseconds in microseconds.
            return self.build("({} - interval '1 hour')", [self.coarse(depth)])
        return self.build(self.random.choice(["coalesce({}, {})", "greatest({}, {})"]), [self.coarse(depth), self.coarse(depth)])

    def coarse(self, depth):
        """A timestamp without nanoseconds, which can be combined with others."""
        column = self.random.choice(["us", "ms", "date_trunc('second', ns)"])
        return column, column, set()


# Operators on the ends of the types: each must give DuckDB's value, or an error.
EDGES = [
    (f"{left} {operator} {right}", f"{left} {operator} {right}", {"overflow"})
    for column in ["edge_i16", "edge_i32", "edge_i64", "edge_u64", "edge_d"]
    for left, operator, right in [(column, "+", "id"), (column, "-", "id"), (column, "*", "2"), (column, "+", column), (column, "*", column), (column, "-", column)]
] + [(text, text, {"overflow"}) for column in ["edge_i16", "edge_i32", "edge_i64"] for text in [f"- {column}", f"abs({column})", f"cast({column} as smallint)", f"cast({column} as int)", f"cast({column} as double)", f"{column} > 0.5", f"{column} = edge_d", f"{column} < edge_u64"]]

QUERIES = [
    "select sum(i32) as x, count(*) as n, count(i32) as c, min(s) as a, max(us) as b from t",
    "select b, sum(d2) as x, avg(f64) as y from t group by b order by b nulls last",
    "select b, count(*) as n from t group by b having count(*) > 1 order by n, b nulls last",
    "select sum(edge_i32) as x from t", "select sum(edge_u64) as x from t", "select sum(edge_i64) as x from t", "select sum(edge_d) as x from t",
    "select sum(distinct i32) as x, count(distinct b) as y from t",
    "select id, sum(i64) over (order by id) as x from t order by id",
    "select id, sum(i64) over (order by id rows between 1 preceding and 1 following) as x from t order by id",
    "select id, sum(d2) over (partition by b order by id) as x from t order by id",
    "select id, row_number() over (order by i32 nulls first, id) as x, rank() over (order by b nulls first) as y from t order by id",
    "select id, lag(s) over (order by id) as x, lead(us, 2) over (order by id) as y from t order by id",
    "select id, first_value(i32) over (order by id) as x, last_value(i32) over (order by id) as y from t order by id",
    "select id, ntile(4) over (order by id) as x from t order by id",
    "select id from t qualify row_number() over (partition by b order by id) = 1 order by id",
    "select a.id, c.id as other from t a join t c on a.i32 = c.i64 + 2 order by 1, 2",
    "select a.id, c.id as other from t a left join t c on a.us < c.ns order by 1, 2",
    "select a.id, c.id as other from t a join t c on a.d2 = c.d4 order by 1, 2",
    "select a.id, c.id as other from t a join t c on a.f64 = c.d2 order by 1, 2",
    "select a.id, c.id as other from t a join t c on a.dt = c.us order by 1, 2",
    "select a.id, c.id as other from t a full join t c on a.id = c.i32 order by 1 nulls last, 2 nulls last",
    "select a.id, c.id as other from t a join t c on a.b = c.b order by 1, 2",
    "select id from t where i32 in (select i64 + 2 from t) order by id",
    "select id from t where us in (select dt from t) order by id",
    "select id from t where d2 in (select f64 from t) order by id",
    "select id from t where i32 not in (select i64 from t where i64 is not null) order by id",
    "select id from t where i32 not in (select i64 from t) order by id",
    "select id from t a where exists (select 1 from t c where c.i64 > a.i32) order by id",
    "select id from t a where not exists (select 1 from t c where c.us > a.us) order by id",
    "select id, (select max(i64) from t) as x from t order by id",
    "select id, (select count(*) from t c where c.id < a.id) as x from t a order by id",
    "select x from (select us as x from t union all select dt from t) order by x nulls last",
    "select x from (select us as x from t union all select ms from t) order by x nulls last",
    "select x from (select d2 as x from t union all select f64 from t) order by x nulls last",
    "select x from (select d2 as x from t union all select d4 from t) order by x nulls last",
    "select x from (select i32 as x from t union all select i64 from t) order by x nulls last",
    "select b as x from t union select b2 from t order by 1 nulls last",
    "select i32 as x from t intersect select i64 from t order by 1",
    "select b as x from t except select b2 from t where b2 order by 1 nulls last",
    "select b, b2, count(*) as n from t group by rollup (b, b2) order by 1 nulls last, 2 nulls last, 3",
    "select b, b2, count(*) as n from t group by cube (b, b2) order by 1 nulls last, 2 nulls last, 3",
    "select b, b2, count(*) as n from t group by grouping sets ((b), (b2), ()) order by 1 nulls last, 2 nulls last, 3",
    "select distinct b from t order by b nulls first",
    "select distinct on (b) b, id from t order by b nulls last, id",
    "select id from t order by s desc nulls last, id limit 3 offset 1",
    "with recursive r as (select 1 as n union all select n + 1 from r where n < 10) select sum(n) as x from r",
    "with a as (select id, i32 from t where b), c as (select * from a where i32 > 0) select id from c order by id",
    "select string_agg(s, ',' order by id) as x from t where s is not null",
    "select min(dt) as a, max(dt) as b, min(ns) as c, max(ms) as d, bool_and(b) as e, bool_or(b) as f from t",
    "select sum(i32) filter (where b) as x, count(*) filter (where us > date '2000-01-01') as y from t",
    "select extract(year from us) as y, count(*) as n from t group by 1 order by 1 nulls last",
    "select date_trunc('month', us) as m, count(*) as n from t group by 1 order by 1 nulls last",
    "select case when us = timestamp '9999-12-31 00:00:00' then 'open' when us is null then 'none' else 'closed' end as x, count(*) as n from t group by 1 order by 1",
    "select max(d2 * d4) as x, min(d2 - d4) as y, sum(d2 * 2) as z from t",
]

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def plain(column):
    """The values of a column in types that can be compared whatever the engine calls them."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return [None if value is None else ("time", value * UNITS[kind.unit]) for value in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_date(kind):
        return [None if value is None else ("time", value * 86_400 * 10**9) for value in column.cast(pa.int32()).to_pylist()]
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return [None if value is None else D(value) for value in column.to_pylist()]
    if pa.types.is_float32(kind):
        return [None if value is None else float(value) for value in column.to_pylist()]
    return column.to_pylist()


def of_table(table):
    return [plain(table.column(at).combine_chunks() if hasattr(table.column(at), "combine_chunks") else table.column(at)) for at in range(table.num_columns)]


def ask_asof(sql, number):
    """The columns of a result, or what asof said."""
    out, file = f"out/{number}", f"sql/{number}.sql"
    with open(file, "w") as handle:
        handle.write(sql)
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run([ASOF, "-q", "--no-progress", "backfill", "--lake", "lake", "--sql", file, "--out", out, "--from", "2024-01-01", "--to", "2024-01-01"],
                          capture_output=True, text=True, env={**os.environ, "RUST_BACKTRACE": "0"})
    if done.returncode:
        return done.returncode, done.stderr
    return 0, of_table(pq.ParquetFile(f"{out}/date=2024-01-01/{number}.parquet").read())


CONNECTION = duckdb.connect()


def ask_duckdb(sql):
    try:
        table = CONNECTION.cursor().execute(sql).to_arrow_table()
    except duckdb.Error as error:
        return str(error)
    return of_table(table)


class Comparison:
    def __init__(self):
        self.compared, self.known, self.unknown = 0, {}, []

    def add(self, sql, uses, ours, said, theirs):
        """Compares two columns; a string stands for an error."""
        self.compared += 1
        if isinstance(theirs, str):
            theirs_said, theirs = theirs, None
        else:
            theirs_said = None
        if ours is None and theirs is None:
            return
        if ours is None or theirs is None:
            pairs = [("error" if ours is None else ours[0], "error" if theirs is None else theirs[0])]
        else:
            pairs = list(zip(ours, theirs)) if len(ours) == len(theirs) else [(f"{len(ours)} rows", f"{len(theirs)} rows")]
        for one, other in pairs:
            if alike(one, other):
                continue
            kind = next((kind for kind, (_, is_it) in KNOWN.items() if is_it(sql, uses, one, other)), None)
            if kind is None:
                self.unknown.append({"sql": sql, "asof": str(one), "duckdb": str(other), "said": (said or theirs_said or "")[:300]})
                return
            self.known[kind] = self.known.get(kind, 0) + 1


def alike(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)
    if isinstance(one, float) != isinstance(other, float) and isinstance(one, (float, D)) and isinstance(other, (float, D)):
        return float(one) == float(other)
    return one == other and type(one) is type(other)


def expressions(count):
    made = Expressions(20240229)
    return [made.any(made.random.randrange(1, 4)) for _ in range(count)]


def select(batch, which):
    return "select " + ", ".join(f"{expression[which]} as c{at}" for at, expression in enumerate(batch)) + " from t order by id"


def run_batch(number, batch):
    """The result of each expression of a batch, found by halves where one fails."""
    code, result = ask_asof(select(batch, 0), number)
    if code == 0:
        return [(column, None) for column in result]
    if len(batch) == 1:
        return [(None, f"{code}: {result}")]
    half = len(batch) // 2
    return run_batch(number, batch[:half]) + run_batch(number, batch[half:])


def main():
    os.makedirs("sql"), os.makedirs("out")
    table = rows()
    pq.write_table(table, "t.parquet")
    subprocess.run([ASOF, "-q", "--no-progress", "snapshot", "t", "--lake", "lake", "--source", "t.parquet", "--key", "id", "--date", "2024-01-01", "--backdate"], check=True)
    CONNECTION.execute("set default_null_order = 'nulls_last'")
    CONNECTION.execute("create table t as select * from 't.parquet'")
    all_of_them = expressions(COUNT)
    batches = [all_of_them[at:at + BATCH] for at in range(0, len(all_of_them), BATCH)] + [[edge] for edge in EDGES]
    comparison = Comparison()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run_batch, range(len(batches)), batches))
        queries = list(pool.map(ask_asof, QUERIES, [f"q{at}" for at in range(len(QUERIES))]))
    for batch, result in zip(batches, results):
        for (ours_sql, theirs_sql, uses), (ours, said) in zip(batch, result):
            theirs = ask_duckdb(f"select {theirs_sql} as x from t order by id")
            comparison.add(ours_sql, uses, ours, said, theirs if isinstance(theirs, str) else theirs[0])
    for sql, (code, result) in zip(QUERIES, queries):
        theirs = ask_duckdb(sql)
        rows_of = lambda columns: [tuple(row) for row in zip(*columns)]
        uses = {"overflow"} if "edge_" in sql else set()
        ours = None if code else rows_of(result)
        if ours is not None and not isinstance(theirs, str):
            theirs = rows_of(theirs)
            same = len(ours) == len(theirs) and all(alike(x, y) or is_close(x, y, 4e-15) for one, other in zip(ours, theirs) for x, y in zip(one, other))
            if same:
                comparison.compared += 1
                continue
        comparison.add(sql, uses, ours, None if code == 0 else f"{code}: {result}", theirs)
    print(json.dumps({"compared": comparison.compared, "queries": len(QUERIES), "known": comparison.known, "unknown": comparison.unknown,
                      "not_met": sorted(set(KNOWN) - set(comparison.known)),
                      "sections": sorted({section for section, _ in KNOWN.values()})}))


main()
