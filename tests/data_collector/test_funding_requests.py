"""Which settlements a funding update asks for, window by window, and what it makes of them."""

from collections.abc import Sequence

import pytest

from data_collector import exchange_funding
from data_collector.fr_fetcher import FundingUpdate, run_fr_update_process
from market.columns import FundingRow
from market.left_out import LeftOut
from market.markets import Exchange, FundingSeries, Market, Missing
from market.timeframes import HOUR_MS, MINUTE_MS
from tests.fixtures.markets import market
from tests.fixtures.scripted import Scripted, query_of
from tests.fixtures.scripted_exchange import NOW_MS, ScriptedExchange
from venues.errors import (
    BadRequest,
    ExchangeError,
    GaveUp,
    InternalError,
    SourceDown,
    SymbolGone,
    TooFast,
)
from venues.venue import Endpoint, Request

pytestmark = pytest.mark.usefixtures("no_daily_checks")

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
EIGHT_MS = NOW_MS - NOW_MS % (8 * HOUR_MS)  # 08:00; it is 14:37:21.250
A = market(BINANCE, "AUSDT")
NAMES = [f"{letter}USDT" for letter in "ABCDEFGHIJ"]


def at(hours: float) -> int:
    """So many hours after the last settlement of 08:00."""
    return EIGHT_MS + round(hours * HOUR_MS)


def rows(*hours: float) -> list[FundingRow]:
    return [(at(hour), 0.001) for hour in hours]


def known(
    *hours: float,
    checked: float,
    of: Market = A,
    interval: int = 8,
    left_out: Sequence[LeftOut] = (),
) -> FundingSeries:
    return FundingSeries(of, rows(*hours), interval, at(checked), left_out)


def exchange_of(
    *hours: float, names: Sequence[str] = ("AUSDT",), interval: int = 8
) -> ScriptedExchange:
    next_ms = NOW_MS - NOW_MS % (interval * HOUR_MS) + interval * HOUR_MS
    return ScriptedExchange(
        settled={name: rows(*hours) for name in names},
        schedule=dict.fromkeys(names, (interval, next_ms)),
    )


async def update(
    exchange: ScriptedExchange,
    *series: FundingSeries,
    markets: Sequence[Market] = (A,),
    history: int = 3,
) -> tuple[FundingUpdate, Scripted]:
    sender = exchange.sender()
    found = await run_fr_update_process(
        sender,
        markets,
        {one.market.key: one for one in series},
        funding_history=history,
        on_progress=lambda done, total: None,
    )
    return found, sender


def asked(sender: Scripted) -> list[tuple[str | None, int, int]]:
    """Symbol, and first and last ms of each window in hours after 08:00."""
    found = []
    for request in sender.sent:
        if request.endpoint is Endpoint.FUNDING:
            query = query_of(request)
            begin, end = int(query["startTime"]), int(query["endTime"])
            found.append((request.symbol, begin - EIGHT_MS, end - EIGHT_MS))
    return found


def ms(hours: float) -> int:
    return round(hours * HOUR_MS)


NOW = NOW_MS - EIGHT_MS  # in ms after 08:00


def held(found: FundingUpdate, one: Market = A) -> list[float]:
    return [(time_ms - EIGHT_MS) / HOUR_MS for time_ms, _ in found.funding[one.key].rows]


# --- whether and since when ----------------------------------------------------------------------


async def test_a_market_that_cannot_have_settled_is_not_asked() -> None:
    launched = Market(BINANCE, "AUSDT", "A", "USDT", at(-100))
    found, sender = await update(exchange_of(), known(-16, -8, 0, checked=0.2), markets=[launched])
    assert asked(sender) == []
    series = found.funding[A.key]
    assert (series.checked_at_ms, series.interval_hours) == (NOW_MS, 8)
    assert series.market.launched_ms == launched.launched_ms
    assert (found.changed, found.carried_over, found.missing) == (0, 0, [])


async def test_a_market_that_settles_more_often_now_is_asked_from_the_last_settlement_on() -> None:
    found, sender = await update(
        exchange_of(-16, -8, 0, 4, interval=4), known(-16, -8, 0, checked=0.2)
    )
    assert asked(sender) == [("AUSDT", MINUTE_MS, NOW)]
    assert held(found) == [-8, 0, 4]
    assert found.funding[A.key].interval_hours == 4
    assert found.changed == 1


