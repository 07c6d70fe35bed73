"""Frames as sources: every library, every type, every check; memory, threads and Ctrl-C."""

import datetime
import decimal
import gc
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import DAYS, items
from polars.testing import assert_frame_equal

import asof


def take(lake, table, frame, **options):
    return lake.snapshot(table, frame, date=DAYS[0], backdate=True, **options)


def test_every_library_is_a_source(tmp_path):
    lake = asof.Lake(tmp_path / "lake")
    frame = items(DAYS[0])
    arrow = frame.to_arrow()
    batch = arrow.combine_chunks().to_batches()[0]
    frames = {
        "polars": frame,
        "pandas": frame.to_pandas(),
        "arrow": arrow,
        "batch": batch,
        "reader": arrow.to_reader(),
        "duckdb": duckdb.sql("select * from frame"),
        "sliced": pl.concat([frame.head(0), frame, frame]).slice(3, 3),
        "chunks": pl.concat([frame.head(1), frame.slice(1)], rechunk=False),
    }
    for name, source in frames.items():
        report = take(lake, name, source, key=["id"])
        assert (report["outcome"], report["rows"]) == ("published", 3), name
        assert_frame_equal(pl.DataFrame(lake[name].as_of(DAYS[0])), frame)
    fingerprints = {take(lake, "again", source, key="id", dry_run=True)["fingerprint"] for source in [frame, arrow, batch]}
    assert len(fingerprints) == 1
    # A stream that was read has no rows any more, and no table is made of that.
    with pytest.raises(asof.RefusedError, match="it has no rows"):
        take(lake, "again", frames["reader"], key="id")
    capsule = batch.__arrow_c_array__()
    once = type("Once", (), {"__arrow_c_array__": lambda self: capsule})()
    take(lake, "once", once, key="id")
    with pytest.raises(TypeError, match="can be read only once"):
        take(lake, "twice", once, key="id")


def test_frames_cross_as_they_are():
    """Also types that no table has: a join hands the columns of its events on."""
    nested = [{"a": [1, None], "b": {"c": "x"}}, None, {"a": [], "b": None}]
    frame = pl.DataFrame(
        {
            "nothing": [None] * 3,
            "nested": nested,
            "lists": [[None], None, [None, None]],
            "category": pl.Series(["b", None, "a"], dtype=pl.Categorical),
            "array": pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int16, 2)),
            "text": ["x" * 100, None, ""],
        }
    )
    for given in [frame, frame.slice(1, 2), frame.head(0), pl.concat([frame, frame], rechunk=False).slice(2, 3)]:
        rows = asof._asof.held(given)
        assert rows.columns == given.columns
        assert_frame_equal(pl.DataFrame(rows), given)
        assert pa.table(rows).num_rows == given.height
    union = pa.UnionArray.from_dense(pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([1]), pa.array(["a"])])
    encoded = pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array(["x", "y"]))
    table = pa.table({"union": union, "encoded": encoded})
    assert pa.table(asof._asof.held(table)).to_pylist() == table.to_pylist()
    assert pa.table(asof._asof.held(pa.table({}))).num_columns == 0
    with pytest.raises(TypeError, match="not a table"):
        asof._asof.held(pl.Series([1]))


