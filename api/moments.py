"""Moments in query parameters: UTC milliseconds, or ISO 8601."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import JsonValue

# Milliseconds of 1973 to 5138: smaller ones are meant as seconds, larger ones as microseconds.
_LEAST_MS: Final = 10**11
LAST_MS: Final = 10**14
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER: Final = re.compile(r"[0-9]{1,20}", re.ASCII)
# A `+` that was not percent-encoded arrives as a space.
_SPACE_FOR_PLUS: Final = re.compile(r"(.*\d\d:\d\d\S*) (\d\d:?\d\d)")
# For the OpenAPI page, whose readers may take any text that it allows.
AS_OF_SCHEMA: Final[dict[str, JsonValue]] = {"pattern": "^[0-9]{12,14}$"}
_WANTED: Final = (
    "must be UTC milliseconds or ISO 8601, such as 1764547200000 or 2025-12-01T00:00:00Z"
)


def read_moment(text: str) -> int:
    """The moment in UTC ms; without a zone it is UTC. Raises ValueError, whose text says what is
    wrong."""
    if _INTEGER.fullmatch(text):
        time_ms = int(text)
        if 0 < time_ms < _LEAST_MS:
            raise ValueError("must be in milliseconds: this is before 1974, or in seconds")
        if time_ms > LAST_MS:
            raise ValueError("must be in milliseconds: this is after 5138")
        return time_ms
    found = _SPACE_FOR_PLUS.fullmatch(text)
    try:
        moment = datetime.fromisoformat(f"{found[1]}+{found[2]}" if found else text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0, min(LAST_MS, (moment - _EPOCH) // timedelta(milliseconds=1)))
    except (ValueError, OverflowError):
        raise ValueError(_WANTED) from None
