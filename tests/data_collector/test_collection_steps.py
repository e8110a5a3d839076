"""What one collection delivers, counts and names of each market, by scripted answers."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from budgets.request_counts import RequestCounts
from data_collector import CollectionFailed
from market.left_out import LeftOut
from market.markets import (
    Exchange,
    Market,
    MarketSeries,
    Missing,
)
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.markets import market
from tests.fixtures.scripted import Scripted
from tests.fixtures.scripted_collection import (
    GRID,
    H4,
    H8,
    NEWEST_MS,
    STEP,
    A,
    B,
    collect,
    exchange_of,
    funding_of,
)
from tests.fixtures.scripted_exchange import NOW_MS
from venues.errors import ExchangeError, SourceDown, SymbolGone
from venues.venue import Endpoint, Request

BINANCE = Exchange.BINANCE


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still."""
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.0)


def old(one: Market, *, last: int = -1, count: int = 15, **more: Any) -> dict[Timeframe, Any]:
    """A document whose newest row is so many candles before the newest."""
    times = [NEWEST_MS + (last - n) * STEP for n in range(count)][::-1]
    rows = [(time_ms, 2.0, 3.0, 1.0, 2.0, 5.0, 6.0, 9.0, 0.5) for time_ms in times]
    checked_ms = NEWEST_MS + (last + 1) * STEP + HOUR_MS
    return {H4: {one.key: replace(MarketSeries(one, rows, checked_ms), **more)}}


def gone(endpoint: Endpoint, symbol: str = "AUSDT") -> Any:
    def refuse(request: Request) -> ExchangeError | None:
        refused = request.endpoint is endpoint and request.symbol == symbol
        return SymbolGone("gone", exchange=BINANCE, status=400) if refused else None

    return refuse


# --- good markets --------------------------------------------------------------------------------


async def test_a_market_is_delivered_with_its_longer_rows_and_counted() -> None:
    found = await collect(exchange_of("AUSDT", "BUSDT"), A, B, funding=funding_of(A, B))
    made = [(timeframe, series.market.symbol) for timeframe, series in found.delivered]
    assert sorted(made) == [(H4, "AUSDT"), (H4, "BUSDT"), (H8, "AUSDT"), (H8, "BUSDT")]
    assert [timeframe for timeframe, _ in made] == [H4, H8, H4, H8]
    assert found.rows() == [
        (NEWEST_MS + n * STEP, 2.0, 3.0, 1.0, 2.0, 5.0, 6.0, 4.0, 0.001) for n in range(-19, 1)
    ]
    eights = found.rows(timeframe=H8)
    assert [row[5:] for row in eights] == [(10.0, 12.0, 4.0, 0.001)] * 10
    series = found.delivered[0][1]
    assert (series.checked_at_ms, series.stale_since_ms) == (NOW_MS, None)
    counted = found.collected
    assert (counted.markets, counted.carried_over, counted.refreshed, counted.corrected) == (
        2,
        0,
        0,
        0,
    )
    assert (counted.missing, counted.funding_outdated) == ([], False)
    assert counted.brought == {BINANCE}
    assert (counted.requests, counted.retries) == (5, 0)
    assert found.progress == [(n, 4) for n in range(5)]


async def test_a_market_without_known_funding_is_named() -> None:
    found = await collect(exchange_of("AUSDT", "BUSDT"), A, B, funding=funding_of(B))
    reason = "its funding has not been fetched yet"
    assert found.collected.missing == [Missing(BINANCE, "AUSDT", "funding_rate", reason)]
    assert found.collected.funding_outdated
    assert {row[8] for row in found.rows()} == {None}
    assert {row[8] for row in found.rows(B)} == {0.001}


