"""What OKX's REST answers hold, for tests."""

from typing import Any

from tests.fixtures.simulator import Simulator


def data(simulator: Simulator, path: str, **query: object) -> Any:
    """The rows of an answer that must be a success."""
    body = simulator.get(f"/api/v5/{path}", **query)
    assert (body["code"], body["msg"]) == ("0", ""), body
    assert list(body) == ["code", "msg", "data"]
    return body["data"]


def candles(simulator: Simulator, symbol: str, bar: str, **query: object) -> list[list[str]]:
    """The rows of `candles`, newest first."""
    rows: list[list[str]] = data(simulator, "market/candles", instId=symbol, bar=bar, **query)
    return rows


def times(rows: list[list[str]]) -> list[int]:
    return [int(row[0]) for row in rows]
