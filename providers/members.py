"""Members: what the hot store knows of a resource as it is asked from here, for who chooses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from providers.account import Account
from providers.breaker import BreakerState, state_at
from providers.budget import room_left
from providers.health import HALF_LIFE_MS, quantile, success_rate

_SWITCHES: Final = {b"on": True, b"off": False}

UNKNOWN_MS: Final = 3_600_000  # for so long it is remembered what a resource does not know,
GAP_MS: Final = UNKNOWN_MS - 60_000  # and asked for again before, if nobody else has it


@dataclass(frozen=True, slots=True)
class Member:
    """What is known of a member now. `score`: 0 to 100; `p70_ms` of successes, None if there are
    none. `paused_until_ms` and `out_until_ms`: 0 if it may be asked. `room`: by window in s, what
    is left of its limits. `unknown`: the subjects that it does not know."""

    state: BreakerState
    open_until_ms: int
    opened_at_ms: int
    out_until_ms: int
    out_class: str
    success_rate: float
    p70_ms: int | None
    p95_ms: int | None
    room: Mapping[int, int]
    last_error: str
    switched: bool | None
    unknown: frozenset[str]
    gaps: frozenset[str] = frozenset()  # of these, those that it has not been asked for of late

    @staticmethod
    def unseen() -> "Member":
        """One of which nothing is known."""
        return Member(
            *(BreakerState.CLOSED, 0, 0, 0, "", 1.0, None, None),
            *({}, "", None, frozenset()),
        )

    @property
    def score(self) -> int:
        return round(100 * self.success_rate)


def read_member(
    account: Account, found: Sequence[Any], subjects: Sequence[str], now_ms: int, fraction: float
) -> Member:
    """A member from the store's fields: its own, its account's, its switch, and when what it does
    not know of the subjects is forgotten."""
    own, shared, switch, unknown = _named(found[0]), _named(found[1]), found[2], found[3]
    out = max(
        (_number(own, "out_until"), own.get("out_class", "")),
        (_number(shared, "pause_until"), shared.get("pause_class", "")),
    )
    out_until_ms, out_class = out if out[0] > now_ms else (0, "")
    open_until = _number(own, "open_until") if "open_until" in own else None
    latencies = [int(each) for each in own.get("ms", "").split()]
    faded = 0.5 ** (max(0, now_ms - _number(own, "at")) / HALF_LIFE_MS)
    good, total = float(own.get("good", 0)) * faded, float(own.get("total", 0)) * faded
    told = zip(subjects, unknown, strict=False)  # none were asked for, or all
    until = {name: int(float(ends)) for name, ends in told if ends and float(ends) > now_ms}
    return Member(
        state=state_at(open_until, now_ms),
        open_until_ms=open_until or 0,
        opened_at_ms=_number(own, "opened_at"),
        out_until_ms=out_until_ms,
        out_class=out_class,
        success_rate=success_rate(good, total),
        p70_ms=quantile(latencies),
        p95_ms=quantile(latencies, 0.95),
        room=room_left(shared, account.resource.provider.limits, fraction, now_ms),
        last_error=own.get("last_error", ""),
        switched=None if switch is None else _SWITCHES.get(switch),
        unknown=frozenset(until),
        gaps=frozenset(name for name, ends in until.items() if ends - now_ms < GAP_MS),
    )


def _named(flat: Sequence[bytes]) -> dict[str, str]:
    words = [each.decode(errors="replace") for each in flat]
    return dict(zip(words[::2], words[1::2], strict=True))


def _number(fields: Mapping[str, str], name: str) -> int:
    return int(float(fields.get(name, 0)))
