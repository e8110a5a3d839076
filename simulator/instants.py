"""Instants as users give them: a UTC time or milliseconds, within what can be simulated."""

from datetime import UTC, datetime
from typing import Final

# The first contract is of September 2019, and generated markets need some history; a live
# contract's delivery date lies in December 2100.
_EARLIEST_MS: Final = 1_577_836_800_000
_LATEST_MS: Final = 4_102_444_800_000
_FORMS: Final = "a UTC time such as 2026-03-01T23:58:30Z, or whole milliseconds since 1970"


def instant_ms(value: object) -> int:
    """UTC milliseconds of an ISO 8601 time with its zone, or of milliseconds as number or text.

    Raises ValueError, also for times that cannot be simulated.
    """
    if isinstance(value, str) and value.isdecimal() and value.isascii():
        value = int(value[:30])
    if isinstance(value, int) and not isinstance(value, bool):
        return check_instant(value)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"the time must be {_FORMS}, not {str(value)[:60]!r}")
    return check_instant(round(moment.timestamp() * 1000))


def check_instant(time_ms: int) -> int:
    """The given time. Raises ValueError if nothing can be simulated at it."""
    if not _EARLIEST_MS <= time_ms < _LATEST_MS:
        raise ValueError(
            f"the time must lie from {iso(_EARLIEST_MS)} to before {iso(_LATEST_MS)}, "
            f"not at {_told(time_ms)}"
        )
    return time_ms


def iso(time_ms: int) -> str:
    """Such as 2026-03-01T23:58:30Z, with milliseconds if it has any."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    text = moment.isoformat(timespec="milliseconds" if time_ms % 1000 else "seconds")
    return text.replace("+00:00", "Z")


def _told(time_ms: int) -> str:
    try:
        return iso(time_ms)
    except (ValueError, OverflowError, OSError):
        return f"{str(time_ms)[:30]} ms"
