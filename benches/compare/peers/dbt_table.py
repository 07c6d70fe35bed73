"""The table that dbt snapshots keep: `load` makes it of intervals, `export` makes intervals of it again. Neither is timed.

dbt dates a change by the clock when it runs, so what begins or ended after all that was loaded is of the given day.
"""

import argparse
from datetime import date
from pathlib import Path

import duckdb


def load(intervals: Path, path: Path) -> None:
    duckdb.connect(path).execute(f"""
        CREATE TABLE item AS SELECT * EXCLUDE (active_start, active_end), md5(id || '|' || active_start) AS dbt_scd_id,
            active_start::TIMESTAMP AS dbt_updated_at, active_start::TIMESTAMP AS dbt_valid_from,
            CASE WHEN active_end < DATE '9999-12-31' THEN (active_end + 1)::TIMESTAMP END AS dbt_valid_to
        FROM '{intervals}' ORDER BY id, active_start
    """)


def export(path: Path, out: Path, day: date) -> None:
    duckdb.connect(path).execute(f"""
        COPY (
            SELECT * EXCLUDE (dbt_scd_id, dbt_updated_at, dbt_valid_from, dbt_valid_to),
                least(dbt_valid_from::DATE, DATE '{day}') AS active_start,
                CASE WHEN dbt_valid_to IS NULL THEN DATE '9999-12-31' ELSE least(dbt_valid_to::DATE, DATE '{day}') - 1 END AS active_end
            FROM item ORDER BY id, active_start
        ) TO '{out}' (FORMAT parquet)
    """)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["load", "export"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--day", type=date.fromisoformat)
    options = parser.parse_args()
    if options.command == "load":
        load(options.source, options.target)
    else:
        export(options.source, options.target, options.day)


main()
