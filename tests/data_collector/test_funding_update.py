"""What a funding update tells of its run: progress, the slowest clock, and why markets failed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog

from data_collector import exchange_funding
from data_collector.fr_fetcher import FundingUpdate, run_fr_update_process
from data_collector.funding_rules import OVERDUE_MS
from data_collector.listings import fetch_funding_schedule
from market.columns import FundingRow
from market.markets import Exchange, FundingByMarket, FundingSeries, Market, Missing
from market.timeframes import HOUR_MS
from stores.hot.leases import LeaseLost
from tests.fixtures.markets import market
from tests.fixtures.scripted_exchange import NOW_MS, ScriptedExchange
from venues.errors import BadRequest, CollectionFailed, ExchangeError, SourceDown
from venues.venue import Endpoint, Request

pytestmark = pytest.mark.usefixtures("no_daily_checks")

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
EIGHT_MS = NOW_MS - NOW_MS % (8 * HOUR_MS)  # 08:00
ROWS: Sequence[FundingRow] = [(EIGHT_MS - 8 * HOUR_MS, 0.1), (EIGHT_MS, 0.2)]
A, B, C = market(BINANCE, "AUSDT"), market(BINANCE, "BUSDT"), market(BYBIT, "CUSDT")


def _exchange() -> ScriptedExchange:
    symbols = ("AUSDT", "BUSDT", "CUSDT")
    return ScriptedExchange(
        settled=dict.fromkeys(symbols, ROWS),
        schedule=dict.fromkeys(symbols, (8, EIGHT_MS + 8 * HOUR_MS)),
    )


async def _update(
    exchange: ScriptedExchange,
    markets: Sequence[Market],
    known: FundingByMarket | None = None,
    progress: list[tuple[int, int]] | None = None,
) -> FundingUpdate:
    shown = [] if progress is None else progress
    return await run_fr_update_process(
        exchange.sender(),
        markets,
        known or {},
        funding_history=2,
        on_progress=lambda done, total: shown.append((done, total)),
    )


async def test_progress_begins_at_none_and_counts_each_market() -> None:
    progress: list[tuple[int, int]] = []
    update = await _update(_exchange(), [A, B, C], progress=progress)
    assert progress == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert update.changed == 3
    assert list(update.funding) == ["binance:AUSDT", "binance:BUSDT", "bybit:CUSDT"]
    assert {tuple(series.rows) for series in update.funding.values()} == {tuple(ROWS)}


async def test_no_markets_are_a_failure() -> None:
    with pytest.raises(CollectionFailed, match="no markets to refresh funding for"):
        await _update(_exchange(), [])


async def test_nothing_counts_as_known_beyond_the_slowest_clock() -> None:
    exchange = _exchange()
    exchange.late_ms = {BYBIT: 3000}
    update = await _update(exchange, [A, C])
    assert update.as_of_ms == NOW_MS - 3000
    checked = {key: series.checked_at_ms for key, series in update.funding.items()}
    assert checked == {"binance:AUSDT": NOW_MS - 3000, "bybit:CUSDT": NOW_MS - 3000}
    exchange.late_ms = {BINANCE: 3000}
    update = await _update(exchange, [A, C])
    checked = {key: series.checked_at_ms for key, series in update.funding.items()}
    assert checked == {"binance:AUSDT": NOW_MS - 3000, "bybit:CUSDT": NOW_MS - 3000}


async def test_an_exchange_with_a_wrong_clock_is_not_asked_and_keeps_its_series() -> None:
    exchange = _exchange()
    exchange.late_ms = {BYBIT: 3 * HOUR_MS}
    known = {C.key: FundingSeries(C, ROWS[:1], 8, EIGHT_MS - HOUR_MS)}
    progress: list[tuple[int, int]] = []
    sender = exchange.sender()
    update = await run_fr_update_process(
        sender,
        [A, C],
        known,
        funding_history=2,
        on_progress=lambda done, total: progress.append((done, total)),
    )
    cause = "bybit's clock is 10800 s behind binance's clock and this machine's clock"
    assert update.missing == [Missing(BYBIT, "CUSDT", "funding_rate", cause)]
    assert update.funding[C.key] is known[C.key]
    assert (update.carried_over, update.changed) == (1, 1)
    assert update.brought == {BINANCE}
    assert update.absent == {BYBIT: cause}
    assert update.clocks == {BYBIT: cause}
    assert {r.endpoint for r in sender.sent if r.exchange is BYBIT} == {Endpoint.TIME}
    assert sorted(progress) == [(0, 2), (1, 2), (2, 2)]


async def test_an_exchange_whose_time_is_unknown_goes_by_the_others() -> None:
    exchange = _exchange()

    def refuse(request: Request) -> ExchangeError | None:
        refused = request.endpoint is Endpoint.TIME and request.exchange is BYBIT
        return BadRequest("no such path", exchange=BYBIT, status=404) if refused else None

    exchange.refuse, exchange.late_ms = refuse, {BINANCE: 2000}
    update = await _update(exchange, [A, C])
    assert update.missing == []
    assert update.funding[C.key].checked_at_ms == NOW_MS - 2000


async def test_a_mistake_at_a_whole_exchange_names_its_markets_and_spares_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def failing(run: Any, exchange: Exchange) -> Any:
        if exchange is BINANCE:
            raise KeyError("a mistake of ours")
        return await fetch_funding_schedule(run, exchange)

    monkeypatch.setattr(exchange_funding, "fetch_funding_schedule", failing)
    known = {A.key: FundingSeries(A, ROWS[:1], 8, EIGHT_MS - HOUR_MS)}
    progress: list[tuple[int, int]] = []
    update = await _update(_exchange(), [A, B, C], known, progress)
    reason = "internal error: KeyError"
    assert update.missing == [
        Missing(BINANCE, s, "funding_rate", reason) for s in ("AUSDT", "BUSDT")
    ]
    assert update.funding[A.key] is known[A.key]
    assert B.key not in update.funding
    assert list(update.funding[C.key].rows) == ROWS
    assert update.carried_over == 1
    assert update.absent == {BINANCE: reason}
    assert [done for done, _ in progress] == [0, 1, 2, 3]


async def test_a_lost_lease_ends_the_update_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker tells it from other failures by its type."""

    async def failing(run: Any, exchange: Exchange) -> Any:
        raise LeaseLost("taken over")

    monkeypatch.setattr(exchange_funding, "fetch_funding_schedule", failing)
    with pytest.raises(LeaseLost):
        await _update(_exchange(), [A, C])


