"""Writes a table of many column types with pyarrow, pandas, polars and DuckDB, in every format, takes it through asof, and compares
every value that comes out with the one in the file. Prints what differs as one JSON document.

Arguments: the asof program, and the name of one tool, if not all are wanted. Runs in an empty folder.
"""

import csv
import datetime as dt
import decimal
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import uuid

import duckdb
import numpy
import pandas
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq

ASOF = sys.argv[1]
D = decimal.Decimal
decimal.getcontext().prec = 80
failures = []
compared = 0
types = {}

# ---------------------------------------------------------------------------------------------------------------------------------
# Values in one form, whatever their type: what must come out as it went in.

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def float_of(value):
    return "NaN" if math.isnan(value) else struct.pack(">d", value).hex()


def plain(scalar):
    """A value of pyarrow in a form that does not depend on units and encodings."""
    if not scalar.is_valid:
        return None
    kind = scalar.type
    if pa.types.is_dictionary(kind):
        return plain(scalar.value)
    if isinstance(kind, pa.BaseExtensionType):
        return plain(scalar.value)
    if pa.types.is_timestamp(kind):
        return ["time in UTC" if kind.tz else "time", scalar.value * UNITS[kind.unit]]
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        return scalar.value * UNITS[kind.unit]
    if pa.types.is_date(kind):
        return ["date", scalar.as_py().isoformat()]
    if pa.types.is_floating(kind):
        return float_of(float(scalar.as_py()))
    if pa.types.is_decimal(kind):
        return ["decimal", str(scalar.as_py().normalize() + 0)]
    if pa.types.is_map(kind):
        return [[plain(pair["key"]), plain(pair["value"])] for pair in map_entries(scalar)]
    if pa.types.is_nested(kind) and not pa.types.is_struct(kind):
        return [plain(item) for item in scalar.values]
    if pa.types.is_struct(kind):
        return {kind.field(at).name: plain(scalar[at]) for at in range(kind.num_fields)}
    value = scalar.as_py()
    return value.hex() if isinstance(value, bytes) else value


def map_entries(scalar):
    entries = scalar.values
    key, value = entries.type.field(0).name, entries.type.field(1).name
    return [{"key": entry[key], "value": entry[value]} for entry in entries]


def column_of(table, name):
    column = table.column(name)
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    return [plain(value) for value in column]


def rows_of(table, key="id"):
    names = [name for name in table.column_names if name not in ("active_start", "active_end")]
    columns = {name: column_of(table, name) for name in names}
    order = sorted(range(table.num_rows), key=lambda row: columns[key][row])
    return {name: [columns[name][row] for row in order] for name in names}


def check(place, found, expected, texts=None):
    """Compares columns of rows; `texts` are other forms that a value may have, since a text format has no types."""
    global compared
    for name, values in expected.items():
        if name not in found:
            failures.append(f"{place}: column {name} is gone")
            continue
        others = texts[name] if texts else [()] * len(values)
        for row, (got, value, other) in enumerate(zip(found[name], values, others, strict=True)):
            compared += 1
            if got != value and got not in other:
                failures.append(f"{place}: column {name}, row {row}: {got!r} came out of {value!r}")


# ---------------------------------------------------------------------------------------------------------------------------------
# What asof does with a table of two days.


def asof(*arguments):
    done = subprocess.run([ASOF, "--no-progress", "-q", "--lake", "lake", *arguments], capture_output=True, text=True)
    return done.returncode, done.stderr.strip()


def must(place, *arguments):
    code, said = asof(*arguments)
    if code != 0:
        failures.append(f"{place}: exit {code}: asof {' '.join(arguments)}: {said}")
    return code == 0


def read(path):
    return pq.ParquetFile(path).read()