async def test_left_out_settlements_whose_rates_the_window_would_have_are_named() -> None:
    start_ms = NEWEST_MS - 19 * STEP
    times = (start_ms - 2 * STEP - 1, start_ms - 2 * STEP, NOW_MS, NOW_MS + 1)
    left_out = [LeftOut(time_ms, "odd") for time_ms in times]
    found = await collect(exchange_of("AUSDT"), A, funding=funding_of(A, left_out=left_out))
    assert [entry.reason for entry in found.collected.missing] == [
        row.text() for row in left_out[1:3]
    ]


async def test_without_funding_at_hand_it_is_fetched() -> None:
    exchange = exchange_of("AUSDT")
    exchange.settled = {"AUSDT": funding_of(A)[A.key].rows}
    found = await collect(exchange, A)
    assert {row[8] for row in found.rows()} == {0.001}
    assert found.progress == [(n, 3) for n in range(4)]
    # Only the newest three count: 08:00, 00:00 and 16:00 of the day before.
    found = await collect(exchange, A, funding_history=3)
    assert [row[8] for row in found.rows()] == [None] * 14 + [0.001] * 6
    exchange.refuse = gone(Endpoint.FUNDING)
    found = await collect(exchange, A)
    assert {row[8] for row in found.rows()} == {None}
    reason = "gone (HTTP 400)"
    assert found.collected.missing == [Missing(BINANCE, "AUSDT", "funding_rate", reason)]
    assert found.progress == [(n, 3) for n in range(4)]


# --- failing markets -----------------------------------------------------------------------------


async def test_a_market_that_is_gone_is_named_and_counted() -> None:
    exchange = exchange_of("AUSDT", "BUSDT")
    exchange.refuse = gone(Endpoint.KLINES)
    found = await collect(exchange, A, B, funding=funding_of(A, B))
    assert found.collected.missing == [Missing(BINANCE, "AUSDT", "klines", "gone (HTTP 400)")]
    assert [series.market for _, series in found.delivered] == [B, B]
    assert (found.collected.markets, found.collected.carried_over) == (1, 0)
    assert [asked[0] for asked in found.asked(Endpoint.KLINES)].count("AUSDT") == 1
    assert found.progress[-1] == (4, 4)
    assert [done for done, _ in found.progress] == sorted({done for done, _ in found.progress})


@pytest.mark.parametrize("stale_since_ms", [None, NOW_MS - STEP])
async def test_old_rows_of_a_failed_market_are_carried_over(stale_since_ms: int | None) -> None:
    exchange = exchange_of("AUSDT", "BUSDT")
    exchange.refuse = gone(Endpoint.KLINES)
    inside, before = (LeftOut(NEWEST_MS - n * STEP, "odd") for n in (19, 20))
    told = {"klines": [before, inside], "open_interest": [before, inside]}
    previous = old(A, stale_since_ms=stale_since_ms, left_out=told)
    found = await collect(exchange, A, B, funding=funding_of(A, B), previous=previous)
    (carried,) = [series for _, series in found.delivered if series.market == A]
    assert carried.stale_since_ms == (NOW_MS if stale_since_ms is None else stale_since_ms)
    assert carried.checked_at_ms == NEWEST_MS + HOUR_MS
    assert found.collected.carried_over == 1
    assert found.collected.missing == [
        Missing(BINANCE, "AUSDT", "klines", "gone (HTTP 400)"),
        Missing(BINANCE, "AUSDT", "klines", inside.text()),
        Missing(BINANCE, "AUSDT", "open_interest", inside.text()),
    ]


@pytest.mark.parametrize("fails", [1, 2])
async def test_a_market_whose_exchange_was_in_trouble_is_fetched_once_more(fails: int) -> None:
    exchange, tries = exchange_of("AUSDT", "BUSDT"), 0

    def refuse(request: Request) -> ExchangeError | None:
        nonlocal tries
        if request.endpoint is not Endpoint.KLINES or request.symbol != "AUSDT":
            return None
        tries += 1
        return SourceDown("so", exchange=BINANCE, status=503) if tries <= 5 * fails else None

    exchange.refuse = refuse
    found = await collect(exchange, A, B, funding=funding_of(A, B))
    counted = found.collected
    assert (counted.markets, counted.retries) == (3 - fails, 4 * fails)
    assert [entry.symbol for entry in counted.missing] == ["AUSDT"] * (fails - 1)
    assert found.progress[-1] == (4, 4)
    assert len(found.progress) == (5 if fails == 1 else 4)


