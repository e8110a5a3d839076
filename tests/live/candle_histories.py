"""Random histories of candle streams: an exchange's truth, and what connections deliver of it.

Knows nothing of the book. Each delivery is labelled with the fault that was put into it, so that a
test can tell which candles were delivered without any.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

import msgspec

from live.events import CandleEvent
from tests.live.candle_events import STEP_MS, moment

BUSY = "BUSY"  # trades all the time: no connection pauses by itself
GRACE_MS = 30_000
PAUSE_MS = 30_000
CANDLES = 6


class Fault(StrEnum):
    """What goes wrong with one candle of one market on one connection."""

    LOSE_CLOSE = "lose_close"
    LATE_CLOSE = "late_close"
    LOSE_FORMING = "lose_forming"
    REPEAT = "repeat"
    REPEAT_LATER = "repeat_later"
    SWAP = "swap"
    TOO_MUCH = "too_much"  # a forming state shows more than there is
    CLOSE_WITH_LESS = "close_with_less"  # than a forming state that was delivered
    OTHER_SECOND_CLOSE = "other_second_close"
    OTHER_FIRST_CLOSE = "other_first_close"
    GARBAGE = "garbage"
    UNREADABLE = "unreadable"
    STALL = "stall"  # of the whole connection


@dataclass(frozen=True)
class Break:
    """A fault, where it strikes; `weight` from 0 to 1 says how hard."""

    fault: Fault
    connection: int
    market: int
    candle: int
    weight: float


@dataclass
class Delivery:
    """What a connection brings at `at_ms`: an event, or, without one, a message that cannot be
    read; of any market if `symbol` is empty."""

    at_ms: int
    epoch: int
    symbol: str
    candle: int
    event: CandleEvent | None


@dataclass
class Line:
    """One connection, from its begin to its end."""

    epoch: int
    begin_ms: int
    end_ms: int
    deliveries: list[Delivery] = field(default_factory=list)
    broken: set[tuple[str, int]] = field(default_factory=set)  # market, candle
    contradicts: set[tuple[str, int]] = field(default_factory=set)  # another closing event
    paused: list[tuple[int, int]] = field(default_factory=list)  # from, to


@dataclass
class History:
    """`truth`: the closed candles, by market and number, that the exchange has closed; a silent one
    is there if the exchange tells of it."""

    symbols: list[str]
    truth: dict[tuple[str, int], CandleEvent]
    lines: list[Line]


def history(seed: int, breaks: list[Break]) -> History:
    random = Random(seed)  # noqa: S311 - test data
    symbols = [BUSY, *(f"M{number}" for number in range(3))]
    tells_silent = random.random() < 0.5
    sent: list[CandleEvent] = []
    for number, symbol in enumerate(symbols):
        sent += _market(random, symbol, (25, 6, 2, 0.4)[number], tells_silent)
    sent.sort(key=lambda event: event.event_time_ms)
    truth = {(e.symbol, number_of(e)): e for e in sent if e.closed}
    lines = _connections(random)
    for line in lines:
        delay_ms = random.randrange(5, 200)
        line.deliveries = [
            Delivery(e.event_time_ms + delay_ms, line.epoch, e.symbol, number_of(e), e)
            for e in sent
            if line.begin_ms <= e.event_time_ms and e.event_time_ms + delay_ms < line.end_ms
        ]
    places = set()
    for each in breaks:
        line, symbol = lines[each.connection % len(lines)], symbols[each.market % len(symbols)]
        if (place := (line.epoch, symbol, each.candle)) not in places:  # faults do not hide others
            places.add(place)
            _break(line, each, symbol)
    for line in lines:
        line.deliveries.sort(key=lambda delivery: delivery.at_ms)
        line.deliveries = [d for d in line.deliveries if d.at_ms < line.end_ms]
    return History(symbols, truth, lines)


def number_of(event: CandleEvent) -> int:
    return (event.open_time_ms - moment(0, 0)) // STEP_MS


def _market(
    random: Random, symbol: str, trades_a_candle: float, tells_silent: bool
) -> list[CandleEvent]:
    """Every message of one market; prices in hundredths, sizes in thousandths. A candle is closed
    before the next one begins."""
    sent, price = [], random.randrange(5_000, 50_000)
    trades = [_seconds(random, symbol, trades_a_candle) for _ in range(CANDLES)]
    for candle, seconds in enumerate(trades):
        opened = high = low = price
        volume = turnover = 0
        for second in seconds:
            price = max(100, price + random.randrange(-50, 51))
            high, low = max(high, price), min(low, price)
            size = random.randrange(1, 10**6)
            volume, turnover = volume + size, turnover + size * price
            prices = opened, high, low, price
            sent.append(_event(symbol, candle, second, prices, volume, turnover, closed=False))
        if seconds or tells_silent:
            following = trades[candle + 1 : candle + 2]
            first = following[0][0] if following and following[0] else 3
            lag = min(random.choice([0.2, 0.4, 0.8, 2.0]), first / 2)
            prices = opened, high, low, price
            sent.append(_event(symbol, candle, 300 + lag, prices, volume, turnover, closed=True))
    return sent


def _seconds(random: Random, symbol: str, trades_a_candle: float) -> list[float]:
    """When messages of one candle are sent."""
    if symbol == BUSY:
        return [second + random.uniform(0, 5) for second in range(1, 296, 12)]
    count = round(random.uniform(0.5, 1.5) * trades_a_candle)
    return sorted(random.uniform(0.05, 299) for _ in range(count))


def _event(
    symbol: str, candle: int, second: float, prices: tuple[int, int, int, int],
    volume: int, turnover: int, *, closed: bool,
) -> CandleEvent:  # fmt: skip
    opened, high, low, close = (f"{price / 100:.2f}" for price in prices)
    return CandleEvent(
        symbol, "5m", moment(candle, 0), moment(candle, second), closed, opened, high, low, close,
        f"{volume // 1000}.{volume % 1000:03}", f"{turnover // 10**5}.{turnover % 10**5:05}",
    )  # fmt: skip


def _connections(random: Random) -> list[Line]:
    """Connections one after the other: with a gap, or with an overlap of up to a candle or two."""
    lines: list[Line] = []
    begin_ms, over_ms = moment(0, random.uniform(0, 400)), moment(CANDLES, 60)
    while begin_ms < over_ms:
        end_ms = begin_ms + random.randrange(1, 5) * STEP_MS + random.randrange(STEP_MS)
        if random.random() < 0.4:
            end_ms = over_ms
        lines.append(Line(len(lines) + 1, begin_ms, end_ms))
        change_ms = random.choice([-500, -STEP_MS, -STEP_MS // 3, 400, 20_000])
        begin_ms = max(begin_ms + 1000, end_ms + change_ms)
    return lines


def _break(line: Line, each: Break, symbol: str) -> None:
    """Puts the fault into the deliveries, and labels the candles that it may harm."""
    of_candle = [d for d in line.deliveries if d.symbol == symbol and d.candle == each.candle]
    forming = [d for d in of_candle if d.event is not None and not d.event.closed]
    closing = next((d for d in of_candle if d.event is not None and d.event.closed), None)
    if each.fault in (Fault.OTHER_SECOND_CLOSE, Fault.OTHER_FIRST_CLOSE):
        line.contradicts.add((symbol, each.candle))
    if not of_candle:
        return
    chosen = forming[int(each.weight * len(forming)) % len(forming)] if forming else None
    if each.fault is not Fault.LOSE_FORMING:
        line.broken |= {(symbol, each.candle), (symbol, each.candle + 1)}
    if each.fault in (Fault.STALL, Fault.UNREADABLE):
        _break_connection(line, each, of_candle)
    elif each.fault in (Fault.REPEAT, Fault.REPEAT_LATER, Fault.SWAP):
        _reorder(line, each, chosen or of_candle[-1], of_candle)
    elif chosen is not None and chosen.event is not None and each.fault in _OF_FORMING:
        if each.fault is Fault.LOSE_FORMING:
            line.deliveries.remove(chosen)
        elif each.fault is Fault.TOO_MUCH:
            chosen.event = _with_volume(chosen.event, 1000)
        else:
            chosen.event = msgspec.structs.replace(chosen.event, volume="12..5")
    elif closing is not None and each.fault not in _OF_FORMING:
        _break_closing(line, each, closing, has_forming=bool(forming))


_OF_FORMING = (Fault.LOSE_FORMING, Fault.TOO_MUCH, Fault.GARBAGE)


def _break_connection(line: Line, each: Break, of_candle: list[Delivery]) -> None:
    first = of_candle[0].at_ms
    if each.fault is Fault.UNREADABLE:
        symbol = of_candle[0].symbol if each.weight < 0.5 else ""
        line.deliveries.append(Delivery(first + 1, line.epoch, symbol, each.candle, None))
        if not symbol:
            line.paused.append((first, first + 1))
        return
    last = first + PAUSE_MS + 1000 + round(each.weight * 60_000)
    line.paused.append((first, last))
    for delivery in line.deliveries:
        if first < delivery.at_ms < last:
            delivery.at_ms = last


def _reorder(line: Line, each: Break, chosen: Delivery, of_candle: list[Delivery]) -> None:
    if each.fault is Fault.SWAP:
        if len(of_candle) > 1:
            one, two = of_candle[-2:]
            line.deliveries.remove(one)
            one.at_ms = two.at_ms
            line.deliveries.insert(line.deliveries.index(two) + 1, one)
    elif each.fault is Fault.REPEAT:
        _copy(line, of_candle[-1], 0)
    else:
        _copy(line, chosen, round(each.weight * (STEP_MS - 10_000)))


def _break_closing(line: Line, each: Break, closing: Delivery, *, has_forming: bool) -> None:
    event = closing.event
    assert event is not None
    match each.fault:
        case Fault.LOSE_CLOSE:
            line.deliveries.remove(closing)
        case Fault.LATE_CLOSE:
            closing.at_ms += 500 + round(each.weight * 90_000)
        case Fault.CLOSE_WITH_LESS if has_forming:
            closing.event = msgspec.structs.replace(event, volume="0.0001")
        case Fault.OTHER_SECOND_CLOSE:
            _copy(line, closing, 700, _with_volume(event, 2))
        case Fault.OTHER_FIRST_CLOSE:
            place = line.deliveries.index(closing)
            _copy(line, closing, 0, event)
            line.deliveries[place].event = _with_volume(event, 2)


def _copy(line: Line, delivery: Delivery, later_ms: int, event: CandleEvent | None = None) -> None:
    copied = Delivery(
        delivery.at_ms + later_ms,
        *(delivery.epoch, delivery.symbol, delivery.candle, event or delivery.event),
    )
    line.deliveries.insert(line.deliveries.index(delivery) + 1, copied)


def _with_volume(event: CandleEvent, times: int) -> CandleEvent:
    return msgspec.structs.replace(event, volume=f"{float(event.volume) * times + 1:.3f}")