def journey(place, files, expected, texts=(None, None), ending="parquet"):
    """Takes the files of two days through asof: both dates, intervals, expansion and joins, and copies of another tool."""
    for folder in ("lake", "back", "out", "copies", "events"):
        shutil.rmtree(folder, ignore_errors=True)
    days = ("2024-01-01", "2024-01-02")
    for day, file in zip(days, files):
        os.makedirs(f"copies/date={day}")
        shutil.copy(file, f"copies/date={day}/part.{ending}")
        os.makedirs(f"events/date={day}")
        ids = expected[days.index(day)]["id"]
        with open(f"events/date={day}/e.csv", "w") as events:
            events.write("e,item\n" + "".join(f"{at},{id}\n" for at, id in enumerate(ids)))
        if not must(place, "snapshot", "t", "--source", file, "--key", "id", "--date", day, "--backdate"):
            return
    if not must(place, "compact", "t"):
        return
    if not must(place, "compact", "--snapshots", "copies", "--layout", "date=%Y-%m-%d", "--key", "id", "--out", "copies.parquet"):
        return
    join = ["--table", "t", "--from", days[0], "--to", days[1], "--events-layout", "date=%Y-%m-%d"]
    steps = [must(place, "expand", "t", "--from", days[0], "--to", days[1], "--out", "back")]
    for using in ("snapshots", "intervals"):
        out = ["--how", "left", "--using", using, "--out", f"out/{using}"]
        steps.append(must(place, "backfill", "--events", "events", "--on", "item=id", *join, *out))
    out = ["--how", "semi", "--out", "out/events"]
    steps.append(must(place, "backfill", "--events", "copies", "--on", "id", *join, *out))
    if not all(steps):
        return
    for at, day in enumerate(days):
        rows, other = expected[at], texts[at]
        check(f"{place}, snapshot of {day}", rows_of(read(f"lake/t/snapshots/snapshot_date={day}/t.parquet")), rows, other)
        check(f"{place}, expansion of {day}", rows_of(read(f"back/snapshot_date={day}/t.parquet")), rows, other)
        for intervals in ("lake/t/intervals/t.parquet", "copies.parquet"):
            whole = read(intervals)
            date = dt.date.fromisoformat(day)
            holds = pc.and_(pc.less_equal(whole["active_start"], date), pc.greater_equal(whole["active_end"], date))
            check(f"{place}, {intervals} on {day}", rows_of(whole.filter(holds)), rows, other)
        attributes = {name: values for name, values in rows.items() if name != "id"}
        for using in ("snapshots", "intervals"):
            joined = rows_of(read(f"out/{using}/date={day}/{using}.parquet"), key="item")
            check(f"{place}, join by {using} on {day}", joined, attributes, other)
        check(f"{place}, events of {day}", rows_of(read(f"out/events/date={day}/events.parquet")), rows, other)


def refused(place, file, column):
    """Expects a file to be refused, with the name of the column."""
    shutil.rmtree("lake", ignore_errors=True)
    code, said = asof("snapshot", "t", "--source", file, "--key", "id", "--date", "2024-01-01", "--backdate")
    if code != 3 or f"'{column}'" not in said:
        failures.append(f"{place}: exit {code}, and not 3 with the name of column '{column}': {said}")


# ---------------------------------------------------------------------------------------------------------------------------------
# The columns: five values each, with nulls and the edges of the type. The second day has them in another order.

UTC = dt.timezone.utc
TEXTS = ["", "a'b,\"c\"\n", "\u00e9\u4e2d\U0001f600 ", None, "x" * 3000]
DAYS = [dt.date(1, 1, 1), dt.date(1969, 12, 31), None, dt.date(2024, 2, 29), dt.date(9999, 12, 31)]
TIMES = [dt.datetime(1, 1, 1), dt.datetime(1969, 12, 31, 23, 59, 59), None, dt.datetime(2024, 2, 29, 12), dt.datetime(9999, 12, 31, 23, 59, 59)]
CLOCK = [dt.time(0), dt.time(23, 59, 59), None, dt.time(12, 30), dt.time(1)]
NESTED = [[1, None, -3], [], None, [2**31 - 1], [0]]


def whole(bits, signed=True):
    least, greatest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return [least, greatest, None, 0, 1]


def dec(precision, scale):
    greatest = D(10**precision - 1).scaleb(-scale)
    return [greatest, -greatest, None, D(0), D(1).scaleb(-scale)]


