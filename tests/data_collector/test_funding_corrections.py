"""A known rate that the exchange tells differently: when it is noticed, asked again, believed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from zlib import crc32

import pytest
import structlog

from data_collector import exchange_funding
from data_collector.fr_fetcher import FundingUpdate
from data_collector.funding_rules import changed_rates, said_twice
from market.columns import FundingRow
from market.left_out import LeftOut
from market.markets import DEFAULT_EXCHANGES, Exchange, FundingSeries, Market
from market.timeframes import DAY_MS, MINUTE_MS, is_daily_moment_passed
from tests.data_collector.test_funding_requests import (
    EIGHT_MS,
    MARKETS,
    NAMES,
    NOW,
    A,
    asked,
    at,
    exchange_of,
    known,
    ms,
    rows,
    update,
)
from tests.fixtures.markets import market
from tests.fixtures.scripted_exchange import NOW_MS, ScriptedExchange
from venues.errors import BadRequest
from venues.venue import Endpoint, Request

WRONG, RIGHT, OTHER = 0.009, 0.001, 0.005


def since(key: str) -> int:
    """How long the market's moment of the day has passed; crc32 of its key, in ms after 00:00."""
    return (NOW_MS - crc32(key.encode())) % DAY_MS


def with_rate(rate: float, hour: float, series: Sequence[FundingRow]) -> list[FundingRow]:
    return [(t, rate if t == at(hour) else told) for t, told in series]


def wrong_at(hour: float, series: FundingSeries) -> FundingSeries:
    return replace(series, rows=with_rate(WRONG, hour, series.rows))


def checked(of: Market, ago_ms: int, *hours: float, interval: int = 8) -> FundingSeries:
    """Known with the settlements of these hours, or of 16 and 8 hours before 08:00 and then."""
    series = known(*(hours or (-16, -8, 0)), checked=0, of=of, interval=interval)
    return replace(series, checked_at_ms=NOW_MS - ago_ms)


def held(found: FundingUpdate, of: Market = A) -> dict[float, float]:
    return {(t - EIGHT_MS) / ms(1): rate for t, rate in found.funding[of.key].rows}


def one_after_another(
    exchange: ScriptedExchange, name: str, *told: Sequence[FundingRow]
) -> Callable[[Request], None]:
    """The exchange answers the market's own requests so, the last one from then on."""
    left = list(told)

    def refuse(request: Request) -> None:
        if request.endpoint is Endpoint.FUNDING and request.symbol == name:
            exchange.settled[name] = left.pop(0) if len(left) > 1 else left[0]

    exchange.refuse = refuse
    return refuse


def corrections(logs: Iterable[object]) -> list[object]:
    return [
        (log["market"], log["part"], log["log_level"])
        for log in logs
        if isinstance(log, dict) and log["event"] == "history_corrected_by_exchange"
    ]


# --- once a day ----------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
async def test_at_its_moment_of_the_day_the_history_is_asked_for_and_corrected(
    exchange: Exchange,
) -> None:
    """Though the market cannot have settled: it was checked a ms before the moment, or at it."""
    one = market(exchange, "JUSDT")
    passed_ms = since(one.key)
    assert passed_ms < 6 * ms(1)  # after 08:37, so that nothing was settled in between
    old = wrong_at(-16, checked(one, passed_ms))
    found, sender = await update(exchange_of(-16, -8, 0, names=["JUSDT"]), old, markets=[one])
    assert (asked(sender), held(found, one)[-16]) == ([], WRONG)
    old = wrong_at(-16, checked(one, passed_ms + 1))
    with structlog.testing.capture_logs() as logs:
        found, sender = await update(exchange_of(-16, -8, 0, names=["JUSDT"]), old, markets=[one])
    whole, again = ("JUSDT", NOW - 32 * ms(1), NOW), ("JUSDT", ms(-16), ms(-16) + MINUTE_MS - 1)
    assert asked(sender) == [whole, again]
    assert held(found, one) == {-16: RIGHT, -8: RIGHT, 0: RIGHT}
    assert found.changed == 1
    assert corrections(logs) == [(one.key, "funding_rate", "warning")]
    assert [log["corrected"] for log in logs if log["event"] == "funding_updated"] == [1]
    # It is checked up to now: no run asks again before the next day.
    _, sender = await update(
        exchange_of(-16, -8, 0, names=["JUSDT"]), found.funding[one.key], markets=[one]
    )
    assert asked(sender) == []