async def test_a_settlement_left_out_is_asked_for_again() -> None:
    odd = [LeftOut(at(hour), "odd") for hour in (-8, -4)]
    found, sender = await update(exchange_of(-16, -8, 0), known(-16, 0, checked=-0.5, left_out=odd))
    assert asked(sender)[0] == ("AUSDT", ms(-9) + MINUTE_MS, NOW)
    assert held(found) == [-16, -8, 0]
    assert found.funding[A.key].left_out == ()
    assert found.missing == []


async def test_no_settlement_is_asked_for_that_would_not_be_kept() -> None:
    _, sender = await update(exchange_of(-8, 0), known(-80, checked=-79), history=2)
    assert asked(sender) == [("AUSDT", NOW - 24 * HOUR_MS, NOW)]


async def test_without_the_lists_every_full_hour_may_have_settled() -> None:
    exchange = exchange_of(-16, -8, 0)
    exchange.refuse = lambda request: (
        BadRequest("no", exchange=BINANCE) if request.endpoint is Endpoint.PREMIUM_INDEX else None
    )
    found, sender = await update(exchange, known(-16, -8, 0, checked=0.2))
    assert asked(sender) == [("AUSDT", MINUTE_MS, NOW)]
    series = found.funding[A.key]
    assert (series.interval_hours, series.checked_at_ms) == (8, NOW_MS)
    _, sender = await update(exchange, known(-16, -8, 0, checked=6.1))
    assert asked(sender) == []
    # What is known stays, unless settlements are more frequent.
    exchange.settled["AUSDT"] = rows(-1, 0, 1)
    found, _ = await update(exchange, known(-16, -8, 0, checked=0.2))
    assert found.funding[A.key].interval_hours == 1
    exchange.settled["AUSDT"] = rows(0)
    found, _ = await update(exchange)
    assert found.funding[A.key].interval_hours == 1  # of one settlement nothing can be told
    exchange.settled["AUSDT"] = rows(-8, 0)
    found, _ = await update(exchange)
    assert found.funding[A.key].interval_hours == 8


async def test_after_the_last_settlement_by_the_shorter_interval_nothing_is_asked_for() -> None:
    held_before = known(-16, -8, checked=-0.5)
    assert len(asked((await update(exchange_of(-16, -8, 0), held_before))[1])) == 1
    shorter = known(-16, -8, checked=-0.5, interval=4)  # one of 12:00 may be there
    _, sender = await update(exchange_of(-16, -8, 0), shorter)
    assert asked(sender) == [("AUSDT", ms(-8) + MINUTE_MS, NOW), ("AUSDT", 1, NOW)]


async def test_a_history_that_begins_late_is_asked_for_once_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange_funding, "HISTORIES_PER_RUN", 0)
    older = Market(BINANCE, "AUSDT", "A", "USDT", at(-100))
    exchange = exchange_of(*range(-80, 1, 8))
    for checked, begin in ((-9, NOW - 48 * HOUR_MS), (-0.5, ms(-8) + MINUTE_MS)):
        _, sender = await update(
            exchange, known(-16, -8, checked=checked), markets=[older], history=5
        )
        assert asked(sender)[0] == ("AUSDT", begin, NOW)
    # Where nobody knows when the market began, nothing is looked for.
    _, sender = await update(exchange, known(-16, -8, checked=-9), history=5)
    assert asked(sender)[0] == ("AUSDT", ms(-8) + MINUTE_MS, NOW)


async def test_of_histories_that_begin_late_a_few_are_asked_for_in_each_run() -> None:
    """Though none of the markets can have settled: their launch times may have been corrected."""
    names = NAMES[:5]
    exchange = exchange_of(*range(-80, 1, 8), names=names)
    markets = [Market(BINANCE, name, name[0], "USDT", at(-33)) for name in names]
    series = [known(-8, 0, checked=6.4, of=one) for one in markets]
    for lacking in (5, 3, 1, 0):
        found, sender = await update(exchange, *series, markets=markets, history=10)
        of = {symbol for symbol, _, _ in asked(sender)}
        assert len(of) == min(lacking, exchange_funding.HISTORIES_PER_RUN) == found.changed
        assert all(
            held(found, one) == [-32, -24, -16, -8, 0] for one in markets if one.symbol in of
        )
        series = list(found.funding.values())


async def test_those_that_have_nothing_earlier_give_way_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names, drawn = NAMES[:5], set()
    exchange = exchange_of(-8, 0, names=names)
    markets = [Market(BINANCE, name, name[0], "USDT", at(-33)) for name in names]
    series = [known(-8, 0, checked=6.4, of=one) for one in markets]
    for first in range(5):
        monkeypatch.setattr(exchange_funding, "crc32", lambda text, first=first: first)
        _, sender = await update(exchange, *series, markets=markets, history=10)
        drawn |= {symbol for symbol, _, _ in asked(sender)}
    assert drawn == set(names)


