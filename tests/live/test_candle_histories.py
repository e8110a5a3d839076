"""The candle book against random histories: what is proven is true, what came faultless is proven.

The oracle looks at whole histories, delivery by delivery, and shares nothing with the book.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from live.candle_book import CandleBook
from live.candle_changes import Change, ClosedCandle, FormingCandle
from live.candle_state import CandleState
from live.events import CandleEvent
from tests.live.candle_events import STEP_MS, moment
from tests.live.candle_histories import (
    CANDLES,
    GRACE_MS,
    PAUSE_MS,
    Break,
    Delivery,
    Fault,
    History,
    Line,
    history,
    number_of,
)

EXAMPLES = int(os.environ.get("HISTORIES", "60"))
END_MS = moment(CANDLES, 60)

breaks = st.builds(
    Break,
    fault=st.sampled_from(Fault),
    connection=st.integers(0, 3),
    market=st.integers(0, 3),
    candle=st.integers(0, CANDLES - 1),
    weight=st.floats(0, 1, allow_nan=False),
)


# --- the oracle --------------------------------------------------------------------------------


def heard_ms(delivery: Delivery) -> int:
    assert delivery.event is not None
    return max(delivery.at_ms, delivery.event.event_time_ms)


def longest_pause_ms(line: Line, from_ms: int, to_ms: int) -> int:
    times = [line.begin_ms, *(d.at_ms for d in line.deliveries)]
    return max((b - a for a, b in pairwise(times) if b > from_ms and a < to_ms), default=0)


def may_prove(line: Line, symbol: str, candle: int) -> bool:
    """Whether the connection delivered a message before the candle's open, and its closing event
    within the grace, before any newer candle, without a pause."""
    ours = [d for d in line.deliveries if d.symbol == symbol and d.event is not None]
    for place, closing in enumerate(ours):
        assert closing.event is not None
        before = ours[:place]
        if closing.candle != candle or not closing.event.closed:
            continue
        firsts = [d.at_ms for d in before if heard_ms(d) < moment(candle, 0)]
        in_time = heard_ms(closing) <= moment(candle + 1, 0) + GRACE_MS
        in_order = all(d.candle <= candle for d in before)
        if not (firsts and in_time and in_order):
            continue
        if longest_pause_ms(line, max(firsts), closing.at_ms) <= PAUSE_MS:
            return True
    return False


def is_faultless(past: History, line: Line, symbol: str, candle: int) -> bool:
    """Whether the connection delivered the closing event, and a message before the open, and
    nothing was done to what came of the market in between; nor to this candle elsewhere. Closing
    events that contradict each other leave it open which connection was right: none is believed."""
    ours = [d for d in line.deliveries if d.symbol == symbol and d.event is not None]
    closings = [d.at_ms for d in ours if d.event == past.truth[symbol, candle]]
    firsts = [d for d in ours if heard_ms(d) < moment(candle, 0)]
    if not closings or not firsts:
        return False
    first = max(firsts, key=heard_ms)
    if any((symbol, each) in line.broken for each in range(first.candle, candle + 1)):
        return False
    if any(start <= closings[0] and end >= first.at_ms for start, end in line.paused):
        return False
    told = {(symbol, each) for each in range(first.candle, candle + 1)}
    if any(other.contradicts & told for other in past.lines):
        return False
    return not any((symbol, candle) in other.broken for other in past.lines)


def is_covered(past: History, symbol: str, now_ms: int) -> bool:
    """Whether a connection that is there delivered a message before the running candle's open."""
    open_ms = now_ms - now_ms % STEP_MS
    return any(
        d.symbol == symbol and d.event is not None and heard_ms(d) < open_ms
        for line in past.lines
        if line.begin_ms <= now_ms < line.end_ms
        for d in line.deliveries
    )


# --- the book, fed with a history --------------------------------------------------------------


