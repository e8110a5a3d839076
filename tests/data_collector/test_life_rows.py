"""Which rows are of a market's present life, by exact rows around its launch."""

from collections.abc import Sequence

import numpy as np
import pytest

from data_collector.life_rows import (
    begin_of_life,
    candles_of_life,
    first_of_life,
    is_of_life,
    rows_of_life,
    settlements_of_life,
)
from market.candles import Candle, Candles
from market.left_out import LeftOut
from market.markets import Exchange, FundingSeries, Market, Row
from market.rows import Rows

H4, H8, HOUR = 14_400_000, 28_800_000, 3_600_000
DAY = 86_400_000
T0 = 1_700_006_400_000  # a day's first moment
LAUNCH = T0 + 20 * H4 + 5_400_000  # inside the candle 20


def market(launched_ms: int = 0, since_ms: int = 0) -> Market:
    return Market(Exchange.BINANCE, "LITUSDT", "LIT", "USDT", launched_ms, since_ms=since_ms)


def first(one: Market, volumes: dict[int, float], step_ms: int = H4) -> int:
    """The number of the first candle that stays; `volumes` by number of the candle."""
    times = np.array([T0 + number * step_ms for number in volumes], np.int64)
    index = first_of_life(one, times, np.array(list(volumes.values())), step_ms)
    return [*volumes, -1][index]


def run(numbers: Sequence[int], volume: float) -> dict[int, float]:
    return dict.fromkeys(numbers, volume)


def test_of_a_known_life_only_the_candle_of_its_beginning_may_hold_something_older() -> None:
    traded = run(range(40), 5.0)
    assert first(market(since_ms=LAUNCH), traded) == 20
    assert first(market(since_ms=T0 + 20 * H4), traded) == 20
    assert first(market(since_ms=T0 + 20 * H4 - 1), traded) == 19
    assert first(market(since_ms=T0 + 20 * H4 + 1), traded) == 20
    assert first(market(since_ms=T0), traded) == 0
    assert first(market(since_ms=T0 + 400 * H4), traded) == -1


def test_on_first_sight_rows_that_were_traded_up_to_the_launch_stay() -> None:
    """Old lists have launch times some days after the first candle."""
    assert first(market(LAUNCH), run(range(40), 5.0)) == 0
    assert first(market(), run(range(40), 0.0)) == 0  # no launch is known
    assert first(market(T0), run(range(40), 0.0)) == 0  # a quiet market of old


def test_on_first_sight_rows_of_no_volume_before_the_launch_go() -> None:
    assert first(market(LAUNCH), run(range(20), 0.0) | run(range(20, 40), 5.0)) == 20
    # Even if the new contract has not been traded yet.
    assert first(market(LAUNCH), run(range(40), 0.0)) == 20


@pytest.mark.parametrize(
    ("last_traded", "kept"),
    [
        (13, 20),  # it ended 6 candles and 1.5 hours before the launch
        (14, 0),  # 5 candles and 1.5 hours: less than a day
    ],
)
@pytest.mark.parametrize("flat", [True, False], ids=["no volume", "no rows"])
def test_on_first_sight_a_day_without_trade_before_the_launch_divides(
    last_traded: int, kept: int, flat: bool
) -> None:
    before = run(range(last_traded + 1), 5.0)
    between = run(range(last_traded + 1, 20), 0.0) if flat else {}
    assert first(market(LAUNCH), before | between | run(range(20, 40), 5.0)) == kept


def test_on_first_sight_a_day_without_trade_divides_before_a_late_launch_too() -> None:
    """The contract began at candle 14, but the list says 20; another one had the name until 5."""
    volumes = run(range(6), 5.0) | run(range(6, 14), 0.0) | run(range(14, 40), 5.0)
    assert first(market(LAUNCH), volumes) == 14
    # Of two such days the later one counts, and what is older goes with it.
    volumes = run([0], 5.0) | run([8, 9], 5.0) | run(range(17, 40), 5.0)
    assert first(market(LAUNCH), volumes) == 17


def test_quiet_candles_after_the_launch_are_its_own() -> None:
    assert first(market(T0 + H4), run(range(1), 5.0) | run(range(1, 40), 0.0)) == 0


