"""One dated copy of a table of PostgreSQL: psql writes the table to a file of CSV, and DuckDB makes the copy of that.

DuckDB does it as in snapshot_duckdb.py, which has the types of the table's columns.
"""

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    rows = options.out.with_suffix(".csv")
    subprocess.run(["psql", "-X", "-q", options.database, "-c", rf"\copy (SELECT * FROM item) TO '{rows}' CSV HEADER"], check=True)
    script = Path(__file__).with_name("snapshot_duckdb.py")
    subprocess.run([sys.executable, script, "file", rows, options.out], check=True)
    rows.unlink()


main()
