"""Quiet hours: the part of each day, by a zone's wall clock, in which people are left in peace."""

import re
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final
from zoneinfo import ZoneInfo

_FORM: Final = re.compile(r"(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})(?:\s+(\S+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `begin` to `end`, exclusive; over midnight if `begin` is the later one.

    The wall clock decides: where it jumps over an hour, that hour is missing here too, and one that
    it shows twice is quiet twice.
    """

    begin: time
    end: time
    zone: str = "UTC"

    def hold(self, moment_ms: int) -> bool:
        """Whether the moment (UTC ms) is quiet."""
        there = datetime.fromtimestamp(moment_ms / 1000, ZoneInfo(self.zone)).time()
        if self.begin < self.end:
            return self.begin <= there < self.end
        return there >= self.begin or there < self.end


def parse_quiet_hours(text: str) -> QuietHours:
    """Reads `22:00-07:00 Europe/Berlin`; without a zone it is UTC. Raises ValueError."""
    found = _FORM.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        begin, end = (_wall_time(found[number]) for number in (1, 2))
    except ValueError:
        raise ValueError(
            "must be two times of day and a time zone, such as 22:00-07:00 Europe/Berlin"
        ) from None
    if begin == end:
        raise ValueError(f"begins and ends at {begin:%H:%M}: give two different times")
    zone = found[3] or "UTC"
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(
            f"{zone[:80]!r} is no IANA time zone, such as UTC or Europe/Berlin"
        ) from None
    return QuietHours(begin, end, zone)


def _wall_time(text: str) -> time:
    hours, minutes = map(int, text.split(":"))
    return time(hours, minutes)