def arrow_columns():
    columns = {}
    for bits in (8, 16, 32, 64):
        columns[f"int{bits}"] = pa.array(whole(bits), f"int{bits}")
        columns[f"uint{bits}"] = pa.array(whole(bits, False), f"uint{bits}")
    columns["float16"] = pa.array(numpy.array([1.5, -0.0, math.inf, math.nan, 65504], "float16"))
    columns["float32"] = pa.array([1.1, -0.0, None, math.nan, 3.4028234663852886e38], "float32")
    columns["float64"] = pa.array([0.1, -0.0, None, math.nan, 5e-324], "float64")
    columns["bool"] = pa.array([True, False, None, True, False])
    columns["null"] = pa.nulls(5)
    for precision, scale in ((1, 0), (9, 2), (18, 0), (18, 18), (38, 0), (38, 10), (38, 38)):
        columns[f"decimal128_{precision}_{scale}"] = pa.array(dec(precision, scale), pa.decimal128(precision, scale))
    columns["decimal32"] = pa.array(dec(9, 3), pa.decimal32(9, 3))
    columns["decimal64"] = pa.array(dec(18, 3), pa.decimal64(18, 3))
    for name in ("string", "large_string", "string_view"):
        columns[name] = pa.array(TEXTS, getattr(pa, name)())
    bytes_ = [b"", b"\0\xff", None, b"abc", b"y" * 2000]
    for name in ("binary", "large_binary", "binary_view"):
        columns[name] = pa.array(bytes_, getattr(pa, name)())
    columns["fixed_binary"] = pa.array([b"abcd", b"\0" * 4, None, b"\xff" * 4, b"wxyz"], pa.binary(4))
    columns["uuid"] = pa.array([uuid.UUID(int=at).bytes if at != 2 else None for at in range(5)], pa.uuid())
    columns["json"] = pa.array(['{"a": 1}', "[]", None, "1e400", '"x"'], pa.json_())
    columns["date32"] = pa.array(DAYS, pa.date32())
    columns["date64"] = pa.array(DAYS, pa.date64())
    for unit in ("s", "ms"):
        columns[f"time32_{unit}"] = pa.array(CLOCK, pa.time32(unit))
    for unit in ("us", "ns"):
        columns[f"time64_{unit}"] = pa.array(CLOCK, pa.time64(unit))
    near = [None if time is None else max(dt.datetime(1678, 1, 1), min(time, dt.datetime(2262, 1, 1))) for time in TIMES]
    for unit in ("s", "ms", "us", "ns"):
        times = near if unit == "ns" else TIMES
        columns[f"timestamp_{unit}"] = pa.array(times, pa.timestamp(unit))
        columns[f"timestamp_{unit}_utc"] = pa.array(times, pa.timestamp(unit, "UTC"))
        columns[f"timestamp_{unit}_berlin"] = pa.array(times, pa.timestamp(unit, "Europe/Berlin"))
        columns[f"duration_{unit}"] = pa.array([0, -1, None, 10**9, 86_400], pa.duration(unit))
    columns["timestamp_ns"] = pa.array([2**63 - 1, -(2**63) + 1, None, 1, 999], pa.timestamp("ns"))
    columns["dictionary"] = pa.array(["a", "b", None, "a", ""]).dictionary_encode()
    for index in (pa.int8(), pa.uint16(), pa.int64()):
        columns[f"dictionary_{index}"] = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1, 0], index), pa.array(["a", "\u00e9"]))
    columns["dictionary_int"] = pa.array([7, -7, None, 7, 0]).dictionary_encode()
    columns["list"] = pa.array(NESTED, pa.list_(pa.int32()))
    columns["large_list"] = pa.array(NESTED, pa.large_list(pa.int32()))
    columns["fixed_list"] = pa.array([[1, 2], [3, None], None, [5, 6], [-7, 8]], pa.list_(pa.int16(), 2))
    columns["list_of_text"] = pa.array([["a", None], [], None, [""], ["\u00e9"]], pa.list_(pa.string()))
    columns["list_of_list"] = pa.array([[[1], []], [None], None, [[2, None]], []], pa.list_(pa.list_(pa.int64())))
    columns["list_of_time"] = pa.array([[TIMES[0], None], [], None, [TIMES[4]], [TIMES[3]]], pa.large_list(pa.timestamp("s")))
    columns["struct"] = pa.array([{"a": 1, "b": "x"}, {"a": None, "b": None}, None, {"a": -1, "b": ""}, {"a": 5, "b": "y"}])
    inner = pa.struct([("n", pa.decimal128(20, 4)), ("s", pa.struct([("d", pa.date32()), ("l", pa.list_(pa.string()))]))])
    columns["struct_of_struct"] = pa.array(
        [{"n": D("1.2345"), "s": {"d": DAYS[4], "l": ["q"]}}, {"n": None, "s": None}, None, {"n": D(0), "s": {"d": None, "l": []}}, None], inner)
    columns["list_of_struct"] = pa.array([[{"a": 1}], [], None, [{"a": None}, None], [{"a": 2}]], pa.list_(pa.struct([("a", pa.int8())])))
    columns["map"] = pa.array([[("a", 1)], [], None, [("b", None), ("c", 3)], [("d", 4)]], pa.map_(pa.string(), pa.int32()))
    columns["map_of_list"] = pa.array([[(1, ["x"])], [], None, [(2, None)], [(3, [])]], pa.map_(pa.int64(), pa.list_(pa.string())))
    return columns


