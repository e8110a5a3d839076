"""Recorded series as data sources, shifted in time by one offset per market so that they end now.

The last candle of each file is left out, as it may have been recorded while forming. The offset is
a multiple of 8 hours, such that the 8 hours around now were recorded too; after them the market is
flat without volume. An interval is served from its own file, or aggregated from a finer one; an
interval finer than all files has no rows. Missing turnover is close x volume of the finest recorded
candles, summed up. Missing trade counts and taker volumes are 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.candles import (
    CLOSE,
    COLUMN_COUNT,
    HIGH,
    HOUR_MS,
    LOW,
    NO_CANDLES,
    OPEN,
    TAKER_TURNOVER,
    TAKER_VOLUME,
    TIME,
    TRADES,
    TURNOVER,
    VOLUME,
    Ints,
    aggregate,
    between,
    one_candle,
)
from simulator.funding import RATE_DECIMALS, Settlement
from simulator.open_interest import NO_POINTS, delay_ms
from simulator.recorded_files import RecordedSeries, decimals_of, to_integer
from simulator.tape import Tape, partial_candle, tape_of

GRID_MS: Final = 8 * HOUR_MS
_PRICES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Scale:
    """The decimals of one market's numbers, and its smallest price step."""

    price_decimals: int
    quantity_decimals: int
    tick: int


def scale_of(series: Sequence[RecordedSeries]) -> Scale:
    """The decimals that hold every recorded number of these candle series exactly."""
    prices = [text for one in series for name in _PRICES for text in one.columns[name]]
    volumes = [text for one in series for text in one.columns["volume"]]
    price_decimals, quantity_decimals = decimals_of(prices), decimals_of(volumes)
    turnovers = [text for one in series for text in _turnover_texts(one) or ()]
    quantity_decimals = max(quantity_decimals, decimals_of(turnovers) - price_decimals)
    values = np.array([to_integer(text, price_decimals) for text in prices], dtype=np.int64)
    return Scale(price_decimals, quantity_decimals, max(int(np.gcd.reduce(values)), 1))


def _turnover_texts(series: RecordedSeries) -> list[str] | None:
    return series.columns.get("quote_volume") or series.columns.get("turnover")


class RecordedCandles:
    """The candle layers of one market, by interval."""

    has_minutes = False

    def __init__(self, series: Sequence[RecordedSeries], scale: Scale, offset_ms: int) -> None:
        self._tick = scale.tick
        self._layers: dict[int, Ints] = {}
        for one in sorted(series, key=lambda item: item.period_ms):
            if offset_ms % one.period_ms == 0:
                self._layers[one.period_ms] = _layer(one, scale, offset_ms, self._layers)

    @property
    def _finest(self) -> Ints:
        return self._layers[min(self._layers)]

    @property
    def first_ms(self) -> int:
        return int(min(layer[TIME, 0] for layer in self._layers.values()))

    def closed(self, interval_ms: int, first_ms: int, last_ms: int) -> Ints:
        """The candles that open from `first_ms` to `last_ms`, as recorded."""
        first_ms = max(first_ms, self.first_ms - self.first_ms % interval_ms)
        first_ms += -first_ms % interval_ms
        layer = self._layer_for(interval_ms)
        if layer is None or last_ms < first_ms:
            return NO_CANDLES
        last_ms -= last_ms % interval_ms
        fine = between(layer, first_ms, last_ms + interval_ms - 1)
        return self._continued(aggregate(fine, interval_ms), interval_ms, last_ms)

    def forming(self, interval_ms: int, now_ms: int) -> Ints:
        """The candle open at `now_ms`, interpolated towards its recorded form."""
        open_ms = now_ms - now_ms % interval_ms
        for length_ms in sorted(self._layers):
            start_ms = now_ms - now_ms % length_ms
            if interval_ms % length_ms:
                continue
            fine = between(self._layers[length_ms], open_ms, start_ms)
            if fine.shape[1] and fine[TIME, -1] == start_ms:
                part = partial_candle(fine[:, -1:], now_ms - start_ms, length_ms, self._tick, 1)
                return one_candle(open_ms, np.concatenate((fine[:, :-1], part), axis=1))
        return self._continued(NO_CANDLES, interval_ms, open_ms)[:, -1:]

    def tape(self, now_ms: int) -> Tape | None:
        """The trades of the finest recorded candle around `now_ms`; None where there is none."""
        for length_ms in sorted(self._layers):
            start_ms = now_ms - now_ms % length_ms
            found = between(self._layers[length_ms], start_ms, start_ms)
            if found.shape[1]:
                return tape_of(found, length_ms, self._tick, 1)
        return None

    def rough_prices(self, times: Ints) -> Ints:
        """The open of the finest candle at or before each time."""
        places = np.searchsorted(self._finest[TIME], times, "right") - 1
        prices: Ints = self._finest[OPEN][np.maximum(places, 0)]
        return prices

    def native(self, interval_ms: int) -> Ints | None:
        return self._layers.get(interval_ms)

    def _layer_for(self, interval_ms: int) -> Ints | None:
        lengths = [length for length in self._layers if interval_ms % length == 0]
        return self._layers[max(lengths)] if lengths else None

    def _continued(self, candles: Ints, interval_ms: int, last_ms: int) -> Ints:
        """Appends flat candles without volume from the end of the recording to `last_ms`."""
        layer = self._layer_for(interval_ms)
        if layer is None:
            return candles
        end_ms = int(layer[TIME, -1]) // interval_ms * interval_ms + interval_ms
        if last_ms < end_ms:
            return candles
        times = np.arange(end_ms, last_ms + 1, interval_ms, dtype=np.int64)
        flat = np.zeros((COLUMN_COUNT, len(times)), dtype=np.int64)
        flat[TIME] = times
        flat[OPEN : CLOSE + 1] = layer[CLOSE, -1]
        return np.concatenate((candles, flat), axis=1)


