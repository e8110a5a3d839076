"""What a data point holds, in the types of JSON: numbers as exact texts, moments in UTC ms."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, Final

import msgspec

from live.data_types import MarketDataPoint

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_MOST_DIGITS: Final = 100  # before or after the point; a longer number is no price or size
_DEEPEST: Final = 8  # lists in lists

encode: Final = msgspec.json.Encoder().encode


class NotPlain(ValueError):
    """A value that cannot be told exactly; the text says which and why."""


def native_symbol(point: MarketDataPoint) -> str:
    """The exchange's own name of the market; where the data tell none, the point's symbol."""
    found = point.data.get("exchange_symbol")
    return found if isinstance(found, str) and found else point.symbol


def number_text(number: Decimal) -> str:
    """The number in plain notation, as short as it can be: 85885.4, 0.0000001, 0.

    Raises NotPlain for one that is not finite or has more than 100 digits before or after the
    point.
    """
    text = str(number)
    if "E" in text or len(text) > _MOST_DIGITS or not number.is_finite():
        text = _unusual_text(number)
    if text[-1] == "0":
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        if text == "-0":
            return "0"
    return text


def _unusual_text(number: Decimal) -> str:
    if not number.is_finite():
        raise NotPlain(f"the number {number} is not finite")
    if abs(number.adjusted()) > _MOST_DIGITS or len(number.as_tuple().digits) > _MOST_DIGITS:
        raise NotPlain(f"a number of more than {_MOST_DIGITS} digits")
    return f"{number:f}"


def time_ms(moment: datetime) -> int:
    """UTC milliseconds, exactly; a moment without a zone is taken as UTC."""
    zoned = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (zoned - _EPOCH) // _MS


def plain(value: Any, depth: int = 0) -> Any:
    """The value with Decimals as texts and datetimes as UTC ms, in dicts and lists too.

    Raises NotPlain for what JSON does not have.
    """
    kind = type(value)
    if kind is Decimal:
        return number_text(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if depth == _DEEPEST:
        raise NotPlain(f"more than {_DEEPEST} lists in lists")
    if isinstance(value, list | tuple):
        # Books are long lists of pairs: what is in them is not worth a call each.
        return [
            number_text(each) if type(each) is Decimal else plain(each, depth + 1) for each in value
        ]
    if isinstance(value, Mapping):
        return {str(name): plain(each, depth + 1) for name, each in value.items()}
    return _plain_value(value)


def _plain_value(value: Any) -> Any:
    """Of other types than those that our collectors hand out."""
    if isinstance(value, datetime):
        return time_ms(value)
    if isinstance(value, Enum):
        return plain(value.value, _DEEPEST)
    if isinstance(value, float) and isfinite(value):
        return value
    for kind in (Decimal, str, int):
        if isinstance(value, kind):
            return plain(kind(value), _DEEPEST)
    raise NotPlain(f"a {type(value).__name__}, which JSON does not have")
