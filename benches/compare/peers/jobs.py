"""The SQL that each date runs, the same for asof and for DuckDB; `job_polars.py` has it in polars' own words."""

JOBS = {
    "join": """
        SELECT events.*, item.name, item.price FROM events JOIN item ON item_id = id{same_date} WHERE item.status = 'ACTIVE'
    """,
    "group": """
        SELECT {date}category, kind, count(*) AS events, CAST(sum(quantity) AS BIGINT) AS quantity, sum(quantity * price) AS revenue
        FROM events JOIN item ON item_id = id{same_date} GROUP BY {date}category, kind
    """,
    "window": """
        SELECT {date}event_id, item_id, category, quantity * price AS value,
            CAST(row_number() OVER (PARTITION BY {date}category ORDER BY quantity * price DESC, event_id) AS BIGINT) AS place
        FROM events JOIN item ON item_id = id{same_date} WHERE item.status = 'ACTIVE'
    """,
    "semi": """
        SELECT * FROM events WHERE ({date}item_id) IN (SELECT {snapshot_date}id FROM item WHERE status = 'ACTIVE')
    """,
}


def of_one_date(job: str) -> str:
    return JOBS[job].format(date="", snapshot_date="", same_date="")


def of_all_dates(job: str) -> str:
    """With the date of the events and that of the copies as columns."""
    return JOBS[job].format(date="date, ", snapshot_date="snapshot_date, ", same_date=" AND date = snapshot_date")
