"""One dated copy with polars: a source is read, and its rows are written by key, once its keys are neither null nor there twice.

memory     the rows are read, put in order unless they are, checked and written.
streaming  they are read, put in order and written by the streaming engine, and checked in the file before that gets its name.

With the copy of the day before, rows are counted that were added, changed or removed since.
"""

import sys
from pathlib import Path

import polars as pl

from hashed import hashed
from snapshots import snapshot_arguments

KEY = "id"
SCHEMA = {
    "id": pl.Int64,
    "name": pl.String,
    "status": pl.String,
    "price": pl.Float64,
    "stock": pl.Int32,
    "category": pl.String,
    "changed_on": pl.Date,
    "updated_at": pl.Datetime("us"),
}


def scan(source: Path) -> pl.LazyFrame:
    if source.suffix == ".csv":
        return pl.scan_csv(source, schema=SCHEMA)
    if source.suffix == ".ndjson":
        return pl.scan_ndjson(source, schema=SCHEMA)
    return pl.scan_parquet(source)


def check(key: pl.Series) -> None:
    """Of keys that should be in order."""
    if key.null_count() or not (key.diff().drop_nulls() > 0).all():
        sys.exit("a key is null, or there twice, or rows are not in order")


def count_changes(rows: pl.LazyFrame, before: Path) -> None:
    old = pl.scan_parquet(before, hive_partitioning=False)
    narrow = [KEY, hashed([column for column in SCHEMA if column != KEY]).alias("row_hash")]
    both = rows.select(narrow).join(old.select(narrow), on=KEY, suffix="_old")
    is_other = pl.col("row_hash") != pl.col("row_hash_old")
    counts = [both.select(pl.len(), is_other.sum()), rows.select(pl.len()), old.select(pl.len())]
    both, now, then = (counted.row(0) for counted in pl.collect_all(counts))
    print(f"+{now[0] - both[0]} added  ~{both[1]} changed  -{then[0] - both[0]} removed")


def main() -> None:
    options = snapshot_arguments("memory", "streaming").parse_args()
    if options.method == "streaming":
        staged = options.out.with_suffix(".staged")
        rows = scan(options.source)
        if not options.is_sorted:
            rows = rows.sort(KEY)
        rows.sink_parquet(staged, compression="zstd", engine="streaming")
        check(pl.read_parquet(staged, columns=[KEY])[KEY])
        if options.before:
            count_changes(pl.scan_parquet(staged), options.before)
        staged.rename(options.out)
    else:
        rows = scan(options.source).collect()
        if not options.is_sorted:
            rows = rows.sort(KEY)
        check(rows[KEY])
        if options.before:
            count_changes(rows.lazy(), options.before)
        rows.write_parquet(options.out, compression="zstd")


main()