async def test_markets_that_met_a_silent_exchange_are_asked_once_more() -> None:
    exchange, tries = _exchange(), 0

    def refuse(request: Request) -> ExchangeError | None:
        nonlocal tries
        if request.symbol != "AUSDT":
            return None
        tries += 1
        return SourceDown("down", exchange=BINANCE, status=503) if tries <= 5 else None

    exchange.refuse = refuse
    progress: list[tuple[int, int]] = []
    update = await _update(exchange, [A, B], progress=progress)
    assert update.missing == []
    assert update.retries == 4
    assert update.brought == {BINANCE}
    assert progress == [(0, 2), (1, 2), (2, 2)]


async def test_the_failure_of_all_tells_one_cause_of_each_exchange() -> None:
    def refuse(request: Request) -> ExchangeError | None:
        if request.endpoint is not Endpoint.FUNDING:
            return None
        return SourceDown(f"{request.symbol} is down", exchange=request.exchange, status=503)

    exchange = _exchange()
    exchange.refuse = refuse
    with pytest.raises(CollectionFailed) as failed:
        await _update(exchange, [C, B, A])
    assert str(failed.value) == (
        "binance: AUSDT is down (HTTP 503); bybit: CUSDT is down (HTTP 503)"
    )


def _failing_at(error: Exception) -> Any:
    """Fails for what is about the market A, among the arguments."""

    def failing(series: FundingSeries, *rest: Any) -> bool:
        if series.market == A:
            raise error
        return True

    return failing


