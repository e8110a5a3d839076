"""Paging over odd rows: it ends, loses no good row, and asks again where rows disagree."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from data_collector.fetch_strategies import fetch_funding, fetch_klines, fetch_open_interest
from data_collector.run import CollectionRun
from data_collector.task_builder import funding_task, klines_task, open_interest_task
from data_collector.url_builder import endpoint_table
from market.left_out import LeftOut
from market.markets import Exchange, Market
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.exchange_answers import ANSWERS
from tests.fixtures.exchange_answers import bent as bent_body
from tests.fixtures.scripted import Scripted, history
from venues.errors import BadPayload
from venues.venue import Endpoint, Order, Request

AS_OF_MS = 1_795_185_441_250
MARKETS = [Market(exchange, "XUSDT", "X", "USDT") for exchange in Exchange]
DISPUTED = "two different rows for this instant"
Bend = Callable[[list[Any]], list[Any]]


def bent(answer: Callable[[Request], bytes], bend: Bend) -> Callable[[Request], bytes]:
    """The exchange with its rows, oldest first, bent in each answer."""
    return lambda request: bent_body(request.exchange, request.endpoint, answer(request), bend)


def time_of(row: Any) -> int:
    if isinstance(row, list):
        return int(row[0])
    return int(row.get("timestamp") or row.get("fundingTime") or row["fundingRateTimestamp"])


def spoil(row: Any, how: str) -> Any:
    """The row with one thing wrong about it."""
    if how == "null":
        return None
    if how == "blank":
        return [row[0], "", *row[2:]] if isinstance(row, list) else {**row, VALUE[len(row)]: ""}
    time_ms = {"ancient": HOUR_MS, "far": 10**15 - 10**15 % HOUR_MS - HOUR_MS, "off": None}[how]
    stamp = time_of(row) + 61_001 if time_ms is None else time_ms
    if isinstance(row, list):
        return [type(row[0])(stamp), *row[1:]]
    name = next(name for name in STAMPS if name in row)
    return {**row, name: type(row[name])(stamp)}


STAMPS = ("timestamp", "fundingTime", "fundingRateTimestamp")
VALUE = {2: "openInterest", 3: "fundingRate"}


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.exchange)
@pytest.mark.parametrize("how", ["null", "blank", "ancient", "far", "off"])
@pytest.mark.parametrize("places", [[0], [-1], [99], [100], [300], [-1, -2, -3], [97, 98, 99, 100]])
async def test_no_good_row_is_lost_with_a_bad_one(
    market: Market, how: str, places: list[int]
) -> None:
    task = klines_task(Timeframe.H1, market, as_of_ms=AS_OF_MS, history_candles=601)
    grid = range(task.start_ms, task.end_ms + 1, HOUR_MS)
    holes = {grid[place] for place in places}

    def bend(rows: list[Any]) -> list[Any]:
        return [spoil(row, how) if time_of(row) in holes else row for row in rows]

    sender = Scripted(bent(history(grid, lambda limit: 100), bend))
    left_out: list[LeftOut] = []
    rows = await fetch_klines(CollectionRun(sender), task, left_out)
    assert [row[0] for row in rows] == [at for at in grid if at not in holes]
    assert len(sender.sent) <= 14
    if how in ("ancient", "far"):
        assert {row.reason for row in left_out} == {"outside of the requested window"}
    if how in ("blank", "off"):
        assert {row.slot_ms(HOUR_MS) for row in left_out} == holes


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.exchange)
@pytest.mark.parametrize("again", [False, True])
async def test_two_different_rows_are_asked_for_once_more(market: Market, again: bool) -> None:
    task = klines_task(Timeframe.H1, market, as_of_ms=AS_OF_MS, history_candles=50)
    grid = range(task.start_ms, task.end_ms + 1, HOUR_MS)
    disputed, twice = grid[20], grid[30]
    asked = 0

    def bend(rows: list[Any]) -> list[Any]:
        nonlocal asked
        asked += 1
        bent_rows = []
        for row in rows:
            bent_rows.append(row)
            if time_of(row) == twice:
                bent_rows.append(row)  # the same row twice is one row
            if time_of(row) == disputed and (again or asked == 1):
                bent_rows.append([row[0], "2.5", *row[2:]])
        return bent_rows

    left_out: list[LeftOut] = []
    rows = await fetch_klines(CollectionRun(Scripted(bent(history(grid), bend))), task, left_out)
    assert asked == 2
    assert [row[0] for row in rows] == [at for at in grid if not (again and at == disputed)]
    assert left_out == ([LeftOut(disputed, DISPUTED)] if again else [])


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.exchange)
async def test_snapshots_and_settlements_that_disagree_are_left_out(market: Market) -> None:
    task = open_interest_task(Timeframe.H1, market, as_of_ms=AS_OF_MS, history_candles=20)
    assert task is not None
    grid = range(task.start_ms, task.end_ms + 1, HOUR_MS)

    def differing(row: Any) -> Any:
        text = json.dumps(row)
        for value in ('"4"', '"0.001"'):
            text = text.replace(value, '"0.5"')
        return json.loads(text)

    def bend(rows: list[Any]) -> list[Any]:
        return [
            bent_row
            for row in rows
            for bent_row in (
                [row, differing(row)] if time_of(row) == grid[5] else [row]
            )
        ]  # fmt: skip

    left_out: list[LeftOut] = []
    sender = Scripted(bent(history(grid), bend))
    rows = await fetch_open_interest(CollectionRun(sender), task, left_out)
    assert [row[0] for row in rows] == [at for at in grid if at != grid[5]]
    assert left_out == [LeftOut(grid[5], DISPUTED)]
    funding = funding_task(market, start_ms=grid[0], end_ms=AS_OF_MS)
    left_out.clear()
    sender = Scripted(bent(history(grid), bend))
    settled = await fetch_funding(CollectionRun(sender), funding, left_out)
    assert [row[0] for row in settled] == [at for at in grid if at != grid[5]]
    assert left_out == [LeftOut(grid[5], DISPUTED)]


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.exchange)
async def test_pages_that_disagree_with_each_other(market: Market) -> None:
    # Each page of settlements also has the first row of the page before, with another rate.
    grid = [AS_OF_MS - AS_OF_MS % HOUR_MS - n * HOUR_MS for n in range(250)][::-1]
    task = funding_task(market, start_ms=grid[0], end_ms=AS_OF_MS)
    plain = history(grid, lambda limit: 100)
    descending = endpoint_table(market.exchange, Endpoint.FUNDING).order is Order.DESCENDING
    edge: list[Any] = []

    def bend(rows: list[Any]) -> list[Any]:
        if not rows:
            return rows
        repeated = [{**row, ANSWERS[market.exchange].settled["rate"]: "0.5"} for row in edge]
        edge[:] = [rows[0] if descending else rows[-1]]
        return sorted([*repeated, *rows], key=time_of)

    left_out: list[LeftOut] = []
    sender = Scripted(bent(plain, bend))
    rows = await fetch_funding(CollectionRun(sender), task, left_out)
    assert len({row[0] for row in rows}) == len(rows)
    # The window of a page begins after the page before, where such a row is none of it.
    assert [row[0] for row in rows] == grid
    assert left_out == []


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.exchange)
async def test_an_answer_without_a_row_that_can_be_is_asked_for_again(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.0)
    task = klines_task(Timeframe.H1, market, as_of_ms=AS_OF_MS, history_candles=50)
    grid = range(task.start_ms, task.end_ms + 1, HOUR_MS)
    bad = 2

    def bend(rows: list[Any]) -> list[Any]:
        nonlocal bad
        bad -= 1
        return [spoil(row, "blank") for row in rows] if bad >= 0 else rows

    rows = await fetch_klines(CollectionRun(Scripted(bent(history(grid), bend))), task)
    assert [row[0] for row in rows] == list(grid)
    bad = 3
    with pytest.raises(BadPayload, match=r"none of its 50 rows is valid: row at .* open is not"):
        await fetch_klines(CollectionRun(Scripted(bent(history(grid), bend))), task)
