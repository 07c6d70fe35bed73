"""Reading tables: as of a date, intervals, histories, differences and joins."""

import datetime
import pickle
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import DAYS, items
from polars.testing import assert_frame_equal

import asof


def test_every_library_takes_the_table_as_of_a_date(item):
    rows = item.as_of("2024-09-14")
    expected = items("2024-09-14")
    assert_frame_equal(pl.DataFrame(rows), expected)
    assert_frame_equal(rows.to_polars(), expected)
    assert pa.table(rows).to_pylist() == expected.to_dicts()
    assert rows.to_arrow().equals(pa.table(rows))
    pd.testing.assert_frame_equal(rows.to_pandas(), pd.DataFrame.from_arrow(rows))
    assert rows.to_pandas().to_dict("records") == expected.to_dicts()
    assert duckdb.sql("select sum(id), max(name) from rows").fetchall() == [(10, "pen")]
    # As often as wanted.
    assert_frame_equal(pl.DataFrame(rows), expected)
    assert pl.concat(pl.DataFrame(piece) for piece in rows).equals(expected)
    assert rows.columns == ["id", "name", "status", "price"]
    assert pa.schema(rows).names == rows.columns


def test_dates_are_dates_or_text_and_the_latest_copy_serves(item):
    assert item.dates == [datetime.date.fromisoformat(day) for day in DAYS]
    for date in ["2024-09-14", datetime.date(2024, 9, 14), datetime.datetime(2024, 9, 14, 23), pd.Timestamp("2024-09-14")]:
        assert item.as_of(date).snapshot_date == datetime.date(2024, 9, 14)
    assert item.as_of("2024-10-01").snapshot_date == datetime.date(2024, 9, 15)
    assert item.as_of().snapshot_date == datetime.date(2024, 9, 15)


def test_columns_and_a_condition_are_selected(item):
    rows = item.as_of("2024-09-14", columns=["status", "id"], where="status = 'ACTIVE' AND price > 1")
    assert_frame_equal(pl.DataFrame(rows), pl.DataFrame({"status": ["ACTIVE"], "id": [1]}))
    assert pl.DataFrame(item.as_of("2024-09-14", columns="id", where="1 = 1")).height == 4
    assert pl.DataFrame(item.as_of("2024-09-14", where="id > 9")).schema == items(DAYS[1]).schema


def test_intervals_and_the_history_of_a_key(item):
    with pytest.raises(asof.UsageError, match="table item has no intervals") as error:
        item.intervals()
    assert error.value.hints == ["asof compact item"]
    report = item.compact()
    assert (report["snapshots"], report["intervals"]) == (3, 7)
    intervals = pl.DataFrame(item.intervals())
    assert intervals.columns == ["id", "name", "status", "price", "active_start", "active_end"]
    assert intervals.height == 7
    day = "2024-09-14"
    held = item.intervals(where=f"active_start <= DATE '{day}' AND active_end >= DATE '{day}'", columns=["id", "name", "status", "price"])
    assert_frame_equal(pl.DataFrame(held), items(day))
    assert pl.DataFrame(item.intervals(columns="id", where="true")).height == 7
    history = pl.DataFrame(item.history(2))
    assert history["status"].to_list() == ["ACTIVE", "DISABLED", "ACTIVE"]
    assert history["active_start"].to_list() == item.dates
    with pytest.raises(asof.RefusedError, match="9"):
        item.history(9)
    with pytest.raises(asof.UsageError, match="the key of table item has 1 column"):
        item.history(1, 2)
    assert item.verify()["tables"]


def test_differences_are_rows_with_both_states(item):
    diff = item.diff("2024-09-14", "2024-09-15")
    assert (diff.added, diff.changed, diff.removed) == (0, 1, 1)
    assert diff.changed_columns == {"status": 1}
    assert repr(diff) == "<asof.Diff 2024-09-14 to 2024-09-15: +0 added, ~1 changed, -1 removed>"
    frame = pl.DataFrame(diff)
    assert frame.to_dicts() == [
        {
            "change": "changed",
            "id": 2,
            "changed_columns": ["status"],
            "before": {"name": "ink", "status": "DISABLED", "price": 4.0},
            "after": {"name": "ink", "status": "ACTIVE", "price": 4.0},
        },
        {
            "change": "removed",
            "id": 3,
            "changed_columns": None,
            "before": {"name": "pad", "status": "DISABLED", "price": 2.5},
            "after": None,
        },
    ]
    assert duckdb.sql("select before.price from diff where change = 'removed'").fetchall() == [(2.5,)]
    same = item.diff("2024-09-15", "2024-10-15")
    assert (len(same), pl.DataFrame(same).height) == (0, 0)
    assert same.snapshot_dates[0] == same.snapshot_dates[1]