def ipc_only():
    """Columns that pyarrow writes to Arrow IPC and not to Parquet."""
    return {
        "dictionary_with_null": pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1, 0], pa.int8()), pa.array(["a", None])),
        "run_end": pc.run_end_encode(pa.array(["a", "a", None, None, "b"])),
        "run_end_int": pc.run_end_encode(pa.array([1, 1, None, 2, 2]), run_end_type=pa.int16()),
        "list_view": pa.array(NESTED, pa.list_view(pa.int32())),
        "large_list_view": pa.array(NESTED, pa.large_list_view(pa.int32())),
        "list_of_dictionary": pa.ListArray.from_arrays([0, 1, 2, 2, 3, 4], pa.array(["a", "b", None, "a"]).dictionary_encode()),
        "dictionary_of_list": pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1, 0], pa.int32()), pa.array([[1, None], []])),
    }


REFUSED = {
    "decimal256": pa.array([D(10) ** 40, None], pa.decimal256(60, 2)),
    "month_interval": pa.array([pa.MonthDayNano([1, 2, 3]), None], pa.month_day_nano_interval()),
    "union": pa.UnionArray.from_dense(pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([1]), pa.array(["a"])]),
    "date64_with_time": pa.array([1, 86_400_000]).view(pa.date64()),
    "list_of_interval": pa.array([[pa.MonthDayNano([1, 2, 3])], None], pa.list_(pa.month_day_nano_interval())),
}


def two_days(columns):
    """The table of the first day, and one whose rows have each other's values."""
    first = pa.table({"id": pa.array(range(5), pa.int64()), **columns})
    turned = {}
    for name, column in columns.items():
        # Some encodings cannot be taken from: a slice is put after another.
        turned[name] = pa.chunked_array([column.slice(1), column.slice(0, 1)])
    second = pa.table({"id": pa.array(range(5), pa.int64()), **turned})
    return first, second


def arrow_journey(place, columns, write, ending, read_back):
    tables = two_days(columns)
    files = [f"{day}.{ending}" for day in (1, 2)]
    for table, file in zip(tables, files):
        write(table, file)
    expected = [rows_of(read_back(file)) for file in files]
    for name in columns:
        types.setdefault(name, []).append(place)
    journey(place, files, expected, ending=ending)


def write_ipc(table, file, stream=False, compression=None):
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(file, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=3)


def read_file(file):
    return pa.ipc.open_file(file).read_all()


def read_stream(file):
    return pa.ipc.open_stream(file).read_all()


