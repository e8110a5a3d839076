"""Tape: the trades inside one source candle, from which its forming states and minutes are made.

Trades are spread evenly over the candle. The price moves from the open to one extreme, to the
other, to the close, in a third of the trades each; volume grows evenly. Between two trades nothing
changes, and after the last one, before the close, the state is the final candle.
"""

import itertools
from math import gcd
from typing import Final, NamedTuple

import numpy as np

from simulator.candles import (
    CLOSE,
    COLUMN_COUNT,
    HIGH,
    LOW,
    MINUTE_MS,
    OPEN,
    TAKER_TURNOVER,
    TAKER_VOLUME,
    TIME,
    TRADES,
    TURNOVER,
    VOLUME,
    Ints,
)

_UNCOUNTED_MS: Final = 5_000  # one trade in so many, where the candle has no count of trades
IDS_A_MINUTE: Final = 1_000_000


class Trade(NamedTuple):
    """One taker's order: it may have filled several orders, so it has a range of ids."""

    number: int  # counts up through all trades of a market
    time_ms: int
    price: int
    volume: int
    first_id: int
    last_id: int
    is_buy: bool  # of the taker


class Tape:
    """The trades of the candle `values` (its columns) that is `length_ms` long.

    `events`: how many taker's orders it has. An event's number counts from 1; event 0 is the open.
    The average price of any run of events lies in the range of prices that it has seen. Turnovers
    of its parts have no more places than the candle's and a tick of one step.
    """

    __slots__ = (
        "_bought", "_first", "_grain", "_phase", "_second", "_steps", "_table", "_tick", "_turns",
        "events", "length_ms", "start_ms", "step", "values",
    )  # fmt: skip

    def __init__(self, values: list[int], length_ms: int, tick: int, step: int) -> None:
        self.values = values
        self.start_ms = values[TIME]
        self.length_ms = length_ms
        self.step = step
        self._tick = tick
        self._steps = values[VOLUME] // step
        counted = values[TRADES] or length_ms // _UNCOUNTED_MS
        # Of the volume two thirds at least are free to be placed where the average price wants it.
        self.events = m = min(counted, -(-self._steps // 3))
        first, high, low, last = values[OPEN], values[HIGH], values[LOW], values[CLOSE]
        self._turns = (first, high, low, last) if last < first else (first, low, high, last)
        # Turnovers are multiples of it.
        self._grain = gcd(values[TURNOVER], step * gcd(tick, *self._turns))
        self._first, self._second = m // 3, 2 * m // 3  # the events at the two extremes
        # The thousandths of the distance between two trades that the last one is before the close.
        self._phase = 200 + (self._steps * 31 + values[TURNOVER] * 17 + last) % 600
        self._bought = values[TAKER_VOLUME] * 1000 // max(values[VOLUME], 1)  # thousandths
        self._table: tuple[list[int], list[int]] | None = None

    def count_at(self, time_ms: int) -> int:
        """How many events have happened at a time."""
        elapsed_ms = min(max(time_ms - self.start_ms, 0), self.length_ms)
        done = 1000 * self.events * elapsed_ms + self._phase * self.length_ms
        return min(done // (1000 * self.length_ms), self.events)

    def time_of(self, event: int) -> int:
        """The first millisecond in which this event has happened."""
        share = (1000 * event - self._phase) * self.length_ms
        return self.start_ms + -(-share // (1000 * self.events))

    def price(self, event: int) -> int:
        first, second, last = self._first, self._second, self.events
        turns = self._turns
        if event <= 0:
            return turns[0]
        if event >= last:
            return turns[3]
        if last < 3:  # the only event before the last one
            return turns[1]
        if event <= first:
            start, end, part, parts = turns[0], turns[1], event, first
        elif event <= second:
            start, end, part, parts = turns[1], turns[2], event - first, second - first
        else:
            start, end, part, parts = turns[2], turns[3], event - second, last - second
        way = start + (end - start) * part // parts
        return min(max(way - way % self._tick, self.values[LOW]), self.values[HIGH])

    def extremes(self, before: int, event: int) -> tuple[int, int]:
        """The lowest and highest price of the events after `before` up to `event`, and of the
        price that they began at."""
        prices = [self.price(before), self.price(event)]
        last = self.events
        if last < 3:
            prices += self._turns[1:2] if before < 1 <= event and last == 2 else ()
            prices += self._turns[1:3] if before < last <= event else ()
        else:
            prices += self._turns[1:2] if before < self._first <= event else ()
            prices += self._turns[2:3] if before < self._second <= event else ()
        return min(prices), max(prices)

    def state(self, event: int) -> list[int]:
        """The candle as it is after an event, as a list of its columns."""
        values, m = self.values, self.events
        if event >= m:
            return values
        if event <= 0:
            return [values[TIME], *[values[OPEN]] * 4, 0, 0, 0, 0, 0]
        low, high = self.extremes(0, event)
        volumes, turnovers = self._cumulated()
        volume, turnover = volumes[event], turnovers[event]
        bought = values[TAKER_VOLUME] // self.step * volume // values[VOLUME] * self.step
        bought_turnover = values[TAKER_TURNOVER] * turnover // max(values[TURNOVER], 1)
        return [
            values[TIME], values[OPEN], high, low, self.price(event), volume, turnover,
            values[TRADES] * event // m, bought, bought_turnover - bought_turnover % self._grain,
        ]  # fmt: skip

    def part(self, open_ms: int, before: int, event: int) -> list[int]:
        """The candle of the events after `before` up to `event`, as if it were one of its own."""
        past, now = self.state(before), self.state(event)
        low, high = self.extremes(before, event)
        sums = [after - earlier for earlier, after in zip(past[VOLUME:], now[VOLUME:], strict=True)]
        return [open_ms, self.price(before), high, low, self.price(event), *sums]

    def part_until(self, open_ms: int, end_ms: int) -> list[int]:
        """The candle from `open_ms` to before `end_ms`, both within this tape."""
        before = 0 if open_ms <= self.start_ms else self.count_at(open_ms - 1)
        return self.part(open_ms, before, self.count_at(end_ms - 1))

    def id_after(self, event: int) -> int:
        """The id of the last fill of this event; those of the next one follow it."""
        filled = self.values[TRADES] * event // self.events if self.events else 0
        return first_id_of(self.start_ms) - 1 + filled

    def trade(self, event: int) -> Trade:
        """The taker's order that this event is, numbered from 1."""
        past, now = self.state(event - 1), self.state(event)
        last_id = self.id_after(event)
        volume = now[VOLUME] - past[VOLUME]
        return Trade(
            number=first_id_of(self.start_ms) - 1 + event,
            time_ms=self.time_of(event),
            price=self.price(event),
            volume=volume,
            first_id=min(self.id_after(event - 1) + 1, last_id),
            last_id=last_id,
            is_buy=(event * 617 + self._phase * 7) % 1000 < self._bought,
        )

    def _cumulated(self) -> tuple[list[int], list[int]]:
        """Volume and turnover after each event, from event 0 on."""
        if self._table is None:
            prices = self._prices()
            volumes = self._volumes(prices[1:]) * self.step
            turnovers = prices[1:] * volumes
            missing = self.values[TURNOVER] - int(turnovers.sum())
            grain = self._grain
            room = (prices[:-1] - prices[1:]) * volumes // grain
            turnovers += _spread(missing // grain, room, volumes) * grain
            self._table = [0, *np.cumsum(volumes).tolist()], [0, *np.cumsum(turnovers).tolist()]
        return self._table

    def _prices(self) -> Ints:
        """The price after each event, from event 0 on; the same as `price`."""
        ends = (0, self._first, self._second, self.events)
        if self.events < 3:
            return np.array([self.price(e) for e in range(self.events + 1)], dtype=np.int64)
        legs = [np.array(self._turns[:1], dtype=np.int64)]
        for leg, (start, end) in enumerate(itertools.pairwise(self._turns)):
            parts = ends[leg + 1] - ends[leg]
            legs.append(start + (end - start) * np.arange(1, parts + 1) // parts)
        way = np.concatenate(legs)
        prices: Ints = np.clip(way - way % self._tick, self.values[LOW], self.values[HIGH])
        prices[0], prices[-1] = self._turns[0], self._turns[3]
        return prices

    def _volumes(self, prices: Ints) -> Ints:
        """The steps of each event: more at prices on that side of their mean where the candle's
        average price lies, so that it comes out as that average."""
        m, free = self.events, self._steps - self.events
        average = self.values[TURNOVER] / max(self.values[VOLUME], 1)
        above = prices > average
        weight = np.full(m, 1.0 / m)
        if 0 < above.sum() < m and free:
            wanted = (average * self._steps - float(prices.sum())) / free
            high, low = float(prices[above].mean()), float(prices[~above].mean())
            share = min(max((wanted - low) / (high - low), 0.0), 1.0)
            weight = np.where(above, share / above.sum(), (1 - share) / (m - above.sum()))
        ends = np.floor(np.cumsum(weight) * free + 1e-6).astype(np.int64)
        ends[-1] = free
        steps: Ints = np.diff(ends, prepend=0) + 1
        return steps


def _spread(missing: int, room: Ints, volumes: Ints) -> Ints:
    """Splits `missing` turnover over the events, within the room (of either sign) of each as far
    as there is enough of it."""
    room = np.where((room > 0) == (missing > 0), room, 0)
    total = int(room.sum())
    if abs(total) < abs(missing):  # choice: the rest goes by volume
        part = (volumes * (missing / max(int(volumes.sum()), 1))).astype(np.int64)
        part[-1] += missing - int(part.sum())
        return part
    sign = 1 if missing > 0 else -1
    room, missing = room * sign, missing * sign
    part = (room * (missing / max(total * sign, 1))).astype(np.int64)
    part = np.clip(part, 0, room)
    rest = missing - int(part.sum())
    left = room - part
    part += np.clip(rest - (np.cumsum(left) - left), 0, left)
    back: Ints = part * sign
    return back


def first_id_of(open_ms: int) -> int:
    """The id of the first fill in the source candle that opens at `open_ms`."""
    return open_ms // MINUTE_MS * IDS_A_MINUTE + 1


def tape_of(candle: Ints, length_ms: int, tick: int, step: int) -> Tape:
    """The tape of a candle given as an array of one column."""
    return Tape(candle[:, 0].tolist(), length_ms, tick, step)


def partial_candle(candle: Ints, elapsed_ms: int, length_ms: int, tick: int, step: int) -> Ints:
    """The state of a forming candle `elapsed_ms` after its open; at `length_ms` it is final."""
    tape = tape_of(candle, length_ms, tick, step)
    state = tape.state(tape.count_at(tape.start_ms + elapsed_ms))
    return np.array(state, dtype=np.int64)[:, None]


def minutes(slots: Ints, length_ms: int, tick: int, step: int) -> Ints:
    """The candles of one minute that the given ones are made of; they add up exactly to them."""
    rows = []
    for column in slots.T.tolist():
        tape = Tape(column, length_ms, tick, step)
        for open_ms in range(tape.start_ms, tape.start_ms + length_ms, MINUTE_MS):
            rows.append(tape.part_until(open_ms, open_ms + MINUTE_MS))
    found: Ints = np.array(rows, dtype=np.int64).reshape(-1, COLUMN_COUNT).T
    return found
