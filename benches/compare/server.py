"""A table in the PostgreSQL that `tests/servers/start` starts, as the source of snapshots."""

from __future__ import annotations

import os
import subprocess

# The URL of its database, if it was started; and what `tests/servers/start` makes the password.
POSTGRES = os.environ.get("ASOF_TEST_POSTGRES")
LOGIN = {"PGPASSWORD": "asof"}

# Columns as those of the other sources, in an order that is not that of the key.
ITEM = """
    SET client_min_messages = warning;
    DROP TABLE IF EXISTS item;
    CREATE TABLE item (
        id bigint, name text, status text, price double precision, stock int, category text, changed_on date, updated_at timestamp
    );
    INSERT INTO item SELECT
        id,
        'Item ' || id || ' ' || substr(md5(id::text), 1, 8),
        (ARRAY['ACTIVE', 'INACTIVE', 'DRAFT', 'SOLD OUT'])[1 + id % 4],
        CASE WHEN id % 50 <> 0 THEN (id * 7919 % 1000000) / 100.0 END,
        id * 104729 % 1000,
        'category ' || id % 200,
        DATE '2020-01-01' + (id * 31 % 1400)::int,
        TIMESTAMP '2024-01-01 00:00:00' + id % 86400 * INTERVAL '1 second' + id % 1000000 * INTERVAL '1 microsecond'
    FROM generate_series(1::bigint, {rows}) AS id ORDER BY hashint8(id);
    ANALYZE item;
    CHECKPOINT;
"""


def fill(rows: int) -> None:
    """Makes the table `item` with so many rows."""
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", POSTGRES]
    subprocess.run(command, input=ITEM.replace("{rows}", str(rows)), text=True, env=os.environ | LOGIN, check=True)
