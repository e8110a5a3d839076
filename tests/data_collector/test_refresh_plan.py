"""What a refresh reuses, compares and fetches again, by exact rows of older documents."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from data_collector.incremental import PreviousDocuments, RefreshPlan, SeriesByTimeframe
from data_collector.task_builder import MarketTasks, build_tasks
from documents.building import DocumentBuilder
from documents.kept import KeptDocuments
from market.candles import Candle
from market.left_out import LeftOut
from market.markets import Exchange, Market, MarketSeries, Row
from market.rows import Rows, TimedValues
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.markets import market

H1, H4, H8 = Timeframe.H1, Timeframe.H4, Timeframe.H8
X, Y = market(Exchange.BINANCE, "XUSDT"), market(Exchange.BINANCE, "YUSDT")
# A midnight; the markets' daily full fetch falls behind all times used here.
T0 = 1_795_132_800_000
AS_OF = 200.5  # hours after T0: candle 200 is forming
HALF = HOUR_MS // 2


def at(hours: float) -> int:
    return T0 + round(hours * HOUR_MS)


def row(hour: float, interest: float | None = 7.0, volume: float = 5.0) -> Row:
    return (at(hour), 2.0, 3.0, 1.0, 2.0, volume, volume, interest, 0.0001)


def candle(hour: float, close: float = 2.0) -> Candle:
    return Candle(at(hour), 2.0, 3.0, 1.0, close, "5", "5")


def hours_of(rows: Rows | TimedValues) -> list[float]:
    return [(time_ms - T0) / HOUR_MS for time_ms in rows.times.tolist()]


def series(
    numbers: Sequence[int] = range(51, 196),
    checked: float = 195.5,
    of: Market = X,
    nulls: Sequence[int] = (),
    **more: Any,
) -> MarketSeries:
    rows = [row(n, None if n in nulls else 7.0) for n in numbers]
    return replace(MarketSeries(of, rows, at(checked)), **more)


def documents(
    *known: MarketSeries,
    as_of: float = AS_OF,
    candles: int = 150,
    timeframe: Timeframe = H1,
    others: SeriesByTimeframe | None = None,
) -> PreviousDocuments:
    """Window of so many candles up to `as_of`: from hour 51 on for the defaults."""
    held = {timeframe: {one.market.key: one for one in known}, **(others or {})}
    return PreviousDocuments(held, timeframe, as_of_ms=at(as_of), history_candles=candles)


def tasks_of(
    one: Market, as_of: float = AS_OF, candles: int = 150, timeframe: Timeframe = H1
) -> MarketTasks:
    (tasks,) = build_tasks(
        timeframe,
        [one],
        as_of_ms=at(as_of),
        history_candles=candles,
        with_funding=False,
        funding_history=1,
    )
    return tasks


def planned(
    *known: MarketSeries, of: Market = X, as_of: float = AS_OF, candles: int = 150
) -> RefreshPlan | None:
    return documents(*known, as_of=as_of, candles=candles).plan(tasks_of(of, as_of, candles))


def fetched(plan: RefreshPlan | None) -> tuple[float, float]:
    """The first and the last candle that the plan asks for."""
    assert plan is not None
    return (plan.klines.start_ms - T0) / HOUR_MS, (plan.klines.end_ms - T0) / HOUR_MS


@pytest.fixture(autouse=True)
def not_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """No daily fetch of all candles."""
    monkeypatch.setattr(PreviousDocuments, "_is_full_fetch_due", lambda self, market, series: False)


# --- which candles -------------------------------------------------------------------------------


def test_what_is_final_is_reused_but_for_what_the_cheapest_request_returns() -> None:
    plan = planned(series())
    assert plan is not None
    assert fetched(plan) == (102, 200)  # 99 candles
    assert hours_of(plan.reused) == list(range(51, 102))
    assert hours_of(plan.compared) == list(range(102, 195))  # 195 was forming
    assert hours_of(plan.interest) == list(range(51, 196))
    assert plan.requested.tolist() == [at(n) for n in range(51, 196)]
    assert plan.late_ms == at(194.5)
    assert not plan.all_interest
    assert (plan.timeframe, plan.longer) == (H1, {})


def test_at_least_ten_known_candles_are_fetched_again() -> None:
    plan = planned(series(range(51, 102), checked=101.5))
    assert plan is not None
    assert fetched(plan) == (90, 200)
    assert hours_of(plan.compared) == list(range(90, 101))


@pytest.mark.parametrize(("checked", "last"), [(195 + 1 / 60, 194), (195 + 0.9 / 60, 193)])
def test_a_candle_is_final_a_minute_after_its_end(checked: float, last: int) -> None:
    known = series(checked=checked)
    plan = planned(known)
    assert plan is not None
    assert hours_of(plan.compared)[-1] == last
    assert documents(known).closed_rows(X).times.tolist()[-1] == at(last)


@pytest.mark.parametrize(("candles", "first"), [(99, 102), (100, 102), (98, 103)])
def test_a_window_no_longer_than_a_request_is_fetched_as_a_whole(candles: int, first: int) -> None:
    plan = planned(series(), candles=candles)
    assert plan is not None
    assert fetched(plan) == (first, 200)
    assert len(plan.reused) == (1 if candles == 100 else 0)
    assert hours_of(plan.compared) == list(range(max(102, first), 195))


UNFIT: dict[str, Callable[[], MarketSeries]] = {
    "of the future": lambda: series(checked=AS_OF + 1 / HOUR_MS),
    "stale and younger than the window": lambda: series(range(60, 196), stale_since_ms=at(196)),
    "without a final row": lambda: series(range(195, 196)),
    "off the grid": lambda: series(rows=[row(n + 0.001 * (n == 99)) for n in range(51, 196)]),
    "not ascending": lambda: series([*range(51, 195), 194]),
    "not finite": lambda: series(rows=[row(n, volume=np.inf) for n in range(51, 196)]),
    "older than the life": lambda: series(of=replace(X, since_ms=at(53))),
    "without rows": lambda: series([]),
}


@pytest.mark.parametrize("name", list(UNFIT))
def test_a_series_that_cannot_be_refreshed(name: str) -> None:
    known = UNFIT[name]()
    assert planned(known, of=known.market) is None
    assert planned(of=X) is None
    assert planned(series(checked=AS_OF)) is not None


def test_a_young_market_is_asked_for_nothing_before_its_listing() -> None:
    old = series(of=Y)
    young = replace(X, launched_ms=at(150.4))
    plan = planned(old, series(range(150, 196), of=young), of=young)
    assert plan is not None
    assert (fetched(plan), len(plan.reused)) == ((150, 200), 0)
    young = replace(X, since_ms=at(60.4))
    plan = planned(old, series(range(60, 196), of=young), of=young)
    assert plan is not None
    assert (fetched(plan), hours_of(plan.reused)) == ((102, 200), list(range(60, 102)))
    told_late = replace(X, launched_ms=at(150))
    assert fetched(planned(series(of=told_late), of=told_late)) == (102, 200)


def test_a_series_shorter_than_the_window_needs_one_that_reaches_back() -> None:
    young = series(range(60, 196))
    assert planned(young) is None
    assert planned(young, series(range(52, 196), of=Y)) is None
    assert planned(young, series(of=Y, stale_since_ms=at(196))) is None
    assert planned(young, series([], of=Y)) is None
    assert planned(young, series(range(51, 196), of=Y)) is not None
    both = documents(young, series(of=Y))
    assert [both.plan(tasks_of(one)) is not None for one in (X, Y, X)] == [True, True, True]


def test_the_one_that_reaches_back_may_have_been_replaced_by_the_run() -> None:
    """In memory a series is gone once the market is delivered anew."""
    kept = KeptDocuments(1)
    builder = DocumentBuilder(H1, "collected", kept)
    for each in (series(of=Y), series(range(60, 196))):
        builder.add(each, {})
    builder.finish(version=1, as_of_ms=at(195.5), updated_at_ms=1, missing=())
    kept.publish(H1, 1, "")
    held = kept.series(H1, 1, "")
    assert held is not None
    before = PreviousDocuments({H1: held}, H1, as_of_ms=at(AS_OF), history_candles=150)
    DocumentBuilder(H1, "collected", kept).add(series(of=Y), {})
    assert list(held) == [X.key]
    assert before.plan(tasks_of(X)) is not None


def test_a_hole_is_fetched_again_for_two_markets_of_a_run() -> None:
    holed = [n for n in range(51, 196) if n != 60]
    names = [market(Exchange.BINANCE, f"{name}USDT") for name in "ABC"]
    known = documents(*(series(holed, of=one) for one in names), series())
    plans = [known.plan(tasks_of(one)) for one in (X, *names)]
    assert list(map(fetched, plans)) == [(102, 200), (51, 200), (51, 200), (102, 200)]
    assert plans[1] is not None
    assert hours_of(plans[1].compared) == [n for n in holed if n < 195]
    assert (len(plans[1].reused), plans[1].all_interest) == (0, False)
    # Among the fetched ones it needs nothing more, nor before the first row of an old market.
    assert fetched(planned(series([n for n in range(51, 196) if n != 102]))) == (102, 200)
    assert fetched(planned(series([n for n in range(51, 196) if n != 101]))) == (51, 200)
    assert fetched(planned(series(range(40, 196)))) == (102, 200)


# --- open interest -------------------------------------------------------------------------------


def test_old_nulls_are_fetched_again_for_six_markets_of_a_run() -> None:
    names = [market(Exchange.BINANCE, f"{name}USDT") for name in "ABCDEFG"]
    known = documents(*(series(of=one, nulls=[60]) for one in names))
    plans = [known.plan(tasks_of(one)) for one in names]
    assert [plan.all_interest for plan in plans if plan is not None] == [True] * 6 + [False]


@pytest.mark.parametrize(("null", "again"), [(51, False), (52, True), (194, True), (195, False)])
def test_which_nulls_are_old(null: int, again: bool) -> None:
    """Not that of the first row, and not one that may still be late."""
    plan = planned(series(nulls=[null]))
    assert plan is not None
    assert plan.all_interest is again
    assert null not in hours_of(plan.interest)


def test_old_nulls_are_those_that_the_exchange_still_serves_and_an_hour_old() -> None:
    plan = planned(series(checked=195, nulls=[194]))
    assert plan is not None
    assert plan.all_interest
    tasks = tasks_of(X)
    assert tasks.open_interest is not None
    later = replace(tasks, open_interest=replace(tasks.open_interest, start_ms=at(60)))
    for null, again in ((59, False), (60, True)):
        plan = documents(series(nulls=[null])).plan(later)
        assert plan is not None
        assert plan.all_interest is again
        assert hours_of(plan.interest) == [n for n in range(60, 196) if n != null]
    plan = documents(series(nulls=[60])).plan(replace(tasks, open_interest=None))
    assert plan is not None
    assert (plan.all_interest, len(plan.interest)) == (False, 0)


def test_interest_that_failed_is_fetched_again() -> None:
    for known in (series(lacks_open_interest=True), series(stale_since_ms=at(196))):
        plan = planned(known)
        assert plan is not None
        assert plan.all_interest


# --- old rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checked", "as_of", "kept"),
    [
        (195.5, AS_OF, range(51, 195)),  # 195 was forming and has closed since
        (195.5, 195.9, range(51, 196)),
        (195.5, 196, range(51, 195)),
        (195.5, 195, range(51, 195)),  # checked by a clock ahead of this: the newest goes
        (195.5, 194.9, range(51, 195)),
        (250, AS_OF, range(51, 195)),
    ],
)
def test_old_rows_without_those_that_have_closed_since(
    checked: float, as_of: float, kept: range
) -> None:
    held = series(checked=checked)
    rows = documents(held, as_of=as_of, candles=round(as_of) + 200).rows(H1, X)
    assert hours_of(rows) == list(kept)


def test_old_rows_of_the_window_alone() -> None:
    held = series(range(40, 210), checked=200.6)
    assert hours_of(documents(held, as_of=200.6).rows(H1, X)) == list(range(51, 201))
    assert hours_of(documents(held, as_of=200, candles=3).rows(H1, X)) == [198, 199, 200]
    assert len(documents(held).rows(H1, Y)) == 0
    assert documents(held).closed_rows(Y).times.tolist() == []
    assert documents(held).closed_rows(X).times.tolist() == []  # checked later than now
    assert documents(held, as_of=200.6).closed_rows(X).times.tolist() == [
        at(n) for n in range(51, 200)
    ]
    assert documents(held).series(H1, X) is held
    assert documents(held).series(H4, X) is None


def test_rows_left_out_of_the_window_stay_told() -> None:
    told = [LeftOut(at(n), "odd") for n in (50, 51, 52)]
    after = LeftOut(at(50), "odd", after=True)  # of the slot behind it
    held = series(left_out={"klines": [*told, after]})
    assert documents(held).left_out(X, "klines") == [*told[1:], after]
    assert documents(held).left_out(X, "open_interest") == []
    assert documents(held).left_out(Y, "klines") == []


def test_markets_take_turns_in_being_first() -> None:
    markets = [market(Exchange.BINANCE, f"{name}USDT") for name in "ABCDEFG"]
    tasks = [tasks_of(one) for one in markets]
    first = crc32(str(at(AS_OF)).encode()) % 7
    assert first > 0
    assert documents().rotated(tasks) == [*tasks[first:], *tasks[:first]]