@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
async def test_where_the_exchange_says_the_same_it_is_one_request_and_no_change(
    exchange: Exchange,
) -> None:
    one = market(exchange, "JUSDT")
    old = checked(one, since(one.key) + 1)
    with structlog.testing.capture_logs() as logs:
        found, sender = await update(exchange_of(-16, -8, 0, names=["JUSDT"]), old, markets=[one])
    assert len(asked(sender)) == 1
    assert found.funding[one.key].rows == old.rows
    assert (found.changed, corrections(logs)) == (0, [])


async def test_of_many_that_became_due_at_once_some_are_asked_others_in_each_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange_funding, "DAILY_CHECKS_PER_RUN", 2)
    exchange = exchange_of(-16, -8, 0, names=NAMES[:5])
    series = [checked(one, 2 * DAY_MS) for one in MARKETS[:5]]
    for one in series:  # whole, but of two days ago
        assert is_daily_moment_passed(one.market.key, one.checked_at_ms, NOW_MS)
    drawn = []
    for first in range(5):
        monkeypatch.setattr(exchange_funding, "crc32", lambda text, first=first: first)
        _, sender = await update(exchange, *series, markets=MARKETS[:5])
        whole = sorted(str(name) for name, begin, _ in asked(sender) if begin == NOW - 32 * ms(1))
        drawn.append(whole)
    assert sorted(drawn) == sorted(sorted([NAMES[n], NAMES[(n + 1) % 5]]) for n in range(5))


def test_a_moment_of_the_day_belongs_to_each_key() -> None:
    moment_ms = crc32(b"binance:AUSDT") % DAY_MS
    for day in (0, 20_000):
        then_ms = day * DAY_MS + moment_ms
        assert is_daily_moment_passed("binance:AUSDT", then_ms - 1, then_ms)
        assert not is_daily_moment_passed("binance:AUSDT", then_ms, then_ms + DAY_MS - 1)
        assert not is_daily_moment_passed("binance:BUSDT", then_ms - 1, then_ms)


# --- what is believed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        ((WRONG, RIGHT), RIGHT),  # once only
        ((WRONG, OTHER), RIGHT),
        ((WRONG, None), RIGHT),
        ((OTHER, OTHER), OTHER),
    ],
)
async def test_another_rate_is_believed_if_it_is_said_twice(
    told: tuple[float, float | None], believed: float
) -> None:
    one = market(Exchange.BYBIT, "JUSDT")
    exchange, old = exchange_of(names=["JUSDT"]), checked(one, since(one.key) + 1)
    sound = rows(-16, -8, 0)
    one_after_another(
        exchange,
        "JUSDT",
        *(
            [row for row in sound if row[0] != at(-8)]
            if rate is None
            else with_rate(rate, -8, sound)
            for rate in told
        ),
    )
    with structlog.testing.capture_logs() as logs:
        found, sender = await update(exchange, old, markets=[one])
    assert len(asked(sender)) == 2
    assert held(found, one) == {-16: RIGHT, -8: believed, 0: RIGHT}
    assert len(corrections(logs)) == found.changed == (believed != RIGHT)
    assert found.missing == []


async def test_of_several_differences_each_is_weighed_by_itself() -> None:
    one = market(Exchange.BINANCE, "JUSDT")
    exchange, old = exchange_of(names=["JUSDT"]), checked(one, since(one.key) + 1)
    sound = rows(-16, -8, 0)
    first = with_rate(OTHER, 0, with_rate(WRONG, -16, sound))
    one_after_another(exchange, "JUSDT", first, with_rate(OTHER, 0, sound))
    found, sender = await update(exchange, old, markets=[one])
    assert asked(sender)[1] == ("JUSDT", ms(-16), MINUTE_MS - 1)
    assert held(found, one) == {-16: RIGHT, -8: RIGHT, 0: OTHER}


