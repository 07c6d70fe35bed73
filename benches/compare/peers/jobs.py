"""The SQL that each date runs, the same for asof and for DuckDB; `job_polars.py` has it in polars' own words."""

JOBS = {
    "join": """
        SELECT events.*, item.name, item.price FROM events JOIN item ON item_id = id WHERE item.status = 'ACTIVE'
    """,
    "group": """
        SELECT category, kind, count(*) AS events, CAST(sum(quantity) AS BIGINT) AS quantity, sum(quantity * price) AS revenue
        FROM events JOIN item ON item_id = id GROUP BY category, kind
    """,
    "window": """
        SELECT event_id, item_id, category, quantity * price AS value,
            CAST(row_number() OVER (PARTITION BY category ORDER BY quantity * price DESC, event_id) AS BIGINT) AS place
        FROM events JOIN item ON item_id = id WHERE item.status = 'ACTIVE'
    """,
    "semi": """
        SELECT * FROM events WHERE item_id IN (SELECT id FROM item WHERE status = 'ACTIVE')
    """,
}
