"""What was asked in an hour of faults, and what of it should not have been.

The rules are written here a second time, over what can be seen from outside: each call with its
outcome, and by what right it was made.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from providers.account import Account
from providers.attempts import Attempt
from providers.errors import ErrorClass
from providers.gate import Right
from tests.providers.hour.plan import PAUSE_S

_FOR_A_DAY: Final = (
    ErrorClass.QUOTA_SPENT,
    ErrorClass.KEY_REJECTED,
    ErrorClass.PLAN_FORBIDS,
    ErrorClass.GEO_BLOCKED,
)
_DAY_MS: Final = 86_400_000
_SHORTEST_OPEN_MS: Final = 48_000  # 60 s, less a fifth
_BETWEEN_PROBES_MS: Final = 45_000
_BETWEEN_TRIALS_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class _Told:
    """An outcome, and when it was known (accelerated ms); it ended at `ended_ms`, or later."""

    at_ms: int
    steady_ms: float
    ended_ms: float
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class _Admitted:
    """`at_ms`: when the right to call was asked for."""

    at_ms: int
    steady_ms: float
    resource: str
    provider: str
    right: Right


@dataclass(slots=True)
class Watch:
    """`grace_ms`: how long a success may be on its way, in a time that leaves out what the machine
    stood still."""

    grace_ms: float
    speed: float
    told: list[_Told] = field(default_factory=list)
    admitted: list[_Admitted] = field(default_factory=list)

    def tell(self, now_ms: int, steady_ms: float, attempt: Attempt) -> None:
        ended_ms = attempt.started_at_ms + attempt.ms * self.speed
        self.told.append(_Told(now_ms, steady_ms, ended_ms, attempt))

    def admit(self, now_ms: int, steady_ms: float, account: Account, right: Right) -> None:
        row = account.resource
        self.admitted.append(_Admitted(now_ms, steady_ms, row.id, row.provider.id, right))

    def wrong_calls(self) -> list[str]:
        """Calls of members that were out, paused, or open."""
        return [
            *self._in_spite_of_a_pause(),
            *self._trials(),
            *self._of_those_out(),
            *self._of_open_ones(),
        ]

    def _between(self, first_ms: float, last_ms: float) -> Iterator[_Admitted]:
        return (each for each in self.admitted if first_ms < each.at_ms < last_ms)

    def _in_spite_of_a_pause(self) -> Iterator[str]:
        """A limit pauses all of a provider's rows; one that is not stated, for longer."""
        for told in self._of_class(ErrorClass.RATE_LIMITED):
            until_ms = told.ended_ms + PAUSE_S * 1000 - self.grace_ms
            for each in self._between(told.at_ms, until_ms):
                if each.provider == told.attempt.resource.provider.id:
                    late_s = (each.at_ms - told.at_ms) / 1000
                    yield f"{each.resource} was asked {late_s:.0f} s after a limit of {PAUSE_S} s"

    def _trials(self) -> Iterator[str]:
        """A pause that is not stated is tried by one call a minute, whatever the row."""
        last: dict[str, float] = {}
        for each in self.admitted:
            if each.right is Right.TRIAL:
                if each.at_ms - last.get(each.provider, 0.0) < _BETWEEN_TRIALS_MS - self.grace_ms:
                    yield f"{each.provider} was tried twice within {_BETWEEN_TRIALS_MS} ms"
                last[each.provider] = each.at_ms

    def _of_those_out(self) -> Iterator[str]:
        for told in self._of_class(*_FOR_A_DAY):
            for each in self._between(told.at_ms, told.ended_ms + _DAY_MS):
                if each.resource == told.attempt.resource.id:
                    yield f"{each.resource} was asked after {told.attempt.error_class}"

    def _of_open_ones(self) -> Iterator[str]:
        """An open member is probed now and then, or asked by force while nobody else is left; two
        successes of probes close it."""
        for told in self.told:
            if not told.attempt.tripped:
                continue
            member, probed_ms = told.attempt.resource.id, 0.0
            until_ms = told.ended_ms + _SHORTEST_OPEN_MS - self.grace_ms
            for each in self._between(told.at_ms, until_ms):
                if each.resource != member or self._succeeded(member, told.at_ms, each):
                    continue
                if each.right is Right.OK:
                    yield f"{member} was asked while its breaker was open"
                if each.right is Right.PERMIT:
                    if each.at_ms - probed_ms < _BETWEEN_PROBES_MS - self.grace_ms:
                        yield f"{member} was probed twice within {_BETWEEN_PROBES_MS} ms"
                    probed_ms = each.at_ms

    def _succeeded(self, member: str, first_ms: int, before: _Admitted) -> bool:
        return any(
            told.attempt.resource.id == member
            and told.attempt.error_class is None
            and told.at_ms >= first_ms
            and told.steady_ms <= before.steady_ms + self.grace_ms
            for told in self.told
        )

    def _of_class(self, *classes: ErrorClass) -> list[_Told]:
        return [told for told in self.told if told.attempt.error_class in classes]
