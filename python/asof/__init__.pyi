"""Tables as they were on any day, for polars, pandas, pyarrow and DuckDB.

asof keeps dated copies of slowly changing tables in a lake: a folder or a bucket. Open it, and take
a table as of a date:

    import asof
    import polars as pl

    lake = asof.Lake("s3://warehouse/dims")      # or asof.open("asof.toml")
    item = lake["item"]
    pl.DataFrame(item.as_of("2024-09-14"))

Rows cross by the Arrow PyCapsule interface, without a copy: `Rows` and `Diff` are what
`polars.DataFrame`, `pandas.DataFrame.from_arrow`, `pyarrow.table` and DuckDB take, and a frame of
any of these goes in. Types are those of the table: integers, floats, text, dates, timestamps in
milliseconds to nanoseconds, decimals, lists, structs and maps.

Calls run without the interpreter's lock, and Ctrl-C ends them: nothing is published after it.
Errors are subclasses of `Error`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date as _Date
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, final

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

__version__: str

DateLike: TypeAlias = _Date | str
"""A date: a `datetime.date`, of a `datetime.datetime` its day, or text such as `"2024-09-14"`."""

Days: TypeAlias = int | timedelta | str
"""A number of days: an integer, a `timedelta` of whole days, or text such as `"1d"`."""

class _Stream(Protocol):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

class _Array(Protocol):
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

Frame: TypeAlias = _Stream | _Array
"""Rows of another library: a frame of polars or pandas, a table, batch or reader of pyarrow, or a
relation of DuckDB."""

class Error(Exception):
    """Whatever asof refuses or fails at. Each error is of one of the subclasses.

    The message names table, date, column and value. The hints are also notes of the exception, so
    that a traceback shows them.
    """

    kind: str
    """`io`, `usage`, `refused`, `conflict`, `partial` or `internal`."""
    exit_code: int
    """The exit code of the program `asof` for such an error."""
    hints: list[str]
    """What to try next, most likely first. Commands and options are those of the program."""
    def __init__(self, message: str, hints: Sequence[str] = ()) -> None: ...

class IoError(Error):
    """Reading or writing failed: try again. Exit code 1."""

class UsageError(Error):
    """A name, an argument or `asof.toml` is wrong: trying again does not help. Exit code 2."""

class RefusedError(Error):
    """The data was refused, by a key check, a guard, a gap or a type. Nothing was published. Exit
    code 3."""

class ConflictError(Error):
    """Another writer published first: try again. Exit code 4."""

class PartialError(Error):
    """Some dates or tables failed, and the others are published: run it again. Exit code 5."""

class InternalError(Error):
    """A fault of asof's own: report it. Exit code 70."""

