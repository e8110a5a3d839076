"""What schedules should fire, by a plain loop over cronsim and the times at which somebody ticked.

It knows nothing of the code under test: each instant is told by cronsim from the last change of the
schedule on; instants that no tick could serve become one.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim

MISSED_AFTER_MS = 60_000  # docs/workers.md: what is later than that is left out by `skip`


@dataclass(frozen=True)
class Rule:
    """A timetable; with neither cron nor every_s it is stopped."""

    cron: str | None = None
    every_s: int | None = None
    offset_s: int = 0
    tz: str = "UTC"

    def instants(self, after_ms: int, until_ms: int) -> list[int]:
        if self.every_s is not None:
            every, offset = self.every_s * 1000, self.offset_s * 1000
            first = -(-(after_ms + 1 - offset) // every)
            last = (until_ms - offset) // every
            return [number * every + offset for number in range(first, last + 1)]
        found: list[int] = []
        if self.cron is not None:
            zone = UTC if self.tz == "UTC" else ZoneInfo(self.tz)
            # From some days before, as a daemon that runs all the time sees it.
            begin = datetime.fromtimestamp(after_ms / 1000, zone) - timedelta(days=2)
            for instant in CronSim(self.cron, begin):
                instant_ms = round(instant.timestamp() * 1000)
                if instant_ms > until_ms:
                    break
                if instant_ms > after_ms and instant_ms not in found[-1:]:
                    found.append(instant_ms)
        return found


@dataclass
class NaiveWorker:
    """A worker's rules, each from a time on, and the runs that it should have."""

    rule: Rule
    begin_ms: int
    skips: bool = False
    changes: list[tuple[int, Rule]] = field(default_factory=list)

    def slots(self, ticks_ms: list[int], end_ms: int) -> list[int]:
        """The slots of its runs, if schedules could be fired at these times alone."""
        happenings: list[tuple[int, int, Rule | None]] = []
        rules = [(self.begin_ms, self.rule), *self.changes, (end_ms, Rule())]
        for (from_ms, begun), (until_ms, _) in pairwise(rules):
            happenings.append((from_ms, 1, begun))
            happenings += ((instant, 0, None) for instant in begun.instants(from_ms, until_ms))
        happenings += ((tick_ms, 2, None) for tick_ms in ticks_ms)
        found, pending = [], list[int]()
        for at_ms, what, rule in sorted(happenings, key=lambda one: one[:2]):
            if what == 0:
                pending.append(at_ms)
            elif what == 1 and rule == Rule():
                pending.clear()  # stopped: nothing of it is made up
            elif what == 2 and pending:
                late = [slot for slot in pending if slot > at_ms - MISSED_AFTER_MS]
                if self.skips:
                    found += late[-1:]
                else:
                    found.append(pending[0])
                pending.clear()
        return found
