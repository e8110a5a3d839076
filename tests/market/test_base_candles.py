"""Longer candles from the base: which are proven, and recorded ones to the last decimal."""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from market.base import Base, extended
from market.base_candles import made_candles
from market.candles import Candle
from market.timeframes import COLLECTED, DAY_MS, HOUR_MS, Timeframe
from tests.fixtures.base_rows import MIDNIGHT, STEP_MS, base_of, five
from tests.fixtures.recorded_csv import read_candles

M15, H1 = Timeframe.M15, Timeframe.H1


def made_after(
    base: Base | None, timeframe: Timeframe, first: int, as_of_ms: int, *, since_ms: int = 0
) -> tuple[list[int], list[int]]:
    """The open times of the candles made, and of those not proven, as 5m slots of the day."""
    found = made_candles(
        None if base is None else base.until(MIDNIGHT + as_of_ms),
        timeframe,
        first_ms=MIDNIGHT + first * STEP_MS,
        as_of_ms=MIDNIGHT + as_of_ms,
        since_ms=since_ms,
    )
    rows, unproven = found
    return slots(rows.times.tolist()), slots(unproven.tolist())


def slots(times: Sequence[int]) -> list[int]:
    return [(time_ms - MIDNIGHT) // STEP_MS for time_ms in times]


def test_a_candle_of_three() -> None:
    candles = [
        five(0, price=10.0, volume="0.1", turnover="1000000000000.01"),
        five(1, price=30.0, volume="0.2", turnover="1000000000000.02"),
        five(2, price=20.0, volume="0.30", turnover="0"),
        five(3, price=40.0, volume="7", turnover="8"),
    ]
    base = extended(None, candles, asked_ms=MIDNIGHT, as_of_ms=MIDNIGHT + 3 * STEP_MS)
    base = base.with_interest([(MIDNIGHT + 3 * STEP_MS, 6.0)], base.as_of_ms)
    rows = made_candles(base, M15, first_ms=MIDNIGHT, as_of_ms=base.as_of_ms).rows
    # Each candle opens at its price, is 2 higher, 1 lower, and closes 0.5 higher.
    assert list(rows) == [
        (MIDNIGHT, 10.0, 32.0, 9.0, 20.5, 0.6, 2_000_000_000_000.03, None, None),
        (MIDNIGHT + 3 * STEP_MS, 40.0, 42.0, 39.0, 40.5, 7.0, 8.0, 6.0, None),
    ]


FULL = range(0, 8)  # its last candle forms
AS_OF = 7 * STEP_MS + 5


@pytest.mark.parametrize(
    ("held", "as_of_ms", "made", "unproven"),
    [
        (FULL, AS_OF, [0, 3, 6], []),
        (range(1, 8), AS_OF, [3, 6], [0]),  # listed inside the first, or not read before
        (range(3, 8), AS_OF, [3, 6], [0]),
        ([0, 1, 2, 4, 5, 6, 7], AS_OF, [0, 6], [3]),  # a hole
        ([0, 1, 2, 3, 4, 5, 7], AS_OF, [0, 3], [6]),  # a hole in the forming one
        (range(7), AS_OF, [0, 3, 6], []),  # nothing was traded yet since the last close
        (range(6), 6 * STEP_MS + 5, [0, 3], []),  # nor in the longer one
        (range(8), 8 * STEP_MS - 1, [0, 3, 6], []),
        (range(9), 8 * STEP_MS, [0, 3, 6], []),
        (range(10), 9 * STEP_MS, [0, 3, 6, 9], []),
    ],
)
def test_which_candles_are_proven(
    held: Iterable[int], as_of_ms: int, made: list[int], unproven: list[int]
) -> None:
    base = base_of(held, as_of_ms)
    assert made_after(base, M15, 0, as_of_ms) == (made, unproven)


def test_without_a_pass_at_that_time_closes_are_unknown() -> None:
    base = base_of(FULL, AS_OF)
    assert made_after(base, M15, 0, AS_OF + 59_999) == ([0, 3, 6], [])
    assert made_after(base, M15, 0, AS_OF + 60_000) == ([0, 3], [6])
    assert made_after(base, M15, 0, 9 * STEP_MS) == ([0, 3], [6, 9])
    assert made_after(base, H1, 0, 12 * STEP_MS) == ([], [0, 12])
    # 5 closed a moment before it was read, and may have changed since.
    soon = base_of(range(7), 6 * STEP_MS + 5)
    assert made_after(soon, M15, 0, 9 * STEP_MS) == ([0], [3, 6, 9])
    assert made_after(None, M15, 0, AS_OF) == ([], [0, 3, 6])


def test_of_5m_a_hole_that_was_seen_is_a_hole() -> None:
    base = base_of([2, 3, 5, 6, 7], AS_OF)
    assert made_after(base, Timeframe.M5, 0, AS_OF) == ([2, 3, 5, 6, 7], [0, 1])
    assert made_after(base, Timeframe.M5, 3, 8 * STEP_MS) == ([3, 5], [6, 7, 8])
    assert made_after(base, Timeframe.M5, 8, AS_OF) == ([], [])


def test_no_candle_that_holds_the_beginning_of_a_life() -> None:
    base = base_of(FULL, AS_OF)
    for since_ms, made, unproven in [
        (MIDNIGHT + 3 * STEP_MS, [3, 6], [0]),
        (MIDNIGHT + 3 * STEP_MS + 1, [6], [0, 3]),
        (MIDNIGHT + AS_OF, [], [0, 3, 6]),
    ]:
        assert made_after(base, M15, 0, AS_OF, since_ms=since_ms) == (made, unproven)


def test_a_volume_with_lost_digits_makes_no_longer_candle() -> None:
    candles = [five(slot) for slot in range(7)]
    candles[4] = five(4, volume="12345678901234567.5")
    base = extended(None, candles, asked_ms=MIDNIGHT, as_of_ms=MIDNIGHT + 6 * STEP_MS)
    assert made_after(base, M15, 0, 6 * STEP_MS) == ([0, 6], [3])
    assert made_after(base, Timeframe.M5, 4, 6 * STEP_MS) == ([4, 5, 6], [])
    candles[6] = five(6, turnover="12345678901234567.5")
    base = extended(None, candles, asked_ms=MIDNIGHT, as_of_ms=MIDNIGHT + 6 * STEP_MS)
    assert made_after(base, M15, 0, 6 * STEP_MS) == ([0], [3, 6])


# --- recorded series -----------------------------------------------------------------------------


def followed(candles: Sequence[Candle], timeframe: Timeframe) -> list[tuple[object, ...]]:
    """Each candle of `timeframe` as a pass makes it that comes right after its close, but for the
    first ones: passes come once an hour and read what they need."""
    by_time = {candle.open_time_ms: candle for candle in candles}
    base: Base | None = None
    made: list[tuple[object, ...]] = []
    first_ms, last_ms = candles[0].open_time_ms, candles[-1].open_time_ms
    for now_ms in range(first_ms // HOUR_MS * HOUR_MS + HOUR_MS, last_ms + 1, HOUR_MS):
        asked_ms = first_ms if base is None else base.unsettled_ms()
        times = range(asked_ms, now_ms + 1, STEP_MS)
        answer = [by_time[time_ms] for time_ms in times if time_ms in by_time]
        base = extended(base, answer, asked_ms=asked_ms, as_of_ms=now_ms)
        if now_ms % timeframe.interval_ms == 0:
            opened_ms = now_ms - timeframe.interval_ms
            rows = made_candles(base, timeframe, first_ms=opened_ms, as_of_ms=now_ms).rows
            made += [row[:7] for row in rows if row[0] == opened_ms]
    return made


def bybit_candles(path: Path) -> list[Candle]:
    """The closed candles of a recorded answer, which is newest first."""
    rows = json.loads(path.read_bytes())["result"]["list"]
    return [
        Candle(int(t), float(o), float(h), float(lo), float(c), v, q)
        for t, o, h, lo, c, v, q in reversed(rows[1:])
    ]


def numbers(candles: Iterable[Candle]) -> dict[int, tuple[object, ...]]:
    return {row.open_time_ms: (*row[:5], float(row.volume), float(row.turnover)) for row in candles}


@pytest.mark.parametrize(
    ("timeframe", "file", "compared"),
    [
        (H1, "bybit/kline_BTCUSDT_60_limit1000_2025-10-22.json", 83),
        (Timeframe.H4, "history/bybit_BTCUSDT_kline_240_2025-09-24_2025-12-20.csv", 20),
    ],
)
def test_recorded_5m_make_the_longer_candles_that_the_exchange_shows(
    recorded_data: Path, timeframe: Timeframe, file: str, compared: int
) -> None:
    """Bybit, with turnover."""
    fives = bybit_candles(recorded_data / "bybit/kline_BTCUSDT_5_limit1000_2025-10-22.json")
    path = recorded_data / file
    native = numbers(
        bybit_candles(path)
        if path.suffix == ".json"
        else read_candles(path, opened="start_time", turnover="turnover")
    )
    made = followed(fives, timeframe)
    assert len(made) == compared
    assert made == [native[int(str(row[0]))] for row in made]


@pytest.mark.parametrize(
    ("timeframe", "file", "count"), [(Timeframe.H4, "4h", 1313), (Timeframe.H8, "8h", 656)]
)
def test_recorded_hours_make_4h_and_8h(
    recorded_data: Path, timeframe: Timeframe, file: str, count: int
) -> None:
    """Each hour stands as one candle of 5m that holds all of it, and eleven without a trade."""
    history = recorded_data / "history"
    period = "2021-11-01_2022-06-08"
    fives = []
    for hour in read_candles(history / f"binance_BTCUSDT_kline_1h_{period}.csv.gz"):
        fives.append(hour)
        for time_ms in range(hour[0] + STEP_MS, hour[0] + HOUR_MS, STEP_MS):
            fives.append(Candle(time_ms, hour.close, hour.close, hour.close, hour.close, "0", "0"))
    (path,) = history.glob(f"binance_BTCUSDT_kline_{file}_{period}.csv*")
    native = numbers(read_candles(path))
    made = followed(fives, timeframe)
    assert len(made) == count
    assert made == [native[int(str(row[0]))] for row in made]


def test_recorded_5m_of_a_week_add_up_in_decimals(recorded_data: Path) -> None:
    """XRPUSDT: all timeframes against sums of the recorded texts."""
    path = recorded_data / "history/binance_XRPUSDT_kline_5m_2021-11-15_2021-11-21.csv.gz"
    fives = read_candles(path)
    for timeframe in (*COLLECTED[3:], Timeframe.H8):
        made = {row[0]: row for row in followed(fives, timeframe)}
        whole = timeframe.interval_ms // STEP_MS
        compared = 0
        for opened, group in groupby(fives, key=lambda row: timeframe.floor(row[0])):
            part = list(group)
            if len(part) < whole or opened not in made:
                continue
            compared += 1
            assert made[opened] == (
                opened,
                part[0].open,
                max(row.high for row in part),
                min(row.low for row in part),
                part[-1].close,
                *[float(sum(Decimal(row.volume) for row in part))] * 2,
            )
        assert compared == len(made) >= 5 * DAY_MS // timeframe.interval_ms


@pytest.mark.parametrize("volume", ["1e25", "12345678901234567890123", "1e300"])
def test_a_volume_of_any_size_is_summed(volume: str) -> None:
    base = extended(
        None,
        [five(slot, volume=volume) for slot in (0, 1, 3)],
        asked_ms=MIDNIGHT,
        as_of_ms=MIDNIGHT + 3 * STEP_MS,
    )
    begins, ends = np.array([0, 1]), np.array([4, 3])  # the third slot is a hole
    three, one = base.sums.between(begins, ends).tolist()
    decimal = Decimal(repr(float(volume)))
    assert (three[0], one[0]) == (float(3 * decimal), float(decimal))
    assert (three[1], one[1]) == (450.75, 150.25)
