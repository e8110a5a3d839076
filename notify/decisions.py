"""What is told now, and why: pure functions over the record of problems, without I/O or clock.

followed    the record after a look: problems that came, stayed, went
due         what is to be told now, each with its reason
messages    what is due as messages: one by one, or several as one digest
told        the record after something was told
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from notify.record import Known, Record
from notify.rules import Rules
from status.problem import Problem, ProblemKind, Severity


class Reason(StrEnum):
    """Why something is sent. DIGEST: several things at once, each with a reason of its own."""

    BEGUN = "begun"
    WORSE = "worse"  # a warning that was told has become critical
    AGAIN = "again"
    ENDED = "ended"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Sending:
    """One thing to tell. `waited`: whether it was held back by quiet hours."""

    reason: Reason
    known: Known
    waited: bool = False

    @property
    def id(self) -> str:
        return self.known.problem.id


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent at once. `reason`: that of its only sending, or DIGEST."""

    reason: Reason
    sendings: Sequence[Sending]


_ORDER: Final = (Reason.WORSE, Reason.BEGUN, Reason.AGAIN, Reason.ENDED)


def followed(record: Record, problems: Sequence[Problem], rules: Rules, now_ms: int) -> Record:
    """The record after a look that found `problems`.

    A problem that is not found any more is over, unless a store is away that alone tells of it. One
    that ends before it was due is forgotten.
    """
    found = {problem.id: problem for problem in problems}
    away = {problem.kind for problem in problems}
    after: dict[str, Known] = {}
    for id_, known in record.items():
        if id_ in found:
            after[id_] = replace(known, problem=found[id_], over_ms=None)
        elif _is_unknown(known.problem, away, rules):
            after[id_] = known
        elif known.begun_ms is not None or _is_due_at(known, rules) <= _over_ms(known, now_ms):
            after[id_] = replace(known, over_ms=_over_ms(known, now_ms))
    for id_, problem in found.items():
        after.setdefault(id_, Known(problem, now_ms))
    return after


def _is_unknown(problem: Problem, away: Collection[ProblemKind], rules: Rules) -> bool:
    if problem.kind is ProblemKind.STORE_AWAY:
        return False
    if ProblemKind.STORE_AWAY in away:
        return problem.kind is not ProblemKind.DATABASE_AWAY
    return ProblemKind.DATABASE_AWAY in away and rules.of(problem).database


def _over_ms(known: Known, now_ms: int) -> int:
    return now_ms if known.over_ms is None else known.over_ms


def _is_due_at(known: Known, rules: Rules) -> int:
    return known.first_ms + rules.after_ms(known.problem)


def due(
    record: Record, rules: Rules, now_ms: int, *, without: Collection[str] = ()
) -> list[Sending]:
    """What is to be told now, the worst first; not of the ids `without`, of which something is
    being sent."""
    found = []
    for id_, known in record.items():
        if id_ in without or (reason_at := _reason(known, rules, now_ms)) is None:
            continue
        reason, at_ms = reason_at
        severity = _severity(known)
        if not rules.holds_back(severity, now_ms):
            found.append(Sending(reason, known, rules.holds_back(severity, at_ms)))
    return sorted(found, key=_place)


def _severity(known: Known) -> Severity:
    """The worst that the problem is or was told to be: an end is told as its beginning was."""
    critical = Severity.CRITICAL in (known.problem.severity, known.told)
    return Severity.CRITICAL if critical else Severity.WARNING


def _reason(known: Known, rules: Rules, now_ms: int) -> tuple[Reason, int] | None:
    """Why it is to be told now, and since when that is so."""
    if known.over_ms is not None:
        at_ms = known.over_ms + rules.gone_ms(known.problem)
        return (Reason.ENDED, at_ms) if at_ms <= now_ms else None
    if known.begun_ms is None:
        at_ms = _is_due_at(known, rules)
        return (Reason.BEGUN, at_ms) if at_ms <= now_ms else None
    if known.problem.severity is Severity.CRITICAL and known.told is Severity.WARNING:
        return Reason.WORSE, now_ms
    if known.again_ms is None:
        at_ms = known.begun_ms + round(rules.again_s * 1000)
        return (Reason.AGAIN, at_ms) if at_ms <= now_ms else None
    return None


def _place(sending: Sending) -> tuple[bool, int, int]:
    critical = _severity(sending.known) is Severity.CRITICAL
    return not critical, _ORDER.index(sending.reason), sending.known.first_ms


def messages(sendings: Sequence[Sending], room: int) -> list[Message]:
    """At most `room` messages of all that is due; none where there is no room.

    What quiet hours held back is one message, and so is what is told again, so that reminders leave
    room for what is new. The rest are messages of their own if there is room for all of them, else
    all is one.
    """
    if room <= 0 or not sendings:
        return []
    waited = [sending for sending in sendings if sending.waited]
    others = [sending for sending in sendings if not sending.waited]
    again = [sending for sending in others if sending.reason is Reason.AGAIN]
    alone = [[sending] for sending in others if sending.reason is not Reason.AGAIN]
    groups = [group for group in (*alone, again, waited) if group]
    if len(groups) <= room:
        return [_message(group) for group in groups]
    if waited and room > 1:
        return [_message(others), _message(waited)]
    return [_message(sendings)]


def _message(sendings: Sequence[Sending]) -> Message:
    reason = sendings[0].reason if len(sendings) == 1 else Reason.DIGEST
    return Message(reason, tuple(sendings))


def told(record: Record, sendings: Sequence[Sending], now_ms: int) -> Record:
    """The record after `sendings` were told. What has happened to a problem meanwhile stays to be
    told."""
    after: dict[str, Known] = dict(record)
    for sending in sendings:
        known = after.get(sending.id)
        if known is None:
            continue
        match sending.reason:
            case Reason.ENDED if known.over_ms is not None:
                del after[sending.id]
            case Reason.ENDED:  # it is back: that is a new beginning
                after[sending.id] = Known(known.problem, now_ms)
            case Reason.AGAIN:
                after[sending.id] = replace(known, again_ms=now_ms)
            case _:
                severity = sending.known.problem.severity
                begun_ms = now_ms if known.begun_ms is None else known.begun_ms
                after[sending.id] = replace(known, begun_ms=begun_ms, told=severity)
    return after


def forgotten(record: Record) -> Record:
    """The record without what is over, where nobody is told."""
    return {id_: known for id_, known in record.items() if known.over_ms is None}


def of_store_away(record: Record) -> Mapping[str, Known]:
    """What was told of the hot store being away, which a process may know alone."""
    return {
        id_: known
        for id_, known in record.items()
        if known.problem.kind is ProblemKind.STORE_AWAY and known.begun_ms is not None
    }
