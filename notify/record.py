"""The record of problems: when each was first seen and what was told of it, and its text form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from status.problem import Problem, ProblemKind, Severity


@dataclass(frozen=True, slots=True)
class Known:
    """A problem that is there, or whose end is not told yet; all times in UTC ms.

    `problem`: as it was seen last. `begun_ms`: when its beginning was told, `told`: with which
    severity, `again_ms`: when it was told once more. `over_ms`: since when it is not seen any more.
    """

    problem: Problem
    first_ms: int
    begun_ms: int | None = None
    told: Severity | None = None
    again_ms: int | None = None
    over_ms: int | None = None

    @property
    def since_ms(self) -> int:
        """Since when it is there, as the data say, else since when it is seen."""
        return self.first_ms if self.problem.since_ms is None else self.problem.since_ms


Record = Mapping[str, Known]  # by Problem.id


def encode_known(known: Known) -> str:
    """As JSON; `first_ms` is what GET /status reads of it."""
    problem = known.problem
    return orjson.dumps(
        {
            "first_ms": known.first_ms,
            "kind": problem.kind,
            "subject": problem.subject,
            "severity": problem.severity,
            "text": problem.text,
            "todo": problem.todo,
            "since_ms": problem.since_ms,
            "begun_ms": known.begun_ms,
            "told": known.told,
            "again_ms": known.again_ms,
            "over_ms": known.over_ms,
        }
    ).decode()


def decode_known(text: bytes) -> Known | None:
    """What `encode_known` wrote; None for anything else, such as what a later release writes."""
    try:
        found: Any = orjson.loads(text)
        told = found["told"]
        return Known(
            Problem(
                ProblemKind(found["kind"]),
                str(found["subject"]),
                Severity(found["severity"]),
                str(found["text"]),
                str(found["todo"]),
                _moment(found["since_ms"]),
            ),
            int(found["first_ms"]),
            _moment(found["begun_ms"]),
            None if told is None else Severity(told),
            _moment(found["again_ms"]),
            _moment(found["over_ms"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def is_of_others(text: bytes) -> bool:
    """Whether this is what another release has written of a problem, not something else."""
    try:
        found: Any = orjson.loads(text)
        return isinstance(found["kind"], str) and isinstance(found["first_ms"], int)
    except (ValueError, TypeError, KeyError):
        return False


def _moment(value: object) -> int | None:
    return None if value is None else int(str(value))
