"""Reads what providers write as numbers and times, exactly: JSON to Decimal, never through floats.

Null, false, "" and what is missing all mean "none" at one provider or another, and give None.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Context, Decimal
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,60}(?:\.[0-9]{1,60})?(?:[eE][+-]?[0-9]{1,2})?")
_WHOLE: Final = re.compile(r"[0-9]{1,78}(?:\.0{1,30})?")
_HEX: Final = re.compile(r"0[xX][0-9a-fA-F]{1,64}")
_FRACTION_OF_A_SECOND: Final = re.compile(r"(\.[0-9]{6})[0-9]+")
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)
BOM: Final = b"\xef\xbb\xbf"
_GREATEST_EXPONENT: Final = 60  # no amount in any unit has so many digits
_GREATEST_BLOCK: Final = 2**40  # the fastest chains make 10 a second: 3000 years
_FIRST_MS: Final = 1_230_768_000_000  # 2009: nothing here is older than Bitcoin
_LAST_MS: Final = 4_102_444_800_000  # 2100
_LONGEST_SHOWN: Final = 60
# Digits of products and quotients: enough for any amount of the smallest unit (uint256 has 78).
EXACT: Final = Context(prec=120)
_QUOTIENT: Final = Context(prec=40)


class BadValue(ValueError):
    """A value that is there, and cannot be what it should be."""


class NotJson(ValueError):
    """The body is not JSON. `cut_off`: it may be the beginning of some."""

    def __init__(self, message: str, *, cut_off: bool) -> None:
        super().__init__(message)
        self.cut_off = cut_off


def json_of(body: bytes) -> Any:
    """The JSON document with its fractions as Decimal. Raises NotJson, as for NaN and Infinity."""
    try:
        return _DECODER.decode(body.removeprefix(BOM))
    except msgspec.DecodeError as error:
        raise NotJson(f"not JSON: {error}", cut_off="truncated" in str(error)) from error
    except UnicodeDecodeError as error:
        raise NotJson("not JSON: it is not UTF-8", cut_off=False) from error
    except RecursionError as error:
        raise NotJson(
            "not JSON that can be read: it is nested too deeply", cut_off=False
        ) from error


def is_none(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str) and not value.strip())


def decimal_of(value: Any) -> Decimal | None:
    """The number, of a JSON number or a text of digits. Raises BadValue for everything else, such
    as true, NaN and texts with thousands commas."""
    if type(value) is Decimal:  # most are
        found = value
    elif is_none(value):
        return None
    else:
        found = _decimal(value)
    if not found.is_finite() or abs(found.adjusted()) > _GREATEST_EXPONENT:
        raise BadValue(f"{shown(value)} is not a number that can be believed")
    return found


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise BadValue(f"{shown(value)} is not a number")
    if isinstance(value, str) and not _NUMBER.fullmatch(value := value.strip()):
        raise BadValue(f"{shown(value)} is not a number")
    return Decimal(value)


def positive(value: Any) -> Decimal | None:
    """As decimal_of; a price, which is above 0."""
    found = decimal_of(value)
    if found is not None and found <= 0:
        raise BadValue(f"{found} is not a price")
    return found


def not_negative(value: Any) -> Decimal | None:
    found = decimal_of(value)
    if found is not None and found < 0:
        raise BadValue(f"{found} is negative")
    return found


def whole_of(value: Any) -> int | None:
    """A whole number that is not negative: a JSON integer, a text of digits, or hexadecimal (0x).

    Raises BadValue for one in scientific notation, too: such an amount was rounded.
    """
    if is_none(value):
        return None
    if isinstance(value, Decimal):
        value = str(value)
    if isinstance(value, str):
        text = value.strip()
        if _HEX.fullmatch(text):
            return int(text, 16)
        if not _WHOLE.fullmatch(text):
            raise BadValue(f"{shown(value)} is not a whole number")
        return int(text.partition(".")[0])
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 256:
        raise BadValue(f"{shown(value)} is not a whole number")
    return value


def block_of(value: Any) -> int | None:
    """As whole_of; the number of a block, or of something in it."""
    found = whole_of(value)
    if found is not None and found > _GREATEST_BLOCK:
        raise BadValue(f"{shown(value)} is not the number of a block")
    return found


def quantity_of(value: Any) -> int | None:
    """A number of a node: hexadecimal with 0x. Digits without it would be read as decimal."""
    if is_none(value):
        return None
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise BadValue(f"{shown(value)} is not a quantity such as 0x15")
    return int(value, 16)


def scaled_whole(value: Any, factor: int) -> int | None:
    """The number times `factor`, such as gwei to wei, rounded to a whole one: providers give more
    digits of fees than there are units."""
    found = not_negative(value)
    if found is None:
        return None
    return int(EXACT.multiply(found, Decimal(factor)).to_integral_value(context=EXACT))


def times(value: Decimal, factor: Decimal | int) -> Decimal:
    return EXACT.multiply(value, Decimal(factor))


def divided(value: Decimal, divisor: Decimal | int) -> Decimal:
    """The quotient to 40 digits."""
    return _QUOTIENT.divide(value, Decimal(divisor)).normalize(EXACT)


def _of_epoch(factor: int) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        found = decimal_of(value)
        return None if found is None else int(times(found, factor))

    return read


def _of_hex(value: Any) -> int | None:
    found = quantity_of(value)
    return None if found is None else found * 1000


def _of_text(parse: Callable[[str], datetime]) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        if is_none(value):
            return None
        if not isinstance(value, str):
            raise BadValue(f"{shown(value)} is not a time")
        try:
            found = parse(value.strip())
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
            return round(found.timestamp() * 1000)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise BadValue(f"{shown(value)} is not a time") from error

    return read


def _iso(text: str) -> datetime:
    return datetime.fromisoformat(_FRACTION_OF_A_SECOND.sub(r"\1", text))


# A time's unit, as rows name it: how its text or number becomes UTC ms. Without a zone it is UTC.
TIMES: Final[dict[str, Callable[[Any], int | None]]] = {
    "s": _of_epoch(1000),
    "ms": _of_epoch(1),
    "hex_s": _of_hex,
    "iso": _of_text(_iso),
    "utc": _of_text(_iso),
    "rfc822": _of_text(parsedate_to_datetime),
}


def time_ms(value: Any, unit: str) -> int | None:
    """The time in UTC ms. Raises BadValue where it is none, or before 2009 or after 2100: then the
    unit is another one."""
    found = TIMES[unit](value)
    if found is not None and not _FIRST_MS <= found <= _LAST_MS:
        raise BadValue(f"{shown(value)} is not a time in {unit}")
    return found


def shown(value: Any) -> str:
    """A value of a provider's in a message: short, on one line."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