def test_a_whole_day_divides_and_the_smallest_volume_is_trade() -> None:
    assert first(market(LAUNCH), run(range(40), 0.5)) == 0
    for quiet, kept in ((6, 12), (5, 0)):  # candles without trade: a whole day, and less
        volumes = run(range(6), 5.0) | run(range(6, 6 + quiet), 0.0)
        assert first(market(LAUNCH), volumes | run(range(6 + quiet, 40), 5.0)) == kept
    for quiet, kept in ((6, 6), (5, 0), (2, 0)):  # before any trade
        volumes = run(range(quiet), 0.0) | run(range(quiet, 40), 5.0)
        assert first(market(LAUNCH), volumes) == kept
    # A single traded candle less than a day before the launch.
    alone = run(range(6), 5.0) | run(range(6, 14), 0.0) | run([14], 5.0) | run(range(15, 20), 0.0)
    assert first(market(LAUNCH), alone | run(range(20, 40), 5.0)) == 14


def test_daily_candles() -> None:
    launch = T0 + 5 * DAY + HOUR
    traded, flat = run(range(5), 5.0), run(range(3, 5), 0.0)
    assert first(market(launch), traded | run(range(5, 9), 5.0), DAY) == 0
    assert first(market(launch), traded | flat | run(range(5, 9), 5.0), DAY) == 5


def test_the_beginning_for_snapshots_and_settlements() -> None:
    assert begin_of_life(market(LAUNCH, LAUNCH), T0 + 20 * H4, H4) == LAUNCH
    # On first sight: the first row holds the launch, or lies behind it.
    assert begin_of_life(market(LAUNCH), T0 + 20 * H4, H4) == LAUNCH
    assert begin_of_life(market(LAUNCH), T0 + 30 * H4, H4) == LAUNCH
    # A launch that is told late says nothing.
    assert begin_of_life(market(LAUNCH), T0 + 19 * H4, H4) == 0
    assert begin_of_life(market(T0 + H4), T0, H4) == 0
    assert begin_of_life(market(T0 + H4 - 1), T0, H4) == T0 + H4 - 1


def candles(numbers: Sequence[int], volume: float) -> Candles:
    text = str(volume)
    return Candles.of([Candle(T0 + n * H4, 2.0, 3.0, 1.0, 2.0, text, text) for n in numbers])


def rows(numbers: Sequence[int], volume: float, step_ms: int = H4) -> list[Row]:
    return [(T0 + n * step_ms, 2.0, 3.0, 1.0, 2.0, volume, volume, 7.0, 0.0001) for n in numbers]


def test_fetched_candles_of_before_go_and_reused_rows_of_before_forbid_reuse() -> None:
    one = market(LAUNCH, LAUNCH)
    kept = candles_of_life(one, Rows.of(()), candles(range(40), 5.0), H4)
    assert kept is not None
    assert [candle[0] for candle in kept] == [T0 + n * H4 for n in range(20, 40)]
    old = Rows.of(rows(range(30), 5.0))
    assert candles_of_life(one, old, candles(range(30, 40), 5.0), H4) is None
    young = Rows.of(rows(range(20, 30), 5.0))
    kept = candles_of_life(one, young, candles(range(30, 40), 5.0), H4)
    assert kept is not None and len(kept) == 10
    assert candles_of_life(one, Rows.of(()), (), H4) == ()
    assert is_of_life(one, young, H4)
    assert not is_of_life(one, old, H4)
    assert is_of_life(one, Rows.of(()), H4)


@pytest.mark.parametrize("begin_ms", [T0 + H4, T0 + H4 + HOUR])
@pytest.mark.parametrize("known", [True, False], ids=["known", "by its launch"])
def test_the_first_candle_alone_may_be_of_before(begin_ms: int, known: bool) -> None:
    one = market(begin_ms, begin_ms if known else 0)
    kept = candles_of_life(one, Rows.of(()), candles(range(4), 0.0), H4)
    assert kept is not None
    assert [candle[0] for candle in kept] == [T0 + n * H4 for n in range(1, 4)]
    assert is_of_life(one, Rows.of(rows(range(4), 0.0)), H4) is False
    assert is_of_life(one, Rows.of(rows(range(1, 4), 0.0)), H4) is True
    traded = Rows.of(rows(range(4), 5.0))
    assert is_of_life(one, traded, H4) is not known


