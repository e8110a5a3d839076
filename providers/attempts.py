"""What is told of asking: each call that was made, and what an operator should know."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from providers.errors import ErrorClass
from providers.resources import Resource

Purpose = Literal["question", "retry", "probe"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a resource; `ms` until its end, `status` None where no answer came, `error_class`
    None if it brought what was asked. `shown`: method and URL without the key."""

    resource: Resource
    purpose: Purpose
    started_at_ms: int
    ms: int
    status: int | None
    error_class: ErrorClass | None
    message: str
    shown: str
    tripped: bool = False  # its failure has opened the breaker


@dataclass(frozen=True, slots=True)
class Alert:
    """`resource`: whose key is refused, or whose value is quarantined; None for a whole chain."""

    kind: Literal["no_living_member", "key_refused", "quarantined"]
    chain: str
    resource: str | None
    message: str


OnAttempt = Callable[[Attempt], None]
OnAlert = Callable[[Alert], None]