@dataclass
class Fed:
    """A book that has been fed with a history, and what it told on the way."""

    past: History
    changes: list[Change] = field(default_factory=list)
    shown: dict[str, FormingCandle] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.misled = {
            (symbol, candle) for line in self.past.lines for symbol, candle in line.broken
        }
        self.book = CandleBook(self.told, now_ms=moment(0, 0), grace_ms=GRACE_MS, pause_ms=PAUSE_MS)
        self.book.list_markets(self.past.symbols, moment(0, 0))

    def told(self, change: Change) -> None:
        self.changes.append(change)
        if isinstance(change, ClosedCandle) and change.is_proven:
            candle = (change.open_time_ms - moment(0, 0)) // STEP_MS
            # A wrong closing event that comes first is believed until the right one comes.
            if (change.symbol, candle) not in self.misled:
                assert is_true(change, self.past)

    def feed(self) -> None:
        steps: list[tuple[int, int, Line | Delivery | None]] = [
            (now_ms, 3, None) for now_ms in range(moment(0, 1), END_MS + 1, 1000)
        ]
        for line in self.past.lines:
            steps += [(line.begin_ms, 0, line), (line.end_ms, 2, line)]
            steps += [(delivery.at_ms, 1, delivery) for delivery in line.deliveries]
        for now_ms, order, what in sorted(steps, key=lambda step: step[:2]):
            if now_ms > END_MS:
                return
            if isinstance(what, Line):
                call = self.book.end_epoch if order else self.book.begin_epoch
                call(what.epoch, now_ms)
            elif isinstance(what, Delivery):
                if what.event is not None:
                    self.book.take(what.epoch, what.event, now_ms)
                else:
                    self.book.unreadable(what.epoch, now_ms, what.symbol or None)
            else:
                self.book.tick(now_ms)
                if now_ms % 5000 == 0:
                    self.show()
                if now_ms % 60_000 == 47_000:
                    self.check_lapses(now_ms)

    def show(self) -> None:
        """Forming candles never go back."""
        for candle in self.book.forming():
            before = self.shown.get(candle.symbol)
            if before is not None:
                assert candle.open_time_ms >= before.open_time_ms
                if candle.open_time_ms == before.open_time_ms:
                    assert candle.event_time_ms >= before.event_time_ms
                    assert float(candle.volume) >= float(before.volume)
            self.shown[candle.symbol] = candle

    def check_lapses(self, now_ms: int) -> None:
        """Who is covered by nothing is unproven."""
        unproven = self.book.unproven()
        for symbol in self.past.symbols:
            assert symbol in unproven or is_covered(self.past, symbol, now_ms), symbol

    def proven(self) -> dict[tuple[str, int], ClosedCandle]:
        return {
            (symbol, (open_ms - moment(0, 0)) // STEP_MS): closed
            for symbol, market in self.book.state.markets.items()
            for open_ms, closed in market.closed.items()
            if closed.is_proven
        }


def is_true(closed: ClosedCandle, past: History) -> bool:
    event = past.truth[closed.symbol, (closed.open_time_ms - moment(0, 0)) // STEP_MS]
    return values(closed) == values(event)


def values(candle: ClosedCandle | CandleEvent) -> tuple[str, ...]:
    prices = candle.open, candle.high, candle.low, candle.close
    return (*prices, candle.volume, candle.turnover)


def check(past: History) -> Counter[str]:
    """Feeds the history to a book and compares; counts the candles."""
    fed = Fed(past)
    fed.feed()
    proven, counted = fed.proven(), Counter[str]()
    for (symbol, candle), closed in proven.items():
        assert is_true(closed, past), (symbol, candle)
        assert any(may_prove(line, symbol, candle) for line in past.lines), (symbol, candle)
    for symbol, candle in past.truth:
        counted["all"] += 1
        counted["proven"] += (symbol, candle) in proven
        if any(is_faultless(past, line, symbol, candle) for line in past.lines):
            counted["faultless"] += 1
            assert (symbol, candle) in proven, (symbol, candle)
    unproven = fed.book.unproven()
    for symbol in past.symbols:
        # The grace of the last candle is over: who is not unproven has it.
        assert symbol in unproven or (symbol, CANDLES - 1) in proven, symbol
    reader = CandleState(STEP_MS)
    decoder = msgspec.json.Decoder(Change)
    for change in fed.changes:
        reader.apply(decoder.decode(msgspec.json.encode(change)))
    assert reader.markets == fed.book.state.markets
    return counted


@settings(max_examples=EXAMPLES)
@given(st.integers(0, 2**32), st.lists(breaks, max_size=8))
def test_what_is_proven_is_true_and_what_came_faultless_is_proven(
    seed: int, breaks: list[Break]
) -> None:
    check(history(seed, breaks))


def test_much_is_proven() -> None:
    """The properties above are not empty: with the same histories every time."""
    counted = Counter[str]()
    random = Random(1)  # noqa: S311 - test data
    for seed in range(40):
        counted += check(history(seed, [_random_break(random) for _ in range(seed % 8)]))
    assert counted["faultless"] > 0.45 * counted["all"]
    assert counted["faultless"] <= counted["proven"] < 0.9 * counted["all"]


def _random_break(random: Random) -> Break:
    fault = random.choice(list(Fault))
    places = random.randrange(4), random.randrange(4), random.randrange(CANDLES)
    return Break(fault, *places, random.random())


def test_the_histories_hold_what_they_should() -> None:
    """Silent candles, and closing events of silent ones; connections that overlap, and gaps."""
    pasts = [history(seed, []) for seed in range(40)]
    kinds = Counter[str]()
    for past in pasts:
        kinds["silent"] += 4 * CANDLES - len(past.truth)
        kinds["told silent"] += sum(event.volume == "0.000" for event in past.truth.values())
        for one, two in pairwise(past.lines):
            kinds["overlap" if two.begin_ms < one.end_ms else "gap"] += 1
        numbers = [number_of(d.event) for line in past.lines for d in line.deliveries if d.event]
        kinds["messages"] += len(numbers)
    assert min(kinds[kind] for kind in ("silent", "told silent", "overlap", "gap")) > 10
    assert kinds["messages"] > 5000