# A value of each type that tables have, with the type that it has in a table.
TYPES = [
    (pa.bool_(), True, None),
    (pa.int8(), -128, None),
    (pa.int16(), 32767, None),
    (pa.int32(), -5, None),
    (pa.int64(), 2**63 - 1, None),
    (pa.uint8(), 255, None),
    (pa.uint16(), 65535, None),
    (pa.uint32(), 2**32 - 1, None),
    (pa.uint64(), 2**64 - 1, None),
    (pa.float16(), 1.5, pa.float32()),
    (pa.float32(), 0.1, None),
    (pa.float64(), 0.1, None),
    (pa.string(), "näme \U0001f600 that is longer than a view", None),
    (pa.large_string(), "a", pa.string()),
    (pa.string_view(), "a text that is not inline", pa.string()),
    (pa.binary(), b"\x00\xff", None),
    (pa.large_binary(), b"1", pa.binary()),
    (pa.binary_view(), b"1", pa.binary()),
    (pa.binary(4), b"1234", pa.binary()),
    (pa.date32(), datetime.date(2024, 2, 29), None),
    (pa.date64(), datetime.date(1969, 12, 31), pa.date32()),
    (pa.time32("s"), datetime.time(1, 2, 3), pa.time32("ms")),
    (pa.time32("ms"), datetime.time(1, 2, 3, 4000), None),
    (pa.time64("us"), datetime.time(1, 2, 3, 4), pa.time64("ns")),
    (pa.timestamp("s"), datetime.datetime(2024, 1, 2, 3, 4, 5), pa.timestamp("ms")),
    (pa.timestamp("ms"), datetime.datetime(2024, 1, 2, 3, 4, 5, 6000), None),
    (pa.timestamp("us"), datetime.datetime(1, 1, 1, 0, 0, 0, 1), None),
    (pa.timestamp("ns"), pd.Timestamp("2024-01-02T03:04:05.123456789"), None),
    (pa.timestamp("us", "UTC"), datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), None),
    (pa.timestamp("us", "Europe/Berlin"), datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), pa.timestamp("us", "UTC")),
    (pa.duration("ms"), datetime.timedelta(milliseconds=-3), None),
    (pa.duration("us"), datetime.timedelta(days=3, microseconds=1), None),
    (pa.decimal128(38, 10), decimal.Decimal("1234567890123456789012345678.0123456789"), None),
    (pa.dictionary(pa.int8(), pa.string()), "coded", pa.string()),
    (pa.list_(pa.int64()), [1, None, 3], None),
    (pa.large_list(pa.large_string()), ["a", None], pa.list_(pa.string())),
    (pa.list_(pa.int32(), 2), [1, 2], pa.list_(pa.int32())),
    (pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]), {"a": 1, "b": ["x", None]}, None),
    (pa.map_(pa.string(), pa.int64()), [("a", 1), ("b", None)], None),
]


def unnamed(data_type):
    """A type without the names of its items, which libraries choose."""
    if pa.types.is_list(data_type):
        return pa.list_(unnamed(data_type.value_type))
    if pa.types.is_struct(data_type):
        return pa.struct([(field.name, unnamed(field.type)) for field in data_type])
    if pa.types.is_map(data_type):
        return pa.map_(unnamed(data_type.key_type), unnamed(data_type.item_type))
    return data_type


@pytest.mark.parametrize(("written", "value", "read"), TYPES, ids=[str(written) for written, _, _ in TYPES])
def test_every_type_goes_in_and_comes_out(tmp_path, written, value, read):
    lake = asof.Lake(tmp_path / "lake")
    values = pa.array([None, value, value, None, value], type=written)
    # Slices and chunks, as frames have them.
    column = pa.chunked_array([values.slice(1, 2), values.slice(3)])
    frame = pa.table({"id": range(4), "v": column})
    take(lake, "t", frame, key="id")
    back = pa.table(lake["t"].as_of(DAYS[0]))
    read = read or written
    assert unnamed(back.schema.field("v").type) == unnamed(read)
    assert back.column("v").to_pylist() == column.cast(read).to_pylist()
    # And once more, from what came out: the same rows.
    first = lake["t"].snapshot(frame, date=DAYS[0], if_exists="replace", backdate=True, dry_run=True)
    again = lake["t"].snapshot(back, date=DAYS[0], if_exists="replace", backdate=True, dry_run=True)
    assert first["fingerprint"] == again["fingerprint"]


def test_columns_without_values_and_types_of_polars_go_in_and_come_out(tmp_path):
    lake = asof.Lake(tmp_path / "lake")
    frame = pl.DataFrame(
        {
            "id": [3, 1, 2],
            "nothing": [None, None, None],
            "list": [[None], [], None],
            "struct": [{"a": None, "b": "x"}] * 3,
            "category": pl.Series(["b", None, "a"], dtype=pl.Categorical),
            "enum": pl.Series(["x", "y", None], dtype=pl.Enum(["y", "x"])),
            "time": [datetime.time(1), None, datetime.time(2, 3, 4, 5)],
            "decimal": pl.Series([decimal.Decimal("1.50"), None, decimal.Decimal("-2.25")], dtype=pl.Decimal(10, 2)),
        }
    )
    for name, source in {"whole": frame, "sliced": pl.concat([frame, frame], rechunk=True).slice(2, 3)}.items():
        take(lake, name, source, key="id")
        back = pl.DataFrame(lake[name].as_of(DAYS[0]))
        expected = source.sort("id").with_columns(pl.col("category", "enum").cast(pl.String))
        assert back.drop("nothing", "list", "struct").equals(expected.drop("nothing", "list", "struct"))
        assert back["nothing"].null_count() == 3
        assert back["struct"].struct.field("b").to_list() == ["x"] * 3