async def test_if_it_cannot_be_asked_again_the_known_stays_and_the_market_is_named() -> None:
    one = market(Exchange.BINANCE, "JUSDT")
    exchange = exchange_of(-16, -8, 0, names=["AUSDT", "JUSDT"])
    exchange.refuse = lambda request: (
        BadRequest("no", exchange=Exchange.BINANCE)
        if f"endTime={at(-16) + MINUTE_MS - 1}" in request.target
        else None
    )
    old = wrong_at(-16, checked(one, since(one.key) + 1))
    found, _ = await update(exchange, old, markets=[A, one])
    assert found.funding[one.key] is old  # checked before its moment, so it is asked next time
    assert [lack.symbol for lack in found.missing] == ["JUSDT"]


async def test_an_answer_about_new_settlements_corrects_the_known_ones_it_holds(
    no_daily_checks: None,
) -> None:
    """It goes back to one that was left out."""
    odd = [LeftOut(at(-8), "odd")]
    old = wrong_at(0, known(-16, 0, checked=0.5, interval=4, left_out=odd))
    exchange = exchange_of(-16, -8, 0, 4, interval=4)
    found, sender = await update(exchange, old, history=4)
    assert asked(sender) == [
        ("AUSDT", ms(-9) + MINUTE_MS, NOW),
        ("AUSDT", 0, MINUTE_MS - 1),
    ]
    assert held(found) == {-16: RIGHT, -8: RIGHT, 0: RIGHT, 4: RIGHT}


# --- the list of all symbols ---------------------------------------------------------------------


@pytest.mark.parametrize(("quota", "corrected"), [(1, True), (0, False)])
async def test_a_market_that_the_list_of_all_contradicts_is_asked_itself(
    monkeypatch: pytest.MonkeyPatch, quota: int, corrected: bool
) -> None:
    """Hourly settlements: the list reaches back to the one that all but the first market know."""
    monkeypatch.setattr(exchange_funding, "DAILY_CHECKS_PER_RUN", quota)
    exchange = exchange_of(*range(7), names=NAMES, interval=1)
    series = [known(3, 4, checked=4.5, of=A, interval=1)]
    series += [known(3, 4, 5, checked=5.5, of=one, interval=1) for one in MARKETS[1:]]
    assert not any(is_daily_moment_passed(one.key, at(4.5), NOW_MS) for one in MARKETS)
    series[1] = wrong_at(5, series[1])
    found, sender = await update(exchange, *series, markets=MARKETS)
    assert asked(sender)[0] == (None, ms(4.5) + 1, NOW)
    own = [entry for entry in asked(sender) if entry[0] is not None]
    whole, again = ("BUSDT", NOW - 4 * ms(1), NOW), ("BUSDT", ms(5), ms(5) + MINUTE_MS - 1)
    assert own == ([whole, again] if corrected else [("BUSDT", ms(5) + MINUTE_MS, NOW)])
    rate = RIGHT if corrected else WRONG
    assert held(found, MARKETS[1]) == {4: RIGHT, 5: rate, 6: RIGHT}
    for one in (A, *MARKETS[2:]):
        assert held(found, one) == {4: RIGHT, 5: RIGHT, 6: RIGHT}


# --- pure rules ----------------------------------------------------------------------------------


def test_rates_are_compared_by_instant() -> None:
    told: list[FundingRow] = [(at(8), 0.3), (at(0) + 7, 0.2), (at(-8) + 5, 0.1)]
    known_rows: list[FundingRow] = [(at(-8), 0.1), (at(0) + 1, 0.5)]
    assert changed_rates(told, known_rows) == [(at(0) + 7, 0.2)]
    assert changed_rates(told, [(at(8), 9.0), *known_rows]) == [(at(0) + 7, 0.2), (at(8), 0.3)]
    once = [(at(0), 0.2), (at(8), 0.3), (at(16), 0.4)]
    assert said_twice(once, [(at(0) + 9, 0.2), (at(8), 0.1)]) == [(at(0), 0.2)]
