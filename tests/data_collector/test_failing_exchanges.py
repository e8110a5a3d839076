"""Collections while markets and exchanges fail: what is carried over, given up and named."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from config import load_settings
from data_collector import CollectionFailed, ExchangeClient, fetch_market_data
from market.markets import (
    Exchange,
    Market,
    MarketSeries,
    Row,
)
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.fetching import CollectionClient
from tests.fixtures.simulator import NOW_MS, Simulator

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
H4, H8 = Timeframe.H4, Timeframe.H8


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)


async def test_one_bad_market_is_its_own_matter(simulator: Simulator) -> None:
    client = CollectionClient(simulator)
    simulator.post("/sim/faults", {"kind": "delist", "exchange": "binance", "symbol": "ETHUSDT"})
    simulator.post("/sim/faults", {"kind": "delist", "exchange": "bybit", "symbol": "SOLUSDT"})
    async with client.client:
        markets = await client.markets()
        gone = [Market(BINANCE, "ETHUSDT", "ETH", "USDT"), Market(BYBIT, "SOLUSDT", "SOL", "USDT")]
        nonsense = {"kind": "nonsense", "endpoint": "klines", "symbol": "BTCUSDT"}
        simulator.post("/sim/faults", nonsense)
        unknown = Market(BYBIT, "NOSUCHUSDT", "NOSUCH", "USDT")
        result = await client.collect(H4, [*markets, *gone, unknown], funding={})
    failed = {key for key, part in result.missing() if part == "klines"}
    # Delisted contracts may be served on, flat; those that are not are named.
    assert failed <= {
        "binance:BTCUSDT",
        "bybit:BTCUSDT",
        "binance:ETHUSDT",
        "bybit:SOLUSDT",
        "bybit:NOSUCHUSDT",
    }
    assert failed >= {"binance:BTCUSDT", "bybit:BTCUSDT", "bybit:NOSUCHUSDT"}
    reasons = {item.symbol: item.reason for item in result.collected.missing}
    assert "symbol invalid" in reasons["NOSUCHUSDT"]
    truth = simulator.truth("4h", candles=499)
    rows = result.rows(H4)
    for market in markets:
        if market.key not in failed:
            assert [row[:8] for row in rows[market.key]] == [r[:8] for r in truth[market.key]]


async def _earlier(client: CollectionClient, markets: Sequence[Market]) -> dict[Timeframe, Any]:
    result = await client.collect(H4, markets, candles=60, funding=client.funding(markets))
    return dict(result.delivered)


async def test_an_exchange_that_is_down_is_carried_over(simulator: Simulator) -> None:
    client = CollectionClient(simulator)
    async with client.client:
        markets = [market for market in await client.markets() if "BONK" not in market.symbol]
        previous = await _earlier(client, markets)
        later_ms = NOW_MS + 5 * HOUR_MS
        simulator.post("/sim/clock", {"now_ms": later_ms})
        simulator.post("/sim/faults", {"kind": "status", "status": 502, "exchange": "bybit"})
        funding = client.funding(markets, later_ms)
        result = await client.collect(H4, markets, candles=60, funding=funding, previous=previous)
        again = await client.collect(
            H4, markets, candles=60, funding=funding, previous=dict(result.delivered)
        )
    assert result.collected.as_of_ms == later_ms
    truth = simulator.truth("4h", candles=60, funding_history=400)
    closed_then_ms = H4.last_closed_open_time(NOW_MS)
    first_ms = H4.window_start(later_ms, 60)
    for market in markets:
        series = result.delivered[H4].get(market.key)
        if market.exchange is BINANCE:
            assert series is not None
            assert (series.checked_at_ms, series.stale_since_ms) == (later_ms, None)
            assert [list(row) for row in series.rows] == truth[market.key]
            continue
        known = [row for row in previous[H4][market.key].rows if row[0] >= first_ms]
        closed = [row for row in known if row[0] <= closed_then_ms]
        if not closed:
            assert series is None
            continue
        assert series is not None
        assert (series.checked_at_ms, series.stale_since_ms) == (NOW_MS, later_ms)
        # The candle that was forming then has closed since: its old numbers are not its own.
        assert list(series.rows) == closed
        assert closed[-1][0] == closed_then_ms < known[-1][0]
        # The second time it is still stale since the first.
        assert again.delivered[H4][market.key] == series
    down = [item for item in result.collected.missing if item.exchange is BYBIT]
    assert {item.part for item in down} == {"klines"}
    assert len(down) == sum(market.exchange is BYBIT for market in markets)
    assert all("502" in item.reason for item in down)
    carried = [key for key in result.delivered[H4] if key.startswith("bybit")]
    assert result.collected.carried_over == len(carried) > 10
    assert set(result.delivered[H8]) >= set(carried)
    assert result.progress[-1] == (2 * len(markets), 2 * len(markets))
    # Its clock did not answer, so it was not asked for anything else.
    assert client.simulator.stats()["requests"]["bybit"]["klines"].get("502", 0) == 0


async def test_an_exchange_that_dies_halfway_is_given_up(simulator: Simulator) -> None:
    client = CollectionClient(simulator, request_s=0.5)
    async with client.client:
        found = await client.markets()
        # Many markets, though the simulator has few: each name is asked for on its own.
        markets = found + [Market(BYBIT, f"X{n}USDT", f"X{n}", "USDT") for n in range(200)]
        simulator.post("/sim/faults", {"kind": "reset", "exchange": "bybit", "endpoint": "klines"})
        result = await client.collect(H4, markets, funding=client.funding(found))
    assert result.collected.markets == 20
    failed = [item for item in result.collected.missing if item.part == "klines"]
    assert len(failed) == 220
    assert all("Disconnected" in item.reason for item in failed)
    assert client.asked().get("bybit klines", 0) < 500  # not five tries for each of them
    assert "bybit open_interest" not in client.asked()


async def test_a_bad_moment_costs_nobody_his_rows(simulator: Simulator) -> None:
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        funding = client.funding(markets)
        for fault in (
            {"kind": "status", "status": 503, "probability": 0.2},
            {"kind": "truncated_json", "probability": 0.05},
            {"kind": "reset", "probability": 0.1},
        ):
            simulator.post("/sim/faults", fault)
        result = await client.collect(Timeframe.H1, markets, candles=50, funding=funding)
    truth = simulator.truth("1h", candles=50, funding_history=400)
    lacking = {key for key, part in result.missing() if part == "open_interest"}
    assert all(part == "open_interest" for _, part in result.missing())
    assert {key: rows for key, rows in result.rows(Timeframe.H1).items() if key not in lacking} == {
        key: rows for key, rows in truth.items() if key not in lacking
    }
    assert len(lacking) < 10
    assert result.collected.retries > 5


async def test_failed_open_interest_keeps_what_was_known(simulator: Simulator) -> None:
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        funding = client.funding(markets)
        previous = await _earlier(client, markets)
        known = replace(
            previous[H4]["binance:BTCUSDT"],
            rows=[_without_open_interest(row, n) for n, row in enumerate(_rows(previous))],
        )
        previous[H4] = {"binance:BTCUSDT": known}
        simulator.post(
            "/sim/faults", {"kind": "status", "status": 500, "endpoint": "open_interest"}
        )
        result = await client.collect(H4, markets, candles=60, funding=funding, previous=previous)
    traded = [key for key, rows in result.rows(H4).items() if rows]
    assert result.missing() == sorted((key, "open_interest") for key in traded)
    assert len(traded) == 38
    assert result.collected.markets == 40
    bitcoin = result.delivered[H4]["binance:BTCUSDT"]
    assert [row[7] for row in bitcoin.rows] == [row[7] for row in known.rows]
    assert bitcoin.rows[5][7] is None
    assert bitcoin.rows[6][7] is not None
    assert {row[7] for row in result.delivered[H4]["binance:ETHUSDT"].rows} == {None}


def _rows(previous: Mapping[Timeframe, Mapping[str, MarketSeries]]) -> Sequence[Row]:
    return previous[H4]["binance:BTCUSDT"].rows


def _without_open_interest(row: Row, number: int) -> Row:
    return (*row[:7], None, row[8]) if number == 5 else row


async def test_a_market_whose_funding_nobody_knows(simulator: Simulator) -> None:
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        book = dict(client.funding(markets))
        del book["bybit:ETHUSDT"]
        result = await client.collect(H4, markets, candles=10, funding=book)
    assert result.missing() == [("bybit:ETHUSDT", "funding_rate")]
    assert result.collected.funding_outdated
    assert {row[8] for row in result.delivered[H4]["bybit:ETHUSDT"].rows} == {None}


async def test_an_empty_answer_does_not_wipe_out_a_market(simulator: Simulator) -> None:
    client = CollectionClient(simulator)
    silent = Market(BINANCE, "1000BONKUSDT", "1000BONK", "USDT")  # trades, but never traded
    bitcoin = Market(BINANCE, "BTCUSDT", "BTC", "USDT")
    async with client.client:
        result = await client.collect(H4, [silent, bitcoin], candles=10, funding={})
        assert result.delivered[H4][silent.key].rows == []
        assert result.delivered[H4][silent.key].checked_at_ms == NOW_MS
        # The same market, had it had rows before.
        known = replace(result.delivered[H4][bitcoin.key], market=silent)
        result = await client.collect(
            H4, [silent, bitcoin], candles=10, funding={}, previous={H4: {silent.key: known}}
        )
        assert result.delivered[H4][silent.key].stale_since_ms == NOW_MS
        assert list(result.delivered[H4][silent.key].rows) == list(known.rows)


async def test_a_ban_ends_that_exchange_part_at_once(simulator: Simulator) -> None:
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        funding = client.funding(markets)
        simulator.post(
            "/sim/faults",
            {"kind": "status", "status": 403, "exchange": "bybit", "after": 10, "count": 1},
        )
        result = await client.collect(H4, markets, candles=10, funding=funding)
        asked = client.asked()
        # The next job leaves it alone from the start.
        again = await client.collect(H4, markets, candles=10, funding=funding)
    failed = [item for item in result.collected.missing if item.exchange is BYBIT]
    assert len(failed) >= 9
    assert any("access too frequent" in item.reason for item in failed)
    assert asked["bybit klines"] <= 40
    assert sum(key.startswith("binance") for key in result.delivered[H4]) == 20
    assert client.asked()["bybit klines"] == asked["bybit klines"]
    assert sum(item.exchange is BYBIT for item in again.collected.missing) == 20
    assert all("paused" in item.reason for item in again.collected.missing)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ({"kind": "status", "status": 500}, "500"),
        ({"kind": "html_200"}, "not JSON"),
        ({"kind": "geo"}, "restricted location"),
    ],
)
async def test_nothing_at_all_is_a_failure_with_its_cause(
    simulator: Simulator, fault: dict[str, object], cause: str
) -> None:
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        previous = await _earlier(client, markets)
        for endpoint in ("klines", "time"):
            simulator.post("/sim/faults", {**fault, "endpoint": endpoint})
            with pytest.raises(CollectionFailed, match=cause) as caught:
                await client.collect(H4, markets, funding={}, previous=previous)
            assert "binance" in str(caught.value)
            assert "bybit" in str(caught.value)


async def test_no_markets() -> None:
    client = ExchangeClient(load_settings())
    with pytest.raises(CollectionFailed, match="no markets"):
        await fetch_market_data(H4, [], client, lambda made, series: None, history_candles=5)


async def test_a_cancelled_collection_ends_its_requests(simulator: Simulator) -> None:
    client = CollectionClient(simulator)
    simulator.post("/sim/faults", {"kind": "hold", "endpoint": "klines"})
    async with client.client:
        markets = await client.markets()
        task = asyncio.create_task(client.collect(H4, markets, funding={}))
        assert (await asyncio.to_thread(simulator.get, "/sim/held", count=4))["held"] >= 4
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(other is asyncio.current_task() for other in _ours())


def _ours() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if "worker" in repr(task.get_coro())} | {
        task for task in [asyncio.current_task()] if task is not None
    }
