"""How many requests of providers a piece of work causes, wherever its tasks make them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from providers.attempts import Attempt


@dataclass(slots=True)
class RequestsMade:
    number: int = 0


_COUNTED: ContextVar[RequestsMade | None] = ContextVar("_COUNTED", default=None)


@contextmanager
def requests_counted() -> Iterator[RequestsMade]:
    """Counts those that are made within, also by tasks that begin within."""
    made = RequestsMade()
    before = _COUNTED.set(made)
    try:
        yield made
    finally:
        _COUNTED.reset(before)


def count_request(attempt: Attempt) -> None:
    """To be called of each attempt, where it is made."""
    made = _COUNTED.get()
    if made is not None:
        made.number += 1