@final
class Lake:
    """A lake: dated copies of tables, and the intervals made from them.

    It holds no files open and caches nothing, so several processes may write to one lake.
    """

    def __init__(self, root: str | os.PathLike[str], *, memory: int | None = None) -> None:
        """Open a lake: a folder, or a URL such as `s3://bucket/path`.

        A folder that does not exist is an empty lake; the first snapshot makes it. Object stores
        take their credentials from the environment, as the program does.

        `memory` is about how many bytes one call may use, by default 2 GiB; what does not fit is
        spilled to temporary files, or refused.

        Raises `UsageError` for a folder that holds other things, and for an unknown URL.
        """

    @property
    def tables(self) -> list[str]:
        """The names of the tables in this lake, in order."""

    def table(self, name: str) -> Table:
        """A table of this lake, or an external table of `asof.toml`; also `lake[name]`.

        It need not have a snapshot yet. Raises `UsageError` for a name that no table can have.
        """

    def __getitem__(self, name: str) -> Table: ...
    def __contains__(self, name: str) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def snapshot(
        self,
        table: str,
        frame: Frame,
        *,
        date: DateLike | None = None,
        key: str | Sequence[str] | None = None,
        if_exists: Literal["keep", "replace", "error"] = "keep",
        backdate: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Publish a frame as the copy of a table under a date; see `Table.snapshot`."""

def open(config: str | os.PathLike[str] = "asof.toml", *, memory: int | None = None) -> Lake:
    """Open the lake of an `asof.toml`, with its tables and settings.

    Relative paths in the file start at its folder. Raises `UsageError` that names line and column
    if the file is wrong, and if it names no lake.
    """

@final
class Table:
    """One slowly changing table of a lake."""

    @property
    def name(self) -> str: ...
    @property
    def dates(self) -> list[_Date]:
        """The dates that have a copy, or whose rows the intervals still give; ascending."""

    def as_of(
        self,
        date: DateLike | None = None,
        *,
        columns: str | Sequence[str] | None = None,
        where: str | None = None,
    ) -> Rows:
        """The table as of a date: the latest copy that is not after it; by default as of today.

        `columns` are read in the order of their names, by default all. `where` is a condition in
        SQL over any columns, such as `"status = 'ACTIVE' AND price > 2"`. Both reach the Parquet
        reader: row groups and pages without such a row are not read.

        No row is read before the result is used. Rows come in the order of the key.

        Raises `UsageError` for a table, column or condition that is wrong, and `RefusedError` for a
        date before the first copy.
        """

    def intervals(
        self, *, columns: str | Sequence[str] | None = None, where: str | None = None
    ) -> Rows:
        """The validity intervals, as the last `compact` left them: each row once for as long as it
        stayed the same.

        The columns are the table's, and then the first and the last date of each interval,
        `active_start` and `active_end` unless `asof.toml` names others. Both are inclusive, and the
        end of an open interval is 9999-12-31, so `active_start <= D AND active_end >= D` selects
        the rows as of `D`. `columns` and `where` are as in `as_of`.

        Raises `UsageError` for a table that was not compacted.
        """

    def history(self, *key: object) -> Rows:
        """Every interval of one key, in order: the rows of `intervals` that have it.

        The key has a value for each column of the table's key. Raises `UsageError` for a value that
        is not of its column's type, and `RefusedError` for a key that was never there, with the
        nearest keys as hints.
        """

    def diff(self, before: DateLike, after: DateLike) -> Diff:
        """The rows that were added, removed or changed between the table as of two dates."""

    def snapshot(
        self,
        frame: Frame,
        *,
        date: DateLike | None = None,
        key: str | Sequence[str] | None = None,
        if_exists: Literal["keep", "replace", "error"] = "keep",
        backdate: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Publish a frame as the copy of this table under a date, with every check and guard.

        `date` is by default today, in the time zone of `asof.toml` or else in UTC. `key` names the
        columns that identify a row; it is needed for the first copy, unless `asof.toml` has it.
        A date that has a copy keeps it, unless `if_exists` is `"replace"` or `"error"`. A past date
        needs `backdate=True`, which states that the frame really holds that day's state. `force`
        overrides the guards, and the copy records which. With `dry_run` everything is checked and
        nothing published.

        Returns the report that `asof snapshot --json` prints: `outcome`, `rows`, `fingerprint`,
        `since` with the numbers of rows added, changed and removed, `notes` and others.

        Raises `UsageError` if no key is known, `RefusedError` for a null in the key, a duplicate
        key, a value that does not fit its column's type, or a guard, and `ConflictError` if another
        writer published first. In each case nothing was published. A frame that a check refused is
        kept aside: see `asof status`.
        """

    def compact(self, *, full: bool = False, dry_run: bool = False) -> dict[str, Any]:
        """Bring the intervals up to date with the copies; only new or replaced ones are read.

        Returns the report that `asof compact --json` prints.
        """

    def verify(self) -> dict[str, Any]:
        """Check every copy against its fingerprint, and that the intervals give back every copy.

        Returns the report that `asof verify --json` prints. What does not hold is in the report.
        """

@final
class Rows:
    """Rows that polars, pandas, pyarrow and DuckDB take without a copy, as often as they want.

    Rows of a table are read each time, a batch at a time; `collect` reads them once into memory.
    """

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""

    @property
    def snapshot_date(self) -> _Date | None:
        """The date of the copy that serves `Table.as_of`; None of other rows."""

    def collect(self) -> Rows:
        """The same rows in memory. Ctrl-C ends the reading; while another library reads a stream,
        that library decides."""

    def to_polars(self) -> polars.DataFrame:
        """The rows as a polars data frame, equal to `polars.DataFrame(rows.collect())`.

        Without `where`, the text columns of a table as of a date are read as string views, which is
        faster."""

    def to_pandas(self) -> pandas.DataFrame:
        """`pandas.DataFrame.from_arrow(rows.collect())`. It needs pandas 3 and pyarrow."""

    def to_arrow(self) -> pyarrow.Table:
        """`pyarrow.table(rows.collect())`."""

    def __iter__(self) -> Iterator[Rows]:
        """The rows in pieces of about 65,536, each in memory."""

    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Diff:
    """What differs between a table as of two dates: a row for each key that differs, in the order
    of the key.

    The columns are `change` (`"added"`, `"removed"` or `"changed"`), the key, `changed_columns`
    (of a changed row, the list of the columns that differ; else null), and `before` and `after`,
    which are structs of the other columns, null where the key was not there. A column of the key
    that has one of these names gets the suffix `_<table>`.
    """

    @property
    def added(self) -> int:
        """How many keys only the second state has."""

    @property
    def removed(self) -> int:
        """How many keys only the first state has."""

    @property
    def changed(self) -> int:
        """How many keys have rows that are not the same."""

    @property
    def changed_columns(self) -> dict[str, int]:
        """In how many of the changed rows each column differs, most first."""

    @property
    def snapshot_dates(self) -> tuple[_Date, _Date]:
        """The dates of the two copies that were compared."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""

    def to_polars(self) -> polars.DataFrame:
        """`polars.DataFrame(diff)`."""

    def to_pandas(self) -> pandas.DataFrame:
        """`pandas.DataFrame.from_arrow(diff)`. It needs pandas 3 and pyarrow."""

    def to_arrow(self) -> pyarrow.Table:
        """`pyarrow.table(diff)`."""

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

def join(
    events: Frame,
    table: Table,
    *,
    on: Mapping[str, str] | str | Sequence[str],
    date: str,
    how: Literal["inner", "left", "semi", "anti"] = "left",
    columns: str | Sequence[str] | None = None,
    where: str | None = None,
    lag: Days | None = None,
    tolerance: Days | None = None,
    date_format: str | None = None,
    timezone: str | None = None,
) -> Rows:
    """Join events, each to the table as of its own date. The events keep their order.

    `on` maps columns of the events to the table's key, or names columns that both have. `date` is
    the events' column with the date of each: dates, timestamps, or text in `date_format`, by
    default `%Y-%m-%d`. The day of an instant lies in `timezone`, by default that of `asof.toml` or
    else UTC.

    `how="left"` keeps every event once, with nulls where the table has no row; `"inner"` keeps
    events that have a row, `"semi"` and `"anti"` those that have one or have none, without columns
    of the table. `columns` are the table's columns to add, by default all but the key; a name that
    clashes gets the suffix `_<table>`. `where` is a condition on the table's columns: rows that do
    not meet it count as absent.

    With `lag="1d"`, events of a day see the copy of the day before. A date without a copy takes the
    latest earlier one only within `tolerance`, by default 0 days; otherwise it is refused. Lag and
    tolerance of the table in `asof.toml` apply if they are not given here.

    The table's rows that hold on one of the dates are read once, when this is called: from
    intervals, if they are up to date, or else from copies. The events are held, not copied.

    Raises `UsageError` for a column, condition or type that is wrong, and `RefusedError` for an
    event without a date, and for a date that has no copy.
    """

def scan(table: Table, date: DateLike | None = None) -> polars.LazyFrame:
    """The table as of a date as a lazy frame of polars.

    Filters that compare columns with constants, and the columns that a query needs, reach the
    Parquet reader: row groups and pages without a row that is wanted are not read. Other filters
    are left to polars. The copy that serves the date is fixed when this is called.
    """