def with_pyarrow():
    columns = arrow_columns()
    arrow_journey("pyarrow, Parquet", columns, pq.write_table, "parquet", read)
    arrow_journey("pyarrow, Parquet without its schema", columns, lambda table, file: pq.write_table(
        table, file, store_schema=False, version="2.6", data_page_version="2.0", use_dictionary=False, compression="zstd"), "parquet", read)
    times = {name: column for name, column in columns.items() if name.startswith("timestamp") and "berlin" not in name}
    arrow_journey("pyarrow, INT96", {name: column.cast(column.type) for name, column in times.items() if name != "timestamp_ns"},
                  lambda table, file: pq.write_table(table, file, use_deprecated_int96_timestamps=True, store_schema=False), "parquet",
                  lambda file: pq.ParquetFile(file, coerce_int96_timestamp_unit="us").read())
    more = {**columns, **ipc_only()}
    arrow_journey("pyarrow, IPC file", more, write_ipc, "arrow", read_file)
    arrow_journey("pyarrow, IPC stream", more, lambda table, file: write_ipc(table, file, stream=True), "ipc", read_stream)
    for compression in ("lz4", "zstd"):
        arrow_journey(f"pyarrow, Feather with {compression}", more, lambda table, file: write_ipc(table, file, compression=compression),
                      "feather", read_file)
    for name, column in REFUSED.items():
        table = pa.table({"id": [1, 2], "x": column})
        write_ipc(table, "x.arrow")
        refused(f"pyarrow, IPC, {name}", "x.arrow", "x")
        try:
            pq.write_table(table, "x.parquet")
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            continue
        # What Parquet has no type for is written as another type, and read back as that by everybody.
        if read("x.parquet").schema.field("x").type == column.type:
            refused(f"pyarrow, Parquet, {name}", "x.parquet", "x")


# ---------------------------------------------------------------------------------------------------------------------------------
# Text formats: a value comes out as it is in the file, as text, or as the value that the writer had.


def with_text():
    columns = {name: column for name, column in arrow_columns().items() if not pa.types.is_nested(column.type)}
    for name in list(columns):
        if "binary" in name or name in ("uuid", "json", "float16", "decimal32", "decimal64") or "berlin" in name or name.startswith("duration"):
            del columns[name]
        elif isinstance(columns[name], pa.DictionaryArray):
            columns[name] = columns[name].dictionary_decode()
    # In CSV an empty text is a null.
    for name in ("string", "large_string", "string_view", "dictionary"):
        columns[name] = pc.if_else(pc.equal(columns[name].cast(pa.string()), ""), "-", columns[name].cast(pa.string()))
    tables = two_days(columns)
    text_journey("pyarrow, CSV", tables, pa.csv.write_csv, "csv")
    # polars takes dates in milliseconds for times.
    known = [table.drop_columns(["date64"]) for table in tables]
    text_journey("polars, CSV", known, lambda table, file: polars.from_arrow(table).write_csv(file), "csv")
    text_journey("polars, NDJSON", known, lambda table, file: polars.from_arrow(table).write_ndjson(file), "ndjson")
    simple = [table.select([name for name in table.column_names if not name.startswith(("time", "decimal128_38", "date64"))]) for table in tables]
    text_journey("pandas, CSV", simple, lambda table, file: table.to_pandas(types_mapper=pandas.ArrowDtype).to_csv(file, index=False), "csv")
    text_journey("DuckDB, CSV", simple, lambda rows, file: duckdb.sql(f"copy rows to '{file}' (header)"), "csv")
    text_journey("DuckDB, TSV", simple, lambda rows, file: duckdb.sql(f"copy rows to '{file}' (header, delimiter '\t')"), "tsv")
    # DuckDB writes NaN, and fractions without a digit before the point, which are not JSON.
    simple = [table.drop_columns(["float32", "float64", "decimal128_18_18"]) for table in simple]
    text_journey("DuckDB, NDJSON", simple, lambda rows, file: duckdb.sql(f"copy rows to '{file}' (format json)"), "ndjson")


class Number:
    """A number of JSON, as it is written."""

    def __init__(self, text):
        self.text = text


def number_forms(text):
    """The values that a text may have been read as: itself, and a number that is exactly what it says."""
    forms = [text]
    try:
        number = D(text)
    except decimal.InvalidOperation:
        return forms
    if not number.is_finite():
        return forms + [float_of(float(text))]
    if number == number.to_integral_value() and str(int(number)) == text:
        forms.append(int(number))
    if D(repr(float(text))) == number:
        forms.append(float_of(float(text)))
    return forms