# --- whole histories -----------------------------------------------------------------------------


async def test_a_history_begins_with_a_window_of_the_present_interval() -> None:
    found, sender = await update(exchange_of(*range(-80, 1, 8)), history=3)
    assert asked(sender) == [("AUSDT", NOW - 32 * HOUR_MS, NOW)]
    assert held(found) == [-16, -8, 0]
    _, sender = await update(exchange_of(-16, -8, 0), history=3)
    assert len(asked(sender)) == 1  # there may be more, but these are enough


async def test_earlier_windows_follow_while_settlements_are_lacking() -> None:
    """Hourly now, every 8 hours before: the first window of 4 hours has 3 of 5."""
    exchange = exchange_of(*range(-80, 1, 8), 4, 5, 6, interval=1)
    found, sender = await update(exchange, history=5)
    first = NOW - 6 * HOUR_MS
    assert asked(sender)[-1] == ("AUSDT", first - 1 - 24 * HOUR_MS, first - 1)
    assert asked(sender)[0] == ("AUSDT", first, NOW)
    assert held(found) == [-8, 0, 4, 5, 6]


async def test_earlier_windows_end_where_nothing_came() -> None:
    exchange = exchange_of(0, interval=8)
    found, sender = await update(exchange, history=3)
    first = NOW - 32 * HOUR_MS
    span = 3 * 8 * HOUR_MS  # two are lacking, and one more
    assert asked(sender) == [
        ("AUSDT", first, NOW),
        ("AUSDT", first - 1 - span, first - 1),
    ]
    assert held(found) == [0]


async def test_nothing_is_asked_for_from_before_the_market() -> None:
    young = Market(BINANCE, "AUSDT", "A", "USDT", at(-20.5))
    found, sender = await update(exchange_of(-24, -16, -8, 0), markets=[young], history=5)
    assert asked(sender) == [("AUSDT", ms(-21), NOW)]
    assert held(found) == [-16, -8, 0]
    reborn = Market(BINANCE, "AUSDT", "A", "USDT", at(-20.5), since_ms=at(-8))
    found, sender = await update(exchange_of(-24, -16, -8, 0), markets=[reborn], history=5)
    assert asked(sender) == [("AUSDT", ms(-8), NOW)]
    assert held(found) == [0]  # what was settled at that very moment was of before
    older = Market(BINANCE, "AUSDT", "A", "USDT", at(-50.5))
    found, sender = await update(exchange_of(-24, -16, -8, 0), markets=[older], history=5)
    first = NOW - 48 * HOUR_MS
    assert asked(sender) == [("AUSDT", first, NOW), ("AUSDT", ms(-51), first - 1)]


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SourceDown, TooFast, GaveUp, SymbolGone, InternalError])
async def test_a_market_that_failed_by_its_exchange_is_asked_once_more(
    kind: type[ExchangeError],
) -> None:
    failing = 10

    def refuse(request: Request) -> ExchangeError | None:
        nonlocal failing
        if request.endpoint is not Endpoint.FUNDING or request.symbol != "AUSDT":
            return None
        failing -= 1
        return kind("so", exchange=BINANCE) if failing >= 0 else None

    exchange = exchange_of(-16, -8, 0, names=["AUSDT", "BUSDT"])
    exchange.refuse = refuse
    old = known(-24, -16, checked=-15)
    found, sender = await update(exchange, old, markets=[A, market(BINANCE, "BUSDT")])
    tries = {SourceDown: 10, TooFast: 10, GaveUp: 2}.get(kind, 1)
    assert [symbol for symbol, *_ in asked(sender)].count("AUSDT") == tries
    assert found.missing == [Missing(BINANCE, "AUSDT", "funding_rate", "so")]
    assert found.funding[A.key] is old
    assert (found.carried_over, found.changed) == (1, 1)


async def test_a_failed_market_without_a_series_is_only_named() -> None:
    exchange = exchange_of(-16, -8, 0, names=["AUSDT", "BUSDT"])
    exchange.refuse = lambda request: (
        SymbolGone("so", exchange=BINANCE, status=400) if request.symbol == "AUSDT" else None
    )
    found, _ = await update(exchange, markets=[A, market(BINANCE, "BUSDT")])
    assert found.missing == [Missing(BINANCE, "AUSDT", "funding_rate", "so (HTTP 400)")]
    assert (list(found.funding), found.carried_over) == (["binance:BUSDT"], 0)


