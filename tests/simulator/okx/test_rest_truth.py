"""The truth of OKX's markets equals what a careful reader of the wire finds with Decimal."""

from decimal import Decimal
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator
from tests.simulator.okx.rest import data

HOUR_MS = 3_600_000
BARS = {"5m": "5m", "1h": "1H", "2h": "2H", "4h": "4H", "6h": "6Hutc", "12h": "12Hutc",
        "1d": "1Dutc"}  # fmt: skip
LENGTHS = {"5m": HOUR_MS // 12, "1h": HOUR_MS, "2h": 2 * HOUR_MS, "4h": 4 * HOUR_MS,
           "6h": 6 * HOUR_MS, "12h": 12 * HOUR_MS, "1d": 24 * HOUR_MS}  # fmt: skip


def _rows(simulator: Simulator, symbol: str, timeframe: str, n: int) -> list[list[Any]]:
    bar = BARS[timeframe]
    first = NOW_MS - NOW_MS % LENGTHS[timeframe] - (n - 1) * LENGTHS[timeframe]
    candles = data(
        simulator, "market/candles", instId=symbol, bar=bar, limit=n, before=first - 1
    )  # fmt: skip
    snapshots: dict[int, Decimal] = {}
    funding: list[tuple[int, Decimal]] = []
    if symbol.endswith("-SWAP"):
        page = data(
            simulator, "rubik/stat/contracts/open-interest-history",
            instId=symbol, period=bar, limit=100,
        )  # fmt: skip
        snapshots = {int(row[0]): Decimal(row[2]) for row in page}
        funding = _funding(simulator, symbol, first)
    found = []
    for row in reversed(candles):
        time = int(row[0])
        end = min(time + LENGTHS[timeframe] - 1, NOW_MS)
        known = [rate for stamp, rate in funding if stamp <= end]
        oi = snapshots.get(time)
        found.append(
            [
                time,
                *(float(Decimal(row[place])) for place in (1, 2, 3, 4)),
                float(Decimal(row[6 if symbol.endswith("-SWAP") else 5])),
                float(Decimal(row[7])),
                None if oi is None else float(oi),
                float(known[0]) if known else None,
            ]
        )
    return found


def _funding(simulator: Simulator, symbol: str, first: int) -> list[tuple[int, Decimal]]:
    """The settlements that candles from `first` on need, newest first."""
    found: list[tuple[int, Decimal]] = []
    while not found or found[-1][0] > first:
        after = {"after": found[-1][0]} if found else {}
        rows = data(simulator, "public/funding-rate-history", instId=symbol, **after)
        if not rows:
            break
        found += [(int(row["fundingTime"]), Decimal(row["realizedRate"])) for row in rows]
    return found


@pytest.mark.parametrize("timeframe", BARS)
def test_truth_is_what_the_wire_says(okx: Simulator, timeframe: str) -> None:
    n = 75  # whole days are as old as the funding that the exchange keeps
    truth = okx.truth(timeframe, candles=n)
    assert len(truth) == 20
    for key in list(truth)[1:14]:  # among them holes, missing snapshots, silent and young ones
        symbol = key.partition(":")[2]
        assert _rows(okx, symbol, timeframe, n) == truth[key], key


def test_truth_of_spot(okx: Simulator) -> None:
    truth = okx.truth("1h", candles=30, symbol="ETH-USDT")
    assert _rows(okx, "ETH-USDT", "1h", 30) == truth["okx:ETH-USDT"]
    swap = okx.truth("1h", candles=30, symbol="ETH-USDT-SWAP")["okx:ETH-USDT-SWAP"]
    for one, two in zip(swap[:-1], truth["okx:ETH-USDT"][:-1], strict=True):
        assert abs(one[4] / two[4] - 1) < 2e-3
        assert one[5] != two[5]


def test_other_exchanges_are_not_concerned(start_simulator: Any) -> None:
    """Without markets none of it is there, and its clock has no say."""
    simulator: Simulator = start_simulator(binance=3, bybit=3, okx=0, now=NOW_MS, frozen=True)
    simulator.post("/sim/clock", {"skew_ms": {"binance": 3000, "bybit": 2000}})
    truth = simulator.get("/sim/truth", timeframe="1h", candles=2)
    assert {market["exchange"] for market in truth["markets"]} == {"binance", "bybit"}
    assert truth["as_of"] == NOW_MS + 2000
    assert {m["exchange"] for m in simulator.get("/sim/markets")["markets"]} == {
        "binance", "bybit"
    }  # fmt: skip
    assert data(simulator, "public/instruments", instType="SWAP") == []
