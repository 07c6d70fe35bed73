"""DuckDB as it is best set for these scripts: it may have most of the memory, and spills when that is not enough."""

import os

import duckdb


def connect(path: str = ":memory:") -> duckdb.DuckDBPyConnection:
    temporary = os.environ.get("TMPDIR", "/tmp")
    settings = {"memory_limit": "80%", "temp_directory": f"{temporary}/duckdb", "preserve_insertion_order": False}
    return duckdb.connect(path, config=settings)