async def test_a_failed_market_that_was_checked_by_a_wrong_clock() -> None:
    exchange = exchange_of(-16, -8, 0, names=["AUSDT", "BUSDT"])
    exchange.refuse = lambda request: (
        SymbolGone("so", exchange=BINANCE) if request.symbol == "AUSDT" else None
    )
    ahead = known(-8, 0, checked=30)
    found, sender = await update(exchange, ahead, markets=[A, market(BINANCE, "BUSDT")])
    assert found.funding[A.key].checked_at_ms == at(0)
    # It is asked for its whole history, as if nothing were known.
    assert asked(sender)[0] == ("AUSDT", NOW - 32 * HOUR_MS, NOW)


# --- the settlements of all symbols at once ------------------------------------------------------

MARKETS = [market(BINANCE, name) for name in NAMES]


async def test_ten_due_markets_are_asked_for_at_once() -> None:
    exchange = exchange_of(-16, -8, 0, names=NAMES)
    series = [known(-16, -8, checked=-0.5 - n / 60, of=one) for n, one in enumerate(MARKETS)]
    found, sender = await update(exchange, *series, markets=MARKETS)
    begin = ms(-0.5 - 9 / 60) + 1  # after the earliest check
    assert asked(sender) == [(None, begin, NOW), (None, 0, NOW)]
    assert found.changed == 10
    assert [held(found, one) for one in MARKETS] == [[-16, -8, 0]] * 10
    assert {one.checked_at_ms for one in found.funding.values()} == {NOW_MS}
    _, sender = await update(exchange, *series[:9], markets=MARKETS[:9])
    assert [symbol for symbol, *_ in asked(sender)] == NAMES[:9]


@pytest.mark.parametrize(
    "odd",
    [
        known(checked=-0.5),  # without settlements
        known(-16, -8, checked=-0.5, left_out=[LeftOut(at(-8), "odd")]),
        known(-16, -8, checked=-0.5, interval=4),  # of another interval
        known(-16, -8, checked=NOW / HOUR_MS - 9),  # checked nine hours ago
    ],
)
async def test_a_market_that_the_list_does_not_serve_is_asked_itself(odd: FundingSeries) -> None:
    exchange = exchange_of(-16, -8, 0, names=NAMES)
    others = [known(-16, -8, checked=-0.5, of=one) for one in MARKETS[1:]]
    _, sender = await update(exchange, odd, *others, markets=MARKETS)
    assert [symbol for symbol, *_ in asked(sender) if symbol is None] == []  # nine are too few
    eleven = [*MARKETS, market(BINANCE, "KUSDT")]
    exchange = exchange_of(-16, -8, 0, names=[*NAMES, "KUSDT"])
    more = known(-16, -8, checked=-0.5, of=eleven[-1])
    found, sender = await update(exchange, odd, *others, more, markets=eleven)
    symbols = [symbol for symbol, *_ in asked(sender)]
    assert symbols[:2] == [None, None]
    assert set(symbols[2:]) == {"AUSDT"}
    assert held(found)[-1] == 0


async def test_a_market_that_the_list_lacks_a_settlement_of_is_asked_itself() -> None:
    exchange = exchange_of(-16, -8, 0, names=NAMES)
    exchange.settled["AUSDT"] = rows(-16, -8)
    series = [known(-16, -8, checked=-0.5, of=one) for one in MARKETS]
    found, sender = await update(exchange, *series, markets=MARKETS)
    assert [symbol for symbol, *_ in asked(sender)] == [None, None, "AUSDT"]
    assert held(found) == [-16, -8]
    assert found.changed == 9


async def test_the_other_exchange_has_no_such_list() -> None:
    markets = [market(BYBIT, name) for name in NAMES]
    exchange = exchange_of(-16, -8, 0, names=NAMES)
    series = [known(-16, -8, checked=-0.5, of=one) for one in markets]
    found, sender = await update(exchange, *series, markets=markets)
    assert [symbol for symbol, *_ in asked(sender)] == NAMES
    assert found.changed == 10


async def test_a_list_that_fails_leaves_every_market_to_be_asked() -> None:
    exchange = exchange_of(-16, -8, 0, names=NAMES)
    exchange.refuse = lambda request: (
        BadRequest("no", exchange=BINANCE)
        if request.endpoint is Endpoint.FUNDING and request.symbol is None
        else None
    )
    series = [known(-16, -8, checked=-0.5, of=one) for one in MARKETS]
    found, sender = await update(exchange, *series, markets=MARKETS)
    assert [symbol for symbol, *_ in asked(sender)] == [None, *NAMES]
    assert found.changed == 10
