"""Timetable: at which instants a schedule fires, by cron in a zone or every so many seconds.

Cron is cronsim's: five fields, as Debian's cron takes them, also where clocks change. A time that
the clock skips fires once, when the skipped hour is over; a time that comes twice fires the first
time. With a `*` at the beginning of minutes or hours it goes by real time, in every hour there is.
What it leaves out where clocks change by half an hour is added.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from texts.foreign import cut, foreign_text

MOST_EVERY_S: Final = 366 * 86_400
_LONGEST_CRON: Final = 200  # characters
_LONGEST_SHOWN: Final = 80
_FIELDS: Final = 5
_CRON_TOLD: Final = (
    "five fields: minute, hour, day of the month, month, day of the week, such as 30 8 * * MON-FRI"
)
_ZONE_TOLD: Final = "must be an IANA time zone, such as UTC or Asia/Ho_Chi_Minh"
# Files beside the zones: those that count leap seconds, and what a machine is set to.
_NOT_TIMES: Final = ("right/", "posix/")
_OF_THIS_MACHINE: Final = ("localtime", "posixrules")
_MS: Final = timedelta(milliseconds=1)
_HOUR_MS: Final = 3_600_000
_HALF_S: Final = 1800
_FARTHEST_MS: Final = 100 * 86_400_000  # where changes of clocks are looked for
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class WrongTimetable(ValueError):
    """A schedule cannot be as it is given; `errors` has the field and what is wrong of each."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Timetable:
    """`cron` in the zone `tz`; or every `every_s` seconds of UTC since the epoch, plus `offset_s`;
    or, with neither, never. Made by `timetable_of`, which checks it."""

    cron: str | None = None
    every_s: int | None = None
    offset_s: int = 0
    tz: str = "UTC"

    def next_after(self, moment_ms: int) -> int | None:
        """The first instant after this one at which it fires, both UTC ms; None if it never does
        again."""
        return next(self.after(moment_ms), None)

    def after(self, moment_ms: int) -> Iterator[int]:
        """All instants after this one at which it fires, in order, each once; UTC ms."""
        if self.every_s is not None:
            yield from self._grid_after(moment_ms, self.every_s * 1000)
        elif self.cron is not None:
            yield from _cron_after(self.cron, self.tz, moment_ms)

    def latest_in(self, after_ms: int, until_ms: int) -> int | None:
        """The last instant after the first and not after the second one, if there is one. Both
        should be near each other."""
        latest = None
        for instant_ms in self.after(after_ms):
            if instant_ms > until_ms:
                break
            latest = instant_ms
        return latest

    def _grid_after(self, moment_ms: int, every_ms: int) -> Iterator[int]:
        offset_ms = self.offset_s * 1000
        instant_ms = (moment_ms - offset_ms) // every_ms * every_ms + offset_ms
        while True:
            instant_ms += every_ms
            yield instant_ms


def timetable_of(cron: str | None, every_s: int | None, offset_s: int, tz: str) -> Timetable:
    """The checked timetable. Raises WrongTimetable, which names every field that is wrong."""
    errors = list(_errors(cron, every_s, offset_s, tz))
    if errors:
        raise WrongTimetable(errors)
    return Timetable(cron, every_s, offset_s, tz)


def _errors(
    cron: str | None, every_s: int | None, offset_s: int, tz: str
) -> Iterator[tuple[str, str]]:
    zone = zone_error(tz)
    if zone is not None:
        yield "tz", zone
    if cron is not None and every_s is not None:
        yield "cron", "a schedule has cron or every_s, not both: leave one out"
        return
    if cron is not None and (wrong := cron_error(cron, "UTC" if zone else tz)) is not None:
        yield "cron", wrong
    if every_s is not None and not 1 <= every_s <= MOST_EVERY_S:
        yield "every_s", f"{every_s}: must be 1 to {MOST_EVERY_S} seconds"
        return
    if offset_s != 0 and every_s is None:
        yield "offset_s", "goes with every_s alone: with cron, write it into the fields"
    elif every_s is not None and not 0 <= offset_s < every_s:
        yield "offset_s", f"{offset_s}: must be 0 or more, and less than every_s, {every_s}"


def zone_error(tz: str) -> str | None:
    """What is wrong with the name of a zone, if anything is."""
    if tz.startswith(_NOT_TIMES) or tz in _OF_THIS_MACHINE:
        return f"{_shown(tz)}: {_ZONE_TOLD}"
    try:
        ZoneInfo(tz)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return f"{_shown(tz)}: {_ZONE_TOLD}"
    return None


def cron_error(cron: str, tz: str) -> str | None:
    """What is wrong with a cron expression in a zone that there is, if anything is."""
    from cronsim import CronSimError

    if len(cron) > _LONGEST_CRON or len(cron.split()) != _FIELDS:
        return f"{_shown(cron)}: must have {_CRON_TOLD}"
    try:
        first = next(_cron_after(cron, tz, 0), None)
    except CronSimError as error:
        return f"{_shown(cron)}: {foreign_text(str(error))}: must have {_CRON_TOLD}"
    if first is None:
        return f"{_shown(cron)}: no day is ever one of these"
    return None


def _shown(text: str) -> str:
    return repr(cut(foreign_text(text), _LONGEST_SHOWN))


def _cron_after(cron: str, tz: str, moment_ms: int) -> Iterator[int]:
    # Of UTC cronsim expects this very object.
    zone = UTC if tz == "UTC" else ZoneInfo(tz)
    while (found_ms := _next(cron, zone, moment_ms)) is not None:
        yield found_ms
        moment_ms = found_ms


def _next(cron: str, zone: tzinfo, after_ms: int) -> int | None:
    found_ms = _next_of_cronsim(cron, zone, after_ms)
    farthest_ms = after_ms + _FARTHEST_MS
    until_ms = farthest_ms if found_ms is None else min(found_ms, farthest_ms)
    change_ms = _odd_change(zone, after_ms - _HOUR_MS, until_ms)
    if change_ms is None:
        return found_ms
    # cronsim goes from hour to hour, and over such a change misses the next ones: it is asked again
    # from the next whole hour on.
    hour_ms = change_ms + _HOUR_MS // 2
    behind_ms = _next_of_cronsim(cron, zone, max(after_ms, hour_ms - 1))
    return min((each for each in (found_ms, behind_ms) if each is not None), default=None)


def _next_of_cronsim(cron: str, zone: tzinfo, after_ms: int) -> int | None:
    from cronsim import CronSim

    # Asked within the second pass of an hour, cronsim begins again with the first.
    for instant in CronSim(cron, _at(after_ms).astimezone(zone)):
        instant_ms: int = (instant - _EPOCH) // _MS
        if instant_ms > after_ms:
            return instant_ms
    return None


def _odd_change(zone: tzinfo, after_ms: int, until_ms: int) -> int | None:
    """Where the zone's clocks change by half an hour between two moments (Lord Howe)."""

    def offset_s(moment_ms: int) -> float:
        offset = _at(moment_ms).astimezone(zone).utcoffset()
        return 0.0 if offset is None else offset.total_seconds()

    before_s = offset_s(after_ms)
    if (offset_s(until_ms) - before_s) % 3600 != _HALF_S:
        return None
    low_s, high_s = after_ms // 1000, -(-until_ms // 1000)
    while high_s - low_s > 1:
        middle_s = (low_s + high_s) // 2
        if offset_s(middle_s * 1000) == before_s:
            low_s = middle_s
        else:
            high_s = middle_s
    return high_s * 1000


def _at(moment_ms: int) -> datetime:
    return _EPOCH + moment_ms * _MS
