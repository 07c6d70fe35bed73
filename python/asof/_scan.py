"""A lazy polars frame of a table as of a date: its filters and columns reach the Parquet reader."""

import datetime
import io
import json


def scan(table, date=None):
    import polars as pl
    from polars.io.plugins import register_io_source

    rows = table.as_of(date)
    snapshot_date = rows.snapshot_date
    schema = pl.Schema(rows)

    def read(with_columns, predicate, n_rows, batch_size):
        columns, where = with_columns, None
        if predicate is not None:
            where = condition_of(predicate, schema)
            if columns is not None:
                columns = list(dict.fromkeys([*columns, *predicate.meta.root_names()]))
        if columns is not None and not columns:
            # Only the number of rows is wanted: some column tells it.
            columns = schema.names()[:1]
        for batch in table.as_of(snapshot_date, columns=columns, where=where):
            frame = pl.DataFrame(batch)
            if predicate is not None:
                # What asof was not asked for is left to polars.
                frame = frame.filter(predicate)
            if with_columns is not None:
                frame = frame.select(with_columns)
            if n_rows is not None:
                frame = frame.head(n_rows)
                n_rows -= frame.height
            yield frame
            if n_rows == 0:
                return

    return register_io_source(read, schema=schema, is_pure=True)


def condition_of(predicate, schema):
    """A condition of asof that holds wherever a predicate of polars does, or None for all rows.

    It has those parts of the predicate that both judge alike: comparisons of integers, text, dates
    and truth values with constants. A part that is not known is left out.
    """
    try:
        node = json.loads(predicate.meta.serialize(format="json"))
        parts = [_translated(part, schema) for part in _conjuncts(node)]
    except Exception:  # The format is polars' own and may change: then polars filters alone.
        return None
    return " AND ".join(f"({part})" for part in parts if part is not None) or None


_OPERATORS = {
    "Eq": "=",
    "NotEq": "<>",
    "Lt": "<",
    "LtEq": "<=",
    "Gt": ">",
    "GtEq": ">=",
    "EqValidity": "IS NOT DISTINCT FROM",
    "NotEqValidity": "IS DISTINCT FROM",
}
_MIRRORED = {"Lt": "Gt", "LtEq": "GtEq", "Gt": "Lt", "GtEq": "LtEq"}


def _binary(node):
    binary = node.get("BinaryExpr") if isinstance(node, dict) else None
    return (binary["op"], binary["left"], binary["right"]) if binary else (None, None, None)


def _conjuncts(node):
    op, left, right = _binary(node)
    if op in ("And", "LogicalAnd"):
        yield from _conjuncts(left)
        yield from _conjuncts(right)
    else:
        yield node


def _translated(node, schema):
    """The condition that is true, false or null for the same rows; None if none is known."""
    op, left, right = _binary(node)
    if op in ("And", "LogicalAnd", "Or", "LogicalOr"):
        sides = _translated(left, schema), _translated(right, schema)
        word = "AND" if op.endswith("And") else "OR"
        return None if None in sides else f"({sides[0]}) {word} ({sides[1]})"
    if op in _OPERATORS:
        if _column(left, schema) is None:
            op, left, right = _MIRRORED.get(op, op), right, left
        return _comparison(_column(left, schema), _OPERATORS[op], right)
    if isinstance(node, dict) and "Column" in node:
        column = _column(node, schema)
        return column[0] if column and column[1] is bool else None
    if isinstance(node, dict) and "Function" in node:
        return _function(node["Function"], schema)
    return None


def _function(node, schema):
    function, inputs = node["function"], node["input"]
    name = function.get("Boolean") if isinstance(function, dict) else None
    column = _column(inputs[0], schema)
    if name == "Not":
        inner = _translated(inputs[0], schema)
        return None if inner is None else f"NOT ({inner})"
    if name == "IsNull":
        return column and f"{column[0]} IS NULL"
    if name == "IsNotNull":
        return column and f"{column[0]} IS NOT NULL"
    if isinstance(name, dict) and "IsBetween" in name:
        ends = {"Both": (">=", "<="), "Left": (">=", "<"), "Right": (">", "<="), "None": (">", "<")}
        low, high = ends[name["IsBetween"]["closed"]]
        sides = _comparison(column, low, inputs[1]), _comparison(column, high, inputs[2])
        return None if None in sides else f"{sides[0]} AND {sides[1]}"
    if isinstance(name, dict) and "IsIn" in name and not name["IsIn"].get("nulls_equal"):
        values = _value(inputs[1])
        if column is None or not isinstance(values, list) or not 0 < len(values) <= 1000:
            return None
        literals = [_literal(value, column[1]) for value in values]
        return None if None in literals else f"{column[0]} IN ({', '.join(literals)})"
    return None


def _column(node, schema):
    """The quoted name of a column and the type of its values in Python, if asof compares them."""
    import polars as pl

    name = node.get("Column") if isinstance(node, dict) else None
    if name not in schema:
        return None
    dtype = schema[name]
    types = {pl.String: str, pl.Date: datetime.date, pl.Boolean: bool}
    kind = int if dtype.is_integer() else types.get(dtype.base_type())
    return kind and ('"' + name.replace('"', '""') + '"', kind)


def _comparison(column, operator, node):
    literal = column and _literal(_value(node), column[1])
    return literal and f"{column[0]} {operator} {literal}"


def _value(node):
    """The value of a literal, as polars itself reads it; None for anything else."""
    import polars as pl

    if not (isinstance(node, dict) and "Literal" in node):
        return None
    literal = pl.Expr.deserialize(io.StringIO(json.dumps(node)), format="json")
    value = pl.select(literal).to_series()
    if len(value) != 1:
        return value.to_list()
    value = value.item()
    return value.to_list() if isinstance(value, pl.Series) else value


def _literal(value, kind):
    if type(value) is not kind:
        return None
    if kind is str:
        return "'" + value.replace("'", "''") + "'"
    if kind is datetime.date:
        return f"DATE '{value.isoformat()}'"
    return str(value).upper()
