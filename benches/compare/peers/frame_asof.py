"""Frames of polars from the module asof.

as-of  a table as of a date.
join   events, each with the row as of its own date.
"""

import asof
import polars as pl

from frames import COLUMNS, arguments, events_of, timed


def main() -> None:
    options = arguments("as-of", "join")
    events = events_of(options.events) if options.events else None

    def as_of() -> pl.DataFrame:
        return asof.Lake(str(options.lake))["item"].as_of(options.date).to_polars()

    def join() -> pl.DataFrame:
        item = asof.Lake(str(options.lake))["item"]
        return asof.join(events, item, on={"item_id": "id"}, date="date", columns=COLUMNS).to_polars()

    timed(as_of if options.method == "as-of" else join, options.out)


main()
