"""Reads header fields of exchanges' answers: numbers and dates within bounds, else None.

Whoever sends a header may err: none of these functions raises, whatever the text.
"""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

_NUMBER: Final = re.compile(r"[0-9]{1,15}")  # of ms: until the year 33658
_LONGEST_DATE: Final = 40  # the longest form, with the weekday in full, has 33 characters
_LONGEST_AGE_S: Final = 2**31  # RFC 9111, 1.2.2
_FIRST_YEAR: Final = 2017
_LAST_YEAR: Final = 2285


def number_of(headers: Mapping[str, str], name: str | None) -> int | None:
    """The field's value if it is a whole number of at most 15 ASCII digits."""
    text = headers.get(name, "") if name is not None else ""
    if len(text) > _LONGEST_DATE or not _NUMBER.fullmatch(text := text.strip(" \t")):
        return None
    return int(text)


def date_ms(headers: Mapping[str, str], name: str) -> int | None:
    """The field's value if it is an HTTP date (RFC 9110, 5.6.7), in ms."""
    text = headers.get(name, "")
    if len(text) > _LONGEST_DATE or not text.isascii():
        return None
    try:
        date = parsedate_to_datetime(text)
        if not _FIRST_YEAR <= date.year <= _LAST_YEAR:
            return None
        # HTTP dates are in GMT, which the oldest form leaves out.
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
        return int(date.timestamp()) * 1000
    except Exception:  # the library raises more kinds than it documents
        return None


def exchange_time_ms(headers: Mapping[str, str]) -> int | None:
    """The exchange's clock by the answer's Date header, in whole seconds; None without one."""
    return date_ms(headers, "Date")


def retry_after_s(headers: Mapping[str, str], now_ms: int) -> float | None:
    """Seconds until Retry-After, a number of seconds or a date (RFC 9110, 10.2.3).

    `now_ms`: the exchange's time. None for a missing or unreadable field; a date may have passed.
    """
    seconds = number_of(headers, "Retry-After")
    if seconds is not None:
        return float(seconds)
    until_ms = date_ms(headers, "Retry-After")
    return None if until_ms is None else (until_ms - now_ms) / 1000


def answered_at_ms(headers: Mapping[str, str]) -> int | None:
    """When the answer was sent by its headers: Date, and the Age of one that a cache kept."""
    time_ms, age_s = exchange_time_ms(headers), number_of(headers, "Age")
    if time_ms is None or age_s is None or age_s > _LONGEST_AGE_S:
        return time_ms
    return time_ms + age_s * 1000
