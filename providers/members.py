"""Members: what the hot store knows of a resource as it is asked from here, for who chooses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from providers.breaker import BreakerState, state_at
from providers.health import HALF_LIFE_MS, quantile, success_rate

FIELDS: Final = (
    *("out_until", "out_class", "open_until", "opened_at", "good", "total", "at", "ms"),
    "last_error",
)
SHARED: Final = ("pause_until", "pause_class", "guess")
LUA_FIELDS: Final = ", ".join(f"'{name}'" for name in FIELDS)
LUA_SHARED: Final = ", ".join(f"'{name}'" for name in SHARED)
_SWITCHES: Final = {"on": True, "off": False}

UNKNOWN_MS: Final = 3_600_000  # for so long it is remembered what a resource does not know,
GAP_MS: Final = UNKNOWN_MS - 60_000  # and asked for again before, if nobody else has it


@dataclass(frozen=True, slots=True)
class Member:
    """What is known of a member now. `score`: 0 to 100; `p70_ms` of successes, None if there are
    none. `out_until_ms`: 0 if it may be asked. `unknown`: the subjects that it does not know.
    `guessed`: nobody has stated the pause for which it is out."""

    state: BreakerState
    open_until_ms: int
    opened_at_ms: int
    out_until_ms: int
    out_class: str
    success_rate: float
    p70_ms: int | None
    p95_ms: int | None
    last_error: str
    switched: bool | None
    unknown: frozenset[str]
    gaps: frozenset[str] = frozenset()  # of these, those that it has not been asked for of late
    guessed: bool = False

    @staticmethod
    def unseen() -> "Member":
        """One of which nothing is known."""
        return Member(
            *(BreakerState.CLOSED, 0, 0, 0, "", 1.0, None, None),
            *("", None, frozenset()),
        )

    @property
    def score(self) -> int:
        return round(100 * self.success_rate)


_UNSEEN: Final = Member.unseen()


def read_member(told: bytes, subjects: Sequence[str], now_ms: int) -> Member:
    """A member from what the gate's script tells of it."""
    if not told:
        return _UNSEEN
    values = told.decode(errors="replace").split("\x1f")
    own = dict(zip(FIELDS, values, strict=False))
    paused_until, pause_class, guess, switch, *unknown = values[len(FIELDS) :]
    out = max((_number(own["out_until"]), own["out_class"]), (_number(paused_until), pause_class))
    out_until_ms, out_class = out if out[0] > now_ms else (0, "")
    open_until = _number(own["open_until"]) if own["open_until"] else None
    latencies = [int(each) for each in own["ms"].split()]
    faded = 0.5 ** (max(0, now_ms - _number(own["at"])) / HALF_LIFE_MS)
    good, total = float(own["good"] or 0) * faded, float(own["total"] or 0) * faded
    told_until = zip(subjects, unknown, strict=False)  # none were asked for, or all
    until = {name: _number(ends) for name, ends in told_until if _number(ends) > now_ms}
    return Member(
        state=state_at(open_until, now_ms),
        open_until_ms=open_until or 0,
        opened_at_ms=_number(own["opened_at"]),
        out_until_ms=out_until_ms,
        out_class=out_class,
        success_rate=success_rate(good, total),
        p70_ms=quantile(latencies),
        p95_ms=quantile(latencies, 0.95),
        last_error=own["last_error"],
        switched=_SWITCHES.get(switch),
        unknown=frozenset(until),
        gaps=frozenset(name for name, ends in until.items() if ends - now_ms < GAP_MS),
        guessed=0 < out_until_ms == _number(paused_until) and guess == paused_until,
    )


def read_named(flat: Sequence[bytes]) -> dict[str, str]:
    """A hash of the store, as HGETALL tells it."""
    words = [each.decode(errors="replace") for each in flat]
    return dict(zip(words[::2], words[1::2], strict=True))


def _number(word: str) -> int:
    return int(float(word)) if word else 0