def test_many_differences_are_all_there(tmp_path):
    lake = asof.Lake(tmp_path / "lake")
    old = pl.DataFrame({"id": range(50_000), "v": [row % 7 for row in range(50_000)]})
    new = old.filter(pl.col("id") % 10 != 3).with_columns(v=pl.when(pl.col("id") % 5 == 0).then(99).otherwise("v"))
    new = pl.concat([new, pl.DataFrame({"id": range(60_000, 60_500), "v": [1] * 500})])
    for day, frame in zip(DAYS, [old, new]):
        lake.snapshot("t", frame, date=day, key="id", backdate=True)
    diff = lake["t"].diff(DAYS[0], DAYS[1])
    frame = pl.DataFrame(diff)
    both = old.join(new, on="id", how="full", coalesce=True, suffix="_new")
    both = both.filter(~pl.col("v").eq_missing(pl.col("v_new"))).sort("id")
    assert frame["id"].to_list() == both["id"].to_list()
    assert frame["before"].struct.field("v").to_list() == both["v"].to_list()
    assert frame["after"].struct.field("v").to_list() == both["v_new"].to_list()
    assert len(diff) == diff.added + diff.removed + diff.changed == both.height


@pytest.mark.parametrize("compacted", [False, True])
def test_events_are_joined_as_of_their_own_dates_in_their_order(item, compacted):
    if compacted:
        item.compact()
    events = pl.DataFrame(
        {
            "event": [5, 4, 3, 2, 1],
            "item_id": [2, 2, 3, 9, 4],
            "day": [datetime.date(2024, 9, day) for day in (14, 13, 15, 15, 14)],
        }
    )
    on = {"item_id": "id"}
    joined = asof.join(events, item, on=on, date="day")
    assert joined.columns == ["event", "item_id", "day", "name", "status", "price"]
    expected = events.with_columns(
        name=pl.Series(["ink", "ink", None, None, "cap"]),
        status=pl.Series(["DISABLED", "ACTIVE", None, None, "ACTIVE"]),
        price=pl.Series([4.0, 4.0, None, None, 0.8]),
    )
    assert_frame_equal(pl.DataFrame(joined), expected)
    # Again, and from other libraries.
    assert_frame_equal(pl.DataFrame(joined), expected)
    for frame in [events.to_arrow(), events.to_pandas(), duckdb.sql("select * from events")]:
        assert pl.DataFrame(asof.join(frame, item, on=on, date="day"))["status"].equals(expected["status"])
    reader = events.to_arrow().to_reader()
    assert pl.DataFrame(asof.join(reader, item, on=on, date="day"))["status"].equals(expected["status"])

    def kept(**options):
        return pl.DataFrame(asof.join(events, item, on=on, date="day", **options))

    assert kept(how="inner")["event"].to_list() == [5, 4, 1]
    assert kept(how="semi").columns == events.columns
    assert kept(how="anti")["event"].to_list() == [3, 2]
    assert kept(columns="price").columns == [*events.columns, "price"]
    assert kept(where="status = 'ACTIVE'", how="semi")["event"].to_list() == [4, 1]
    with pytest.raises(asof.RefusedError, match="1 of 3 dates of the events has no snapshot") as error:
        kept(lag="1d")
    assert "leave out the events before 2024-09-14" in error.value.hints
    late = events.filter(pl.col("day") > datetime.date(2024, 9, 13))
    for lag in [1, "1d", datetime.timedelta(days=1)]:
        lagged = pl.DataFrame(asof.join(late, item, on=on, date="day", lag=lag))
        assert lagged["status"].to_list() == ["ACTIVE", "DISABLED", None, None]
    later = events.with_columns(day=datetime.date(2024, 9, 17))
    with pytest.raises(asof.RefusedError) as error:
        asof.join(later, item, on=on, date="day")
    assert error.value.hints[0].startswith('tolerance="2d"')
    assert pl.DataFrame(asof.join(later, item, on=on, date="day", tolerance=2)).height == 5


def test_a_large_join_equals_that_of_polars(tmp_path):
    lake = asof.Lake(tmp_path / "lake")
    day = lambda number: datetime.date(2024, 1, 1) + datetime.timedelta(days=number)
    copies = []
    for number in range(6):
        frame = pl.DataFrame({"id": range(2_000)}).with_columns(
            name=pl.format("name {} {}", pl.col("id") % 50, (pl.col("id") * 7 + number) % 11),
        ).filter(pl.col("id") % 13 != number)
        lake.snapshot("t", frame, date=day(number), key="id", backdate=True)
        copies.append(frame.with_columns(day=day(number)))
    rows = 300_000
    events = pl.DataFrame({"n": range(rows)}).with_columns(
        k=(pl.col("n") * 7919) % 2_200,
        day=pl.date(2024, 1, 1) + pl.duration(days=(pl.col("n") * 31) % 6),
        note=pl.format("note of event {}", pl.col("n")),
    )
    expected = events.join(pl.concat(copies), left_on=["k", "day"], right_on=["id", "day"], how="left", maintain_order="left")
    joined = pl.DataFrame(asof.join(events, lake["t"], on={"k": "id"}, date="day"))
    assert_frame_equal(joined, expected)
    inner = pl.DataFrame(asof.join(events, lake["t"], on={"k": "id"}, date="day", how="inner"))
    assert_frame_equal(inner, expected.filter(pl.col("name").is_not_null()))


