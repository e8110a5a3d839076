"""What a data point holds, in the types of JSON: numbers as exact texts, moments in UTC ms."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import msgspec

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_MOST_DIGITS: Final = 100  # before or after the point; a longer number is no price or size
_DEEPEST: Final = 8  # lists in lists

encode: Final = msgspec.json.Encoder().encode


class NotPlain(ValueError):
    """A value that cannot be told exactly; the text says which and why."""


def number_text(number: Decimal) -> str:
    """The number in plain notation, as short as it can be: 85885.4, 0.0000001, 0.

    Raises NotPlain for one that is not finite or has more than 100 digits before or after the
    point.
    """
    text = str(number)
    if "E" in text or len(text) > _MOST_DIGITS:
        if abs(number.adjusted()) > _MOST_DIGITS or len(number.as_tuple().digits) > _MOST_DIGITS:
            raise NotPlain(f"a number of more than {_MOST_DIGITS} digits")
        text = f"{number:f}"
    if not text[-1].isdigit() or "N" in text:  # Infinity, NaN, NaN123
        raise NotPlain(f"the number {text} is not finite")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def time_ms(moment: datetime) -> int:
    """UTC milliseconds, exactly; a moment without a zone is taken as UTC."""
    zoned = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (zoned - _EPOCH) // _MS


def plain(value: Any, depth: int = 0) -> Any:
    """The value with Decimals as texts and datetimes as UTC ms, in dicts and lists too.

    Raises NotPlain for what JSON does not have.
    """
    if isinstance(value, Decimal):
        return number_text(value)
    if value is None or isinstance(value, bool | int | str):
        return value.value if isinstance(value, Enum) else value
    if depth == _DEEPEST:
        raise NotPlain(f"more than {_DEEPEST} lists in lists")
    if isinstance(value, Mapping):
        return {str(name): plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, depth + 1) for each in value]
    if isinstance(value, datetime):
        return time_ms(value)
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    raise NotPlain(f"a {type(value).__name__}, which JSON does not have")
