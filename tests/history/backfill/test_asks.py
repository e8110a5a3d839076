"""The windows of a backfill, beside a second implementation that goes instant by instant."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from history.backfill.asks import Ask, asks, in_turn, runs
from history.backfill.ranges import Range, ceil, floor, without
from history.backfill.series import Series, Stage, Target
from market.markets import Exchange, Market
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
BEGIN_MS = 1_772_323_200_000  # 2026-03-01 00:00 UTC
STAGES = [
    Stage(BINANCE, "candles", Timeframe.H1),
    Stage(BINANCE, "candles", Timeframe.H4, (Timeframe.H8,)),
    Stage(BYBIT, "candles", Timeframe.H4, (Timeframe.H8,)),
    Stage(BYBIT, "open_interest", Timeframe.M5),
]
PAGES = {
    ("binance", "candles"): 499,
    ("bybit", "candles"): 1000,
    ("bybit", "open_interest"): 200,
}


def series_of(stage: Stage, hours: int = 8) -> Series:
    return Series(stage, Target(Market(stage.exchange, "BTCUSDT", "BTC", "USDT"), None, hours))


def instants(parts: list[Range], step_ms: int) -> set[int]:
    return {time_ms for part in parts for time_ms in range(*part, step_ms)}


# Borders of allowed ranges, and of what is missing, in steps.
BORDERS = st.lists(st.integers(0, 3000), unique=True, max_size=8).map(sorted)


@given(st.sampled_from(STAGES), BORDERS, BORDERS)
def test_what_is_missing_is_asked_for_once_the_newest_first(
    stage: Stage, allowed: list[int], missing: list[int]
) -> None:
    series, step_ms = series_of(stage), stage.period.interval_ms if stage.period else 0
    page = PAGES[str(stage.exchange), stage.what]

    def ranges(borders: list[int]) -> list[Range]:
        return [
            (BEGIN_MS + a * step_ms, BEGIN_MS + b * step_ms)
            for a, b in zip(borders[::2], borders[1::2], strict=False)
        ]

    may, lacks = ranges(allowed), ranges(missing)
    found = list(asks(series, may, lacks))
    asked = [instants([(each.from_ms, each.to_ms)], step_ms) for each in found]
    wanted = instants(may, step_ms) & instants(lacks, step_ms)
    # Everything that is missing, nothing twice, nothing outside, and no window in vain.
    assert wanted <= set().union(*asked)
    assert sum(map(len, asked)) == len(set().union(*asked))
    assert set().union(*asked) <= instants(may, step_ms)
    assert all(some & wanted and len(some) <= page for some in asked)
    longer_ms = max((each.interval_ms for each in stage.makes), default=step_ms)
    for some in asked:
        # Each begins and ends with the (longer) candle of something that is missing.
        for edge in (min(some), max(some)):
            begin_ms = edge - edge % longer_ms
            assert {*range(begin_ms, begin_ms + longer_ms, step_ms)} & wanted
    for time_ms in wanted if stage.makes else ():
        begin_ms = time_ms - time_ms % longer_ms
        whole = {*range(begin_ms, begin_ms + longer_ms, step_ms)}
        if whole <= instants(may, step_ms) and any(
            whole <= instants([part], step_ms) for part in may
        ):
            assert any(whole <= some for some in asked)
    assert all(min(a) > max(b) for a, b in pairwise(asked))
    # No fewer windows would do, but for whole longer candles.
    if not stage.makes:
        assert len(found) == fewest(
            wanted, [instants([part], step_ms) for part in may], page, step_ms
        )


def fewest(wanted: set[int], allowed: list[set[int]], page: int, step_ms: int) -> int:
    """Greedily, from the newest on, in each allowed range by itself."""
    count = 0
    for inside in allowed:
        left = sorted(wanted & inside)
        while left:
            count += 1
            newest = left[-1]
            left = [time_ms for time_ms in left if time_ms <= newest - page * step_ms]
    return count


def test_pages_of_4h_have_whole_candles_of_8h() -> None:
    series = series_of(Stage(BINANCE, "candles", Timeframe.H4, (Timeframe.H8,)))
    whole = BEGIN_MS + 4 * HOUR_MS, BEGIN_MS + 4000 * HOUR_MS
    found = list(asks(series, [whole], [whole]))
    assert [each.from_ms % (8 * HOUR_MS) for each in found] == [0, 0, 4 * HOUR_MS]
    assert [each.rows for each in found] == [498, 498, 3]


def settled(window: Ask, hours: int) -> list[int]:
    """The settlements of a window, a few ms late."""
    step_ms = hours * HOUR_MS
    first = ceil(window.from_ms - 5, step_ms)
    return [t + 5 for t in range(first, window.to_ms, step_ms) if window.from_ms <= t + 5]


def test_windows_of_settlements_end_where_nothing_can_be_lacking() -> None:
    for exchange, page in ((BINANCE, 1000), (BYBIT, 200)):
        for hours in (1, 2, 4, 8):
            series = series_of(Stage(exchange, "funding", None), hours)
            whole = BEGIN_MS, BEGIN_MS + 9000 * HOUR_MS + MINUTE_MS
            found = list(asks(series, [whole], [whole]))
            assert [(each.from_ms, each.to_ms) for each in found] == sorted(
                ((each.from_ms, each.to_ms) for each in found), reverse=True
            )
            assert not without([whole], [(each.from_ms, each.to_ms) for each in found])
            for window in found:
                rows = settled(window, hours)
                assert len(rows) <= page
                if window is not found[0] and exchange == BINANCE:
                    # Answers ascend: an hour after the last one the window has ended.
                    assert rows[-1] - rows[-1] % MINUTE_MS + HOUR_MS > window.to_ms - 1
                if window is not found[-1] and exchange == BYBIT:
                    assert rows[0] - HOUR_MS < window.from_ms


def test_markets_take_turns() -> None:
    stage = Stage(BINANCE, "candles", Timeframe.H1)
    long, short = BEGIN_MS + 1200 * HOUR_MS, BEGIN_MS + 300 * HOUR_MS
    lists = [
        asks(series_of(stage), [(BEGIN_MS, end_ms)], [(BEGIN_MS, end_ms)])
        for end_ms in (long, short)
    ]
    assert [each.to_ms for each in in_turn(lists)] == [
        *(long, short, long - 499 * HOUR_MS, long - 998 * HOUR_MS),
    ]


def test_ranges_are_cut() -> None:
    assert without([(0, 10), (20, 30)], [(5, 22), (25, 26), (40, 50)]) == [
        (0, 5),
        (22, 25),
        (26, 30),
    ]
    assert without([(0, 10)], [(0, 10)]) == []
    assert (floor(11, 5), ceil(11, 5), ceil(10, 5)) == (10, 15, 10)


@given(
    st.sampled_from([*STAGES, Stage(BINANCE, "funding", None), Stage(BYBIT, "funding", None)]),
    st.integers(0, 10**7),
    st.integers(1, 10**5),
)
def test_years_of_one_series_are_a_few_runs(stage: Stage, begin: int, steps: int) -> None:
    series = series_of(stage)
    step_ms = series.step_ms if stage.period is not None else 60_000
    from_ms = begin // step_ms * step_ms
    whole = from_ms, from_ms + steps * step_ms
    found = list(runs(series, [whole], [whole]))
    assert len(found) <= 4
    windows = list(asks(series, [whole], [whole]))
    assert sum(count for _, count in found) == len(windows)
    assert (windows[0].to_ms, windows[-1].from_ms) == (whole[1], whole[0])
    assert all(one.from_ms == following.to_ms for one, following in pairwise(windows))
    assert max(each.rows for each in windows) <= stage.table.page_limit + 1
    assert sum(count * ask.rows for ask, count in found) == sum(each.rows for each in windows)
