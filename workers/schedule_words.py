"""The words of schedules as people write them: periods, cron expressions, zones; checked here."""

import re
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

LONGEST_PERIOD_S: Final = 366 * 86_400
_PERIOD: Final = re.compile(r"([0-9]{1,9})\s*([smhd]?)", re.ASCII)
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_SHOWN: Final = 80  # characters of a wrong value


def period_s(value: str | int, *, least_s: int = 1) -> int:
    """The seconds of a period such as `90s`, `5m`, `1h` or `1d`, or of a whole number of seconds.
    Raises ValueError."""
    found = _PERIOD.fullmatch(value.strip()) if isinstance(value, str) else None
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    elif found is not None:
        seconds = int(found[1]) * _UNITS[found[2]]
    else:
        raise ValueError(f"{_told(value)} is no period: write 30s, 5m, 1h or 1d")
    if not least_s <= seconds <= LONGEST_PERIOD_S:
        raise ValueError(f"{_told(value)} must be {least_s} s to {LONGEST_PERIOD_S // 86_400} days")
    return seconds


def check_cron(value: object) -> str:
    """A cron expression of five fields as it is. Raises ValueError."""
    from cronsim import CronSim, CronSimError  # what declares no worker must not pay for it

    if not isinstance(value, str) or len(value) > 200:
        raise ValueError(f"{_told(value)} is no cron expression")
    try:
        # Some expressions name days that never come, which only a look for the first tells.
        next(CronSim(value, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        reason = str(error) or "it never comes"
        raise ValueError(
            f"{_told(value)} is no cron expression ({reason}): write five fields, minute hour"
            " day-of-month month day-of-week, such as 0 15 * * 1-5"
        ) from None
    return value


def check_zone(value: object) -> str:
    """An IANA time zone as it is. Raises ValueError."""
    try:
        ZoneInfo(value if isinstance(value, str) else "")
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(
            f"{_told(value)} is no time zone: write an IANA name, such as UTC or Asia/Ho_Chi_Minh"
        ) from None
    return str(value)


def _told(value: object) -> str:
    return repr(value)[:_SHOWN]