async def test_an_empty_answer_wipes_nothing_out() -> None:
    exchange = exchange_of("BUSDT")
    found = await collect(exchange, A, B, funding=funding_of(A, B), previous=old(A))
    reason = "no candles for a market that had some before"
    assert found.collected.missing == [Missing(BINANCE, "AUSDT", "klines", reason)]
    assert len(found.asked(Endpoint.KLINES)) == 3  # once more at the end
    assert found.collected.carried_over == 1
    # A market that never had any is in no document's way.
    found = await collect(exchange, A, B, funding=funding_of(A, B))
    assert (found.rows(), found.collected.missing) == ([], [])


async def test_a_market_whose_only_row_cannot_be_is_named() -> None:
    exchange = exchange_of("AUSDT", "BUSDT")
    exchange.times[Endpoint.KLINES, "AUSDT"] = [NEWEST_MS]

    def bend(request: Request, body: bytes) -> bytes:
        odd = request.endpoint is Endpoint.KLINES and request.symbol == "AUSDT"
        return body.replace(b'"1"', b'"0"') if odd else body

    exchange.bend = bend
    found = await collect(exchange, A, B, funding=funding_of(A, B))
    (entry,) = found.collected.missing
    row = LeftOut(NEWEST_MS, "impossible prices (high < low, or <= 0)")
    assert (entry.symbol, entry.part) == ("AUSDT", "klines")
    assert entry.reason == f"none of the 1 rows is valid: {row.text()}"


async def test_all_markets_failing_is_a_failure() -> None:
    exchange = exchange_of("AUSDT")
    exchange.refuse = gone(Endpoint.KLINES)
    with pytest.raises(CollectionFailed) as failed:
        await collect(exchange, A, funding=funding_of(A))
    assert str(failed.value) == "binance: gone (HTTP 400)"


