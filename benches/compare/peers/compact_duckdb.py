"""Snapshots to intervals with DuckDB, in one of three ways.

daily   each day is joined in full to the keys and row hashes that are open, and the few differences are applied.
groups  rows are grouped by key and row hash, with the first and last day and how many: those without a hole are intervals as they
        are, the few others are cut into islands. Rows are then fetched from the snapshots of the first days.
window  the textbook's gaps and islands: lag() and lead() over all rows, by key and in the order of days.

See docs/benchmarks/compare.md for what was slower.
"""

from pathlib import Path

import duckdb

from connect import connect
from snapshots import arguments, snapshots


def file(path: Path) -> str:
    return f"read_parquet('{path}', hive_partitioning = false)"


class Compaction:
    def __init__(self, database: duckdb.DuckDBPyConnection, key: list[str], payload: list[str], dated: dict) -> None:
        self.database = database
        self.key = ", ".join(key)
        self.payload = ", ".join(payload)
        self.dated = dated
        self.names = key
        paths = ", ".join(f"'{path}'" for path in dated.values())
        self.all = f"read_parquet([{paths}], hive_partitioning = true, hive_types = {{'snapshot_date': DATE}})"

    def same_key(self, one: str, other: str) -> str:
        return " AND ".join(f"{one}.{name} = {other}.{name}" for name in self.names)

    def make_days(self) -> None:
        """The number of each date, and the last date for which its snapshot speaks."""
        self.database.execute("CREATE TABLE dates (snapshot_date DATE)")
        self.database.executemany("INSERT INTO dates VALUES (?)", [[day] for day in self.dated])
        self.database.execute("""
            CREATE TABLE days AS SELECT snapshot_date, row_number() OVER everything AS day,
                coalesce(lead(snapshot_date) OVER everything - 1, DATE '9999-12-31') AS until
            FROM dates WINDOW everything AS (ORDER BY snapshot_date)
        """)

    def write(self, query: str, out: Path) -> None:
        columns = f"{self.key}, {self.payload}, active_start, active_end"
        self.database.execute(f"""
            COPY (SELECT {columns} FROM ({query}) ORDER BY {self.key}, active_start) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
        """)

    def daily(self, out: Path) -> None:
        execute = self.database.execute
        (first, path), *others = self.dated.items()
        execute(f"CREATE TABLE starts AS SELECT *, DATE '{first}' AS active_start FROM {file(path)}")
        execute(f"CREATE TABLE open AS SELECT {self.key}, hash({self.payload}) AS row_hash FROM starts")
        execute(f"CREATE TABLE ends AS SELECT {self.key}, DATE '{first}' AS active_end FROM open LIMIT 0")
        gone = ", ".join(f"open.{name} AS old_{name}" for name in self.names)
        old_key = ", ".join(f"old_{name}" for name in self.names)
        is_there = f"{self.names[0]} IS NOT NULL"
        for day, path in others:
            execute(f"""
                CREATE OR REPLACE TEMP TABLE changes AS SELECT open.rowid AS old, {gone}, now.*
                FROM open FULL JOIN (SELECT *, hash({self.payload}) AS row_hash FROM {file(path)}) now ON {self.same_key("open", "now")}
                WHERE open.row_hash IS DISTINCT FROM now.row_hash
            """)
            execute(f"INSERT INTO ends SELECT {old_key}, DATE '{day}' - 1 FROM changes WHERE old IS NOT NULL")
            execute("DELETE FROM open WHERE rowid IN (SELECT old FROM changes)")
            execute(f"INSERT INTO open SELECT {self.key}, row_hash FROM changes WHERE {is_there}")
            execute(f"INSERT INTO starts SELECT {self.key}, {self.payload}, DATE '{day}' FROM changes WHERE {is_there}")
        self.write(
            f"""
            SELECT starts.*, coalesce(active_end, DATE '9999-12-31') AS active_end
            FROM starts ASOF LEFT JOIN ends ON {self.same_key("starts", "ends")} AND active_end >= active_start
            """,
            out,
        )

    def groups(self, out: Path) -> None:
        execute = self.database.execute
        self.make_days()
        execute(f"""
            CREATE TABLE islands AS SELECT {self.key}, row_hash, first.day AS first, last.day AS last,
                copies <> last.day - first.day + 1 AS has_hole
            FROM (
                SELECT {self.key}, hash({self.payload}) AS row_hash, min(snapshot_date) AS first_date, max(snapshot_date) AS last_date,
                    count(*) AS copies
                FROM {self.all} GROUP BY {self.key}, row_hash
            ) JOIN days first ON first.snapshot_date = first_date JOIN days last ON last.snapshot_date = last_date
        """)
        execute(f"""
            INSERT INTO islands SELECT {self.key}, row_hash, min(day), max(day), false FROM (
                SELECT {self.key}, row_hash, day, day - row_number() OVER (PARTITION BY {self.key}, row_hash ORDER BY day) AS island
                FROM (
                    SELECT {self.key}, hash({self.payload}) AS row_hash, day FROM {self.all} JOIN days USING (snapshot_date)
                    WHERE ({self.key}) IN (SELECT {self.key} FROM islands WHERE has_hole)
                ) SEMI JOIN (FROM islands WHERE has_hole) USING ({self.key}, row_hash)
            ) GROUP BY {self.key}, row_hash, island
        """)
        execute("DELETE FROM islands WHERE has_hole")
        self.write_islands("islands", out)

    def window(self, out: Path) -> None:
        self.make_days()
        by_day = f"PARTITION BY {self.key} ORDER BY day"
        self.database.execute(f"""
            CREATE TABLE islands AS SELECT {self.key}, day AS first, CASE WHEN ends THEN day ELSE lead(day) OVER ({by_day}) END AS last
            FROM (
                SELECT {self.key}, day,
                    lag(day) OVER by_day IS DISTINCT FROM day - 1 OR lag(row_hash) OVER by_day IS DISTINCT FROM row_hash AS starts,
                    lead(day) OVER by_day IS DISTINCT FROM day + 1 OR lead(row_hash) OVER by_day IS DISTINCT FROM row_hash AS ends
                FROM (SELECT {self.key}, hash({self.payload}) AS row_hash, day FROM {self.all} JOIN days USING (snapshot_date))
                WINDOW by_day AS ({by_day})
            ) WHERE starts OR ends QUALIFY starts
        """)
        self.write_islands("islands", out)

    def write_islands(self, islands: str, out: Path) -> None:
        self.write(
            f"""
            SELECT every.*, start.snapshot_date AS active_start, last.until AS active_end
            FROM {islands} JOIN days start ON start.day = first JOIN days last ON last.day = islands.last
            JOIN {self.all} every ON every.snapshot_date = start.snapshot_date AND {self.same_key("every", "islands")}
            """,
            out,
        )


def main() -> None:
    options = arguments("daily", "groups", "window").parse_args()
    compaction = Compaction(connect(), options.key, options.payload, snapshots(options.lake, options.to))
    getattr(compaction, options.method)(options.out)


main()
