"""What an operator may set of a worker: the columns of its row, and the values that each takes."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from addresses.setting_types import check_queue
from stores.cold.workers.rows import OVERRIDABLE
from texts.foreign import cut, foreign_text
from workers.definition import ANY_EGRESS, LONGEST_TIMEOUT_S, MOST_ATTEMPTS
from workers.timetable import MOST_EVERY_S, zone_error

TIMETABLE: Final = ("cron", "every_s", "offset_s", "tz")
_OF_WEBSOCKET: Final = ("egress", "enabled")
_EGRESS: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_SHOWN: Final = 80


def column_errors(kind: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with these values, each by itself: the column, and what it takes."""
    allowed = OVERRIDABLE if kind == "schedule" else _OF_WEBSOCKET
    errors = []
    for column, value in values.items():
        if column not in allowed:
            of_kind = "" if column not in OVERRIDABLE else " of a WebSocket worker"
            told = f"cannot be changed{of_kind}: what can are {', '.join(allowed)}"
            errors.append((foreign_text(column, _LONGEST_SHOWN), told))
        elif (wrong := _CHECKS[column](value)) is not None:
            errors.append((column, f"{shown(value)}: {wrong}"))
    return errors


def shown(value: object) -> str:
    """A value of others, as messages show it."""
    return cut(foreign_text(repr(value), _LONGEST_SHOWN + 1), _LONGEST_SHOWN)


def _cron(value: object) -> str | None:
    # The expression itself is checked with its zone.
    if value is None or isinstance(value, str):
        return None
    return "must be a cron expression of five fields, or null"


def _whole(least: int, most: int, *, null: bool = False) -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        if value is None and null:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return None
        return f"must be a whole number from {least} to {most}{', or null' if null else ''}"

    return check


def _zone(value: object) -> str | None:
    if not isinstance(value, str):
        return "must be the name of an IANA time zone, such as UTC or Asia/Ho_Chi_Minh"
    found = zone_error(value)
    return None if found is None else found.partition(": ")[2]


def _queue(value: object) -> str | None:
    try:
        check_queue(value if isinstance(value, str) else "")
    except ValueError as error:
        return str(error).partition(": ")[2]
    return None


def _egress(value: object) -> str | None:
    if isinstance(value, str) and _EGRESS.fullmatch(value):
        return None
    return f"must be {ANY_EGRESS}, or an EGRESS_ID: 1 to 64 letters, digits and . _ -"


def _timeout(value: object) -> str | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and 0 < value <= LONGEST_TIMEOUT_S:  # type: ignore[arg-type, operator]
        return None
    return f"must be a number of seconds above 0, and at most {LONGEST_TIMEOUT_S:g}"


def _one_of(*choices: object) -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        if any(
            value is choice or (isinstance(value, str) and value == choice) for choice in choices
        ):
            return None
        return f"must be {' or '.join(str(choice).lower() for choice in choices)}"

    return check


_CHECKS: Final[Mapping[str, Callable[[Any], str | None]]] = {
    "cron": _cron,
    "every_s": _whole(1, MOST_EVERY_S, null=True),
    "offset_s": _whole(0, MOST_EVERY_S - 1),
    "tz": _zone,
    "queue": _queue,
    "egress": _egress,
    "timeout_s": _timeout,
    "max_attempts": _whole(1, MOST_ATTEMPTS),
    "on_missed": _one_of("one", "skip"),
    "enabled": _one_of(True, False),
}