def test_types_that_tables_do_not_have_are_refused_by_name(tmp_path):
    lake = asof.Lake(tmp_path / "lake")
    frame = pa.table({"id": [1], "every": pa.array([(1, 2, 3)], type=pa.month_day_nano_interval())})
    with pytest.raises(asof.RefusedError, match="the frame: column 'every' is "):
        take(lake, "t", frame, key="id")
    with pytest.raises(asof.RefusedError, match="two columns named 'id'"):
        take(lake, "t", pa.table([pa.array([1]), pa.array([2])], names=["id", "id"]), key="id")
    assert lake.tables == []


def test_every_check_and_guard_applies_to_a_frame(tmp_path):
    (tmp_path / "asof.toml").write_text(
        'lake = "lake"\n[tables.item]\nkey = ["id"]\nmax_delete = "50%"\ntypes = { price = "decimal(10, 2)" }\n'
    )
    lake = asof.open(tmp_path / "asof.toml")
    first = items(DAYS[0])
    options = {"date": DAYS[0], "backdate": True}
    report = lake.snapshot("item", first, **options)
    assert [column["type"] for column in report["schema"]] == ["int64", "text", "text", "decimal(10, 2)"]
    with pytest.raises(asof.RefusedError, match=r"duplicate key \(id\): id=1"):
        lake.snapshot("item", pl.concat([first, first.head(1)]), date=DAYS[1], backdate=True)
    nulls = first.with_columns(id=pl.when(pl.col("id") > 1).then("id"))
    with pytest.raises(asof.RefusedError, match="null"):
        lake.snapshot("item", nulls, date=DAYS[1], backdate=True)
    with pytest.raises(asof.RefusedError, match="max_delete"):
        lake.snapshot("item", first.head(1), date=DAYS[1], backdate=True)
    with pytest.raises(asof.RefusedError, match="0 rows|zero rows|no rows"):
        lake.snapshot("item", first.head(0), date=DAYS[1], backdate=True)
    with pytest.raises(asof.RefusedError, match="the frame, row 2: .*price.*4.005"):
        lake.snapshot("item", first.with_columns(price=pl.Series([1.0, 4.005, 2.0])), date=DAYS[1], backdate=True)
    with pytest.raises(asof.RefusedError, match="which is past"):
        lake.snapshot("item", first, date=DAYS[1])
    with pytest.raises(asof.UsageError, match="in the future"):
        lake.snapshot("item", first, date="9999-01-01")
    with pytest.raises(asof.UsageError):
        asof.Lake(tmp_path / "other").snapshot("t", first)
    assert lake["item"].dates == [datetime.date.fromisoformat(DAYS[0])]
    assert lake.snapshot("item", first, **options)["outcome"] == "kept"
    replaced = lake.snapshot("item", items(DAYS[1]), if_exists="replace", **options)
    assert replaced["outcome"] == "replaced"
    forced = lake.snapshot("item", first.head(1), date=DAYS[1], backdate=True, force=True)
    assert (forced["outcome"], len(forced["forced"])) == ("published", 1)
    since = lake.snapshot("item", first, date=DAYS[2], backdate=True, dry_run=True)
    assert (since["since"]["added"], since["since"]["removed"]) == (2, 0)
    assert len(lake["item"].dates) == 2


def resident():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory is held")
def test_memory_stays_flat_over_ten_thousand_frames_in_each_direction():
    frame = pl.DataFrame({"id": range(2_000), "list": [[1, 2]] * 2_000}).with_columns(
        text=pl.format("the text of row {}", pl.col("id"))
    )

    def both_ways(times):
        for _ in range(times):
            # Arrays that nobody else holds, so that whoever keeps them is seen.
            given = frame.with_columns(pl.col("id") + 1)
            rows = asof._asof.held(given)
            del given
            back = pl.DataFrame(rows)
            del rows
            assert back.height == 2_000
        gc.collect()

    both_ways(500)
    before = resident()
    both_ways(10_000)
    # Frames that are kept would take 160 MB in each direction.
    assert resident() - before < 50 << 20


