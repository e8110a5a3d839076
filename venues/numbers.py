"""Numbers as exchanges write them: plain or with an exponent, quoted or not, sometimes blank.

Only ASCII digits count: Python's int() and float() read much more, such as '1_000' or ' 1'.
"""

import re
from decimal import Decimal
from math import inf, isfinite
from typing import Final

from texts.foreign import foreign_text

# A number of varying form: text or JSON number; empty or null where it does not apply.
Loose = str | int | float | None

TIME_LIMIT_MS: Final = 10**15  # the year 33658
_PLAIN: Final = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?")
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_FLOAT_LIMIT: Final = 10**300  # larger integers may not fit a float


def is_decimal(text: str) -> bool:
    """Whether the text is a non-negative decimal without sign or exponent."""
    return _PLAIN.fullmatch(text) is not None


def plain_decimal(text: str) -> str | None:
    """The same number without an exponent, all its digits kept; None for anything but a
    non-negative number of at most 40 digits before and after the point."""
    if is_decimal(text):
        return text
    if not _is_number(text):
        return None
    number = Decimal(text)
    if not number:
        return "0"  # 0e5, -0.0
    plain = f"{number:f}"
    return plain if is_decimal(plain) else None


def float_or_none(value: Loose) -> float | None:
    """The number, which may be negative, or None for anything else (NaN and infinity too)."""
    if value is None or (isinstance(value, str) and not _is_number(value)):
        return None
    number = float(value) if isinstance(value, str) or abs(value) < _FLOAT_LIMIT else inf
    return number if isfinite(number) else None


def int_or_0(value: Loose) -> int:
    """The whole number below 10**15, or 0 for anything else."""
    number = whole_number(value)
    return number if number is not None and number < TIME_LIMIT_MS else 0


def whole_number(value: Loose) -> int | None:
    """The non-negative whole number of at most 18 digits, or None for anything else."""
    if isinstance(value, str):
        if value.isascii() and value.isdecimal() and len(value) <= 18:
            return int(value)
        if not _is_number(value):
            return None
        value = float(value)
    if value is None or not 0 <= value < 10**18 or value != int(value):
        return None
    return int(value)


def funding_interval(hours: int | None) -> int | None:
    """`hours` if it divides a day, as a funding interval must, else None."""
    return hours if hours is not None and hours > 0 and 24 % hours == 0 else None


def shown(value: object, length: int = 40) -> str:
    """A value for messages: what was sent, printable and cut; 'blank' for nothing."""
    if value is None or value == "":
        return "blank"
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    return repr(foreign_text(value if isinstance(value, str) else repr(value), length))


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None