def csv_forms(text):
    truth = {"true": [True], "false": [False]}
    return [None] if text == "" else number_forms(text) + truth.get(text.lower(), [])


def json_forms(value):
    return number_forms(value.text) if isinstance(value, Number) else [value]


def text_journey(place, tables, write, ending):
    files = [f"{day}.{ending}" for day in (1, 2)]
    for table, file in zip(tables, files):
        write(table, file)
    expected = [rows_of(table) for table in tables]
    for name in expected[0]:
        types.setdefault(name, []).append(place)
    journey(place, files, expected, [forms_in(file, ending, rows) for file, rows in zip(files, expected)], ending)


def forms_in(file, ending, rows):
    forms = {name: [] for name in rows}
    if ending == "ndjson":
        with open(file) as lines:
            parsed = [json.loads(line, parse_float=Number, parse_int=Number) for line in lines]
        parsed.sort(key=lambda row: int(row["id"].text))
        for row in parsed:
            for name in rows:
                forms[name].append(json_forms(row.get(name)))
        return forms
    with open(file, newline="") as text:
        records = list(csv.DictReader(text, delimiter="\t" if ending == "tsv" else ","))
    records.sort(key=lambda row: int(row["id"]))
    for row in records:
        for name in rows:
            forms[name].append(csv_forms(row[name]))
    return forms


# ---------------------------------------------------------------------------------------------------------------------------------
# Other tools' own types.


def with_polars():
    columns = {name: column for name, column in arrow_columns().items()
               if not name.startswith(("decimal32", "decimal64", "map", "float16", "uuid", "json", "null")) and "berlin" not in name}
    frames = [polars.from_arrow(table.combine_chunks()).with_columns(
        polars.Series("categorical", ["a", "b", None, "a", ""], dtype=polars.Categorical),
        polars.Series("enum", ["x", None, "y", "x", "y"], dtype=polars.Enum(["x", "y"])),
        polars.Series("array", [[1, 2], [3, None], None, [4, 5], [6, 7]], dtype=polars.Array(polars.Int64, 2)),
        polars.Series("time", CLOCK, dtype=polars.Time),
    ) for table in two_days(columns)]
    names = [*columns, "categorical", "enum", "array", "time"]
    for ending, write, read_back in (
        ("parquet", lambda frame, file: frame.write_parquet(file), read),
        ("arrow", lambda frame, file: frame.write_ipc(file), read_file),
        ("feather", lambda frame, file: frame.write_ipc(file, compression="lz4"), read_file),
        ("ipc", lambda frame, file: frame.write_ipc_stream(file), read_stream),
    ):
        files = [f"{day}.{ending}" for day in (1, 2)]
        for frame, file in zip(frames, files):
            write(frame, file)
        place = f"polars, {ending}"
        for name in names:
            types.setdefault(name, []).append(place)
        journey(place, files, [rows_of(read_back(file)) for file in files], ending=ending)
    wide = polars.DataFrame({"id": [1, 2]}).with_columns(polars.Series("x", [2**100, None], dtype=polars.Int128))
    wide.write_parquet("x.parquet")
    wide.write_ipc("x.arrow")
    for file in ("x.parquet", "x.arrow"):
        refused(f"polars, Int128, {file}", file, "x")


