"""Rows that cannot be: left out alone, told, kept told by refreshes, and asked for again."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from data_collector import CollectionFailed
from market.markets import Exchange
from market.timeframes import MINUTE_MS, Timeframe
from tests.fixtures.refreshing import (
    CANDLES,
    CLOSED_MS,
    H4,
    collect,
    rows_by_key,
    with_old_markets,
)
from tests.fixtures.simulated_markets import Contract, SimulatedMarkets
from tests.fixtures.simulator import NOW_MS
from venues.venue import Endpoint

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
H8 = Timeframe.H8
STEP_MS = H4.interval_ms
OLD_MS = CLOSED_MS - 110 * STEP_MS  # a refresh does not ask for it
RECENT_MS = CLOSED_MS - 5 * STEP_MS  # a refresh asks for it
Spoil = Callable[[Any], Any]


@dataclass
class Spoiling(SimulatedMarkets):
    """Exchanges of which some rows are spoilt, by market and time."""

    candles: dict[tuple[str, int], Spoil] = field(default_factory=dict)
    snapshots: dict[tuple[str, int], Spoil] = field(default_factory=dict)

    def _candle(self, contract: Contract, time_ms: int, step_ms: int) -> Any:
        row = super()._candle(contract, time_ms, step_ms)
        return self.candles.get((contract.market.key, time_ms), lambda row: row)(row)

    def _snapshot(self, contract: Contract, time_ms: int, step_ms: int) -> Any:
        row = super()._snapshot(contract, time_ms, step_ms)
        return self.snapshots.get((contract.market.key, time_ms), lambda row: row)(row)


def zeros(row: Any) -> Any:
    return [row[0], "0", "0", "0", "0", *row[5:]]


def no_time(row: Any) -> Any:
    return ["", *row[1:]]


def negative(row: Any) -> Any:
    name = "sumOpenInterest" if "sumOpenInterest" in row else "singleOpenInterest"
    return {**row, name: "-1"}


@pytest.fixture
def world() -> Spoiling:
    return with_old_markets(Spoiling(1, perfect=True))


@pytest.fixture
def _nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No market's holes or nulls are asked for again."""
    monkeypatch.setattr("data_collector.incremental.HOLES_PER_RUN", 0)
    monkeypatch.setattr("data_collector.incremental.NULLS_PER_RUN", 0)


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.0)


def times(text: bytes, key: str) -> list[int]:
    return [row[0] for row in rows_by_key(text)[key]]


def told(text: bytes, part: str = "klines") -> list[str]:
    """The reasons of the document, each with its market."""
    return [
        f"{lack['exchange']}:{lack['symbol']} {lack['reason']}"
        for lack in json.loads(text)["missing"]
        if lack["part"] == part
    ]


def window(now_ms: int) -> Iterable[int]:
    last_ms = H4.floor(now_ms)
    return range(last_ms - (CANDLES - 1) * STEP_MS, last_ms + 1, STEP_MS)


KEYS = ("binance:OLDUSDT", "bybit:OLDUSDT")
IMPOSSIBLE = "impossible prices (high < low, or <= 0)"


@pytest.mark.usefixtures("_nothing_again")
@pytest.mark.parametrize("hole_ms", [OLD_MS, RECENT_MS, CLOSED_MS, H4.floor(NOW_MS)])
async def test_a_refresh_tells_what_a_cold_collection_tells(world: Spoiling, hole_ms: int) -> None:
    world.candles = {(key, hole_ms): zeros for key in KEYS}
    _, standing = await collect(world)
    for later_ms in (MINUTE_MS, STEP_MS, 3 * STEP_MS):
        world.now_ms += later_ms
        world.sent.clear()
        collected, refreshed = await collect(world, standing)
        assert all(request.weight == 1 for request in world.sent)
        assert (collected.refreshed, collected.corrected, collected.carried_over) == (4, 0, 0)
        _, cold = await collect(world)
        assert refreshed == cold
        for key in KEYS:
            expected = [at for at in window(world.now_ms) if at != hole_ms]
            assert times(refreshed[H4], key) == expected
        reasons = [f"{key} row at {hole_ms} left out: {IMPOSSIBLE}" for key in KEYS]
        assert told(refreshed[H4]) == told(refreshed[H8]) == reasons
        standing = refreshed


@pytest.mark.usefixtures("_nothing_again")
async def test_a_hole_is_told_as_long_as_it_lies_in_the_window(world: Spoiling) -> None:
    world.candles = {(key, OLD_MS): zeros for key in KEYS}
    _, standing = await collect(world)
    world.now_ms += (CANDLES - 112) * STEP_MS
    assert min(window(world.now_ms)) == OLD_MS
    collected, standing = await collect(world, standing)
    assert collected.refreshed == 4
    assert len(told(standing[H4])) == 2
    world.now_ms += STEP_MS
    collected, standing = await collect(world, standing)
    assert collected.refreshed == 4
    assert told(standing[H4]) == []


async def test_a_correction_by_the_exchange_arrives(world: Spoiling) -> None:
    world.candles = {(key, OLD_MS): zeros for key in KEYS}
    _, standing = await collect(world)
    world.now_ms += MINUTE_MS
    _, standing = await collect(world, standing)
    assert len(told(standing[H4])) == 2
    world.candles = {}
    world.now_ms += MINUTE_MS
    collected, standing = await collect(world, standing)
    assert collected.corrected == 0
    assert told(standing[H4]) == []
    assert times(standing[H4], KEYS[0]) == list(window(world.now_ms))


