"""Why a provider did not answer: classes that decide what happens next, not status codes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ErrorClass(StrEnum):
    """What is wrong, and so who is asked next (the table is in docs/providers.md)."""

    TRANSIENT = "transient"
    RATE_LIMITED = "rate_limited"
    QUOTA_SPENT = "quota_spent"
    KEY_REJECTED = "key_rejected"
    PLAN_FORBIDS = "plan_forbids"
    GEO_BLOCKED = "geo_blocked"
    UNKNOWN = "unknown"  # it has no such asset, address or price
    CALLER_FAULT = "caller_fault"
    BAD_PAYLOAD = "bad_payload"


class ProviderError(Exception):
    """One resource did not answer one question. The message names the provider and the cause, never
    a key. `until_ms` (UTC): until when it shall not be asked, None where the class decides."""

    def __init__(
        self, error_class: ErrorClass, message: str, *, until_ms: int | None = None
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.until_ms = until_ms


# Why a member is skipped of which nobody expects an answer.
NEVER_ASKED: Final = ("no_key", "off")


@dataclass(frozen=True, slots=True)
class Tried:
    """A resource that was asked, or skipped (`skipped`: out, no_budget, no_key, off, no_time), and
    why it did not answer, at last. `times`: how often it was asked for this answer."""

    resource: str
    level: str
    error_class: ErrorClass | None
    skipped: str | None
    message: str
    times: int = 0


class NoAnswer(Exception):
    """Nobody answered the question, and no value is young enough. `tried` names everyone."""

    def __init__(self, question: str, tried: tuple[Tried, ...]) -> None:
        told = "; ".join(f"{each.resource}: {each.message}" for each in tried) or "nobody to ask"
        super().__init__(f"{question}: {told}")
        self.question = question
        self.tried = tried


class InvalidQuestion(ValueError):
    """The question itself is wrong: an address, asset or chain that cannot be. Nobody is asked."""
