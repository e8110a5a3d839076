"""Whole collections against the simulated exchanges over HTTP, compared with their truth."""

from pathlib import Path

import pytest

from market.markets import (
    Exchange,
)
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.fetching import CollectionClient
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
H4, H8 = Timeframe.H4, Timeframe.H8


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)


@pytest.mark.parametrize("timeframe", [H4, Timeframe.M5, Timeframe.H1, Timeframe.H12])
async def test_every_row_equals_the_truth(simulator: Simulator, timeframe: Timeframe) -> None:
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        result = await client.collect(timeframe, markets, funding=client.funding(markets))
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
    asked = client.asked()
    assert not any("funding" in name for name in asked)
    assert asked["binance klines"] == 20
    # One market has never traded; of one the first snapshot is younger than the first candle.
    assert asked["binance open_interest"] in (19, 20)
    assert collected.requests == sum(asked.values()) - 2  # without the two lists of markets
    client.assert_well_behaved()


async def test_funding_is_fetched_where_none_is_handed_in(simulator: Simulator) -> None:
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        result = await client.collect(Timeframe.H2, markets, candles=100)
    assert result.rows(Timeframe.H2) == simulator.truth("2h", candles=100, funding_history=400)
    assert result.progress[-1] == (120, 120)
    client.assert_well_behaved()


async def test_a_long_history_over_short_pages(start_simulator: StartSimulator) -> None:
    simulator = start_simulator(
        binance=8, bybit=8, now=NOW_MS, frozen=True, faults={"kind": "short_page"}
    )
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        result = await client.collect(H4, markets, candles=2500, funding=client.funding(markets))
    for made in H4.produces:
        assert result.rows(made) == simulator.truth(made, candles=2500, funding_history=400)
    assert result.missing() == []
    client.assert_well_behaved()


async def test_the_smaller_clock_counts(simulator: Simulator) -> None:
    # Bybit has begun a new candle, Binance not yet.
    boundary_ms = H4.floor(NOW_MS) + H4.interval_ms
    simulator.post(
        "/sim/clock", {"now_ms": boundary_ms - 1500, "skew_ms": {"binance": 0, "bybit": 3000}}
    )
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        result = await client.collect(H4, markets, funding=client.funding(markets, boundary_ms))
    assert result.collected.as_of_ms == boundary_ms - 1500
    newest = {key: rows[-1][0] for key, rows in result.rows(H4).items() if rows}
    assert set(newest.values()) == {H4.floor(NOW_MS)}
    client.assert_well_behaved()


async def test_recorded_series_come_out_as_recorded(
    recorded_data: Path, start_simulator: StartSimulator
) -> None:
    simulator = start_simulator(recorded=str(recorded_data), recorded_period="native")
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        result = await client.collect(H4, markets, funding=client.funding(markets))
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


async def test_late_open_interest_is_null_and_not_missing(simulator: Simulator) -> None:
    boundary_ms = Timeframe.H1.floor(NOW_MS) + HOUR_MS
    simulator.post("/sim/clock", {"now_ms": boundary_ms + 2000})
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        funding = client.funding(markets, boundary_ms + 2000)
        result = await client.collect(Timeframe.H1, markets, candles=20, funding=funding)
        late = [rows[-1][7] for rows in result.rows(Timeframe.H1).values() if rows]
        assert late.count(None) > len(late) / 2
        assert result.missing() == []
        asked = client.asked()
        assert asked["binance open_interest"] == 19
        simulator.post("/sim/clock", {"advance_ms": 5 * MINUTE_MS})
        funding = client.funding(markets, boundary_ms + 2000 + 5 * MINUTE_MS)
        result = await client.collect(Timeframe.H1, markets, candles=20, funding=funding)
    assert result.rows(Timeframe.H1) == simulator.truth("1h", candles=20, funding_history=400)


@pytest.mark.parametrize("timeframe", [H4, Timeframe.H1])
async def test_candles_that_cannot_be_are_left_out_and_all_others_true(
    start_simulator: StartSimulator, timeframe: Timeframe
) -> None:
    simulator = start_simulator(binance=4, bybit=4, now=NOW_MS, frozen=True)
    closed_ms = timeframe.last_closed_open_time(NOW_MS)
    variants = ("high_below_low", "zero_price", "close_above_high", "off_grid", "blank")
    holes = [closed_ms - n * n * timeframe.interval_ms for n in range(len(variants))]
    for exchange in ("binance", "bybit"):
        for hole, variant in zip(holes, variants, strict=True):
            event = {"exchange": exchange, "symbol": "BTCUSDT", "variant": variant}
            simulator.post("/sim/faults", {"kind": "impossible", "times": [hole], **event})
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        funding = client.funding(markets)
        result = await client.collect(timeframe, markets, candles=60, funding=funding)
        for made in timeframe.produces:
            truth = simulator.truth(made, candles=60, funding_history=400)
            assert result.rows(made) == truth
        assert result.missing() == [
            (f"{exchange}:BTCUSDT", "klines") for exchange in ("binance", "bybit") for _ in holes
        ]
        # And over the rows of before, without asking for them anew.
        simulator.post("/sim/clock", {"advance_ms": MINUTE_MS})
        later = client.funding(markets, NOW_MS + MINUTE_MS)
        again = await client.collect(
            timeframe, markets, candles=60, funding=later, previous=result.delivered
        )
    assert (again.collected.refreshed, again.collected.corrected) == (8, 0)
    for made in timeframe.produces:
        assert again.rows(made) == simulator.truth(made, candles=60, funding_history=400)