@pytest.mark.parametrize("part", ["may_have_settled", "is_complete"])
async def test_a_mistake_at_one_market_is_its_own(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """May it have settled: the market is named. Is the list complete: the market is asked."""
    names = [f"{letter}USDT" for letter in "ABCDEFGHIJK"]
    markets = [market(BINANCE, name) for name in names]
    exchange = ScriptedExchange(
        settled=dict.fromkeys(names, ROWS),
        schedule=dict.fromkeys(names, (8, EIGHT_MS + 8 * HOUR_MS)),
    )
    known = {one.key: FundingSeries(one, ROWS[:1], 8, EIGHT_MS - HOUR_MS) for one in markets}
    monkeypatch.setattr(exchange_funding, part, _failing_at(KeyError("a mistake of ours")))
    with structlog.testing.capture_logs() as logs:
        update = await _update(exchange, markets, known)
    named = [(entry.symbol, entry.reason) for entry in update.missing]
    wrong = part == "may_have_settled"
    assert named == ([("AUSDT", "internal error: KeyError")] if wrong else [])
    assert [log["event"] for log in logs].count("internal_error") == 1
    assert update.changed == (10 if wrong else 11)
    for one in markets[1:] if wrong else markets:
        assert list(update.funding[one.key].rows) == ROWS
    monkeypatch.setattr(exchange_funding, part, _failing_at(LeaseLost("taken over")))
    with pytest.raises(LeaseLost):
        await _update(exchange, markets, known)


async def test_what_ends_an_exchanges_part_names_no_market_that_has_its_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {
        A.key: FundingSeries(A, ROWS, 8, EIGHT_MS - HOUR_MS),
        B.key: FundingSeries(B, ROWS, 8, EIGHT_MS + HOUR_MS),  # not due
    }
    d = market(BINANCE, "DUSDT")
    monkeypatch.setattr(
        exchange_funding.ExchangeFunding,
        "_update_from_recent",
        lambda self, due: (_ for _ in ()).throw(KeyError("a mistake of ours")),
    )
    as_it_is = exchange_funding.ExchangeFunding._checked_again

    def failing(self: Any, one: Market, now_ms: int) -> Any:
        if one == A:
            raise ValueError("another")
        return as_it_is(self, one, now_ms)

    monkeypatch.setattr(exchange_funding.ExchangeFunding, "_checked_again", failing)
    update = await _update(_exchange(), [A, B, d, C], known)
    assert [
        (entry.symbol, entry.reason) for entry in update.missing if entry.exchange is BINANCE
    ] == [
        ("AUSDT", "internal error: ValueError"),
        ("DUSDT", "internal error: KeyError"),
    ]
    assert update.funding[B.key].checked_at_ms == NOW_MS


@pytest.mark.parametrize("why", ["refused", "clock"])
async def test_a_market_that_fails_keeps_nothing_of_a_former_life(why: str) -> None:
    reborn = replace(C, launched_ms=EIGHT_MS - HOUR_MS, since_ms=EIGHT_MS - HOUR_MS)
    series = FundingSeries(C, ROWS, 8, NOW_MS - 8 * HOUR_MS)
    exchange = _exchange()
    if why == "clock":
        exchange.late_ms[BYBIT] = 3 * HOUR_MS
    else:
        exchange.refuse = lambda request: (
            BadRequest("odd", exchange=BYBIT)
            if (request.symbol, request.endpoint) == ("CUSDT", Endpoint.FUNDING)
            else None
        )
    update = await _update(exchange, [A, reborn], {C.key: series})
    assert [lack.symbol for lack in update.missing] == ["CUSDT"]
    assert list(update.funding[C.key].rows) == ROWS[1:]


@pytest.mark.parametrize("of", [A, C])
@pytest.mark.parametrize(("age_ms", "believed"), [(OVERDUE_MS - 1, True), (OVERDUE_MS, False)])
async def test_a_schedule_from_before_the_last_settlement_hides_no_other(
    of: Market, age_ms: int, believed: bool
) -> None:
    """Such as a cache keeps: the interval has become shorter since."""
    later = [(EIGHT_MS + HOUR_MS, 0.3), (EIGHT_MS + 2 * HOUR_MS, 0.4)]
    exchange = _exchange()
    exchange.settled = {of.symbol: [*ROWS, *later]}
    exchange.schedule = {of.symbol: (8, NOW_MS - age_ms)}
    known = FundingSeries(of, ROWS, 8, EIGHT_MS + HOUR_MS // 2)
    update = await _update(exchange, [of], {of.key: known})
    assert list(update.funding[of.key].rows) == (ROWS if believed else later)
