"""Checks of single candles of streams: what can be, what equals, and what goes backwards."""

from decimal import Decimal

from live.candle_changes import ClosedCandle
from live.events import CandleEvent
from venues.numbers import is_decimal


def is_possible(event: CandleEvent) -> bool:
    """Whether all numbers are plain decimals, and the prices those of a candle."""
    texts = _texts(event)
    if not all(map(is_decimal, texts)):
        return False
    opened, high, low, closed = map(float, texts[:4])
    return 0 < low <= min(opened, closed) and max(opened, closed) <= high


def is_less(text: str, other: str) -> bool:
    """Whether one number is smaller than the other, to the last digit. Raises ValueError."""
    one, two = float(text), float(other)
    return one < two or (one == two and text != other and Decimal(text) < Decimal(other))


def goes_backwards(event: CandleEvent, earlier: CandleEvent) -> bool:
    """Whether a candle shows less than it did: fewer trades, or a smaller range. Raises ValueError
    for a text that is no number."""
    return (
        is_less(event.volume, earlier.volume)
        or is_less(event.turnover, earlier.turnover)
        or is_less(event.high, earlier.high)
        or is_less(earlier.low, event.low)
    )


def is_same(one: CandleEvent | ClosedCandle, other: CandleEvent | ClosedCandle) -> bool:
    """Whether the values are equal as numbers; both candles are possible ones."""
    texts, others = _texts(one), _texts(other)
    return texts == others or list(map(Decimal, texts)) == list(map(Decimal, others))


def _texts(candle: CandleEvent | ClosedCandle) -> tuple[str, ...]:
    prices = candle.open, candle.high, candle.low, candle.close
    return (*prices, candle.volume, candle.turnover)
