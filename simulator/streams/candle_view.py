"""CandleView: one market's candle of one interval, as REST shows it, with the ids of its fills."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from simulator.candles import (
    CLOSE,
    HIGH,
    LOW,
    MINUTE_MS,
    OPEN,
    SLOT_MS,
    TIME,
    TRADES,
    VOLUME,
    Ints,
)
from simulator.market import Market
from simulator.tape import Tape, first_id_of

NO_ID: Final = -1
_KEPT: Final = 2  # tapes of one market


class Candle(NamedTuple):
    """A candle's columns, the ids of its first and last fill, and when it was last traded."""

    values: list[int]
    first_id: int = NO_ID
    last_id: int = NO_ID
    traded_ms: int = 0


class Tapes:
    """The tapes around the present, shared by all feeds of one exchange."""

    def __init__(self) -> None:
        self._recent: dict[str, list[Tape]] = {}

    def at(self, market: Market, now_ms: int) -> Tape | None:
        """The tape of the source candle around `now_ms`; None where there is no such candle."""
        recent = self._recent.setdefault(market.name, [])
        for tape in recent:
            if tape.start_ms <= now_ms < tape.start_ms + tape.length_ms:
                return tape
        found = market.candles.tape(now_ms)
        if found is not None:
            recent.append(found)
            del recent[:-_KEPT]
        return found

    def next_trade_ms(self, market: Market, after_ms: int) -> int:
        """The first trade after a time. Without one in this source candle or in the next, the end
        of that one: then to be asked again."""
        tape = self.at(market, after_ms)
        end_ms = after_ms - after_ms % SLOT_MS + SLOT_MS
        if tape is not None:
            event = tape.count_at(after_ms)
            if event < tape.events:
                return tape.time_of(event + 1)
            end_ms = tape.start_ms + tape.length_ms
        later = self.at(market, end_ms)
        if later is None:
            return end_ms + SLOT_MS
        return later.time_of(1) if later.events else end_ms + later.length_ms

    def last_trade_ms(self, market: Market, now_ms: int) -> int | None:
        """The newest trade of this source candle up to `now_ms`; None if it has none yet."""
        tape = self.at(market, now_ms)
        event = 0 if tape is None else tape.count_at(now_ms)
        return tape.time_of(event) if tape is not None and event else None

    def forget(self, market: Market) -> None:
        self._recent.pop(market.name, None)


class CandleView:
    """One market's candles of one interval, each as the REST answer has it at the same time.

    A subclass may have candles that open at other times; what they are made of does not.
    """

    def __init__(self, market: Market, interval_ms: int, tapes: Tapes) -> None:
        self.market = market
        self.interval_ms = interval_ms
        self._tapes = tapes
        self._before_key = (-1, -1)  # of the source candles in `_before`: first and end
        self._before: Candle | None = None

    def open_ms(self, time_ms: int) -> int:
        """When the candle that holds this time opens."""
        return time_ms - time_ms % self.interval_ms

    def final(self, open_ms: int) -> Ints:
        """The columns of the candle that opened at `open_ms` in its final form, or none."""
        return self.market.closed(self.interval_ms, open_ms, open_ms)

    def present(self, now_ms: int) -> Ints:
        """The columns of the candle that is open at `now_ms`, or none."""
        return self.market.forming(self.interval_ms, now_ms)

    def forming(self, now_ms: int) -> Candle | None:
        """The candle that is open at `now_ms`, None if there is none."""
        return self._as_sent(self._forming(now_ms))

    def closed(self, open_ms: int) -> Candle | None:
        """The candle that opened at `open_ms` in its final form, None if there is none."""
        return self._as_sent(self._closed(open_ms))

    def _as_sent(self, candle: Candle | None) -> Candle | None:
        """The candle, or the impossible one that an event has made of it."""
        if candle is None or candle.values[TIME] not in self.market.impossible:
            return candle
        variant = self.market.impossible[candle.values[TIME]]
        return candle._replace(values=_IMPOSSIBLE[variant](candle.values, self.market.tick))

    def _forming(self, now_ms: int) -> Candle | None:
        open_ms = self.open_ms(now_ms)
        tape = self._tapes.at(self.market, now_ms)
        if tape is not None:
            event = tape.count_at(now_ms)
            if self.interval_ms % tape.length_ms == 0:
                before = self._sum(open_ms, tape.start_ms, tape.length_ms)
                return _merged(open_ms, before, tape, event)
            if self.interval_ms == MINUTE_MS and self.market.candles.has_minutes:
                return _minute(open_ms, tape, event)
        return _plain(self.present(now_ms), open_ms)

    def _closed(self, open_ms: int) -> Candle | None:
        tape = self._tapes.at(self.market, open_ms)
        if tape is not None and self.market.is_as_made:
            if self.interval_ms == tape.length_ms:
                return _merged(open_ms, None, tape, tape.events)
            if self.interval_ms == MINUTE_MS and self.market.candles.has_minutes:
                return _minute(open_ms, tape, tape.count_at(open_ms + MINUTE_MS - 1))
        found = self.final(open_ms)
        if not found.shape[1]:
            return None
        values: list[int] = found[:, 0].tolist()
        if tape is not None and self.interval_ms == MINUTE_MS < tape.length_ms:
            ids = _minute(open_ms, tape, tape.count_at(open_ms + MINUTE_MS - 1))
            return ids._replace(values=values)
        length_ms = SLOT_MS if tape is None else tape.length_ms
        if self.interval_ms % length_ms:
            return _plain(found, open_ms)
        parts = self._sum(open_ms, open_ms + self.interval_ms, length_ms)
        return _plain(found, open_ms) if parts is None else parts._replace(values=values)

    def _sum(self, first_ms: int, end_ms: int, length_ms: int) -> Candle | None:
        """The source candles from `first_ms` to before `end_ms`, merged; None without any."""
        if end_ms <= first_ms:
            return None
        if self._before_key != (first_ms, end_ms):
            parts = self.market.closed(length_ms, first_ms, end_ms - length_ms)
            self._before = _sum_of(self.market, first_ms, parts, length_ms)
            self._before_key = (first_ms, end_ms)
        return self._before

    def forget(self) -> None:
        """Drops what is remembered, after a change of the market."""
        self._before_key = (-1, -1)


