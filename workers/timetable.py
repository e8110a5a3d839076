"""Timetable: at which instants a schedule fires, by cron in a zone or every so many seconds.

Cron is cronsim's: five fields, as Debian's cron takes them, also where clocks change. A time that
the clock skips fires once, when the skipped hour is over; a time that comes twice fires the first
time. With a `*` at the beginning of minutes or hours it goes by real time, in every hour there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from texts.foreign import cut, foreign_text

if TYPE_CHECKING:
    pass

MOST_EVERY_S: Final = 366 * 86_400
_LONGEST_CRON: Final = 200  # characters
_LONGEST_SHOWN: Final = 80
_FIELDS: Final = 5
_CRON_TOLD: Final = (
    "five fields: minute, hour, day of the month, month, day of the week, such as 30 8 * * MON-FRI"
)
_ZONE_TOLD: Final = "must be an IANA time zone, such as UTC or Asia/Ho_Chi_Minh"
_MS: Final = timedelta(milliseconds=1)
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
    # Asked within the second pass of an hour, cronsim begins again with the first.
    last_ms = moment_ms
    for instant_ms in _cronsim(cron, tz, moment_ms):
        if instant_ms > last_ms:
            last_ms = instant_ms
            yield instant_ms


def _cronsim(cron: str, tz: str, moment_ms: int) -> Iterator[int]:
    from cronsim import CronSim

    # Of UTC cronsim expects this very object.
    zone = UTC if tz == "UTC" else ZoneInfo(tz)
    simulated: CronSim = CronSim(cron, (_EPOCH + moment_ms * _MS).astimezone(zone))
    for instant in simulated:
        yield (instant - _EPOCH) // _MS