@pytest.mark.usefixtures("_nothing_again")
async def test_a_known_row_that_cannot_be_any_more_is_corrected_once(world: Spoiling) -> None:
    _, standing = await collect(world)
    world.candles = {(KEYS[0], RECENT_MS): zeros}
    for corrected in (1, 0, 0):
        world.now_ms += MINUTE_MS
        collected, standing = await collect(world, standing)
        assert collected.corrected == corrected
        assert told(standing[H4]) == [f"{KEYS[0]} row at {RECENT_MS} left out: {IMPOSSIBLE}"]


@pytest.mark.usefixtures("_nothing_again")
async def test_at_most_twenty_rows_of_a_market_are_named(world: Spoiling) -> None:
    holes = [CLOSED_MS - n * STEP_MS for n in range(2, 102, 2)]
    world.candles = {(KEYS[0], at): zeros for at in holes[1:]}
    world.candles[KEYS[0], holes[0]] = no_time
    _, standing = await collect(world)
    for _ in range(2):
        reasons = told(standing[H4])
        assert f"{KEYS[0]} and 30 more, up to {holes[20]}" in reasons
        last = f"{KEYS[0]} row after {holes[0] - STEP_MS} left out: its time cannot be read: blank"
        assert last in reasons
        assert {f"{KEYS[0]} row at {at} left out: {IMPOSSIBLE}" for at in holes[1:20]} < set(
            reasons
        )
        assert len(reasons) == 21
        assert times(standing[H4], KEYS[0]) == [at for at in window(NOW_MS) if at not in holes]
        world.now_ms += MINUTE_MS
        collected, standing = await collect(world, standing)
        assert (collected.refreshed, collected.corrected) == (4, 0)


@pytest.mark.parametrize("key", KEYS)
async def test_a_market_all_of_whose_rows_cannot_be_keeps_its_earlier_ones(
    world: Spoiling, key: str
) -> None:
    world.candles = {(key, OLD_MS): zeros}
    _, before = await collect(world)
    world.now_ms += MINUTE_MS
    world.candles = {(key, at): zeros for at in window(world.now_ms)}
    collected, after = await collect(world, before)
    assert (collected.markets, collected.carried_over) == (3, 1)
    failed, hole = sorted(told(after[H4]), key=lambda reason: "row at" in reason[:30])
    assert "none of its " in failed
    assert IMPOSSIBLE in failed
    assert hole == f"{key} row at {OLD_MS} left out: {IMPOSSIBLE}"
    assert times(after[H4], key) == times(before[H4], key)
    world.candles = {}
    collected, healed = await collect(world, after)
    assert (collected.markets, collected.carried_over) == (4, 0)
    assert told(healed[H4]) == []


async def test_the_only_row_of_a_new_market_cannot_be(world: Spoiling) -> None:
    world.contracts.clear()
    young = world.add(BINANCE, "YOUNG", NOW_MS - MINUTE_MS)
    world.candles = {(young.key, H4.floor(NOW_MS)): zeros}
    with pytest.raises(CollectionFailed, match="none of the 1 rows is valid"):
        await collect(world)


@pytest.mark.usefixtures("_nothing_again")
@pytest.mark.parametrize("hole_ms", [OLD_MS, RECENT_MS])
async def test_a_snapshot_that_cannot_be_is_null_and_told(world: Spoiling, hole_ms: int) -> None:
    world.snapshots = {(key, hole_ms): negative for key in KEYS}
    _, standing = await collect(world)
    reason = f"row at {hole_ms} left out: open interest is negative or not a number: -1.0"
    for _ in range(2):
        assert told(standing[H4], "open_interest") == [f"{key} {reason}" for key in KEYS]
        assert told(standing[H4]) == []
        for market in json.loads(standing[H4])["markets"]:
            spoilt = f"{market['exchange']}:{market['symbol']}" in KEYS
            nulls = [row[0] for row in market["rows"] if row[7] is None]
            assert nulls == [hole_ms] * spoilt
        world.now_ms += MINUTE_MS
        world.sent.clear()
        collected, standing = await collect(world, standing)
        assert collected.corrected == 0
        assert not [r for r in world.sent if r.endpoint is Endpoint.OPEN_INTEREST]


async def test_a_corrected_snapshot_arrives(world: Spoiling) -> None:
    world.snapshots = {(key, OLD_MS): negative for key in KEYS}
    _, standing = await collect(world)
    world.snapshots = {}
    world.now_ms += MINUTE_MS
    collected, standing = await collect(world, standing)
    assert (collected.refreshed, collected.corrected) == (4, 0)
    assert told(standing[H4], "open_interest") == []


@pytest.mark.parametrize("at_ms", [OLD_MS - 1, OLD_MS, OLD_MS + 1])
@pytest.mark.parametrize("key", KEYS)
async def test_a_snapshot_that_has_come_is_told_no_longer(
    world: Spoiling, key: str, at_ms: int
) -> None:
    def odd(row: Any) -> Any:
        stamp: Any = at_ms if key.startswith("binance") else str(at_ms)
        return {**negative(row), "timestamp": stamp}

    world.snapshots = {(key, OLD_MS): odd}
    _, documents = await collect(world)
    assert len(told(documents[H4], "open_interest")) == 1
    world.snapshots.clear()
    for _ in range(2):  # the second one asks only for what is new
        world.now_ms += STEP_MS
        _, documents = await collect(world, documents)
    assert told(documents[H4], "open_interest") == []
    assert documents == (await collect(world))[1]