async def test_an_exchange_whose_clock_comes_late_and_behind_is_not_collected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its forming candles would count as closed."""
    monkeypatch.setattr("data_collector.exchange_clocks.GRACE_S", 0.0)
    late, exchange = market(Exchange.BYBIT, "BUSDT"), exchange_of("AUSDT", "BUSDT")
    exchange.late_ms[Exchange.BYBIT] = 5000
    goes_on = asyncio.Event()

    class Sender(Scripted):
        async def send(self, request: Request, counts: RequestCounts) -> bytes:
            if request.endpoint is Endpoint.KLINES:
                goes_on.set()
            elif request.endpoint is Endpoint.TIME and request.exchange is Exchange.BYBIT:
                await goes_on.wait()
            return await super().send(request, counts)

    monkeypatch.setattr(exchange, "sender", lambda: Sender(exchange.answer))
    found = await collect(exchange, A, late, funding=funding_of(A, late))
    assert {series.market for _, series in found.delivered} == {A}
    cause = "server time came late and is 5000 ms behind the other exchanges"
    assert found.collected.missing == [Missing(Exchange.BYBIT, "BUSDT", "klines", cause)]


# --- open interest -------------------------------------------------------------------------------


async def test_what_is_wrong_with_an_answer_counts_no_more_if_all_is_asked_again() -> None:
    exchange = exchange_of("AUSDT")
    previous = old(A, count=25, lacks_open_interest=True)
    (series,) = previous[H4].values()
    rows = [(*row[:7], None, *row[8:]) if n == 10 else row for n, row in enumerate(series.rows)]
    previous[H4][A.key] = replace(series, rows=rows)  # the others say 9.0, the exchange now 4.0
    bent: list[Request] = []

    def bend(request: Request, body: bytes) -> bytes:
        if request.endpoint is not Endpoint.OPEN_INTEREST or bent:
            return body
        bent.append(request)
        answer = json.loads(body)
        answer[2]["sumOpenInterest"] = "x"
        return json.dumps(answer).encode()

    exchange.bend = bend
    found = await collect(exchange, A, funding=funding_of(A), previous=previous)
    assert bent
    assert [row[7] for row in found.rows()] == [4.0] * 20
    assert (found.collected.missing, found.collected.corrected) == ([], 1)


@pytest.mark.parametrize("awaits", [False, True])
async def test_a_carried_over_market_goes_on_to_lack_open_interest(awaits: bool) -> None:
    exchange = exchange_of("AUSDT", "BUSDT")
    exchange.refuse = gone(Endpoint.KLINES)
    previous = old(A, lacks_open_interest=True, awaits_open_interest=awaits)
    found = await collect(exchange, A, B, funding=funding_of(A, B), previous=previous)
    assert [len(series.rows) for _, series in found.delivered if series.market == A] == [14]
    reason = "it was not asked for, as the candles could not be read"
    assert found.collected.missing == [
        Missing(BINANCE, "AUSDT", "klines", "gone (HTTP 400)"),
        Missing(BINANCE, "AUSDT", "open_interest", "not fetched yet" if awaits else reason),
    ]


async def test_failed_open_interest_keeps_what_was_known() -> None:
    exchange = exchange_of("AUSDT")
    exchange.refuse = gone(Endpoint.OPEN_INTEREST)
    inside = LeftOut(NEWEST_MS - 10 * STEP, "odd")
    previous = old(A, left_out={"open_interest": [inside]})
    for earlier, interest in ((None, [None] * 20), (previous, [None] * 4 + [9.0] * 15 + [None])):
        found = await collect(exchange, A, funding=funding_of(A), previous=earlier)
        assert [row[7] for row in found.rows()] == interest
        told = ["gone (HTTP 400)", inside.text()][: 1 if earlier is None else 2]
        assert [entry.reason for entry in found.collected.missing] == told
        assert {entry.part for entry in found.collected.missing} == {"open_interest"}
        assert found.progress[-1] == (2, 2)


async def test_snapshots_before_the_first_candle_are_not_asked_for() -> None:
    exchange = exchange_of("AUSDT")
    exchange.times[Endpoint.KLINES, "AUSDT"] = GRID[-5:]
    found = await collect(exchange, A, funding=funding_of(A))
    assert found.asked(Endpoint.OPEN_INTEREST) == [("AUSDT", -4, 0)]
    assert [row[7] for row in found.rows()] == [4.0] * 5


async def test_of_finer_snapshots_only_those_at_the_candles_are_named() -> None:
    """Bybit has none of 12 hours: the first of each three of 4 hours counts."""
    bybit = market(Exchange.BYBIT, "AUSDT")
    exchange = exchange_of("AUSDT")
    noon_ms = NOW_MS - NOW_MS % (12 * HOUR_MS)
    exchange.times[Endpoint.KLINES, "AUSDT"] = range(noon_ms - 50 * STEP * 3, noon_ms + 1, STEP * 3)
    odd = [noon_ms - 4 * STEP, noon_ms - 3 * STEP]

    def bend(request: Request, body: bytes) -> bytes:
        if request.endpoint is not Endpoint.OPEN_INTEREST:
            return body
        answer = json.loads(body)
        for entry in answer["result"]["list"]:
            if int(entry["timestamp"]) in odd:
                entry["openInterest"] = entry["singleOpenInterest"] = "x"
        return json.dumps(answer).encode()

    exchange.bend = bend
    found = await collect(
        exchange, bybit, funding=funding_of(bybit), timeframe=Timeframe.H12, candles=6
    )
    assert [row[7] for row in found.rows(bybit, Timeframe.H12)] == [4.0] * 4 + [None, 4.0]
    assert [entry.reason.split(" left out")[0] for entry in found.collected.missing] == [
        f"row at {odd[1]}"
    ]
