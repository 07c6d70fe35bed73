"""Snapshots to intervals with polars: each day is joined in full to the keys and row hashes of the day before.

What is held is a hash a row and not the row, the join carries three narrow columns, and rows are picked by their position.
That is the fastest of what was tried: see docs/benchmarks/compare.md. `hashed-key` joins on a hash of the key instead of on
the key, which is faster for text and for several columns, and wrong if two of the keys have the same 64 bits.
"""

from datetime import timedelta

import polars as pl

from hashed import hashed
from snapshots import OPEN_END, arguments, snapshots


def main() -> None:
    options = arguments("key", "hashed-key").parse_args()
    by_hash = options.method == "hashed-key"
    key, on = options.key, ["key_hash"] if by_hash else options.key
    hashes = {"row_hash": hashed(options.payload)} | ({"key_hash": hashed(key)} if by_hash else {})
    kept = [*dict.fromkeys([*key, *on]), "row_hash"]
    before = None
    starts, ends = [], []
    for day, path in snapshots(options.lake, options.to).items():
        rows = pl.read_parquet(path, hive_partitioning=False).with_columns(**hashes)
        now = rows.select(kept)
        if before is None:
            started = rows
        else:
            numbered = now.lazy().select(*on, "row_hash", row=pl.int_range(pl.len(), dtype=pl.UInt32))
            both = numbered.join(before.lazy(), on=on, how="full", suffix="_before")
            changed = both.filter(pl.col("row_hash").ne_missing(pl.col("row_hash_before"))).collect()
            started = rows[changed["row"].drop_nulls()]
            gone = [pl.col(column if by_hash else f"{column}_before").alias(column) for column in key]
            ended = changed.filter(pl.col("row_hash_before").is_not_null())
            ends.append(ended.select(*gone, active_end=day - timedelta(days=1)))
        starts.append(started.drop(hashes).with_columns(active_start=day))
        before = now
    intervals = pl.concat(starts).sort(*key, "active_start")
    if ends:
        ended = pl.concat(ends).sort(*key, "active_end")
        intervals = intervals.join_asof(
            ended, left_on="active_start", right_on="active_end", by=key, strategy="forward", coalesce=False, check_sortedness=False
        )
    else:
        intervals = intervals.with_columns(active_end=pl.lit(None, pl.Date))
    intervals = intervals.with_columns(pl.col("active_end").fill_null(OPEN_END))
    intervals.select(*key, *options.payload, "active_start", "active_end").write_parquet(options.out, compression="zstd")


main()
