"""One dated copy with DuckDB: a source is read, its rows are put in order of the key, unless they are, and written.

Keys are checked in the file, before that gets its name: each must be greater than the one before. With the copy of the day before,
rows are counted that were added, changed or removed since.
"""

import sys
from pathlib import Path

from connect import connect
from snapshots import snapshot_arguments

SCHEMA = {
    "id": "BIGINT",
    "name": "VARCHAR",
    "status": "VARCHAR",
    "price": "DOUBLE",
    "stock": "INTEGER",
    "category": "VARCHAR",
    "changed_on": "DATE",
    "updated_at": "TIMESTAMP",
}


def source(path: Path) -> str:
    if path.suffix == ".csv":
        return f"read_csv('{path}', header = true, columns = {SCHEMA}, auto_detect = false)"
    if path.suffix == ".ndjson":
        return f"read_json('{path}', format = 'newline_delimited', columns = {SCHEMA})"
    return f"read_parquet('{path}')"


def main() -> None:
    options = snapshot_arguments("file").parse_args()
    database = connect()
    # The check goes by the order of the rows in the file.
    database.execute("SET preserve_insertion_order = true")
    staged = options.out.with_suffix(".staged")
    order = "" if options.is_sorted else "ORDER BY id"
    database.execute(f"COPY (FROM {source(options.source)} {order}) TO '{staged}' (FORMAT parquet, COMPRESSION zstd)")
    rows = f"read_parquet('{staged}')"
    keys = f"SELECT id, lag(id) OVER () AS before FROM {rows}"
    wrong = database.execute(f"SELECT count(*) FROM ({keys}) WHERE id IS NULL OR id <= before").fetchone()[0]
    if wrong:
        sys.exit(f"{wrong} keys are null, or there twice, or not in order")
    if options.before:
        narrow = f"SELECT id, hash({', '.join(column for column in SCHEMA if column != 'id')}) AS row_hash"
        added, changed, removed = database.execute(f"""
            SELECT count(*) FILTER (old.id IS NULL), count(*) FILTER (old.row_hash <> new.row_hash), count(*) FILTER (new.id IS NULL)
            FROM ({narrow} FROM {rows}) new
            FULL JOIN ({narrow} FROM read_parquet('{options.before}', hive_partitioning = false)) old ON old.id = new.id
        """).fetchone()
        print(f"+{added} added  ~{changed} changed  -{removed} removed")
    staged.rename(options.out)


main()