def test_a_frame_outlives_its_table(tmp_path):
    lake = asof.Lake(tmp_path / "lake")
    frame = items(DAYS[0])
    take(lake, "t", frame, key="id")
    table = lake["t"]
    rows = table.as_of(DAYS[0])
    joined = asof.join(frame.with_columns(day=pl.lit(DAYS[0])), table, on="id", date="day")
    frames = [pl.DataFrame(rows), pa.table(rows), pl.DataFrame(joined)]
    pending = joined.__arrow_c_stream__()
    del lake, table, rows, joined
    gc.collect()
    assert frames[0].equals(frame)
    assert frames[1].to_pylist() == frame.to_dicts()
    assert frames[2]["status_t"].to_list() == frame["status"].to_list()
    # A stream that nobody reads is released.
    del pending, frames
    gc.collect()


def test_threads_take_and_read_tables_at_a_time(tmp_path):
    lake = asof.Lake(tmp_path / "lake")
    failures = []

    def work(number):
        try:
            frame = pl.DataFrame({"id": range(1_000), "v": [number] * 1_000})
            take(lake, f"t{number}", frame, key="id")
            for _ in range(10):
                back = pl.DataFrame(lake[f"t{number}"].as_of(DAYS[0]))
                assert back.equals(frame)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert lake.tables == [f"t{number}" for number in range(8)]


def test_other_threads_run_during_a_call(tmp_path):
    """A frame whose stream waits for another thread of Python would never end if the call held the
    interpreter."""
    lake = asof.Lake(tmp_path / "lake")
    arrived = threading.Event()

    def batches():
        yield pa.record_batch({"id": [1]})
        assert arrived.wait(60)
        yield pa.record_batch({"id": [2]})

    reader = pa.RecordBatchReader.from_batches(pa.schema([("id", pa.int64())]), batches())
    timer = threading.Thread(target=arrived.set)
    timer.start()
    assert take(lake, "t", reader, key="id")["rows"] == 2


def test_what_a_stream_raises_fails_the_call(tmp_path):
    lake = asof.Lake(tmp_path / "lake")

    def batches():
        yield pa.record_batch({"id": [1]})
        raise ValueError("the disk of the producer burns")

    reader = pa.RecordBatchReader.from_batches(pa.schema([("id", pa.int64())]), batches())
    with pytest.raises(asof.UsageError, match="cannot read the frame: .*the disk of the producer burns"):
        take(lake, "t", reader, key="id")
    assert lake.tables == []


INTERRUPTED = """
    import os, signal, sys, threading, time
    import pyarrow as pa
    import asof

    lake = asof.Lake(sys.argv[1])
    schema = pa.schema([("id", pa.int64())])
    seen = threading.Event()

    def batches():
        number = 0
        while True:  # It never ends by itself.
            yield pa.record_batch({"id": range(number, number + 1000)}, schema=schema)
            number += 1000
            seen.set()
            time.sleep(0.001)

    def press():
        seen.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    try:
        lake.snapshot("t", pa.RecordBatchReader.from_batches(schema, batches()), key="id")
    except KeyboardInterrupt:
        print("interrupted", lake.tables)
        # The session goes on.
        print(lake.snapshot("t", pa.table({"id": [1]}), key="id")["outcome"])
    """


def test_ctrl_c_ends_a_call_and_publishes_nothing(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED), tmp_path / "lake"], capture_output=True, text=True, timeout=120
    )
    assert ended.stdout.splitlines() == ["interrupted []", "published"], ended.stderr
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in left if "tmp" in path.name] == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells that it listens")
def test_the_program_of_the_wheel_ends_at_a_signal(tmp_path):
    program = Path(sys.executable).parent / "asof"
    arguments = [program, "snapshot", "t", "--source", "-", "--source-format", "csv", "--key", "id", "--lake", "lake"]
    for number, code in [(signal.SIGINT, 130), (signal.SIGTERM, 143)]:
        with subprocess.Popen(arguments, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            running.stdin.write("id\n1\n")
            running.stdin.flush()
            # With its second thread it listens.
            threads = Path(f"/proc/{running.pid}/task")
            while len(list(threads.iterdir())) < 2:
                assert running.poll() is None
            running.send_signal(number)
            assert running.wait(60) == code
            assert "nothing was published" in running.stderr.read()
    assert not list(tmp_path.rglob("*.parquet"))