def test_carried_over_rows_have_nothing_of_before() -> None:
    one = market(LAUNCH, LAUNCH)
    kept = list(rows_of_life(one, Rows.of(rows(range(40), 5.0)), H4, H4))
    assert [row[0] for row in kept] == [T0 + n * H4 for n in range(20, 40)]
    # The snapshot at the opening of the first candle is older than the launch, and a rate that was
    # settled before may be in force for eight hours.
    assert [row[7] for row in kept[:3]] == [None, 7.0, 7.0]
    assert [row[8] for row in kept[:4]] == [None, None, 0.0001, 0.0001]
    # What opens at the very beginning is its own, except for the rate.
    at_once = market(T0 + 20 * H4, T0 + 20 * H4)
    kept = list(rows_of_life(at_once, Rows.of(rows(range(40), 5.0)), H4, H4))
    assert [row[7] for row in kept[:2]] == [7.0, 7.0]
    assert [row[8] for row in kept[:3]] == [None, None, 0.0001]
    assert list(rows_of_life(one, Rows.of(rows(range(20), 5.0)), H4, H4)) == []
    # Rows that are all of this life are left as they are.
    ours = Rows.of(rows(range(20, 40), 5.0))
    assert rows_of_life(one, ours, H4, H4) is ours


@pytest.mark.parametrize(
    ("begin_ms", "first_kept"),
    [
        (T0 + 20 * H4, 10),  # both candles of the row are of this life
        (T0 + 20 * H4 + HOUR, 10),  # its first candle holds the beginning
        (T0 + 21 * H4, 11),  # its first candle is another contract's
        (T0 + 21 * H4 + HOUR, 11),
        (T0 + 22 * H4, 11),
    ],
)
def test_a_longer_row_made_of_two_lives_is_left_out(begin_ms: int, first_kept: int) -> None:
    one = market(begin_ms, begin_ms)
    kept = rows_of_life(one, Rows.of(rows(range(20), 5.0, H8)), H8, H4)
    assert kept.times[0] == T0 + first_kept * H8


def test_a_longer_row_is_left_out_by_a_launch_that_is_first_seen() -> None:
    quiet, traded = rows(range(11), 0.0, H8), rows(range(11, 20), 5.0, H8)
    kept = rows_of_life(market(T0 + 21 * H4), Rows.of(quiet + traded), H8, H4)
    assert kept.times[0] == T0 + 11 * H8
    # One that was traded and ended with the launch is its own, as the launch is told late.
    quiet, traded = rows(range(4), 0.0, H8), rows(range(4, 8), 5.0, H8)
    kept = rows_of_life(market(T0 + 5 * H8), Rows.of(quiet + traded), H8, H4)
    assert list(kept) == traded
    last = rows_of_life(market(T0 + 5 * H8), Rows.of(quiet + traded[:1]), H8, H4)
    assert list(last) == traded[:1]


def test_settlements_of_before_go() -> None:
    settled = [(T0 + n * H8 + 3, 0.0001 * n) for n in range(10)]
    left_out = [LeftOut(T0 + 2 * H8, "odd"), LeftOut(T0 + 8 * H8, "odd")]
    series = FundingSeries(market(), settled, 8, T0 + 80 * HOUR, left_out)
    # One at the very instant of the beginning, stamped some ms late, was of the life before.
    kept = settlements_of_life(series, T0 + 4 * H8)
    assert (list(kept.rows), list(kept.left_out)) == (settled[5:], left_out[1:])
    assert list(settlements_of_life(series, T0 + 4 * H8 - 1).rows) == settled[4:]
    kept = settlements_of_life(series, T0)
    assert (list(kept.rows), list(kept.left_out)) == (settled[1:], left_out)
    assert list(settlements_of_life(series, T0 + 2 * H8).left_out) == left_out[1:]
    assert list(settlements_of_life(series, T0 + 2 * H8 - 1).left_out) == left_out
    assert settlements_of_life(series, 0) is series
    assert settlements_of_life(series, T0 - HOUR) is series