def test_events_of_no_rows_keep_their_columns(item):
    events = pl.DataFrame(schema={"id": pl.Int64, "day": pl.Date})
    joined = pl.DataFrame(asof.join(events, item, on="id", date="day"))
    assert joined.schema == {"id": pl.Int64, "day": pl.Date, "name": pl.String, "status": pl.String, "price": pl.Float64}
    assert joined.height == 0


def test_days_of_events_are_those_of_a_time_zone_or_a_format(item):
    instant = pl.Series([datetime.datetime(2024, 9, 13, 23, 30)]).dt.replace_time_zone("UTC")
    events = pl.DataFrame({"id": [2], "at": instant})

    def status(frame, date, **options):
        return pl.DataFrame(asof.join(frame, item, on="id", date=date, columns="status", **options))["status"].item()

    assert status(events, "at") == "ACTIVE"
    assert status(events, "at", timezone="Europe/Berlin") == "DISABLED"
    written = pl.DataFrame({"id": [2], "at": ["14/09/2024"]})
    assert status(written, "at", date_format="%d/%m/%Y") == "DISABLED"
    with pytest.raises(asof.RefusedError, match="'14/09/2024' is not a valid date") as error:
        status(written, "at")
    assert 'date_format="%d/%m/%Y"' in error.value.hints[0]
    with pytest.raises(asof.RefusedError, match="1 row has a null in the date column 'at'"):
        status(pl.DataFrame({"id": [2], "at": [None]}, schema={"id": pl.Int64, "at": pl.Date}), "at")
    with pytest.raises(asof.UsageError, match="they never match"):
        status(pl.DataFrame({"id": ["2"], "at": [datetime.date(2024, 9, 14)]}), "at")


def test_a_lazy_frame_pushes_filters_and_columns_down(item):
    from asof._scan import condition_of

    lazy = asof.scan(item, "2024-09-14")
    expected = items("2024-09-14")
    assert_frame_equal(lazy.collect(), expected)
    assert lazy.collect_schema() == expected.schema
    c = pl.col
    predicates = [
        c("id") == 2,
        (c("id") > 1) & (c("status") == "ACTIVE"),
        (c("id") == 1) | (c("name") == "cap"),
        ~(c("id") < 3),
        c("id").is_in([1, 3]),
        c("name").is_in(["ink", "it's"]),
        c("name") == "it's",
        c("id").is_between(2, 3, closed="right"),
        2 <= c("id"),
        c("status").is_null(),
        c("price") > 1.0,
        (c("price") > 1.0) & (c("id") < 3),
        c("name").str.starts_with("p"),
        c("id") % 2 == 0,
    ]
    for predicate in predicates:
        found = lazy.filter(predicate).select("name", "price").collect()
        assert_frame_equal(found, expected.filter(predicate).select("name", "price"))
    pushed = [condition_of(predicate, expected.schema) for predicate in predicates]
    assert pushed[0] == '("id" = 2)'
    assert pushed[11] == '("id" < 3)'
    assert [at for at, condition in enumerate(pushed) if condition is None] == [10, 12, 13]
    assert lazy.select(pl.len()).collect().item() == 4
    assert lazy.head(2).collect().height == 2
    assert lazy.group_by("status").agg(c("price").sum()).sort("status").collect()["price"].to_list() == [2.1, 6.5]


def read_bytes():
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("rchar"):
            return int(line.split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how many bytes are read")
def test_a_condition_on_a_key_reads_few_bytes(tmp_path):
    lake = asof.Lake(tmp_path / "lake")
    rows = 1_000_000
    frame = pl.DataFrame({"id": range(rows)}).with_columns(
        text=pl.format("{}", pl.col("id").hash(7)), number=pl.col("id").hash(3) % 1_000_003
    )
    lake.snapshot("t", frame, date="2024-09-13", key="id", backdate=True)
    table = lake["t"]
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))

    def bytes_of(work):
        before = read_bytes()
        result = work()
        return result, read_bytes() - before

    whole, bytes_whole = bytes_of(lambda: pl.DataFrame(table.as_of("2024-09-13")))
    assert whole.height == rows and bytes_whole > 0.9 * size
    for read in [
        lambda: pl.DataFrame(table.as_of("2024-09-13", where="id = 654321")),
        lambda: asof.scan(table, "2024-09-13").filter(pl.col("id") == 654_321).collect(),
    ]:
        one, bytes_one = bytes_of(read)
        assert_frame_equal(one, frame.filter(pl.col("id") == 654_321))
        assert bytes_one < 0.05 * size, f"{bytes_one} of {size} bytes"


