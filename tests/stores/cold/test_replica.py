"""A replica for reading history: how far it is behind, and what is told when it is away."""

import pytest

from stores.cold.replica import lag_s

NOW_MS = 1_000_000


@pytest.mark.parametrize(
    ("database", "replica", "expected"),
    [
        ({}, {}, 0.0),
        ({"4h": (5, 900_000)}, {"4h": (5, 900_000)}, 0.0),
        ({"4h": (5, 900_000)}, {"4h": (6, 950_000)}, 0.0),
        ({"4h": (5, 900_000)}, {"4h": (4, 100_000)}, 100.0),
        ({"4h": (5, 900_000), "1h": (2, 980_000)}, {"4h": (5, 900_000)}, 20.0),
        ({"4h": (5, 900_000), "1h": (2, 980_000)}, {}, 100.0),
        ({"4h": (5, NOW_MS + 9)}, {}, 0.0),  # by a clock that is ahead of ours
    ],
)
def test_the_lag_is_since_when_something_is_lacking(
    database: dict[str, tuple[int, int]], replica: dict[str, tuple[int, int]], expected: float
) -> None:
    assert lag_s(database, replica, NOW_MS) == expected
