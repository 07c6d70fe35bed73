"""A lake of three days, which most tests begin with."""

import polars as pl
import pytest

import asof

DAYS = ["2024-09-13", "2024-09-14", "2024-09-15"]


def items(day):
    """The items of one of the days, as the README has them."""
    rows = {
        "2024-09-13": [(1, "pen", "ACTIVE", 1.2), (2, "ink", "ACTIVE", 4.0), (3, "pad", "DISABLED", 2.5)],
        "2024-09-14": [
            (1, "pen", "ACTIVE", 1.3),
            (2, "ink", "DISABLED", 4.0),
            (3, "pad", "DISABLED", 2.5),
            (4, "cap", "ACTIVE", 0.8),
        ],
        "2024-09-15": [(1, "pen", "ACTIVE", 1.3), (2, "ink", "ACTIVE", 4.0), (4, "cap", "ACTIVE", 0.8)],
    }[day]
    return pl.DataFrame(rows, schema=["id", "name", "status", "price"], orient="row")


@pytest.fixture
def lake(tmp_path):
    lake = asof.Lake(tmp_path / "lake")
    for day in DAYS:
        lake.snapshot("item", items(day), date=day, key="id", backdate=True)
    return lake


@pytest.fixture
def item(lake):
    return lake["item"]