def _layer(series: RecordedSeries, scale: Scale, offset_ms: int, finer: dict[int, Ints]) -> Ints:
    """One file as columns, without its last candle, with missing turnover filled in."""
    count = len(series.times) - 1
    layer = np.zeros((COLUMN_COUNT, count), dtype=np.int64)
    both = scale.price_decimals + scale.quantity_decimals

    def fill(row: int, texts: Sequence[str] | None, decimals: int) -> None:
        if texts is not None:
            layer[row] = [to_integer(text, decimals) for text in texts[:count]]

    columns = series.columns
    layer[TIME] = [time + offset_ms for time in series.times[:count]]
    for row, name in zip((OPEN, HIGH, LOW, CLOSE), _PRICES, strict=True):
        fill(row, columns[name], scale.price_decimals)
    fill(VOLUME, columns["volume"], scale.quantity_decimals)
    fill(TRADES, columns.get("count"), 0)
    fill(TAKER_VOLUME, columns.get("taker_buy_volume"), scale.quantity_decimals)
    fill(TAKER_TURNOVER, columns.get("taker_buy_quote_volume"), both)
    turnovers = _turnover_texts(series)
    if turnovers is not None:
        fill(TURNOVER, turnovers, both)
    else:
        layer[TURNOVER] = layer[CLOSE] * layer[VOLUME]
        _take_sums(layer, series.period_ms, finer)
    layer.setflags(write=False)
    return layer


def _take_sums(layer: Ints, period_ms: int, finer: dict[int, Ints]) -> None:
    """Takes turnover from finer candles where these have the same volume in total."""
    lengths = [length for length in finer if period_ms % length == 0]
    if not lengths:
        return
    sums = aggregate(finer[max(lengths)], period_ms)
    by_time = {
        time: (volume, turnover)
        for time, volume, turnover in sums[[TIME, VOLUME, TURNOVER]].T.tolist()
    }
    for place, (time, volume) in enumerate(layer[[TIME, VOLUME]].T.tolist()):
        known = by_time.get(time)
        if known is not None and known[0] == volume:
            layer[TURNOVER, place] = known[1]


