"""Problems of providers: chains of which nobody answers, and values that were not believed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from status.found import Found
from status.problem import Problem, ProblemKind, Severity
from texts.foreign import foreign_text
from texts.hidden_addresses import without_addresses
from timing.clock import utc_text

if TYPE_CHECKING:
    from providers.standing import ChainMember, ChainStanding

_HELD_MS: Final = 30 * 60_000  # a value that is still not believed is noted again every 15 min
_MOST_NAMED: Final = 3
_LONGEST_REASON: Final = 300
# Of its breaker.
_OUT: Final = {
    "open": "failed too often and is not asked",
    "half_open": "failed too often and is tried again",
}
# They end by themselves, and say nothing of the provider's health.
_LIMITS: Final = ("rate_limited", "quota_spent")


def provider_problems(found: Found, now_ms: int) -> Iterator[Problem]:
    for chain in found.chains or ():
        if chain.is_dead:
            yield _dead(chain)
    for alert in found.alerts or ():
        if alert.kind == "quarantined" and now_ms - alert.last_ms < _HELD_MS:
            resource = alert.resource or alert.chain
            yield Problem(
                ProblemKind.VALUE_QUARANTINED,
                resource,
                Severity.WARNING,
                f"a value of {resource} is not believed:"
                f" {foreign_text(alert.message, _LONGEST_REASON)}",
                "Compare it with the other members of the chain; if it is wrong for long, turn it"
                f" off with POST /api/providers/{resource}/disable.",
                alert.since_ms,
            )


def _dead(chain: "ChainStanding") -> Problem:
    only_limits = bool(chain.members) and all(each.out in _LIMITS for each in chain.members)
    members = "it has no member that may be asked"
    if chain.members:
        members = "; ".join(map(_member, chain.members[:_MOST_NAMED]))
        if (more := len(chain.members) - _MOST_NAMED) > 0:
            members += f"; and {more} more"
    keys = f", or set one of the {chain.no_key} keys that it lacks" if chain.no_key else ""
    return Problem(
        ProblemKind.CHAIN_DEAD,
        chain.chain,
        Severity.WARNING if only_limits else Severity.CRITICAL,
        f"nobody of the chain {chain.chain} answers: {members}",
        "See that this host reaches them (python main.py providers probe"
        f" {chain.chain}){keys}; what was last known is served with its age until it is too old.",
        chain.dead_since_ms,
    )


def _member(member: "ChainMember") -> str:
    how = "failed" if member.out is None else _OUT.get(member.out, member.out.replace("_", " "))
    until = f" until {utc_text(member.until_ms)}" if member.until_ms else ""
    error = without_addresses(foreign_text(member.last_error, 100))
    return f"{member.resource} {how}{until}" + (f" ({error})" if error else "")
