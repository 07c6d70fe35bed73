"""Tables as they were on any day, for polars, pandas, pyarrow and DuckDB.

Names, types and errors are in `__init__.pyi`, which editors and `help()` of type checkers show.
"""

from asof._asof import Diff, Lake, Rows, Table, __version__, join, open
from asof._errors import (
    ConflictError,
    Error,
    InternalError,
    IoError,
    PartialError,
    RefusedError,
    UsageError,
)
from asof._scan import scan

__all__ = [
    "ConflictError",
    "Diff",
    "Error",
    "InternalError",
    "IoError",
    "Lake",
    "PartialError",
    "RefusedError",
    "Rows",
    "Table",
    "UsageError",
    "__version__",
    "join",
    "open",
    "scan",
]
