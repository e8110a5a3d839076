"""The rule that says which of the exchanges' clocks are believed, by witnesses of the time.

Pure rule, no I/O. An exchange's clock has these witnesses: the other exchanges' clocks, this
machine's clock, and the last `as_of` plus the time that has passed for us since. Each is within
TOLERANCE_MS of the clock, or against it.

- Where at least two witnesses agree with each other and not with a clock, and they are more than
  those that agree with it, the clock is wrong.
- A clock that is not wrong is believed; with a warning, if a witness that is not wrong itself is
  against it.
- `as_of` is the smallest of the believed clocks. One that lies behind the stored document's by
  more than TOLERANCE_MS needs another clock that agrees with it; one that lies behind it by less
  is waited for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from market.markets import Exchange
from timing.clock import boot_s

TOLERANCE_MS: Final = 10_000
# A clock without time service may drift by 100 ppm: TOLERANCE_MS in little more than this.
_LONGEST_ELAPSED_S: Final = 24 * 3600.0
MACHINE: Final = "this machine's clock"
LAST_AS_OF: Final = "the last as_of"


@dataclass(frozen=True, slots=True)
class Witness:
    """What one witness says of the present; `at_least`: it may be any time later."""

    name: str
    time_ms: int
    at_least: bool = False

    def agrees(self, other: "Witness") -> bool:
        ahead_ms = self.time_ms - other.time_ms
        return (ahead_ms <= TOLERANCE_MS or other.at_least) and (
            ahead_ms >= -TOLERANCE_MS or self.at_least
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """`wrong` and `warnings` say by exchange how far its clock is off and against what.

    `supported`: believed clocks that at least one witness agrees with.
    """

    believed: frozenset[Exchange]
    supported: frozenset[Exchange]
    wrong: Mapping[Exchange, str]
    warnings: Mapping[Exchange, str]


class ClocksDisagree(Exception):
    """The time cannot be told; the message says what was compared."""


@dataclass(slots=True)
class LastAsOf:
    """The last time that this process believed, advanced by the time that has passed since.

    `offsets_ms`: by exchange, how far its clock was ahead of this machine's when it was last read.

    `elapsed_s` must count the time in which the machine sleeps and know nothing of the wall clock,
    which is a witness of its own.
    """

    elapsed_s: Callable[[], float] = boot_s
    offsets_ms: dict[Exchange, int] = field(default_factory=dict, init=False)
    _time_ms: int | None = field(default=None, init=False)
    _at_s: float = field(default=0.0, init=False)

    def believe(self, now_ms: int) -> None:
        self._time_ms, self._at_s = now_ms, self.elapsed_s()

    def witness(self, stored_as_of_ms: int | None) -> Witness | None:
        """What the last `as_of` says of the present, if there is one.

        The stored document's may be of another host or an earlier process. How long ago that was,
        only wall clocks could tell, so it says no more than that the present lies behind it.
        """
        if self._time_ms is not None:
            passed_s = self.elapsed_s() - self._at_s
            if 0 <= passed_s <= _LONGEST_ELAPSED_S:
                return Witness(LAST_AS_OF, self._time_ms + round(passed_s * 1000))
        earliest_ms = self._time_ms if stored_as_of_ms is None else stored_as_of_ms
        return None if earliest_ms is None else Witness(LAST_AS_OF, earliest_ms, at_least=True)


def judge(clocks: Mapping[Exchange, int], others: Sequence[Witness]) -> Verdict:
    """Judges the exchanges' clocks (ms, all at one moment); `others`: the other witnesses."""
    said = {exchange: Witness(f"{exchange}'s clock", ms) for exchange, ms in clocks.items()}
    wrong: dict[Exchange, str] = {}
    supported: set[Exchange] = set()
    against: dict[Exchange, list[Witness]] = {}
    for exchange, clock in said.items():
        witnesses = [each for name, each in said.items() if name != exchange] + list(others)
        agreeing = sum(witness.agrees(clock) for witness in witnesses)
        against[exchange] = [witness for witness in witnesses if not witness.agrees(clock)]
        group = _largest_group(against[exchange])
        if len(group) >= 2 and len(group) > agreeing:
            wrong[exchange] = _difference(clock, group)
        elif agreeing:
            supported.add(exchange)
    refuted = [said[exchange] for exchange in wrong]
    warnings = {
        exchange: _difference(clock, left)
        for exchange, clock in said.items()
        if exchange not in wrong
        and (left := [witness for witness in against[exchange] if witness not in refuted])
    }
    return Verdict(frozenset(clocks.keys() - wrong), frozenset(supported), wrong, warnings)


def check_not_older(
    verdict: Verdict, clocks: Mapping[Exchange, int], others: Sequence[Witness], stored_ms: int
) -> None:
    """Checks that `as_of` may be published after a document of `stored_ms`.

    Raises ClocksDisagree if it lies behind it by more than TOLERANCE_MS and nothing but one
    exchange's clock says so.
    """
    slowest = min(verdict.believed, key=lambda exchange: clocks[exchange])
    as_of = Witness(f"{slowest}'s clock", clocks[slowest])
    if as_of.time_ms >= stored_ms - TOLERANCE_MS:
        return
    witnesses = [Witness("", clocks[each]) for each in verdict.believed if each != slowest]
    witnesses += [each for each in others if not each.at_least]
    if not any(witness.agrees(as_of) for witness in witnesses):
        stored = Witness("the stored document's as_of", stored_ms)
        raise ClocksDisagree(
            f"{_difference(as_of, [stored])}, and no other clock agrees with it: the stored"
            " document stays; check this machine's clock"
        )


def _largest_group(against: Sequence[Witness]) -> list[Witness]:
    """The most witnesses that agree with one of them."""
    groups = ([other for other in against if other.agrees(one)] for one in against)
    return max(groups, key=len, default=[])


def _difference(clock: Witness, against: Sequence[Witness]) -> str:
    """Such as "bybit's clock is 10800 s behind binance's clock and this machine's clock"."""
    parts: dict[str, list[str]] = {}
    for witness in against:
        ahead_ms = clock.time_ms - witness.time_ms
        side = "ahead of" if ahead_ms > 0 else "behind"
        parts.setdefault(f"{abs(ahead_ms) / 1000:.0f} s {side}", []).append(witness.name)
    told = ", ".join(f"{how_far} {' and '.join(names)}" for how_far, names in parts.items())
    return f"{clock.name} is {told}"
