"""What a refresh of one market asks for, corrects and goes on to tell, by scripted answers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import structlog

from data_collector import (
    CollectionFailed,
    ExchangeClient,
    collect_or_carry_over,
    fetch_market_data,
)
from data_collector.incremental import PreviousDocuments
from market.left_out import LeftOut
from market.markets import Market, MarketSeries, Row
from market.timeframes import HOUR_MS, Timeframe
from stores.hot.leases import LeaseLost
from tests.fixtures.scripted_collection import (
    GRID,
    H4,
    H8,
    NEWEST_MS,
    STEP,
    A,
    B,
    Result,
    collect,
    exchange_of,
    funding_of,
)
from tests.fixtures.scripted_exchange import NOW_MS, ScriptedExchange
from venues.errors import ExchangeError, SymbolGone
from venues.venue import Endpoint, Request

KLINES, INTEREST = Endpoint.KLINES, Endpoint.OPEN_INTEREST
FIRST = -149  # of the window of 150 candles, counted from the newest
BEGIN = -97  # of a refresh: 99 candles, from the next 8h candle on


@pytest.fixture(autouse=True)
def _nothing_by_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """No daily fetch of all candles, and no old hole or null fetched again."""
    monkeypatch.setattr(PreviousDocuments, "_is_full_fetch_due", lambda self, market, series: False)
    monkeypatch.setattr("data_collector.incremental.HOLES_PER_RUN", 0)
    monkeypatch.setattr("data_collector.incremental.NULLS_PER_RUN", 0)
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.0)


def at(number: int) -> int:
    return NEWEST_MS + number * STEP


def row(number: int, interest: float | None = 4.0, close: float = 2.0) -> Row:
    return (at(number), 2.0, 3.0, 1.0, close, 5.0, 6.0, interest, 0.001)


def known(rows: Sequence[Row] | None = None, of: Market = A, **more: Any) -> dict[Timeframe, Any]:
    """The documents of the candle before, when it was forming; the 8h rows fit the 4h rows."""
    kept = {r[0]: r for r in rows or [row(n) for n in range(FIRST, 0)]}
    checked_ms = at(-1) + HOUR_MS
    longer: list[Row] = []
    for time_ms in range(at(FIRST), at(0), 2 * STEP):
        pair = [kept[t] for t in (time_ms, time_ms + STEP) if t in kept]
        if pair:
            n, interest = len(pair), pair[0][7] if time_ms in kept else None
            longer.append((time_ms, 2.0, 3.0, 1.0, pair[-1][4], 5.0 * n, 6.0 * n, interest, 0.001))
    return {
        H4: {of.key: replace(MarketSeries(of, list(kept.values()), checked_ms), **more)},
        H8: {of.key: MarketSeries(of, longer, checked_ms)},
    }


async def refreshed(
    previous: Any, exchange: ScriptedExchange | None = None, of: Market = A
) -> Result:
    exchange = exchange or exchange_of("AUSDT")
    return await collect(exchange, of, funding=funding_of(of), previous=previous, candles=150)


def told(found: Result) -> list[tuple[str, str]]:
    return [(entry.part, entry.reason) for entry in found.collected.missing]


def without(*numbers: int) -> ScriptedExchange:
    """The exchange without these candles and snapshots."""
    exchange = exchange_of("AUSDT")
    holes = set(map(at, numbers))
    for endpoint in (KLINES, INTEREST):
        exchange.times[endpoint, "AUSDT"] = [t for t in GRID if t not in holes]
    return exchange


async def test_a_refresh_asks_for_the_newest_rows_alone() -> None:
    found = await refreshed(known())
    assert found.asked(KLINES) == [("AUSDT", BEGIN, 0)]
    assert found.asked(INTEREST) == [("AUSDT", 0, 0)]
    counted = found.collected
    assert (counted.markets, counted.refreshed, counted.corrected) == (1, 1, 0)
    assert found.rows() == [row(n) for n in range(FIRST, 1)]
    assert [r[5] for r in found.rows(timeframe=H8)] == [10.0] * 75
    assert told(found) == []
    assert found.progress == [(0, 2), (1, 2), (2, 2)]


async def test_a_closed_candle_that_has_changed_brings_all_anew() -> None:
    rows = [row(n, close=2.5 if n == -50 else 2.0) for n in range(FIRST, 0)]
    with structlog.testing.capture_logs() as logs:
        found = await refreshed(known(rows))
    corrected = [log for log in logs if log["event"] == "history_corrected_by_exchange"]
    assert [(log["market"], log["part"]) for log in corrected] == [("binance:AUSDT", "klines")]
    assert found.asked(KLINES) == [("AUSDT", BEGIN, 0), ("AUSDT", FIRST, 0)]
    assert (found.collected.refreshed, found.collected.corrected) == (0, 1)
    assert found.rows() == [row(n) for n in range(FIRST, 1)]


async def test_open_interest_that_has_changed_brings_all_of_it_anew() -> None:
    rows = [row(n, interest={-20: None, -10: 9.0}.get(n, 4.0)) for n in range(FIRST, 0)]
    found = await refreshed(known(rows, lacks_open_interest=True))
    assert found.asked(KLINES) == [("AUSDT", BEGIN, 0)]
    assert found.asked(INTEREST) == [("AUSDT", -20, 0), ("AUSDT", FIRST, 0)]
    assert (found.collected.refreshed, found.collected.corrected) == (1, 1)
    assert [r[7] for r in found.rows()] == [4.0] * 150


async def test_rows_left_out_before_the_refresh_stay_told() -> None:
    holes = [-120, BEGIN - 1, BEGIN, -50]
    rows = [row(n) for n in range(FIRST, 0) if n not in holes]
    left_out = [LeftOut(at(n), "odd") for n in holes]
    found = await refreshed(known(rows, left_out={"klines": left_out}), without(*holes))
    assert found.collected.refreshed == 1
    assert told(found) == [("klines", one.text()) for one in sorted(left_out[:2])]


@pytest.mark.parametrize(
    ("newest", "count", "expected"),
    [
        (-120, 5, [LeftOut(at(-120), "", rows=5)]),  # all of them before the refresh
        (-50, 5, [LeftOut(at(BEGIN - 1), "", rows=3)]),  # two of them came again
        (-60, 5, [LeftOut(at(BEGIN - 1), "", rows=4)]),
        (-50, 2, []),
    ],
)
async def test_rows_that_were_only_counted_are_counted_on(
    newest: int, count: int, expected: list[LeftOut]
) -> None:
    odd = [-60, -50]
    rows = [row(n) for n in range(FIRST, 0) if n not in odd]
    exchange = without(*odd)
    exchange.times[KLINES, "AUSDT"] = GRID

    def bend(request: Request, body: bytes) -> bytes:
        if request.endpoint is KLINES:
            for n in odd:
                good, bad = (f'[{at(n)}, "2", "3", "{low}"'.encode() for low in (1, 0))
                body = body.replace(good, bad)
        return body

    exchange.bend = bend
    more = LeftOut(at(newest), "", rows=count)
    found = await refreshed(known(rows, left_out={"klines": [more]}), exchange)
    assert found.collected.refreshed == 1
    impossible = "impossible prices (high < low, or <= 0)"
    named = [LeftOut(at(n), impossible) for n in odd]
    assert sorted(told(found)) == sorted(("klines", one.text()) for one in [*expected, *named])


async def test_snapshots_left_out_stay_told_until_they_come() -> None:
    left_out = [LeftOut(at(n), "odd") for n in (-120, -100)]
    rows = [row(n, interest=None if n == -120 else 4.0) for n in range(FIRST, 0)]
    exchange = exchange_of("AUSDT")
    found = await refreshed(known(rows, left_out={"open_interest": left_out}), exchange)
    assert found.asked(INTEREST) == [("AUSDT", 0, 0)]
    assert told(found) == [("open_interest", left_out[0].text())]
    assert [r[0] for r in found.rows() if r[7] is None] == [at(-120)]


async def test_a_failed_refresh_carries_over_the_longer_rows_too() -> None:
    def refuse(request: Request) -> ExchangeError | None:
        refused = request.endpoint is KLINES and request.symbol == "AUSDT"
        return SymbolGone("gone", exchange=A.exchange) if refused else None

    exchange = exchange_of("AUSDT", "BUSDT")
    exchange.refuse = refuse
    found = await collect(exchange, A, B, funding=funding_of(A, B), previous=known(), candles=150)
    carried = {made: series for made, series in found.delivered if series.market == A}
    assert set(carried) == {H4, H8}
    assert {series.stale_since_ms for series in carried.values()} == {NOW_MS}
    assert found.collected.carried_over == 1
    assert found.progress[-1] == (4, 4)


async def test_known_candles_that_are_gone_are_asked_for_again_at_the_end() -> None:
    rows = [row(n) for n in range(-100, 0)]  # too few for a refresh
    found = await refreshed(known(rows), without(-5))
    assert found.asked(KLINES) == [("AUSDT", FIRST, 0), ("AUSDT", FIRST, 0)]
    assert told(found) == []
    assert [r[0] for r in found.rows()] == [at(n) for n in range(FIRST, 1) if n != -5]
    assert found.progress == [(0, 2), (1, 2), (2, 2)]


async def test_rows_of_a_former_life_are_cut_with_what_belongs_to_them() -> None:
    reborn = replace(A, since_ms=at(-10) + HOUR_MS)
    found = await refreshed(None, of=reborn)
    assert [r[0] for r in found.rows(reborn)] == [at(n) for n in range(-10, 1)]
    # The snapshot at its opening is of before, and so are the rates settled before.
    assert [r[7] for r in found.rows(reborn)] == [None] + [4.0] * 10
    first_rate = next(r[0] for r in found.rows(reborn) if r[8] is not None)
    assert first_rate == at(-9)
    at_once = replace(A, since_ms=at(-10))
    found = await refreshed(None, of=at_once)
    assert [r[7] for r in found.rows(at_once)] == [4.0] * 11


async def test_quiet_rows_before_a_launch_are_cut_with_what_was_left_out_of_them() -> None:
    young = replace(A, launched_ms=at(-10) + HOUR_MS)
    exchange = exchange_of("AUSDT")

    def bend(request: Request, body: bytes) -> bytes:
        if request.endpoint is not KLINES:
            return body
        for n in range(FIRST, -10):
            low = "0" if n == -30 else "1"
            good = f'[{at(n)}, "2", "3", "1", "2", "5"'.encode()
            body = body.replace(good, f'[{at(n)}, "2", "3", "{low}", "2", "0"'.encode())
        return body

    exchange.bend = bend
    found = await refreshed(None, exchange, of=young)
    assert [r[0] for r in found.rows(young)] == [at(n) for n in range(-10, 1)]
    assert [r[7] for r in found.rows(young)] == [None] + [4.0] * 10
    assert told(found) == []


async def test_a_launch_inside_the_first_candle_cuts_nothing() -> None:
    first = replace(A, launched_ms=at(FIRST) + HOUR_MS)
    for previous in (None, known(of=first)):
        found = await refreshed(previous, of=first)
        assert found.collected.refreshed == (previous is not None)
        assert [r[7] for r in found.rows(first)] == [4.0] * 150


@pytest.mark.parametrize("mistakes", [("merge_data",), ("merge_data", "rows")])
async def test_a_market_that_fails_late_is_counted_once(
    monkeypatch: pytest.MonkeyPatch, mistakes: Sequence[str]
) -> None:
    """Its old rows may be what cannot be used, too."""

    def fail(error: Exception) -> None:
        def failing(*arguments: Any, **options: Any) -> Any:
            raise error

        if "rows" in mistakes:
            monkeypatch.setattr(PreviousDocuments, "rows", failing)
        else:
            monkeypatch.setattr(collect_or_carry_over, "merge_data", failing)

    fail(KeyError("a mistake of ours"))

    def refuse(request: Request) -> ExchangeError | None:
        odd = request.symbol == "AUSDT" and request.endpoint is KLINES and "rows" in mistakes
        return SymbolGone("gone", exchange=A.exchange) if odd else None

    exchange = exchange_of("AUSDT", "BUSDT")
    exchange.refuse = refuse
    progress: list[tuple[int, int]] = []
    with pytest.raises(CollectionFailed):
        await fetch_market_data(
            H4,
            [A],
            cast(ExchangeClient, exchange.sender()),
            lambda made, series: None,
            history_candles=150,
            prefetched_fr_data=funding_of(A),
            previous=known(),
            on_progress=lambda done, total: progress.append((done, total)),
        )
    assert progress[-1] == (2, 2)
    assert max(done for done, _ in progress) == 2
    fail(LeaseLost("taken over"))
    with pytest.raises(LeaseLost):
        await refreshed(known(), exchange)
