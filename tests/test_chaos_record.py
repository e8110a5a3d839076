"""The chaos run's comparison of the record with what readers got."""

from copy import deepcopy
from typing import Any, Final

import pytest

from chaos.record_checks import differences

SERVED: Final[dict[str, Any]] = {
    "version": 7,
    "missing": [],
    "markets": [
        {
            "exchange": "binance",
            "symbol": "AUSDT",
            "stale_since": None,
            "rows": [[1, 2.0, 3.0, 1.0, 2.5, 9.0, 20.0, 5.0, 0.1], [2, *[1.0] * 6, None, None]],
        }
    ],
}


def changed(**fields: Any) -> Any:
    found = deepcopy(SERVED)
    market = found["markets"][0]
    for name, value in fields.items():
        if name == "row":
            market["rows"][0][value] += 1
        elif name in market:
            market[name] = value
        else:
            found[name] = value
    return found


def test_open_interest_that_another_document_had_is_no_difference() -> None:
    found = changed(forming_rows="kept")
    found["markets"][0]["rows"][1][7] = 5.5
    assert list(differences(found, SERVED)) == []


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (changed(row=4), "a row of binance:AUSDT is"),
        (changed(row=7), "a row of binance:AUSDT is"),
        (changed(row=8), "a row of binance:AUSDT is"),
        (changed(rows=[]), "binance:AUSDT has 0 rows, had 2"),
        (changed(stale_since=5), "stale_since of binance:AUSDT is 5, was None"),
        (changed(missing=[1]), "missing is [1], was []"),
        (changed(markets=[]), "0 markets, were 1"),
    ],
)
def test_all_else_is(found: Any, told: str) -> None:
    (problem,) = differences(found, SERVED)
    assert problem.startswith(told)
