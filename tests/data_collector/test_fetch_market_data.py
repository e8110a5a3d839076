"""Whole collections against the simulated exchanges over HTTP, compared with their truth."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from config import load_settings
from data_collector import Collected, CollectionFailed, ExchangeClient, fetch_market_data
from data_collector.listings import fetch_instruments
from data_collector.run import CollectionRun
from market.markets import (
    DEFAULT_EXCHANGES,
    Exchange,
    FundingByMarket,
    FundingSeries,
    Market,
    MarketSeries,
    Row,
)
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
H4, H8 = Timeframe.H4, Timeframe.H8


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)


@dataclass
class Result:
    """What one collection delivered, by timeframe and market."""

    collected: Collected
    delivered: dict[Timeframe, dict[str, MarketSeries]] = field(default_factory=dict)
    progress: list[tuple[int, int]] = field(default_factory=list)
    first_delivery_at: int = -1

    def rows(self, timeframe: Timeframe) -> dict[str, list[list[Any]]]:
        return {
            key: [list(row) for row in series.rows]
            for key, series in self.delivered.get(timeframe, {}).items()
        }

    def missing(self) -> list[tuple[str, str]]:
        return [(f"{item.exchange}:{item.symbol}", item.part) for item in self.collected.missing]


class Bench:
    """A client of one simulator, and its markets."""

    def __init__(self, simulator: Simulator, *, request_s: float = 10) -> None:
        self.simulator = simulator
        settings = load_settings(
            binance_base_url=simulator.base_url, bybit_base_url=simulator.base_url
        )
        self.client = ExchangeClient(settings, request_s=request_s)

    async def markets(self) -> list[Market]:
        run = CollectionRun(self.client)
        found = [
            await fetch_instruments(run, exchange, quote="USDT") for exchange in DEFAULT_EXCHANGES
        ]
        return [row.market for rows in found for row in rows]

    def funding(self, markets: Sequence[Market], checked_at_ms: int = NOW_MS) -> FundingByMarket:
        """What a funding refresh would have made of it."""
        answer = self.simulator.get("/sim/funding", as_of=checked_at_ms, funding_history=400)
        rows = {
            f"{market['exchange']}:{market['symbol']}": [tuple(row) for row in market["rows"]]
            for market in answer["markets"]
        }
        return {
            market.key: FundingSeries(market, rows[market.key], 1, checked_at_ms)
            for market in markets
        }

    async def collect(
        self,
        timeframe: Timeframe,
        markets: Sequence[Market],
        *,
        candles: int = 499,
        funding: FundingByMarket | None = None,
        previous: Mapping[Timeframe, Mapping[str, MarketSeries]] | None = None,
    ) -> Result:
        delivered: dict[Timeframe, dict[str, MarketSeries]] = {}
        progress: list[tuple[int, int]] = []
        first_at = -1

        def deliver(made: Timeframe, series: MarketSeries) -> None:
            nonlocal first_at
            first_at = len(progress) if first_at < 0 else first_at
            markets_of = delivered.setdefault(made, {})
            assert series.market.key not in markets_of, "delivered twice"
            markets_of[series.market.key] = series

        collected = await fetch_market_data(
            timeframe,
            markets,
            self.client,
            deliver,
            history_candles=candles,
            prefetched_fr_data=funding,
            previous=previous,
            on_progress=lambda done, total: progress.append((done, total)),
        )
        return Result(collected, delivered, progress, first_at)

    def asked(self) -> dict[str, int]:
        """Requests by "exchange endpoint"."""
        counted = self.simulator.stats()["requests"]
        return {
            f"{exchange} {endpoint}": sum(statuses.values())
            for exchange, endpoints in counted.items()
            for endpoint, statuses in endpoints.items()
        }

    def assert_well_behaved(self) -> None:
        stats = self.simulator.stats()
        assert stats["limits_broken"] == {}
        assert stats["rejected"] == []
        assert stats["requests_while_banned"] == 0


# --- everything well -----------------------------------------------------------------------------


@pytest.mark.parametrize("timeframe", [H4, Timeframe.M5, Timeframe.H1, Timeframe.H12])
async def test_every_row_equals_the_truth(simulator: Simulator, timeframe: Timeframe) -> None:
    bench = Bench(simulator)
    async with bench.client:
        markets = await bench.markets()
        result = await bench.collect(timeframe, markets, funding=bench.funding(markets))
    for made in timeframe.produces:
        truth = simulator.truth(made, candles=499, funding_history=400)
        assert result.rows(made) == truth
        assert len(truth) == 40
    collected = result.collected
    assert collected.as_of_ms == NOW_MS
    assert (collected.markets, collected.carried_over, collected.retries) == (40, 0, 0)
    assert not collected.funding_outdated
    assert collected.missing == []
    assert result.progress[0] == (0, 80)
    assert result.progress[-1] == (80, 80)
    assert [done for done, _ in result.progress] == sorted(done for done, _ in result.progress)
    # The caller encodes while the network works.
    assert result.first_delivery_at < len(result.progress) / 2
    asked = bench.asked()
    assert not any("funding" in name for name in asked)
    assert asked["binance klines"] == 20
    # One market has never traded; of one the first snapshot is younger than the first candle.
    assert asked["binance open_interest"] in (19, 20)
    assert collected.requests == sum(asked.values()) - 2  # without the two lists of markets
    bench.assert_well_behaved()


async def test_funding_is_fetched_where_none_is_handed_in(simulator: Simulator) -> None:
    bench = Bench(simulator)
    async with bench.client:
        markets = await bench.markets()
        result = await bench.collect(Timeframe.H2, markets, candles=100)
    assert result.rows(Timeframe.H2) == simulator.truth("2h", candles=100, funding_history=400)
    assert result.progress[-1] == (120, 120)
    bench.assert_well_behaved()


async def test_a_long_history_over_short_pages(start_simulator: StartSimulator) -> None:
    simulator = start_simulator(
        binance=8, bybit=8, now=NOW_MS, frozen=True, faults={"kind": "short_page"}
    )
    bench = Bench(simulator)
    async with bench.client:
        markets = await bench.markets()
        result = await bench.collect(H4, markets, candles=2500, funding=bench.funding(markets))
    for made in H4.produces:
        assert result.rows(made) == simulator.truth(made, candles=2500, funding_history=400)
    assert result.missing() == []
    bench.assert_well_behaved()


async def test_the_smaller_clock_counts(simulator: Simulator) -> None:
    # Bybit has begun a new candle, Binance not yet.
    boundary_ms = H4.floor(NOW_MS) + H4.interval_ms
    simulator.post(
        "/sim/clock", {"now_ms": boundary_ms - 1500, "skew_ms": {"binance": 0, "bybit": 3000}}
    )
    bench = Bench(simulator)
    async with bench.client:
        markets = await bench.markets()
        result = await bench.collect(H4, markets, funding=bench.funding(markets, boundary_ms))
    assert result.collected.as_of_ms == boundary_ms - 1500
    newest = {key: rows[-1][0] for key, rows in result.rows(H4).items() if rows}
    assert set(newest.values()) == {H4.floor(NOW_MS)}
    bench.assert_well_behaved()


async def test_recorded_series_come_out_as_recorded(
    recorded_data: Path, start_simulator: StartSimulator
) -> None:
    simulator = start_simulator(recorded=str(recorded_data), recorded_period="native")
    bench = Bench(simulator)
    async with bench.client:
        markets = await bench.markets()
        result = await bench.collect(H4, markets, funding=bench.funding(markets))
    closed_ms = H8.last_closed_open_time(result.collected.as_of_ms)
    compared = 0
    for key, rows in result.rows(H8).items():
        exchange, symbol = key.split(":")
        query = {"exchange": exchange, "symbol": symbol, "interval": "8h"}
        native = {row[0]: row for row in simulator.get("/sim/recorded", **query).get("rows", [])}
        for row in rows:
            if row[0] not in native or row[0] > closed_ms:
                continue
            recorded = [float(text) if text else None for text in native[row[0]][1:7]]
            # Some sources did not keep the turnover.
            assert row[1:6] == recorded[:5]
            assert recorded[5] in (None, row[6])
            compared += 1
    assert result.missing() == []
    assert compared > 200


# --- one thing or another goes wrong --------------------------------------------------------------


async def test_one_bad_market_is_its_own_matter(simulator: Simulator) -> None:
    bench = Bench(simulator)
    simulator.post("/sim/faults", {"kind": "delist", "exchange": "binance", "symbol": "ETHUSDT"})
    simulator.post("/sim/faults", {"kind": "delist", "exchange": "bybit", "symbol": "SOLUSDT"})
    async with bench.client:
        markets = await bench.markets()
        gone = [Market(BINANCE, "ETHUSDT", "ETH", "USDT"), Market(BYBIT, "SOLUSDT", "SOL", "USDT")]
        nonsense = {"kind": "nonsense", "endpoint": "klines", "symbol": "BTCUSDT"}
        simulator.post("/sim/faults", nonsense)
        unknown = Market(BYBIT, "NOSUCHUSDT", "NOSUCH", "USDT")
        result = await bench.collect(H4, [*markets, *gone, unknown], funding={})
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


async def _earlier(bench: Bench, markets: Sequence[Market]) -> dict[Timeframe, Any]:
    result = await bench.collect(H4, markets, candles=60, funding=bench.funding(markets))
    return dict(result.delivered)


async def test_an_exchange_that_is_down_is_carried_over(simulator: Simulator) -> None:
    bench = Bench(simulator)
    async with bench.client:
        markets = [market for market in await bench.markets() if "BONK" not in market.symbol]
        previous = await _earlier(bench, markets)
        later_ms = NOW_MS + 5 * HOUR_MS
        simulator.post("/sim/clock", {"now_ms": later_ms})
        simulator.post("/sim/faults", {"kind": "status", "status": 502, "exchange": "bybit"})
        funding = bench.funding(markets, later_ms)
        result = await bench.collect(H4, markets, candles=60, funding=funding, previous=previous)
        again = await bench.collect(
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
    assert bench.simulator.stats()["requests"]["bybit"]["klines"].get("502", 0) == 0


async def test_an_exchange_that_dies_halfway_is_given_up(simulator: Simulator) -> None:
    bench = Bench(simulator, request_s=0.5)
    async with bench.client:
        found = await bench.markets()
        # Many markets, though the simulator has few: each name is asked for on its own.
        markets = found + [Market(BYBIT, f"X{n}USDT", f"X{n}", "USDT") for n in range(200)]
        simulator.post("/sim/faults", {"kind": "reset", "exchange": "bybit", "endpoint": "klines"})
        result = await bench.collect(H4, markets, funding=bench.funding(found))
    assert result.collected.markets == 20
    failed = [item for item in result.collected.missing if item.part == "klines"]
    assert len(failed) == 220
    assert all("Disconnected" in item.reason for item in failed)
    assert bench.asked().get("bybit klines", 0) < 500  # not five tries for each of them
    assert "bybit open_interest" not in bench.asked()


async def test_a_bad_moment_costs_nobody_his_rows(simulator: Simulator) -> None:
    bench = Bench(simulator)
    async with bench.client:
        markets = await bench.markets()
        funding = bench.funding(markets)
        for fault in (
            {"kind": "status", "status": 503, "probability": 0.2},
            {"kind": "truncated_json", "probability": 0.05},
            {"kind": "reset", "probability": 0.1},
        ):
            simulator.post("/sim/faults", fault)
        result = await bench.collect(Timeframe.H1, markets, candles=50, funding=funding)
    truth = simulator.truth("1h", candles=50, funding_history=400)
    lacking = {key for key, part in result.missing() if part == "open_interest"}
    assert all(part == "open_interest" for _, part in result.missing())
    assert {key: rows for key, rows in result.rows(Timeframe.H1).items() if key not in lacking} == {
        key: rows for key, rows in truth.items() if key not in lacking
    }
    assert len(lacking) < 10
    assert result.collected.retries > 5


async def test_failed_open_interest_keeps_what_was_known(simulator: Simulator) -> None:
    bench = Bench(simulator)
    async with bench.client:
        markets = await bench.markets()
        funding = bench.funding(markets)
        previous = await _earlier(bench, markets)
        known = replace(
            previous[H4]["binance:BTCUSDT"],
            rows=[_without_open_interest(row, n) for n, row in enumerate(_rows(previous))],
        )
        previous[H4] = {"binance:BTCUSDT": known}
        simulator.post(
            "/sim/faults", {"kind": "status", "status": 500, "endpoint": "open_interest"}
        )
        result = await bench.collect(H4, markets, candles=60, funding=funding, previous=previous)
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
    bench = Bench(simulator)
    async with bench.client:
        markets = await bench.markets()
        book = dict(bench.funding(markets))
        del book["bybit:ETHUSDT"]
        result = await bench.collect(H4, markets, candles=10, funding=book)
    assert result.missing() == [("bybit:ETHUSDT", "funding_rate")]
    assert result.collected.funding_outdated
    assert {row[8] for row in result.delivered[H4]["bybit:ETHUSDT"].rows} == {None}


async def test_an_empty_answer_does_not_wipe_out_a_market(simulator: Simulator) -> None:
    bench = Bench(simulator)
    silent = Market(BINANCE, "1000BONKUSDT", "1000BONK", "USDT")  # trades, but never traded
    bitcoin = Market(BINANCE, "BTCUSDT", "BTC", "USDT")
    async with bench.client:
        result = await bench.collect(H4, [silent, bitcoin], candles=10, funding={})
        assert result.delivered[H4][silent.key].rows == []
        assert result.delivered[H4][silent.key].checked_at_ms == NOW_MS
        # The same market, had it had rows before.
        known = replace(result.delivered[H4][bitcoin.key], market=silent)
        result = await bench.collect(
            H4, [silent, bitcoin], candles=10, funding={}, previous={H4: {silent.key: known}}
        )
        assert result.delivered[H4][silent.key].stale_since_ms == NOW_MS
        assert list(result.delivered[H4][silent.key].rows) == list(known.rows)


async def test_a_ban_ends_that_exchange_part_at_once(simulator: Simulator) -> None:
    bench = Bench(simulator)
    async with bench.client:
        markets = await bench.markets()
        funding = bench.funding(markets)
        simulator.post(
            "/sim/faults",
            {"kind": "status", "status": 403, "exchange": "bybit", "after": 10, "count": 1},
        )
        result = await bench.collect(H4, markets, candles=10, funding=funding)
        asked = bench.asked()
        # The next job leaves it alone from the start.
        again = await bench.collect(H4, markets, candles=10, funding=funding)
    failed = [item for item in result.collected.missing if item.exchange is BYBIT]
    assert len(failed) >= 9
    assert any("access too frequent" in item.reason for item in failed)
    assert asked["bybit klines"] <= 40
    assert sum(key.startswith("binance") for key in result.delivered[H4]) == 20
    assert bench.asked()["bybit klines"] == asked["bybit klines"]
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
    bench = Bench(simulator)
    async with bench.client:
        markets = await bench.markets()
        previous = await _earlier(bench, markets)
        for endpoint in ("klines", "time"):
            simulator.post("/sim/faults", {**fault, "endpoint": endpoint})
            with pytest.raises(CollectionFailed, match=cause) as caught:
                await bench.collect(H4, markets, funding={}, previous=previous)
            assert "binance" in str(caught.value)
            assert "bybit" in str(caught.value)


async def test_no_markets() -> None:
    client = ExchangeClient(load_settings())
    with pytest.raises(CollectionFailed, match="no markets"):
        await fetch_market_data(H4, [], client, lambda made, series: None, history_candles=5)


async def test_a_cancelled_collection_ends_its_requests(simulator: Simulator) -> None:
    bench = Bench(simulator)
    simulator.post("/sim/faults", {"kind": "hold", "endpoint": "klines"})
    async with bench.client:
        markets = await bench.markets()
        task = asyncio.create_task(bench.collect(H4, markets, funding={}))
        assert (await asyncio.to_thread(simulator.get, "/sim/held", count=4))["held"] >= 4
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(other is asyncio.current_task() for other in _ours())


def _ours() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if "worker" in repr(task.get_coro())} | {
        task for task in [asyncio.current_task()] if task is not None
    }


async def test_late_open_interest_is_null_and_not_missing(simulator: Simulator) -> None:
    boundary_ms = Timeframe.H1.floor(NOW_MS) + HOUR_MS
    simulator.post("/sim/clock", {"now_ms": boundary_ms + 2000})
    bench = Bench(simulator)
    async with bench.client:
        markets = await bench.markets()
        funding = bench.funding(markets, boundary_ms + 2000)
        result = await bench.collect(Timeframe.H1, markets, candles=20, funding=funding)
        late = [rows[-1][7] for rows in result.rows(Timeframe.H1).values() if rows]
        assert late.count(None) > len(late) / 2
        assert result.missing() == []
        asked = bench.asked()
        assert asked["binance open_interest"] == 19
        simulator.post("/sim/clock", {"advance_ms": 5 * MINUTE_MS})
        funding = bench.funding(markets, boundary_ms + 2000 + 5 * MINUTE_MS)
        result = await bench.collect(Timeframe.H1, markets, candles=20, funding=funding)
    assert result.rows(Timeframe.H1) == simulator.truth("1h", candles=20, funding_history=400)