class RecordedOpenInterest:
    """Snapshots by period: time, one-sided value in 10^-decimals, value in quote units in 10^-8."""

    def __init__(self, series: Sequence[RecordedSeries], offset_ms: int, seed: int, name: str):
        self._seed = seed
        self._name = name
        self._layers: dict[int, Ints] = {}
        # This figure counts both sides; one more decimal keeps half of it exact.
        both_sides = [one for one in series if "open_interest" in one.columns]
        figure = "open_interest" if both_sides else "sum_open_interest"
        texts = [text.rstrip("0") for one in series for text in one.columns[figure]]
        self.decimals = decimals_of(texts) + (1 if both_sides else 0)
        divisor = 2 if both_sides else 1
        for one in series:
            if offset_ms % one.period_ms:
                continue
            values = [
                to_integer(text.rstrip("0"), self.decimals) // divisor
                for text in one.columns[figure]
            ]
            amounts = [
                to_integer(text, 8) for text in one.columns.get("sum_open_interest_value", ())
            ] or [0] * len(values)
            times = [time + offset_ms for time in one.times]
            self._layers[one.period_ms] = np.array([times, values, amounts], dtype=np.int64)

    def points(self, period_ms: int, first_ms: int, last_ms: int) -> Ints:
        """Snapshots from `first_ms` to `last_ms` on the grid of `period_ms`."""
        lengths = [length for length in self._layers if period_ms % length == 0]
        if not lengths:
            return NO_POINTS
        points = self._layers[min(lengths)]
        times = points[TIME]
        return points[:, (times % period_ms == 0) & (times >= first_ms) & (times <= last_ms)]

    def published_ms(self, time_ms: int) -> int:
        return time_ms + delay_ms(self._seed, self._name, time_ms)


class RecordedFunding:
    """Settlements as recorded; after the last one its rate is repeated at its interval."""

    def __init__(self, series: RecordedSeries | None, offset_ms: int) -> None:
        times = [] if series is None else [time + offset_ms for time in series.times]
        rates = [] if series is None else series.columns["funding_rate"]
        self._found = [
            Settlement(time, to_integer(rate, RATE_DECIMALS), False)
            for time, rate in zip(times, rates, strict=True)
        ]
        self._changed: tuple[int, int] | None = None

    def hours_at(self, time_ms: int) -> int:
        """The funding interval, from the spacing of settlements; 8 if fewer than two."""
        if self._changed is not None and time_ms >= self._changed[0]:
            return self._changed[1]
        places = [i for i, item in enumerate(self._found) if item.time_ms <= time_ms]
        if len(self._found) < 2:
            return 8
        place = min(max(places[-1] if places else 1, 1), len(self._found) - 1)
        gap_ms = self._found[place].time_ms - self._found[place - 1].time_ms
        return min((1, 2, 4, 8), key=lambda hours: abs(hours * HOUR_MS - gap_ms))

    def change_interval(self, from_ms: int, hours: int) -> None:
        self._found = [item for item in self._found if item.time_ms < from_ms]
        self._changed = (from_ms, hours)

    def next_ms(self, now_ms: int) -> int:
        for item in self._found:
            if item.time_ms > now_ms:
                return item.time_ms - item.time_ms % HOUR_MS
        step_ms = self.hours_at(now_ms) * HOUR_MS
        return now_ms - now_ms % step_ms + step_ms

    def may_settle_in(self, hour_ms: int) -> bool:
        return True

    def running_rate(self, now_ms: int) -> int:
        """The predicted rate of the next settlement: near the final rate, not equal to it."""
        return self.rate_at(self.next_ms(now_ms)) + now_ms // 60_000 % 9 - 4

    def settlements(self, first_ms: int, last_ms: int) -> list[Settlement]:
        """Settlements from `first_ms` to `last_ms`, ascending."""
        found = [item for item in self._found if first_ms <= item.time_ms <= last_ms]
        if self._found and last_ms > self._found[-1].time_ms:
            last = self._found[-1]
            step_ms = self.hours_at(last_ms) * HOUR_MS
            begin_ms = max(first_ms, last.time_ms + HOUR_MS // 2)
            times = range(begin_ms + -begin_ms % step_ms, last_ms + 1, step_ms)
            found += [Settlement(time, last.rate, False) for time in times]
        return found

    def newest(self, count: int, last_ms: int) -> list[Settlement]:
        return self.settlements(0, last_ms)[-count:]

    def rate_at(self, grid_ms: int) -> int:
        found = self.settlements(grid_ms, grid_ms + HOUR_MS // 2)
        return found[0].rate if found else 0


class NoRecordedCandles:
    """The candles of a listed contract of which no series was recorded."""

    has_minutes = False
    first_ms = 4_102_444_800_000

    def closed(self, interval_ms: int, first_ms: int, last_ms: int) -> Ints:
        return NO_CANDLES

    def forming(self, interval_ms: int, now_ms: int) -> Ints:
        return NO_CANDLES

    def tape(self, now_ms: int) -> Tape | None:
        return None

    def rough_prices(self, times: Ints) -> Ints:
        return np.zeros_like(times)
