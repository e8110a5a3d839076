"""The errors of controlling workers, one class for each answer that the caller should give."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from texts.foreign import cut, foreign_text

_LONGEST_NAME: Final = 80
_NEAR: Final = 3

# ControlError
#   Unknown          there is no such worker, run or queue; `near`: names that are like it (404)
#   WrongChange      what was given cannot be; `errors`: of each field (422)
#   CannotRun        it cannot be run, or runs cannot be changed so (409)


class ControlError(Exception):
    """What was asked for was not done; the message says why, and what to do."""


class Unknown(ControlError):
    """There is no `what` of that name; `near`: names that are like it."""

    def __init__(self, what: str, name: object, known: Sequence[str] = ()) -> None:
        text = cut(foreign_text(str(name), _LONGEST_NAME + 1), _LONGEST_NAME)
        self.near = get_close_matches(text, known, _NEAR)
        hint = f"; did you mean {' or '.join(self.near)}?" if self.near else ""
        super().__init__(f"there is no {what} {text}{hint}")


class UnknownWorker(Unknown):
    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        super().__init__("worker", name, known)


class UnknownQueue(Unknown):
    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        super().__init__("queue", name, known)


class UnknownRun(Unknown):
    def __init__(self, run_id: int) -> None:
        super().__init__("run", run_id)


class WrongChange(ControlError):
    """`errors` has a field and what it takes, for each that is wrong."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors))
        self.errors = list(errors)


class CannotRun(ControlError):
    """As things are, this cannot be done: SCHEDULES=off, a WebSocket worker, a run that is over."""