def _high_below_low(values: list[int], tick: int) -> list[int]:
    time, opened, high, low, *rest = values
    return [time, opened, low, high if high > low else low + tick, *rest]


def _zero_price(values: list[int], tick: int) -> list[int]:
    return [values[TIME], 0, 0, 0, 0, *values[VOLUME:]]


def _close_above_high(values: list[int], tick: int) -> list[int]:
    return [*values[:CLOSE], values[HIGH] + tick, *values[VOLUME:]]


def _off_grid(values: list[int], tick: int) -> list[int]:
    return [values[TIME] + 61_000, *values[OPEN:]]


# The variants of event `impossible`, as REST shows them; a stream's numbers are never null.
_IMPOSSIBLE: Final[dict[str, Callable[[list[int], int], list[int]]]] = {
    "high_below_low": _high_below_low,
    "zero_price": _zero_price,
    "close_above_high": _close_above_high,
    "off_grid": _off_grid,
    "blank": _zero_price,
}


def _sum_of(market: Market, open_ms: int, parts: Ints, length_ms: int) -> Candle | None:
    if not parts.shape[1]:
        return None
    values = [
        open_ms, int(parts[OPEN, 0]), int(parts[HIGH].max()), int(parts[LOW].min()),
        int(parts[CLOSE, -1]), *parts[VOLUME:].sum(axis=1).tolist(),
    ]  # fmt: skip
    traded = np.flatnonzero(parts[TRADES])
    if not traded.size:
        return Candle(values)
    first, last = parts[:, traded[0]].tolist(), parts[:, traded[-1]].tolist()
    tape = Tape(last, length_ms, market.tick, market.step)
    return Candle(
        values, first_id_of(first[TIME]), tape.id_after(tape.events),
        tape.time_of(tape.events) if tape.events else last[TIME],
    )  # fmt: skip


def _merged(open_ms: int, before: Candle | None, tape: Tape, event: int) -> Candle:
    """The source candles before this one, and this one as it is after `event`."""
    now = tape.state(event)
    has_ids = now[TRADES] > 0
    last_id = tape.id_after(event) if has_ids else NO_ID
    first_id = first_id_of(tape.start_ms) if has_ids else NO_ID
    traded_ms = tape.time_of(event) if event else 0
    if before is None:
        return Candle([open_ms, *now[OPEN:]], first_id, last_id, traded_ms)
    past = before.values
    sums = [earlier + later for earlier, later in zip(past[VOLUME:], now[VOLUME:], strict=True)]
    high, low = max(past[HIGH], now[HIGH]), min(past[LOW], now[LOW])
    return Candle(
        [open_ms, past[OPEN], high, low, now[CLOSE], *sums],
        before.first_id if before.first_id != NO_ID else first_id,
        last_id if has_ids else before.last_id,
        traded_ms or before.traded_ms,
    )


def _minute(open_ms: int, tape: Tape, event: int) -> Candle:
    before = 0 if open_ms <= tape.start_ms else tape.count_at(open_ms - 1)
    values = tape.part(open_ms, before, event)
    if not values[TRADES]:
        return Candle(values, traded_ms=tape.time_of(event) if event > before else 0)
    first_id, last_id = tape.id_after(before) + 1, tape.id_after(event)
    return Candle(values, first_id, last_id, tape.time_of(event))


def _plain(found: Ints, open_ms: int) -> Candle | None:
    """A candle whose fills are not known one by one: their ids are counted from its open."""
    if not found.shape[1]:
        return None
    values: list[int] = found[:, 0].tolist()
    if not values[TRADES]:
        return Candle(values)
    first_id = first_id_of(open_ms)
    return Candle(values, first_id, first_id + values[TRADES] - 1, 0)
