"""One more snapshot into intervals that are there already, with DuckDB.

parquet  from a Parquet file of intervals to another one.
table    in a table of a database, which has a hash of each row: only what changes is written. `load` makes that table, and `export`
         writes it as Parquet to be compared; neither is timed.
"""

import argparse
from datetime import date
from pathlib import Path

from connect import connect

PAYLOAD = ["name", "status", "price", "stock", "category", "changed_on", "listed"]
COLUMNS = ", ".join(["id", *PAYLOAD])
ROW_HASH = f"hash({', '.join(PAYLOAD)}) AS row_hash"
PARQUET = "FORMAT parquet, COMPRESSION zstd"


def parquet(before: Path, snapshot: Path, day: date, out: Path) -> None:
    is_other = " OR ".join(f"open.{column} IS DISTINCT FROM now.{column}" for column in PAYLOAD)
    database = connect()
    database.execute(f"CREATE TABLE before AS FROM '{before}'")
    database.execute(f"""
        CREATE TABLE changes AS SELECT open.row AS old, now.*
        FROM (SELECT *, rowid AS row FROM before WHERE active_end = DATE '9999-12-31') open
        FULL JOIN read_parquet('{snapshot}', hive_partitioning = false) now USING (id) WHERE {is_other}
    """)
    database.execute(f"UPDATE before SET active_end = DATE '{day}' - 1 WHERE rowid IN (SELECT old FROM changes)")
    database.execute(f"INSERT INTO before SELECT {COLUMNS}, DATE '{day}', DATE '9999-12-31' FROM changes WHERE id IS NOT NULL")
    database.execute(f"COPY (FROM before ORDER BY id, active_start) TO '{out}' ({PARQUET})")


def load(intervals: Path, path: Path) -> None:
    connect(path).execute(f"CREATE TABLE item AS SELECT *, {ROW_HASH} FROM '{intervals}' ORDER BY id, active_start")


def table(path: Path, snapshot: Path, day: date) -> None:
    database = connect(path)
    database.execute("BEGIN")
    database.execute(f"""
        CREATE TEMP TABLE changes AS SELECT open.row AS old, now.*
        FROM (SELECT id, row_hash, rowid AS row FROM item WHERE active_end = DATE '9999-12-31') open
        FULL JOIN (SELECT *, {ROW_HASH} FROM read_parquet('{snapshot}', hive_partitioning = false)) now USING (id)
        WHERE open.row_hash IS DISTINCT FROM now.row_hash
    """)
    database.execute(f"UPDATE item SET active_end = DATE '{day}' - 1 WHERE rowid IN (SELECT old FROM changes)")
    database.execute(f"INSERT INTO item SELECT {COLUMNS}, DATE '{day}', DATE '9999-12-31', row_hash FROM changes WHERE id IS NOT NULL")
    database.execute("COMMIT")


def export(path: Path, out: Path) -> None:
    connect(path).execute(f"COPY (SELECT * EXCLUDE (row_hash) FROM item ORDER BY id, active_start) TO '{out}' ({PARQUET})")


def main() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    parameters = {parquet: ["before", "snapshot", "day", "out"], load: ["intervals", "path"], table: ["path", "snapshot", "day"],
                  export: ["path", "out"]}
    for command, names in parameters.items():
        subparser = commands.add_parser(command.__name__)
        subparser.set_defaults(command=command)
        for name in names:
            subparser.add_argument(name, type=date.fromisoformat if name == "day" else str)
    options = vars(parser.parse_args())
    options.pop("command")(**options)


main()