def test_errors_have_a_kind_hints_and_an_exit_code(lake, item, tmp_path):
    with pytest.raises(asof.UsageError, match="no column 'statsu'") as error:
        item.as_of("2024-09-14", columns="statsu")
    assert (error.value.kind, error.value.exit_code) == ("usage", 2)
    assert error.value.hints == ["did you mean 'status'?"] == [note.removeprefix("hint: ") for note in error.value.__notes__]
    with pytest.raises(asof.UsageError, match="no table 'itme'"):
        lake["itme"].as_of("2024-09-14")
    with pytest.raises(asof.UsageError, match="is not a date|not a valid date"):
        item.as_of("14.9.2024")
    for where in ["status = = 3", "statsu = 'A'", "price", "id in (select 1)"]:
        with pytest.raises(asof.UsageError):
            item.as_of("2024-09-14", where=where)
    with pytest.raises(asof.RefusedError, match="before the first snapshot") as error:
        item.as_of("2024-09-01")
    assert (error.value.kind, error.value.exit_code) == ("refused", 3)
    with pytest.raises(asof.ConflictError, match="has a snapshot of 2024-09-14 already") as error:
        lake.snapshot("item", items(DAYS[1]), date=DAYS[1], if_exists="error")
    assert (error.value.kind, error.value.exit_code) == ("conflict", 4)
    with pytest.raises(asof.IoError) as error:
        asof.open(tmp_path / "none.toml")
    assert (error.value.kind, error.value.exit_code) == ("io", 1)
    with pytest.raises(TypeError, match="has neither"):
        lake.snapshot("item", [1, 2], key="id")
    with pytest.raises(TypeError):
        item.as_of(20240914)
    with pytest.raises(ValueError, match="how is 'inner'"):
        asof.join(items(DAYS[0]), item, on="id", date="name", how="outer")
    again = pickle.loads(pickle.dumps(error.value))
    assert (type(again), str(again), again.hints) == (type(error.value), str(error.value), error.value.hints)
    kinds = [asof.IoError, asof.UsageError, asof.RefusedError, asof.ConflictError, asof.PartialError, asof.InternalError]
    assert [(kind.kind, kind.exit_code) for kind in kinds] == [
        ("io", 1), ("usage", 2), ("refused", 3), ("conflict", 4), ("partial", 5), ("internal", 70),
    ]
    assert all(issubclass(kind, asof.Error) for kind in kinds)


def test_a_damaged_copy_is_refused_where_it_is_read(item, tmp_path):
    [path] = tmp_path.glob("lake/item/snapshots/snapshot_date=2024-09-14/*.parquet")
    content = bytearray(path.read_bytes())
    content[20:60] = bytes(40)
    path.write_bytes(content)
    rows = item.as_of("2024-09-14")
    with pytest.raises(asof.RefusedError, match="2024-09-14"):
        rows.collect()
    # Whoever reads a stream has an exception of its own, with the same words.
    with pytest.raises(Exception, match="2024-09-14"):
        pl.DataFrame(rows)
    with pytest.raises(Exception, match="2024-09-14"):
        pa.table(rows)


def test_a_lake_is_a_mapping_of_its_tables(lake, tmp_path):
    assert lake.tables == list(lake) == ["item"]
    assert "item" in lake and "items" not in lake
    assert repr(lake) == f'asof.Lake("{tmp_path / "lake"}")'
    assert repr(lake["item"]) == "<asof.Table item>"
    (tmp_path / "asof.toml").write_text('lake = "lake"\n[tables.item]\nkey = ["id"]\n')
    configured = asof.open(tmp_path / "asof.toml", memory=100 << 20)
    assert_frame_equal(pl.DataFrame(configured["item"].as_of("2024-09-14")), items("2024-09-14"))


def test_the_program_is_in_the_wheel(lake, tmp_path):
    program = Path(sys.executable).parent / "asof"
    run = lambda *arguments: subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True)
    shown = run("show", "item", "--date", "2024-09-15", "--lake", "lake")
    assert (shown.returncode, shown.stdout.splitlines()[1].split()) == (0, ["1", "pen", "ACTIVE", "1.3"])
    refused = run("show", "item", "--date", "2024-09-01", "--lake", "lake")
    assert refused.returncode == 3 and "before the first snapshot" in refused.stderr
    assert run("--version").stdout == f"asof {asof.__version__}\n"
    assert run("--nonsense").returncode == 2