def with_duckdb():
    values = {
        "tinyint": "'-128'::tinyint", "utinyint": "255::utinyint", "smallint": "'-32768'::smallint", "usmallint": "65535::usmallint",
        "integer": "'-2147483648'::integer", "uinteger": "4294967295::uinteger", "bigint": "'-9223372036854775808'::bigint",
        "ubigint": "18446744073709551615::ubigint", "real": "'1.1'::real", "double": "0.1::double", "boolean": "true",
        "decimal_4_1": "999.9::decimal(4, 1)", "decimal_9_2": "1234567.89::decimal(9, 2)", "decimal_18_9": "1.123456789::decimal(18, 9)",
        "decimal_38_10": "1234567890123456789012345678.0123456789::decimal(38, 10)", "varchar": "'caf\u00e9'", "blob": "'\\xff\\x00'::blob",
        "days": "'9999-12-31'::date", "time": "'23:59:59.123456'::time", "timestamp": "'9999-12-31 23:59:59.999999'::timestamp",
        "timestamp_s": "'0001-01-01 00:00:00'::timestamp_s", "timestamp_ms": "'1969-12-31 23:59:59.999'::timestamp_ms",
        "timestamp_ns": "'2024-02-29 12:00:00.123456789'::timestamp_ns", "timestamptz": "'2024-02-29 12:00:00+01'::timestamptz",
        "uuid": "'00112233-4455-6677-8899-aabbccddeeff'::uuid", "enum": "'b'::mood", "list": "[1, null, 3]",
        "array": "array_value(1, 2)", "struct": "{'a': 1, 'b': 'x'}", "map": "map {'k': 1}", "json": "'{\"a\": 1}'::json",
        "nested": "[{'a': [1, 2]}, null]",
    }
    duckdb.sql("create type mood as enum ('a', 'b')")
    duckdb.sql("set timezone = 'UTC'")
    files = []
    for day in (1, 2):
        # pyarrow cannot read the nulls of DuckDB's arrays.
        columns = ", ".join(f"case when (id + {day}) % 3 = 0 and '{name}' != 'array' then null else {value} end as \"{name}\""
                            for name, value in values.items())
        files.append(f"{day}.parquet")
        duckdb.sql(f"copy (select id, {columns} from range(5) as ids(id)) to '{day}.parquet'")
    for name in values:
        types.setdefault(f"duckdb {name}", []).append("DuckDB, Parquet")
    journey("DuckDB, Parquet", files, [rows_of(read(file)) for file in files])


def with_pandas():
    def frame(day):
        order = [0, 1, 2, 3, 4] if day == 1 else [1, 2, 3, 4, 0]
        pick = lambda values: [values[at] for at in order]
        return pandas.DataFrame({
            "id": range(5),
            "int64": pick([1, -(2**63), 2**63 - 1, 0, 5]),
            "nullable_int": pandas.array(pick([1, None, 2**53 + 1, 3, 4]), dtype="Int64"),
            "nullable_bool": pandas.array(pick([True, None, False, True, True]), dtype="boolean"),
            "float64": pick([0.1, math.nan, -0.0, math.inf, 5e-324]),
            "text": pandas.array(pick(["a", None, "\u00e9", "", "b"]), dtype="string"),
            "object": pick(["a", None, "c", "", "b"]),
            "category": pandas.Categorical(pick(["x", None, "y", "x", "y"])),
            "time_ns": pandas.to_datetime(pick(["2024-01-01 00:00:00.123456789", None, "1700-01-01", "2200-01-01", "1970-01-01"]), format="ISO8601"),
            "time_utc": pandas.to_datetime(pick(["2024-01-01", None, "1700-01-01", "2200-01-01", "1970-01-01"]), utc=True),
            "delta": pandas.to_timedelta(pick([1, None, -1, 10**15, 0]), unit="ns"),
            "decimal": pick([D("1.50"), None, D("-0.01"), D("99999.99"), D(0)]),
            "bytes": pick([b"\0", None, b"", b"abc", b"\xff"]),
            "days": pick([dt.date(2024, 1, 1), None, dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1970, 1, 1)]),
            "list": pick([[1, 2], None, [], [3], [None]]),
        })
    frames = [frame(1), frame(2)]
    for ending, write, read_back in (
        ("parquet", lambda frame, file: frame.to_parquet(file), read),
        ("feather", lambda frame, file: frame.to_feather(file), read_file),
    ):
        files = [f"{day}.{ending}" for day in (1, 2)]
        for one, file in zip(frames, files):
            write(one, file)
        for name in frames[0].columns:
            types.setdefault(f"pandas {name}", []).append(f"pandas, {ending}")
        journey(f"pandas, {ending}", files, [rows_of(read_back(file)) for file in files], ending=ending)


for tool in (with_pyarrow, with_text, with_polars, with_duckdb, with_pandas):
    if len(sys.argv) < 3 or sys.argv[2] in tool.__name__:
        tool()
print(json.dumps({"compared": compared, "types": len(types), "failures": failures[:40], "failed": len(failures)}))
