"""Candle lengths, and what follows from their rows."""

import copy

import pytest

from market.timeframes import COLLECTED, DAY_MS, HOUR_MS, MINUTE_MS, Timeframe

H4, H8 = Timeframe.H4, Timeframe.H8
LENGTHS = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


@pytest.mark.parametrize("timeframe", Timeframe)
def test_each_has_the_length_that_its_word_says_and_divides_a_day(timeframe: Timeframe) -> None:
    assert timeframe.interval_ms == int(timeframe[:-1]) * LENGTHS[timeframe[-1]]
    assert DAY_MS % timeframe.interval_ms == 0
    assert Timeframe(str(timeframe)) is timeframe
    assert copy.deepcopy(timeframe) is timeframe


@pytest.mark.parametrize("timeframe", Timeframe)
def test_what_is_made_of_another_comes_with_its_collection(timeframe: Timeframe) -> None:
    source = timeframe.collected_as
    assert source in COLLECTED
    assert source.collected_as is source
    assert source.produces[0] is source
    assert timeframe in source.produces
    assert timeframe.interval_ms % source.interval_ms == 0


def test_only_8h_is_made_of_another() -> None:
    assert set(Timeframe) - set(COLLECTED) == {H8}
    assert H8.collected_as is H4
    assert H4.produces == (H4, H8)
    assert Timeframe.D1.produces == (Timeframe.D1,)


def test_the_grid() -> None:
    midnight_ms = 1_767_225_600_000  # 2026-01-01 00:00 UTC
    now_ms = midnight_ms + 9 * HOUR_MS + 1
    assert H4.floor(now_ms) == midnight_ms + 8 * HOUR_MS
    assert H4.last_closed_open_time(now_ms) == midnight_ms + 4 * HOUR_MS
    assert H8.window_start(now_ms, 3) == midnight_ms - 8 * HOUR_MS
    assert H4.floor(midnight_ms) == midnight_ms
